"""Guards: what must be true before a number may decide. Each passes, warns or stops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from experiments.cube import Cube
from experiments.plan import Sheet
from experiments.words import share

if TYPE_CHECKING:
    from collections.abc import Sequence

State = Literal["pass", "warn", "stop"]
SRM_ALARM = 0.001  # p below which the split is broken rather than unlucky (Fabijan et al. 2019)
FEW = 10  # returned customers in an arm; fewer make every interval of money unreliable


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The outcome of a guard: what it found, and what to do."""

    name: str
    state: State
    reason: str
    todo: str = ""


def sample_ratio_p(observed: Sequence[int], planned: Sequence[float]) -> float:
    """Return the p value of the chi-square test of counts against planned shares (any unit).

    No customers at all fit every plan: p = 1.

    >>> round(sample_ratio_p([500, 600], [1, 1]), 6)
    0.002569
    """
    from scipy.special import chdtrc

    total, parts = sum(observed), sum(planned)
    if total == 0:
        return 1.0
    expected = [total * part / parts for part in planned]
    statistic = sum((seen - hoped) ** 2 / hoped for seen, hoped in zip(observed, expected, strict=True))
    return float(chdtrc(len(observed) - 1, statistic))


def sample_ratio(sheet: Sheet, cube: Cube) -> Check:
    """Compare the sizes of the arms with the planned shares."""
    counts = [int(count) for count in cube.assigned.sum(axis=(1, 2))]
    p = sample_ratio_p(counts, [sheet.arms[arm].share for arm in cube.arms])
    found = ", ".join(f"{arm} {count:,}" for arm, count in zip(cube.arms, counts, strict=True))
    if p < SRM_ALARM:
        return Check(
            name="Sample ratio",
            state="stop",
            reason=f"The arms do not have the planned shares (p = {p:.2g}): {found}.",
            todo="Find who was lost or added after the assignment, or correct the planned shares in the sheet.",
        )
    return Check(name="Sample ratio", state="pass", reason=f"The arms have the planned shares (p = {p:.2f}): {found}.")


def holdout(sheet: Sheet, cube: Cube) -> Check:
    """Ask for a group without an offer that was left alone."""
    if sheet.holdout is None:
        return Check(
            name="Holdout",
            state="warn",
            reason="There is no holdout, so nobody knows who would have come back anyway.",
            todo="Read every figure as gross, not incremental. Keep a holdout in the next test.",
        )
    contacted = int(cube.attempts[cube.arms.index(sheet.holdout)].sum())
    if contacted:
        return Check(
            name="Holdout",
            state="warn",
            reason=f"{contacted:,} contacts went to the holdout.",
            todo="Every lift is understated. Take holdout customers off the call lists.",
        )
    return Check(name="Holdout", state="pass", reason="A holdout without an offer shows what happens anyway.")


def follow_up(sheet: Sheet, cube: Cube) -> Check:
    """Count who was watched to the horizon."""
    if not cube.dated:
        return Check(
            name="Follow-up",
            state="warn",
            reason="The results have no dates: there is a response and a value, but no retained lifetime.",
            todo="Give purchases with dates to see how long they stay.",
        )
    month = min(sheet.horizon_months, cube.months) - 1
    watched, total = cube.followed[..., month].sum(axis=(1, 2)), cube.assigned.sum(axis=(1, 2))
    least = float((watched / total).min())
    reason = f"In every arm at least {share(least, digits=0)} of the customers were watched for all {month + 1} months."
    if least < 0.1:  # noqa: PLR2004  a tenth of an arm carries the last months alone
        return Check(name="Follow-up", state="warn", reason=reason, todo="Choose a shorter horizon, or wait.")
    return Check(name="Follow-up", state="pass", reason=f"{reason} Unseen months do not count as lost ones.")


def read_date(sheet: Sheet, cube: Cube) -> Check:
    """Compare the end of the data with the registered day of the readout."""
    if sheet.read_date is None:
        return Check(
            name="Read date",
            state="warn" if cube.dated else "pass",
            reason="The sheet registers no read date, so nothing keeps a test from being read when it looks good."
            if cube.dated
            else "Results without dates are read once.",
            todo="Write `read_date:` before the next test starts." if cube.dated else "",
        )
    if sheet.followed_until is None:
        return Check(
            name="Read date",
            state="warn",
            reason=f"The registered read date is {sheet.read_date}; how far the results reach is not said.",
            todo="Write `followed_until:` with the first day the results know nothing about.",
        )
    if sheet.followed_until < sheet.read_date:
        return Check(
            name="Read date",
            state="stop",
            reason=f"Interim: the data reach to {sheet.followed_until}, the registered read date is {sheet.read_date}.",
            todo="Do not decide yet. Looking 20 times turns 5 % false alarms into 25 %.",
        )
    return Check(name="Read date", state="pass", reason=f"Read on or after the registered day, {sheet.read_date}.")


def enough_returned(sheet: Sheet, cube: Cube) -> Check:
    """Count the returned customers that an arm's intervals of money rest on."""
    month = min(sheet.window_months, cube.months) - 1
    returned = {arm: int(cube.returned[a, ..., month].sum()) for a, arm in enumerate(cube.arms)}
    few = [f"{arm} ({count})" for arm, count in returned.items() if count < FEW]
    if few:
        return Check(
            name="Enough customers",
            state="warn",
            reason=f"Fewer than {FEW} customers returned in {', '.join(few)}.",
            todo="Intervals of money and ROI are too narrow here: read them as a direction, not as a result.",
        )
    return Check(name="Enough customers", state="pass", reason=f"At least {min(returned.values()):,} customers "
                 "returned in every arm.")  # fmt: skip


def acceptances(sheet: Sheet, cube: Cube) -> Check:
    """Is it known who said yes? Costs of acceptors and the gross ROI rest on it."""
    if cube.contacts_known:
        return Check(name="Acceptances", state="pass", reason="The contacts tell who said yes.")
    by_acceptors = any(offer.monthly or offer.gift or offer.value_share for offer in sheet.arms.values())
    return Check(
        name="Acceptances",
        state="warn" if by_acceptors else "pass",
        reason="There is no table of contacts: everybody who returned in an offer's arm counts as having accepted it.",
        todo="Give the contacts, so that those who would have returned anyway do not count as acceptors."
        if by_acceptors
        else "",
    )


CHECKS: dict[str, Callable[[Sheet, Cube], Check]] = {
    "sample_ratio": sample_ratio,
    "holdout": holdout,
    "acceptances": acceptances,
    "follow_up": follow_up,
    "read_date": read_date,
    "enough_returned": enough_returned,
}
