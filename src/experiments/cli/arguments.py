"""The words of the command line: what each command takes. A new command is a function of `cli` and an entry here."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.common.errors import WinbackError
from experiments.common.language import LANGUAGES

REPORTS = Path("reports")
FEWEST = 100  # lost customers that a simulation needs


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: its names and what argparse is told of it."""

    names: tuple[str, ...]
    about: dict[str, Any]


def _arg(*names: str, **about: Any) -> Argument:  # noqa: ANN401  argparse takes anything
    return Argument(names, about)


def _flag(name: str, **about: Any) -> Argument:  # noqa: ANN401
    return _arg(name, action="store_true", **about)


def _pairs(*names: str, help: str, metavar: str = "NAME=VALUE") -> Argument:  # noqa: A002  argparse's word
    return _arg(*names, action="append", default=[], metavar=metavar, help=help)


def _count(text: str) -> int:
    digits = text.replace(",", "").replace("_", "")
    if not digits.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of customers: write for example 2000")
    if int(digits) < FEWEST:
        raise argparse.ArgumentTypeError(f"{text} is too few: simulate {FEWEST} lost customers or more")
    return int(digits)


def _folder(text: str) -> str:
    if not text.strip() or text.startswith(".") or set(text) & set("/\\"):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a folder: write for example try-1")
    return text


class _NotebookHelp(argparse.Action):
    """Shows the help of `run`, with the parameters of the notebook that was named before it."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: object) -> None:
        parser.print_help()
        if getattr(namespace, "notebook", None):
            from experiments.runner.notebooks import find_notebook
            from experiments.runner.parameters import help_of

            try:
                print(f"\nparameters of {namespace.notebook}:\n{help_of(find_notebook(namespace.notebook))}")
            except WinbackError as error:
                parser.error(str(error))
        parser.exit()


SHEET = _arg("sheet", metavar="SHEET", help="an experiment sheet, such as data/telecom/sheet.yml")
WHERE = _arg("--reports", type=Path, default=REPORTS, metavar="DIR", help="where pages go (reports)")
FRESH = _flag("--fresh", help="run it again even if nothing has changed")
PARAMETER = _pairs("-p", "--parameter", help="a parameter of the notebook, such as horizon_months=12; may be repeated")
LANG = _arg("--lang", choices=LANGUAGES, help="language of the page (the sheet's)")
STAGE = (SHEET, PARAMETER, FRESH, LANG, WHERE)

ARGUMENTS: dict[str, tuple[Argument, ...]] = {
    "demo": (
        _arg("--customers", type=_count, metavar="N", help="lost customers to simulate (40,000 and 12,000)"),
        LANG, WHERE,
    ),
    "check": (SHEET,),
    "run": (
        _arg("-h", "--help", action=_NotebookHelp, nargs=0,
             help="show this message; after NOTEBOOK, its parameters too"),
        _arg("notebook", metavar="NOTEBOOK", help="1-lost, 2-design, 3-readout, 4-compare, or a file"),
        PARAMETER, FRESH, LANG,
        _flag("--list", help="list the parameters of the notebook and stop"),
        _arg("--name", type=_folder, metavar="NAME",
             help="folder of the result inside the reports (the experiment's name)"),
        WHERE,
    ),
    "sweep": (
        SHEET,
        _pairs("--over", metavar="NAME=VALUES", help="a parameter and its values, such as horizon_months=6,12,24; may "
               "be repeated; without it, what the sheet says under sweep"),
        PARAMETER, FRESH,
        _arg("--notebook", default="3-readout", metavar="NOTEBOOK", help="what to run (3-readout)"),
        _arg("--workers", type=int, default=2, choices=range(1, 17), metavar="N", help="how many run at once (2)"),
        LANG,
        _arg("--name", type=_folder, default="sweep", metavar="NAME",
             help="folder of the sweep inside the experiment's"),
        WHERE,
    ),
    "runs": (
        _arg("runs", nargs="*", metavar="RUN", help="two runs to compare: their folders"),
        _arg("--experiment", metavar="NAME", help="only runs of this experiment, or of this sheet"),
        _arg("--notebook", metavar="NOTEBOOK", help="only runs of this notebook, such as 3-readout"),
        _arg("--status", choices=("done", "failed"), help="only finished runs, or only failed ones"),
        _pairs("-p", "--parameter", help="only runs with this value of a parameter; may be repeated"),
        WHERE,
    ),
    "verify": (_arg("folders", nargs="+", metavar="FOLDER", help="folders of runs, such as reports/telecom"),),
    "lost": STAGE,
    "design": (
        *STAGE,
        _flag("--lock", help="freeze sheet and cohort into plan.yml beside the sheet"),
        _flag("--anyway", help="lock even a test too small to tell anything"),
    ),
    "readout": STAGE,
    "assign": (
        SHEET,
        _flag("--new-ledger", help="begin the company's one ledger, where there is none"),
        WHERE,
    ),
    "contacts": (
        SHEET,
        _arg("--out", type=Path, metavar="FILE", help="CSV or XLSX (reports/<experiment>/calls.xlsx)"),
        _arg("--answers", type=Path, metavar="FILE", help="a filled list: what happened, into table contacts"),
        _flag("--replace", help="write over a list, or correct what was read back before"),
        WHERE,
    ),
    "ledger": (SHEET, _arg("--customer", metavar="ID", help="a customer whose history is told, too")),
    "release": (
        SHEET,
        _arg("--customer", nargs="+", default=[], metavar="ID", help="the customers"),
        _arg("--file", type=Path, metavar="FILE", help="or a CSV or XLSX file with a column customer_id"),
        _arg("--reason", required=True, metavar="TEXT", help="why; it stays in the ledger"),
        _arg("--by", metavar="NAME", help="who decides it (your login)"),
    ),
    "compare": (
        _arg("readouts", nargs="*", metavar="READOUT",
             help="readout.json files or their folders; without any, all in the reports"),
        PARAMETER, FRESH, LANG, WHERE,
    ),
    "pdf": (
        _arg("page", type=Path, metavar="PAGE", help="a page.html, or the folder of a run"),
        _arg("--out", type=Path, metavar="FILE", help="where the PDF goes (beside the page)"),
    ),
    "init": (
        _arg("folder", type=Path, metavar="DIR", help="a new or empty folder"),
        _arg("--customers", type=_count, default=4_000, metavar="N", help="lost customers to simulate (4,000)"),
        _arg("--empty", dest="customers", action="store_const", const=0, help="no sample data"),
    ),
    "lab": (_arg("more", nargs="*", metavar="OPTION", help="options for JupyterLab, after --"),),
}  # fmt: skip


def parser_of(commands: Mapping[str, Callable[[argparse.Namespace], None]], *, about: str) -> argparse.ArgumentParser:
    """Return the parser of `winback`; the first line of a command's docstring is its help."""
    parser = argparse.ArgumentParser(
        prog="winback", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    homes = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, arguments in ARGUMENTS.items():
        told = (commands[name].__doc__ or "").splitlines()[0]
        own_help = any("--help" in argument.names for argument in arguments)
        sub = homes.add_parser(name, help=told, description=told, add_help=not own_help)
        sub.set_defaults(command=commands[name])
        for argument in arguments:
            sub.add_argument(*argument.names, **argument.about)
    return parser
