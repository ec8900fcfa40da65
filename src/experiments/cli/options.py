"""How a command is declared, the arguments that several commands take, and what users write as NAME=VALUE."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.common.errors import WinbackError
from experiments.common.language import LANGUAGES

FEWEST = 100  # lost customers that a simulation needs


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command: its names and its settings for argparse."""

    names: tuple[str, ...]
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of `winback`: its name and help are those of the function that does it."""

    do: Callable[[argparse.Namespace], None]
    arguments: tuple[Argument, ...]

    @property
    def name(self) -> str:
        """The word after `winback`."""
        return self.do.__name__

    @property
    def help(self) -> str:
        """The first line of the function's docstring."""
        return (self.do.__doc__ or "").splitlines()[0]


def command(*arguments: Argument) -> Callable[[Callable[[argparse.Namespace], None]], Command]:
    """Make a command of a function; it gets these arguments."""
    return lambda do: Command(do=do, arguments=arguments)


def argument(*names: str, **settings: Any) -> Argument:  # noqa: ANN401  argparse takes anything
    """Declare an argument; the settings are those of argparse's `add_argument`."""
    return Argument(names, settings)


def flag(name: str, **settings: Any) -> Argument:  # noqa: ANN401
    """Declare an argument without a value."""
    return argument(name, action="store_true", **settings)


def pairs(*names: str, help: str, metavar: str = "NAME=VALUE") -> Argument:  # noqa: A002  argparse's word
    """Declare an argument NAME=VALUE that may be repeated."""
    return argument(*names, action="append", default=[], metavar=metavar, help=help)


def customers(text: str) -> int:
    """Return a number of customers to simulate, as argparse's `type`."""
    digits = text.replace(",", "").replace("_", "")
    if not digits.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of customers: write for example 2000")
    if int(digits) < FEWEST:
        raise argparse.ArgumentTypeError(f"{text} is too few: simulate {FEWEST} lost customers or more")
    return int(digits)


def folder_name(text: str) -> str:
    """Return the name of a folder inside another one, as argparse's `type`."""
    if not text.strip() or text.startswith(".") or set(text) & set("/\\"):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a folder: write for example try-1")
    return text


SHEET = argument("sheet", metavar="SHEET", help="an experiment sheet, such as data/telecom/sheet.yml")
REPORTS = argument("--reports", type=Path, default=Path("reports"), metavar="DIR", help="where pages go (reports)")
FRESH = flag("--fresh", help="run it again even if nothing has changed")
PARAMETER = pairs("-p", "--parameter", help="a parameter of the notebook, such as horizon_months=12; may be repeated")
LANG = argument("--lang", choices=LANGUAGES, help="language of the page (the sheet's)")
STAGE = (SHEET, PARAMETER, FRESH, LANG, REPORTS)  # of a command that runs the notebook of a stage


def name_and_value(text: str, *, option: str = "-p") -> tuple[str, str]:
    """Return name and value of `name=value`; the runner gives the value its type."""
    name, equals, value = text.partition("=")
    if not equals:
        raise WinbackError(f"{option} {text!r} has no value. Write {option} {name}=value.")
    return name.strip(), value


def parameters_given(args: argparse.Namespace, *, before: str | None = None) -> dict[str, object]:
    """Return the parameters that -p and --lang set; refuse the one that stands `before` them."""
    given: dict[str, object] = dict(map(name_and_value, args.parameter))
    if before in given:
        raise WinbackError(f"Name the {before} before the parameters: winback {args.command.name} {given[before]}")
    return given | language_given(args)


def language_given(args: argparse.Namespace) -> dict[str, object]:
    """Return the parameter of a notebook that --lang sets."""
    return {"language": args.lang} if args.lang else {}
