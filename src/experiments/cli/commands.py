"""The command `winback`: the list of its commands, and how any of them is started and stopped."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from experiments.cli import campaign, pages, plan, read, runs, workspace
from experiments.common.errors import WinbackError

# Heavy imports stand inside the function that needs them: `winback --help` answers at once.
ABOUT = """Test win-back offers on lost customers: who accepts, how long they stay, what it earns.

  winback demo                             see the whole way on a simulated telecom
  winback check data/telecom/sheet.yml     is my sheet right, and do the tables fit?
  winback lost data/telecom/sheet.yml      whom did we lose, why, and whom to win back first?
  winback design data/telecom/sheet.yml    what can a test tell, and what does it cost?
  winback assign data/telecom/sheet.yml    who gets which offer; one chance a customer, for ever
  winback contacts data/telecom/sheet.yml  who calls whom, when, with which words; and what came of it
  winback readout data/telecom/sheet.yml   read a test; the page lies in reports/
  winback sweep data/telecom/sheet.yml --over horizon_months=6,12,24   does the choice hold?
"""
STOPS = ("SIGTERM", "SIGHUP")
COMMANDS = {
    command.name: command
    for command in (
        workspace.demo, plan.check, plan.lost, plan.design, campaign.assign, campaign.contacts, campaign.ledger,
        campaign.release, campaign.amend, campaign.forget, campaign.expire, read.readout, read.compare, read.sweep,
        pages.page, pages.pdf, runs.run, runs.runs, runs.verify, workspace.init, workspace.lab,
    )
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0 done, 1 bad input, 128 and the signal's number where one stopped it."""
    warnings.formatwarning = lambda message, *_, **__: f"winback: {message}\n"  # people read it, not programmers
    try:
        args = parser().parse_args(argv)
        with _stoppable():
            args.command.do(args)
    except WinbackError as error:
        print(f"winback: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        print("winback: stopped. Finished reports are as they were.", file=sys.stderr)
        return 128 + next(iter(stopped.args), signal.SIGINT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f"'{error.filename}': " if error.filename else ""
        print(f"winback: {where}{error.strerror or error}. Finished reports are as they were.", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    winback = argparse.ArgumentParser(
        prog="winback", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = winback.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        own_help = any("--help" in argument.names for argument in command.arguments)
        sub = commands.add_parser(name, help=command.help, description=command.help, add_help=not own_help)
        sub.set_defaults(command=command)
        for argument in command.arguments:
            sub.add_argument(*argument.names, **argument.settings)
    return winback


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let `kill` and a closed terminal stop a command as Ctrl-C does: nothing half done stays, no kernel goes on."""
    numbers = [number for name in STOPS if (number := getattr(signal, name, None))]  # Windows has one of them
    mine = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]  # under nohup: not SIGHUP

    def stop(number: int, _: object) -> NoReturn:
        for other in mine:
            signal.signal(other, signal.SIG_IGN)  # once is enough: let it clean up
        raise KeyboardInterrupt(number)

    for number in mine:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)
