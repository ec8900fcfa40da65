"""Seven signs that a company does not manage its losses: from the data where they can tell, else from the sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.losses import Sign
from experiments.plan import Audit, Sheet
from experiments.words import share

if TYPE_CHECKING:
    import duckdb

ENOUGH = 0.5  # share of the lost whose reason is known, from which on reasons are reported
REFUSALS = 0.5  # share of refusals with a reason


def signs_of(con: duckdb.DuckDBPyConnection, sheet: Sheet, *, lost: int, without_reason: int) -> tuple[Sign, ...]:
    """Return the seven signs; a sign is fine (pass), bad (stop), or nobody said (warn)."""
    audit = sheet.lost.audit if sheet.lost else Audit()
    refused, why = con.execute("SELECT count(refused_at), count(refusal) FROM full_contacts").fetchall()[0]
    known = (lost - without_reason) / lost if lost else 1.0
    return (
        Sign(name="Reasons are reported", state="pass" if known >= ENOUGH else "stop",
             reason=f"A reason is known for {share(known, digits=0)} of the lost.",
             todo="" if known >= ENOUGH else "Ask the lost why, and keep the answers in the table `reasons`."),
        Sign(name="Refusals are recorded", state="pass" if refused and why >= REFUSALS * refused else "stop",
             reason=f"{why:,} of {refused:,} refusals say why." if refused else "No refusal is recorded.",
             todo="" if refused and why >= REFUSALS * refused else "Fill the column `refusal` of the table contacts."),
        _asked("Callers have a script", audit.script, "Write what to say for each reason and offer."),
        _asked("The head of sales knows the reasons", audit.head_knows, "Show this page to the head of sales."),
        _asked("Lost customers are looked at regularly", audit.regular, "Run this report every month."),
        Sign(name="Customers are ranked by importance and regularity", state="pass",
             reason="This page has the ABC x XYZ matrix."),
        _asked("There is a way to win customers back", audit.technology, "Plan a test: `winback run 2-design`."),
    )  # fmt: skip


def _asked(name: str, answer: bool | None, cure: str) -> Sign:  # noqa: FBT001
    if answer is None:
        setting = {"Callers have a script": "script", "The head of sales knows the reasons": "head_knows",
                   "Lost customers are looked at regularly": "regular"}.get(name, "technology")  # fmt: skip
        return Sign(name=name, state="warn", reason="Nobody said.", todo=f"Answer in the sheet: `lost: {{audit: "
                    f"{{{setting}: yes or no}}}}`.")  # fmt: skip
    return Sign(name=name, state="pass" if answer else "stop", reason="So the sheet says." if answer else "The sheet "
                "says no.", todo="" if answer else cure)  # fmt: skip
