"""What callers say: editable Jinja templates, looked up by reason and offer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from traceback import extract_tb

from experiments.campaign.call_rules import GENERAL
from experiments.common.errors import WinbackError, did_you_mean, short
from experiments.sheet.contact_rules import VARIABLES

OURS = Path(__file__).parents[1] / "templates" / "scripts"
ENDING = ".j2"
SHORT_OFFER = "_offer"  # the template of the column `offer`
ENGLISH = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Words for one customer, and the script they come from."""

    words: str
    script: str  # its name without language and ending, such as reason-price
    ours: bool  # not of the user's folder


class Scripts:
    """The scripts of a company before ours, in its language before English."""

    def __init__(self, folder: Path | None = None, *, language: str = ENGLISH) -> None:
        from jinja2 import ChoiceLoader, FileSystemLoader, StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        if folder is not None and not folder.is_dir():
            raise WinbackError(
                f"There is no folder {str(folder)!r} for `scripts`. Make it, or leave `scripts` out: "
                "then ours are said."
            )
        folders = [*([folder] if folder else []), OURS]
        self._theirs = folder
        self._files = [{path.name for path in one.glob(f"*{ENDING}")} for one in folders]
        self._endings = (ENDING,) if language == ENGLISH else (f".{language}{ENDING}", ENDING)
        self._found: dict[tuple[str, ...], tuple[str, str]] = {}
        # Sandboxed: a script cannot reach Python. Plain text for a spreadsheet: nothing to escape here.
        self._environment = ImmutableSandboxedEnvironment(
            loader=ChoiceLoader([FileSystemLoader(one) for one in folders]),
            undefined=StrictUndefined,
            autoescape=False,
            finalize=_shown,
        )

    def say(self, variables: Mapping[str, object]) -> Said:
        """Return what the caller says; white space becomes single spaces.

        The script is the first there is of reason and offer, reason, offer, default: in the user's folder, then ours.
        Raises WinbackError with file, line and cure where it does not work.
        """
        script, file = self._first(names_of(str(variables["reason"] or ""), str(variables["offer"] or "")))
        ours = self._theirs is None or file not in self._files[0]
        return Said(words=self._rendered(file, variables), script=script, ours=ours)

    def offer(self, variables: Mapping[str, object]) -> str:
        """Return the offer in a word or two; nothing where nothing is offered."""
        return self._rendered(self._first((SHORT_OFFER,))[1], variables) if variables["offer"] else ""

    def own(self) -> tuple[str, ...]:
        """Return the names of the user's scripts; one that is no template is refused."""
        files = sorted(file for file in self._files[0] if self._theirs and not file.startswith("_"))
        for file in files:
            with self._explained(file):
                self._environment.get_template(file)
        return tuple(dict.fromkeys(_name(file) for file in files))

    def _first(self, names: tuple[str, ...]) -> tuple[str, str]:
        """Return the first script there is, and its file."""
        if names not in self._found:
            places = product(self._endings, self._files, names)
            there = ((name, name + ending) for ending, files, name in places if name + ending in files)
            self._found[names] = next(there)  # ours has a default and an offer
        return self._found[names]

    def _rendered(self, file: str, variables: Mapping[str, object]) -> str:
        with self._explained(file, variables):
            return " ".join(self._environment.get_template(file).render(variables).split())

    @contextmanager
    def _explained(self, file: str, variables: Iterable[str] = VARIABLES) -> Iterator[None]:
        """Explain what of a template does not work: which file, which line, the cure."""
        from jinja2 import TemplateNotFound, TemplateSyntaxError

        try:
            yield
        except TemplateNotFound as error:
            known = sorted(set().union(*self._files))
            raise WinbackError(
                f"Script {_place(error, file)} uses {error.name!r}, which is nowhere. {did_you_mean(error.name, known)}"
            ) from None
        except TemplateSyntaxError as error:
            where, problem = Path(error.filename or file).name, str(error.message).rstrip(".")
            raise WinbackError(
                f"Script {where}, line {error.lineno}: {problem}. Compare with {OURS.name}/{GENERAL}{ENDING}."
            ) from None
        except Exception as error:  # noqa: BLE001  a template is a foreign program: it may raise anything
            problem = short(str(error).rstrip("."), 200)
            unknown = re.match("'(.+)' is undefined", problem)
            cure = did_you_mean(unknown[1], variables) if unknown else f"It may use: {', '.join(variables)}."
            raise WinbackError(f"Script {_place(error, file)}: {problem}. {cure}") from None


def names_of(reason: str, offer: str) -> tuple[str, ...]:
    """Return the names a script is looked up by, first to last.

    >>> names_of("Price, service!", "discount")
    ('reason-price-service.offer-discount', 'reason-price-service', 'offer-discount', 'default')
    """
    by_reason, by_offer = (f"{kind}-{_slug(text)}" for kind, text in (("reason", reason), ("offer", offer)))
    known = [name for name, text in ((by_reason, reason), (by_offer, offer)) if _slug(text)]
    return (*([f"{by_reason}.{by_offer}"] if len(known) > 1 else []), *known, GENERAL)


def _shown(value: object) -> object:
    """Return what a script shows of a value: nothing of what is not known."""
    return "" if value is None else value


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text.casefold()).strip("-")


def _name(file: str) -> str:
    """Return the name of a script: its file without ending and language.

    >>> _name("reason-price.offer-gift.de.j2"), _name("default.j2")
    ('reason-price.offer-gift', 'default')
    """
    *parts, _ = file.split(".")
    return ".".join(parts[:-1] if len(parts) > 1 and re.fullmatch("[a-z]{2,3}", parts[-1]) else parts)


def _place(error: Exception, file: str) -> str:
    """Return the file and line of a template in which it happened."""
    frames = [frame for frame in extract_tb(error.__traceback__) if frame.filename.endswith(ENDING)]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else file
