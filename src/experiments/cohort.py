"""Who is lost: the cohort a test of offers starts with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from experiments.errors import WinbackError
from experiments.estimate import Estimate, proportion
from experiments.plan import Lost, read_sheet
from experiments.tables import connect, read, statements


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """The lost customers on a day, by the silence rule. Money in currency."""

    experiment: str
    currency: str
    as_of: date
    silent_days: int
    customers: int
    lost: int
    lost_share: Estimate
    revenue: float
    revenue_lost: float
    by_month: tuple[tuple[str, int], ...]  # month of the last purchase, lost customers
    accounts: tuple[str, ...]

    def write(self, path: str | Path) -> None:
        """Write the cohort's figures as JSON."""
        import json

        Path(path).write_text(json.dumps(asdict(self), indent=1, default=str) + "\n", encoding="utf-8")


def find_lost(sheet: str | Path, *, as_of: date | str | None = None, silent_days: int | None = None) -> Cohort:
    """Find the customers who have been silent for more than `silent_days` before the day `as_of`.

    Both default to the sheet's `lost:`. A customer without any purchase before the day does not count.
    """
    plan, folder = read_sheet(sheet)
    as_of = date.fromisoformat(as_of) if isinstance(as_of, str) else as_of
    if "purchases" not in plan.tables:
        raise WinbackError("The sheet names no table `purchases`, so nobody knows who fell silent. Add it.")
    if plan.lost is None and as_of is None:
        raise WinbackError("The sheet does not say on which day to look. Add `lost: {as_of: 2026-01-31}`.")
    rule = plan.lost or Lost(as_of=as_of or date.min)
    day, silence = as_of or rule.as_of, silent_days or rule.silent_days
    steps = statements("lost")
    with connect() as con:
        account = read(con, "purchases", plan.tables["purchases"], folder=folder, decimals=plan.decimals)
        for step in ("last_purchase", "lost"):
            con.execute(steps[step].format(as_of=day.isoformat(), silent_days=int(silence)))
        customers, lost, revenue, revenue_lost = con.execute(steps["totals"]).fetchall()[0]
        months = con.execute(steps["by_month"]).fetchall()
    if not customers:
        raise WinbackError(f"Nobody bought anything up to {day}. Choose a later day: `lost: {{as_of: ...}}`.")
    minor = 10**plan.decimals
    return Cohort(
        experiment=plan.experiment,
        currency=plan.currency,
        as_of=day,
        silent_days=silence,
        customers=customers,
        lost=int(lost),
        lost_share=proportion(int(lost), customers, level=plan.level),
        revenue=int(revenue) / minor,
        revenue_lost=int(revenue_lost) / minor,
        by_month=tuple((f"{month // 12}-{month % 12 + 1:02d}", count) for month, count in months),
        accounts=(str(account),),
    )
