"""What the pages of several notebooks show alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from experiments.common.estimate import Estimate
from experiments.common.formatting import NO_NUMBER, interval, told
from experiments.common.language import say
from experiments.data.tables import Account
from experiments.readout.readout import Arm
from experiments.report import html
from experiments.report.html import Html
from experiments.report.plots import Picture
from experiments.report.wording import accounts as wording
from experiments.sheet.sheet import QUESTION


def asked(question: str) -> str:
    """Return the question of a sheet; where it asks nothing of its own, ours in the language spoken."""
    return say(question) if question == QUESTION else question


def picture(drawn: Picture) -> Html:
    """Return a picture for every width."""
    return html.picture(drawn.figure, narrow=drawn.narrow, alt=drawn.alt, caption=drawn.caption)


def value(estimate: Estimate | None, currency: str) -> str:
    """Return a value and, small below it, its interval."""
    if estimate is None or estimate.value is None:
        return NO_NUMBER
    return f"{told(estimate, currency=currency)}\n{interval(estimate, currency=currency)}"


def metric(arm: Arm, name: str, currency: str) -> str:
    """Return what a table says of an arm's metric: value and, small below it, its interval."""
    return value(arm.estimates.get(name), currency)


def inline(estimate: Estimate, currency: str) -> str:
    """Return a value and, in brackets behind it, its interval."""
    return f"{told(estimate, currency=currency)} ({interval(estimate, currency=currency)})"


def table(
    rows: Iterable[tuple[str, Sequence[str]]], head: Sequence[str], *, caption: str, notes: Sequence[str] = ()
) -> Html:
    """Return a table of texts: of each row its label and its cells. `head`: what the labels are, then the columns."""
    import pandas as pd

    names, cells = zip(*rows, strict=True)
    frame = pd.DataFrame(list(cells), columns=list(head[1:]), index=pd.Index(names, name=head[0]))
    return html.table(frame, caption=caption, notes=notes)


def provenance(accounts: Iterable[Account], sheet: str | Path) -> Html:
    """Return where the numbers come from, and where each row went."""
    rows = {
        say("Rows"): "; ".join(map(wording.account, accounts)),
        say("Sheet"): Path(sheet).as_posix(),
        say("Version"): f"winback-experiments {version('winback-experiments')}",
        say("Inputs and parameters"): say(
            "run.json beside this page has the sha256 of every input file and all parameters."
        ),
    }
    return html.section(say("Provenance"), html.definitions(rows), open=False)
