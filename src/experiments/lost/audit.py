"""Seven signs that a company does not manage its losses: from the data where they can tell, else from the sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.common.formatting import share
from experiments.common.language import later, say
from experiments.lost.results import Sign
from experiments.sheet.sheet import Audit, Sheet

if TYPE_CHECKING:
    import duckdb

ENOUGH = 0.5  # share of the lost whose reason is known, from which on reasons are reported
REFUSALS = 0.5  # share of refusals with a reason
# What no table tells, by the setting of the sheet that does: the sign, and the cure where it is missing.
ASKED = {
    "script": (later("Callers have a script"), later("Write what to say for each reason and offer.")),
    "head_knows": (later("The head of sales knows the reasons"), later("Show this page to the head of sales.")),
    "regular": (later("Lost customers are looked at regularly"), later("Run this report every month.")),
    "technology": (later("There is a way to win customers back"), later("Plan a test: `winback run 2-design`.")),
}


def signs_of(con: duckdb.DuckDBPyConnection, sheet: Sheet, *, lost: int, without_reason: int) -> tuple[Sign, ...]:
    """Return the seven signs; a sign is fine (pass), bad (stop), or nobody said (warn)."""
    audit = sheet.lost.audit if sheet.lost else Audit()
    refused, why = con.execute("SELECT count(refused_at), count(refusal) FROM full_contacts").fetchall()[0]
    known = (lost - without_reason) / lost if lost else 1.0
    recorded = refused and why >= REFUSALS * refused
    return (
        Sign(name=say("Reasons are reported"), state="pass" if known >= ENOUGH else "stop",
             reason=say("A reason is known for {share} of the lost.", share=share(known, digits=0)),
             todo="" if known >= ENOUGH else say("Ask the lost why, and keep the answers in the table `reasons`.")),
        Sign(name=say("Refusals are recorded"), state="pass" if recorded else "stop",
             reason=say("{why} of {refused} refusals say why.", why=why, refused=refused) if refused
             else say("No refusal is recorded."),
             todo="" if recorded else say("Fill the column `refusal` of the table contacts.")),
        _asked("script", audit.script),
        _asked("head_knows", audit.head_knows),
        _asked("regular", audit.regular),
        Sign(name=say("Customers are ranked by importance and regularity"), state="pass",
             reason=say("This page has the ABC x XYZ matrix.")),
        _asked("technology", audit.technology),
    )  # fmt: skip


def _asked(setting: str, answer: bool | None) -> Sign:  # noqa: FBT001
    name, cure = map(say, ASKED[setting])
    if answer is None:
        todo = say("Answer in the sheet: `lost: {{audit: {{{setting}: yes or no}}}}`.", setting=setting)
        return Sign(name=name, state="warn", reason=say("Nobody said."), todo=todo)
    if answer:
        return Sign(name=name, state="pass", reason=say("So the sheet says."))
    return Sign(name=name, state="stop", reason=say("The sheet says no."), todo=cure)
