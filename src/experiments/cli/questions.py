"""Questions at the terminal, for what only the user knows; a script answers them by `--set`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

from experiments.common.errors import Ambiguous, WinbackError

Result = TypeVar("Result")


def settled(attempt: Callable[[Mapping[str, str]], Result], given: Mapping[str, str]) -> Result:
    """Return what an attempt gives; ask for what it cannot tell, one question at a time, and try again.

    Where nobody is at the terminal, the Ambiguous it raises names the option that answers it.
    """
    answers = dict(given)
    while True:
        try:
            return attempt(answers)
        except Ambiguous as error:
            if not sys.stdin.isatty():
                raise WinbackError(f"{error}\n{_options(error)}") from None
            answers[error.setting] = ask(error)


def _options(error: Ambiguous) -> str:
    examples = [f"--set {error.setting}={_shell(value)}" for value in error.choices] or [f"--set {error.setting}=..."]
    return f"In a script: {'  or  '.join(examples[:6])}"


def _shell(value: str) -> str:
    from shlex import quote

    return quote(value)


def ask(question: Ambiguous) -> str:
    """Ask at the terminal; return the chosen value, or what was typed."""
    print(question)
    choices = list(question.choices)
    for number, value in enumerate(choices, 1):
        meaning = question.choices[value]
        print(f"  {number}  {value}{f'   ({meaning})' if meaning else ''}")
    while True:
        answer = input(f"{question.setting}: ").strip()
        if answer.isdecimal() and 1 <= int(answer) <= len(choices):
            return choices[int(answer) - 1]
        if answer and (not choices or answer in choices or question.setting in ("currency", "time_zone", "encoding")):
            return answer
        print(f"Write a number from 1 to {len(choices)}." if choices else "Write it.")
