"""One base error. Every message says what is wrong, with the value, and the cure."""

from collections.abc import Iterable, Mapping


class WinbackError(ValueError):
    """Bad input: a sheet, a table or a parameter. The message names the cure."""


class Ambiguous(WinbackError):  # noqa: N818  a word, like the others of the house
    """Input that reads in several ways: somebody must say which.

    `setting` of the table, or of the sheet; `choices`: its value: what it means, in the words of an example.
    """

    def __init__(self, message: str, *, setting: str, choices: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.setting, self.choices = setting, dict(choices or {})


def did_you_mean(word: object, options: Iterable[object]) -> str:
    """Return the end of an error message: the nearest option, or all of them.

    >>> did_you_mean("lifetme", ["lifetime", "payoff"])
    "Did you mean 'lifetime'?"
    >>> did_you_mean("x", ["lifetime", "payoff"])
    "Use one of: 'lifetime', 'payoff'."
    """
    from difflib import get_close_matches  # only an error needs it: `winback --help` stays fast

    known = [str(option) for option in options]
    near = get_close_matches(str(word), known, n=1)
    return f"Did you mean '{near[0]}'?" if near else f"Use one of: {', '.join(map(repr, known)) or '(none)'}."


def short(text: str, width: int) -> str:
    """Return the text, its end left out where it is longer than `width` characters.

    >>> short("lifetime value", 10)
    'lifetim...'
    """
    return text if len(text) <= width else f"{text[: width - 3]}..."
