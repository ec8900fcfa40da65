"""Guards: what must be true before a number may decide. Each passes, warns or stops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np

from experiments.common.formatting import amount, count, date_told, listed, number, share, short
from experiments.common.language import later, plural, say
from experiments.metrics.cube import Cube
from experiments.metrics.estimates import Reading
from experiments.metrics.objectives import OBJECTIVES, scores, terms_of
from experiments.sheet.offers import made_of, own_costs
from experiments.sheet.sheet import Sheet
from experiments.stats.intervals import jackknife_covariance, simultaneous_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

State = Literal["pass", "warn", "stop"]
SRM_ALARM = 0.001  # p below which the split is broken rather than unlucky (Fabijan et al. 2019)
FEW = 100  # returned customers in an arm; with some 44 the interval of its value covers .88 (docs/study.md)
SMALL_ARM = 300  # customers; at this size 95 % intervals of months, net and ROI cover 94.3, 92.3 and 91.5 % (measured)
CONTAMINATED = 0.01  # contacts per holdout customer from which the holdout is no longer one
POWER = 0.8  # the chance to find a difference that is there, as tests are usually planned
SKEWED = 4.0  # skewness of groups of customers from which 95 % intervals of net cover less than 93 % (measured)
QUIET = timedelta(days=62)  # two months in which nobody at all bought: the data end before the sheet says they do
TOP = 0.01  # the share of the groups of customers whose share of the value is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The outcome of a guard: what it found, and what to do."""

    name: str  # the same in every language; said where it is shown
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
    """Compare the sizes of the arms with the planned shares: chi-square, p < .001 stops."""
    counts = [int(count) for count in cube.by_arm("assigned")]
    p = sample_ratio_p(counts, [sheet.arms[arm].share for arm in cube.arms])
    found = ", ".join(f"{arm} {count(size)}" for arm, size in zip(cube.arms, counts, strict=True))
    name = later("Sample ratio")
    if p < SRM_ALARM:
        return Check(
            name=name,
            state="stop",
            reason=say("The arms do not have the planned shares (p = {p}): {arms}.", p=short(p, digits=2), arms=found),
            todo=say("Find who was lost or added after the assignment, or correct the planned shares in the sheet."),
        )
    said = say("The arms have the planned shares (p = {p}): {arms}.", p=number(p), arms=found)
    return Check(name=name, state="pass", reason=said)


def holdout(sheet: Sheet, _cube: Cube) -> Check:
    """Ask for a group without an offer. Warns without one: then every figure is gross."""
    if sheet.holdout is None:
        return Check(
            name=later("Holdout"),
            state="warn",
            reason=say("There is no holdout, so nobody knows who would have come back anyway."),
            todo=say("Read every figure as gross, not incremental. Keep a holdout in the next test."),
        )
    return Check(name="Holdout", state="pass", reason=say("A holdout without an offer shows what happens anyway."))


def contamination(sheet: Sheet, cube: Cube) -> Check:
    """Count the contacts that went to the holdout. Any warns, more than 1 per 100 customers stop.

    Where the contacts are not known, nobody can say, and it warns.
    """
    name, todo = later("Holdout left alone"), say("Every lift is understated. Take holdout customers off the call "
                                                  "lists.")  # fmt: skip
    if sheet.holdout is None:
        return Check(name=name, state="pass", reason=say("There is no holdout that could be contacted."))
    if not cube.contacts_known:
        unknown = say("There is no table of contacts, so nobody knows whether the holdout was left alone.")
        return Check(name=name, state="warn", reason=unknown, todo=say("Add the table `contacts`."))
    place = cube.arms.index(sheet.holdout)
    contacts, customers = int(cube.attempts[place].sum()), int(cube.assigned[place].sum())
    if contacts == 0:
        return Check(name=name, state="pass", reason=say("No contact went to the holdout."))
    part = contacts / customers
    reason = plural("{n} contact went to the {customers} customers of the holdout ({share}).",
                    "{n} contacts went to the {customers} customers of the holdout ({share}).",
                    contacts, customers=customers, share=share(part))  # fmt: skip
    if part > CONTAMINATED:
        more = say("It does not show what happens without an offer.")
        without = say("Read the test without them only if they can be told by something known before the assignment.")
        return Check(name=name, state="stop", reason=f"{reason} {more}", todo=f"{todo} {without}")
    return Check(name=name, state="warn", reason=reason, todo=todo)


def follow_up(sheet: Sheet, cube: Cube) -> Check:
    """Count who was watched to the horizon. Warns when less than a tenth of an arm was, or without dates."""
    name = later("Follow-up")
    if not cube.dated:
        return Check(
            name=name,
            state="warn",
            reason=say("The results have no dates: there is a response and a value, but no retained lifetime."),
            todo=say("Give purchases with dates to see how long they stay."),
        )
    month = min(sheet.horizon_months, cube.months) - 1
    watched, total = cube.by_arm("followed")[:, month], cube.by_arm("assigned")
    least = float((watched / total).min())
    reason = plural("In every arm at least {share} of the customers were watched for the whole month.",
                    "In every arm at least {share} of the customers were watched for all {n} months.",
                    month + 1, share=share(least, digits=0))  # fmt: skip
    if least < 0.1:  # noqa: PLR2004  a tenth of an arm carries the last months alone
        return Check(name=name, state="warn", reason=reason, todo=say("Choose a shorter horizon, or wait."))
    unseen = say("Unseen months do not count as lost ones.")
    return Check(name=name, state="pass", reason=f"{reason} {unseen}")


def read_date(sheet: Sheet, cube: Cube) -> Check:
    """Compare the end of the data with the registered day of the readout: earlier stops, an unknown day warns.

    So does a last purchase, of anybody, long before that day: then `followed_until` promises more than the data hold.
    """
    name = later("Read date")
    if sheet.read_date is None:
        if not cube.dated:
            return Check(name=name, state="pass", reason=say("Results without dates are read once."))
        return Check(
            name=name,
            state="warn",
            reason=say("The sheet registers no read date, so nothing keeps a test from being read when it looks good."),
            todo=say("Write `read_date:` before the next test starts."),
        )
    registered = date_told(sheet.read_date)
    early = later("Interim: the data reach to {until}, the registered read date is {day}.")
    if sheet.followed_until is None:
        unsaid = later("The registered read date is {day}; how far the results reach is not said.")
        return Check(
            name=name,
            state="warn",
            reason=say(unsaid, day=registered),
            todo=say("Write `followed_until:` with the first day the results know nothing about."),
        )
    if sheet.followed_until < sheet.read_date:
        return Check(
            name=name,
            state="stop",
            reason=say(early, until=date_told(sheet.followed_until), day=registered),
            todo=say("Do not decide yet. Looking 20 times turns 5 % false alarms into 25 %."),
        )
    if cube.last_purchase is not None and cube.last_purchase + QUIET < sheet.read_date:
        quiet = later("The sheet says that the data reach to {until}, but nobody bought after {last}.")
        return Check(
            name=name,
            state="warn",
            reason=say(quiet, until=date_told(sheet.followed_until), last=date_told(cube.last_purchase)),
            todo=say("Correct `followed_until:`, or bring the later purchases."),
        )
    reason = say("Read on or after the registered day, {day}.", day=registered)
    return Check(name=name, state="pass", reason=reason)


def enough_returned(sheet: Sheet, cube: Cube) -> Check:
    """Count the returned customers that an arm's intervals of money rest on. Fewer than 100 warn."""
    month = min(sheet.window_months, cube.months) - 1
    returned = {arm: int(cube.by_arm("returned")[a, month]) for a, arm in enumerate(cube.arms)}
    few, name = [f"{arm} ({number})" for arm, number in returned.items() if number < FEW], later("Enough customers")
    if few:
        return Check(
            name=name,
            state="warn",
            reason=say("Fewer than {few} customers returned in {arms}.", few=FEW, arms=", ".join(few)),
            todo=say("Intervals of money and ROI are too narrow here: read them as a direction, not as a result."),
        )
    return Check(name=name, state="pass", reason=say("At least {n} customers returned in every arm.",
                                                     n=min(returned.values())))  # fmt: skip


def acceptances(sheet: Sheet, cube: Cube) -> Check:
    """Ask whether it is known who said yes; it warns where costs of acceptors rest on a guess."""
    name = later("Acceptances")
    if cube.contacts_known:
        return Check(name=name, state="pass", reason=say("The contacts tell who said yes."))
    known = sheet.every_offer
    parts = {part for arm in sheet.arms for part in made_of(arm, known)}
    by_acceptors = any(own_costs(known[part], decimals=sheet.decimals).by_acceptors for part in parts)
    todo = say("Give the contacts, so that those who would have returned anyway do not count as acceptors.")
    return Check(
        name=name,
        state="warn" if by_acceptors else "pass",
        reason=say("There is no table of contacts: everybody who returned in an offer's arm counts as having accepted "
                   "it."),
        todo=todo if by_acceptors else "",
    )  # fmt: skip


def even_follow_up(sheet: Sheet, cube: Cube) -> Check:
    """Compare the share of customers watched to the horizon between arms: chi-square, p < .001 stops, < .01 warns.

    It differs when arms were started at different times or when drop-out depends on the arm: then months,
    value and net compare different customers.
    """
    name, month = later("Even follow-up"), min(sheet.horizon_months, cube.months) - 1
    watched, total = cube.by_arm("followed")[:, month], cube.by_arm("assigned")
    p = independence_p(np.stack((watched, total - watched)))
    found = ", ".join(f"{arm} {share(part)}" for arm, part in zip(cube.arms, watched / total, strict=True))
    if p >= SUSPECT:
        alike = plural(
            "The arms do not differ in who was watched for the whole month: {arms} (p = {p}).",
            "The arms do not differ in who was watched for all {n} months: {arms} (p = {p}).",
            month + 1, arms=found, p=short(p, digits=2),
        )  # fmt: skip
        return Check(name=name, state="pass", reason=alike)
    return Check(
        name=name,
        state="stop" if p < SRM_ALARM else "warn",
        reason=plural("Follow-up differs between arms: watched for the whole month: {arms} (p = {p}).",
                      "Follow-up differs between arms: watched for all {n} months: {arms} (p = {p}).",
                      month + 1, arms=found, p=short(p, digits=2)),
        todo=say("Find out who drops out of the data, and start all arms at the same time. A horizon everybody was "
                 "watched to is safe."),
    )  # fmt: skip


SUSPECT = 0.01  # p from which luck is hard to believe, though not yet ruled out


def independence_p(counts: NDArray[np.int64]) -> float:
    """Return the p value of the chi-square test of independence of a table; empty rows and columns do not count.

    >>> round(independence_p(np.array([[10, 20, 30], [20, 20, 20]])), 6)
    0.069483
    """
    from scipy.special import chdtrc

    table = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    degrees = (table.shape[0] - 1) * (table.shape[1] - 1)
    if degrees <= 0:
        return 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(chdtrc(degrees, ((table - expected) ** 2 / expected).sum()))


def balance(_sheet: Sheet, cube: Cube) -> Check:
    """Compare the mix of strata between arms: chi-square, p < .001 warns.

    Stratified randomisation makes the arms more alike than chance would. Arms of the planned size with another mix
    are not random: adjusted figures are safer than raw ones.
    """
    counts = cube.by_stratum("assigned")
    p = independence_p(counts)
    name = later("Balance")
    if p >= SRM_ALARM:
        return Check(name=name, state="pass", reason=say("The arms have the same mix of strata (p = {p}).",
                                                         p=number(p)))  # fmt: skip
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    apart = (counts - expected) ** 2 / np.maximum(expected, 1e-300)
    arm, stratum = np.unravel_index(apart.argmax(), apart.shape)
    return Check(
        name=name,
        state="warn",
        reason=say(
            "The arms differ in their mix of strata (p = {p}): {arm} has {n} of {stratum} where {expected} are "
            "expected.",
            p=short(p, digits=2), arm=cube.arms[arm], n=int(counts[arm, stratum]), stratum=cube.strata[stratum],
            expected=count(expected[arm, stratum]),
        ),
        todo=say("Find out how the customers were assigned. Read the adjusted figures."),
    )  # fmt: skip


def small_arm(_sheet: Sheet, cube: Cube) -> Check:
    """Look for arms of 300 customers or fewer: it warns, because intervals of money cover less than they say.

    Measured on the simulated telecom at 300 an arm: 95 % intervals cover months in 94.3, net in 92.3 and ROI in
    91.5 % of tests; at 1,000 in 96.5, 94.8 and 94.3 %.
    """
    counts = cube.by_arm("assigned")
    small = [f"{arm} ({count(size)})" for arm, size in zip(cube.arms, counts, strict=True) if size <= SMALL_ARM]
    name = later("Size of the arms")
    if small:
        few = later("{few} customers or fewer in {arms}: 95 % intervals of money cover about 92 %.")
        return Check(
            name=name,
            state="warn",
            reason=say(few, few=SMALL_ARM, arms=listed(small)),
            todo=say("Take money and ROI for a direction. Shares are safe at any size."),
        )
    reason = say("Every arm has at least {n} customers.", n=int(counts.min()))
    return Check(name=name, state="pass", reason=reason)


def zero_events(sheet: Sheet, cube: Cube) -> Check:
    """Look for offers that nobody accepted, or, where contacts are not known, that brought nobody back: it warns.

    No second lifetime can be estimated there; cost and net are those of the contacts alone.
    """
    month = min(sheet.window_months, cube.months) - 1
    events = cube.by_arm("accepted") if cube.contacts_known else cube.by_arm("returned")[:, month]
    none = [arm for arm, number in zip(cube.arms, events, strict=True) if number == 0 and arm != sheet.holdout]
    name = later("Accepted at all")
    if none:
        nobody = later("Nobody accepted {offers}.") if cube.contacts_known else later("Nobody returned after {offers}.")
        return Check(
            name=name,
            state="warn",
            reason=say(nobody, offers=listed(none, last="or")),
            todo=say("Check how acceptances are written in the data. If nobody did, drop the offer."),
        )
    somebody = say("Somebody accepted every offer.")
    somebody = somebody if cube.contacts_known else say("Somebody returned after every offer.")
    return Check(name=name, state="pass", reason=somebody)


def power(sheet: Sheet, cube: Cube) -> Check:
    """Compare the leading difference on the objective with what the test can tell at 80 % power.

    The detectable difference of the two best offers is (q + z of 80 %) standard errors, q the critical value for all
    pairs of offers; of a single offer it is that against doing nothing. Warns when the test was too small for the
    difference it found. Shares are often separable in a test that is many times too small for money.
    """
    reading = Reading(cube=cube, sheet=sheet)
    numbers = {name: values[:, reading.offers] for name, values in reading.numbers.items()}
    offers = [cube.arms[a] for a in reading.offers]
    known = None
    if reading.holdout is not None:
        known = scores(sheet.objective, numbers, offers=offers, terms=terms_of(sheet))
    name = later("Power")
    if known is None:
        nothing = say("Nothing is decided on the objective, so there is no power to lack.")
        return Check(name=name, state="pass", reason=nothing)
    replicates, names, _ = known
    first, second, difference, detectable = leading(replicates, df=reading.df, level=sheet.level, seed=sheet.seed)
    labels = [sheet.arms[name].label or name for name in names]
    objective = OBJECTIVES[sheet.objective]
    least, found = (amount(gap, objective.unit, currency=sheet.currency) for gap in (detectable, difference))
    other = say("doing nothing") if second is None else labels[second]
    reason = say(
        "With {power} power this test can tell a difference of {least} in {goal}; {first} leads {other} by {found}.",
        power=share(POWER, digits=0), least=least, goal=say(objective.goal), first=labels[first], other=other,
        found=found,
    )  # fmt: skip
    if difference >= detectable:
        return Check(name=name, state="pass", reason=reason)
    todo = say("Plan the next test on this objective, for the difference that would matter.")
    return Check(name=name, state="warn", reason=reason, todo=todo)


def leading(
    replicates: NDArray[np.float64], *, df: float, level: float, seed: int = 0
) -> tuple[int, int | None, float, float]:
    """Return (best, second, difference, difference detectable at 80 % power) of replicates (1 + buckets, offers).

    `second` is None for a single offer: then the difference is that to 0.
    """
    from scipy.special import ndtri

    count = replicates.shape[1]
    order = np.argsort(-replicates[0], kind="stable")
    best, second = int(order[0]), int(order[1]) if count > 1 else None
    pairs = np.triu_indices(count, 1)
    gaps = replicates if second is None else replicates[:, pairs[0]] - replicates[:, pairs[1]]
    q = simultaneous_quantile(jackknife_covariance(gaps[1:]), df=df, level=level, seed=seed)
    gap = replicates[:, best] - (0 if second is None else replicates[:, second])
    error = math.sqrt(jackknife_covariance(gap[1:, None])[0, 0])
    return best, second, float(gap[0]), (q + float(ndtri(POWER))) * error


def tail(sheet: Sheet, cube: Cube) -> Check:
    """Look for few customers who bring most of the value: it warns where intervals of money are too narrow.

    A customer worth many times the others lifts a group of customers (a bucket) far above its share. The jackknife
    rests on these groups, so what counts is the skewness of their value, pooled over the offers. Measured, customers
    an arm, share of customers worth 8 or 50 times the others 1 %: skewness 1.8 (10,000; 8 times), 2.6 (3,000), 3.2
    (1,000) with coverage .949, .950, .943; 4.2 (300), 5.0 (10,000; 50 times), 7.2 (3,000), 8.3 (1,000) with .925,
    .926, .881, .789. A whale nobody has seen yet cannot be told.
    """
    month = min(sheet.horizon_months, cube.months)
    offers = [a for a, arm in enumerate(cube.arms) if arm != sheet.holdout]
    value, customers = cube.by_bucket("value")[offers, :, :month].sum(axis=2), cube.by_bucket("assigned")[offers]
    found = skewness(value - customers * (value.sum(axis=1) / customers.sum(axis=1))[:, None])
    top = math.ceil(TOP * value.size)
    part = float(np.sort(value, axis=None)[-top:].sum()) / max(1.0, float(value.sum()))
    reason = say(
        "The top {top} of the groups of customers bring {share} of the value (skewness {skewness}; up to {safe} is "
        "safe).",
        top=share(TOP, digits=0), share=share(part), skewness=number(found, digits=1), safe=count(SKEWED),
    )  # fmt: skip
    if abs(found) <= SKEWED:
        even = say("No few customers carry the value.")
        return Check(name=later("Tail"), state="pass", reason=f"{even} {reason}")
    few = say("A few customers carry the value.")
    return Check(name="Tail", state="warn", reason=f"{few} {reason}",
                 todo=say("Intervals of money are too narrow here: read the winsorised row beside them."))  # fmt: skip


def skewness(rows: NDArray[np.float64]) -> float:
    """Return the skewness of the values of all rows, each row centred and scaled on its own; 0 if none varies.

    >>> round(skewness(np.array([[1.0, 1, 4], [5, 5, 5]])), 4)
    0.7071
    """
    centred = rows - rows.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=1, keepdims=True))
    varies = spread[:, 0] > 0
    return float(((centred[varies] / spread[varies]) ** 3).mean()) if varies.any() else 0.0


CHECKS: dict[str, Callable[[Sheet, Cube], Check]] = {
    "sample_ratio": sample_ratio,
    "read_date": read_date,
    "holdout": holdout,
    "contamination": contamination,
    "follow_up": follow_up,
    "even_follow_up": even_follow_up,
    "balance": balance,
    "small_arm": small_arm,
    "acceptances": acceptances,
    "zero_events": zero_events,
    "enough_returned": enough_returned,
    "power": power,
    "tail": tail,
}
