"""Guards: what must be true before a number may decide. Each passes, warns or stops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.finding import Fact, Finding, State
from experiments.common.today import today
from experiments.metrics.cube import Cube
from experiments.metrics.estimates import Reading
from experiments.metrics.objectives import scores, terms_of
from experiments.sheet.offers import made_of, own_costs
from experiments.sheet.sheet import Sheet
from experiments.stats.intervals import jackknife_covariance, simultaneous_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SRM_ALARM = 0.001  # p below which the split is broken rather than unlucky (Fabijan et al. 2019)
SUSPECT = 0.01  # p from which luck is hard to believe, though not yet ruled out
FEW = 100  # returned customers in an arm; with some 44 the interval of its value covers .88 (docs/study.md)
SMALL_ARM = 300  # customers; at this size 95 % intervals of months, net and ROI cover 94.3, 92.3 and 91.5 % (measured)
CONTAMINATED = 0.01  # contacts per holdout customer from which the holdout is no longer one
THIN = 0.1  # share of an arm watched to the horizon below which few carry the last months
POWER = 0.8  # the chance to find a difference that is there, as tests are usually planned
SKEWED = 4.0  # skewness of groups of customers from which 95 % intervals of net cover less than 93 % (measured)
QUIET = timedelta(days=62)  # two months in which nobody at all bought: the data end before the sheet says they do
STATES: tuple[State, ...] = ("pass", "warn", "stop")  # from good to bad
TOP = 0.01  # the share of the groups of customers whose share of the value is told


def _found(key: str, state: State, case: str = "", /, **facts: Fact) -> Finding:
    return Finding(key=key, state=state, case=case, facts=facts)


def sample_ratio_p(observed: Sequence[int], planned: Sequence[float]) -> float:
    """Return the p value of the chi-square test of counts against planned shares (any unit).

    No customers at all fit every plan, and so does a single arm: p = 1.

    >>> round(sample_ratio_p([500, 600], [1, 1]), 6)
    0.002569
    """
    from scipy.special import chdtrc

    total, parts = sum(observed), sum(planned)
    if total == 0 or len(observed) == 1:
        return 1.0
    expected = [total * part / parts for part in planned]
    statistic = sum((seen - hoped) ** 2 / hoped for seen, hoped in zip(observed, expected, strict=True))
    return float(chdtrc(len(observed) - 1, statistic))


def sample_ratio(sheet: Sheet, cube: Cube) -> Finding:
    """Compare the sizes of the arms with the planned shares: chi-square, p < .001 stops."""
    sizes = tuple(map(int, cube.by_arm("assigned")))
    p = sample_ratio_p(sizes, [sheet.arms[arm].share for arm in cube.arms])
    return _found("sample_ratio", "stop" if p < SRM_ALARM else "pass", p=p, arms=cube.arms, sizes=sizes)


def match(_sheet: Sheet, cube: Cube) -> Finding:
    """Tell whether the tables speak of the customers of the test: the worst of them, as `metrics.premises.match` found.

    It stops where no row of a table matches, or a tenth only by a doubtful spelling, and warns from 1 % of them: ids
    spelt differently in two exports would give an offer that brings nobody back.
    """
    found = [premise for premise in cube.premises if premise.key == "match"]
    worst = max(found, key=lambda premise: STATES.index(premise.state), default=None)
    return _found("match", "pass", "unknown") if worst is None else worst


def repeats(_sheet: Sheet, cube: Cube) -> Finding:
    """Tell whether purchases are there twice, as `metrics.premises.repeats` found: it warns until that is settled."""
    found = [premise for premise in cube.premises if premise.key == "repeats"]
    return found[0] if found else _found("repeats", "pass", "unknown")


def holdout(sheet: Sheet, _cube: Cube) -> Finding:
    """Ask for a group without an offer. Warns without one: then every figure is gross."""
    return _found("holdout", "warn" if sheet.holdout is None else "pass")


def contamination(sheet: Sheet, cube: Cube) -> Finding:
    """Count the contacts that went to the holdout. Any warns, more than 1 per 100 customers stop.

    Where the contacts are not known, nobody can say, and it warns.
    """
    if sheet.holdout is None:
        return _found("contamination", "pass", "no_holdout")
    if not cube.contacts_known:
        return _found("contamination", "warn", "unknown")
    place = cube.arms.index(sheet.holdout)
    contacts, customers = int(cube.by_arm("attempts")[place]), int(cube.by_arm("assigned")[place])
    state: State = "pass" if contacts == 0 else "stop" if contacts / customers > CONTAMINATED else "warn"
    return _found("contamination", state, contacts=contacts, customers=customers)


def follow_up(sheet: Sheet, cube: Cube) -> Finding:
    """Count who was watched to the horizon. Warns when less than a tenth of an arm was, or without dates."""
    if not cube.dated:
        return _found("follow_up", "warn", "undated")
    months, shares = _watched_to_horizon(sheet, cube)
    least = float(shares.min())
    return _found("follow_up", "warn" if least < THIN else "pass", months=months, least=least)


def _watched_to_horizon(sheet: Sheet, cube: Cube) -> tuple[int, NDArray[np.float64]]:
    """Return the months that count and the share of each arm watched for all of them."""
    months = min(sheet.horizon_months, cube.months)
    return months, cube.by_arm("followed")[:, months - 1] / cube.by_arm("assigned")


def read_date(sheet: Sheet, cube: Cube) -> Finding:
    """Compare the end of the data with the registered day of the readout: earlier stops, an unknown day warns.

    So does a last purchase, of anybody, long before that day: then `followed_until` promises more than the data hold.
    """
    day, until, last = sheet.read_date, sheet.followed_until, cube.last_purchase
    if day is None:
        return _found("read_date", "warn", "unregistered") if cube.dated else _found("read_date", "pass", "undated")
    if until is None:
        return _found("read_date", "warn", "end_unknown", day=day.isoformat())
    if until > today() + timedelta(days=1):  # a day later may be today, in another zone
        return _found("read_date", "stop", "future", until=until.isoformat(), today=today().isoformat())
    if until < day:
        return _found("read_date", "stop", day=day.isoformat(), until=until.isoformat())
    if last is not None and last + QUIET < day:
        return _found("read_date", "warn", "quiet", until=until.isoformat(), last=last.isoformat())
    return _found("read_date", "pass", day=day.isoformat())


def enough_returned(sheet: Sheet, cube: Cube) -> Finding:
    """Count the returned customers that an arm's intervals of money rest on. Fewer than 100 warn."""
    month = min(sheet.window_months, cube.months) - 1
    returned = dict(zip(cube.arms, map(int, cube.by_arm("returned")[:, month]), strict=True))
    few = {arm: n for arm, n in returned.items() if n < FEW}
    if few:
        return _found("enough_returned", "warn", few=FEW, arms=tuple(few), returned=tuple(few.values()))
    return _found("enough_returned", "pass", least=min(returned.values()))


def acceptances(sheet: Sheet, cube: Cube) -> Finding:
    """Ask whether it is known who said yes; it warns where costs of acceptors rest on a guess."""
    if cube.contacts_known:
        return _found("acceptances", "pass")
    known = sheet.every_offer
    parts = {part for arm in sheet.arms for part in made_of(arm, known)}
    by_acceptors = any(own_costs(known[part], decimals=sheet.decimals).by_acceptors for part in parts)
    return _found("acceptances", "warn" if by_acceptors else "pass", "unknown")


def even_follow_up(sheet: Sheet, cube: Cube) -> Finding:
    """Compare the share of customers watched to the horizon between arms: chi-square, p < .001 stops, < .01 warns.

    It differs when arms were started at different times or when drop-out depends on the arm: then months,
    value and net compare different customers.
    """
    months, shares = _watched_to_horizon(sheet, cube)
    watched, total = cube.by_arm("followed")[:, months - 1], cube.by_arm("assigned")
    p = independence_p(np.stack((watched, total - watched)))
    state: State = "stop" if p < SRM_ALARM else "warn" if p < SUSPECT else "pass"
    return _found("even_follow_up", state, p=p, months=months, arms=cube.arms, shares=tuple(map(float, shares)))


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
    expected = _expected(table)
    return float(chdtrc(degrees, ((table - expected) ** 2 / expected).sum()))


def _expected(table: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the counts of a table whose rows and columns are independent."""
    return np.asarray(np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum())


def balance(_sheet: Sheet, cube: Cube) -> Finding:
    """Compare the mix of strata between arms: chi-square, p < .001 warns.

    Stratified randomisation makes the arms more alike than chance would. Arms of the planned size with another mix
    are not random: adjusted figures are safer than raw ones.
    """
    counts = cube.by_stratum("assigned")
    p = independence_p(counts)
    if p >= SRM_ALARM:
        return _found("balance", "pass", p=p)
    expected = _expected(counts)
    apart = (counts - expected) ** 2 / np.maximum(expected, 1e-300)
    arm, stratum = np.unravel_index(apart.argmax(), apart.shape)
    return _found("balance", "warn", p=p, arm=cube.arms[arm], stratum=cube.strata[stratum],
                  n=int(counts[arm, stratum]), expected=float(expected[arm, stratum]))  # fmt: skip


def small_arm(_sheet: Sheet, cube: Cube) -> Finding:
    """Look for arms of 300 customers or fewer: it warns, because intervals of money cover less than they say.

    Measured on the simulated telecom at 300 an arm: 95 % intervals cover months in 94.3, net in 92.3 and ROI in
    91.5 % of tests; at 1,000 in 96.5, 94.8 and 94.3 %.
    """
    sizes = dict(zip(cube.arms, map(int, cube.by_arm("assigned")), strict=True))
    small = {arm: size for arm, size in sizes.items() if size <= SMALL_ARM}
    if small:
        return _found("small_arm", "warn", few=SMALL_ARM, arms=tuple(small), sizes=tuple(small.values()))
    return _found("small_arm", "pass", least=min(sizes.values()))


def zero_events(sheet: Sheet, cube: Cube) -> Finding:
    """Look for offers that nobody accepted, or, where contacts are not known, that brought nobody back: it warns.

    No second lifetime can be estimated there; cost and net are those of the contacts alone.
    """
    month = min(sheet.window_months, cube.months) - 1
    events = cube.by_arm("accepted") if cube.contacts_known else cube.by_arm("returned")[:, month]
    none = tuple(arm for arm, n in zip(cube.arms, events, strict=True) if n == 0 and arm != sheet.holdout)
    case = "accepted" if cube.contacts_known else "returned"
    return _found("zero_events", "warn", case, offers=none) if none else _found("zero_events", "pass", case)


def power(sheet: Sheet, cube: Cube) -> Finding:
    """Compare the leading difference on the objective with what the test can tell at 80 % power.

    The detectable difference of the two best offers is (q + z of 80 %) standard errors, q the critical value for all
    pairs of offers; of a single offer it is that against doing nothing. Warns when the test was too small for the
    difference it found. Shares are often separable in a test that is many times too small for money.
    """
    reading = Reading(cube=cube, sheet=sheet)
    known = None
    if reading.holdout is not None:
        numbers = {name: values[:, reading.offers] for name, values in reading.numbers.items()}
        offers = [cube.arms[a] for a in reading.offers]
        known = scores(sheet.objective, numbers, offers=offers, terms=terms_of(sheet))
    if known is None:
        return _found("power", "pass", "undecided")
    replicates, names, _ = known
    ahead = lead(replicates, df=reading.df, level=sheet.level, seed=sheet.seed)
    labels = [sheet.arms[name].label or name for name in names]
    return _found(
        "power", "pass" if abs(ahead.difference) >= ahead.detectable else "warn", objective=sheet.objective,
        currency=sheet.currency, power=POWER, first=labels[ahead.best],
        second=None if ahead.second is None else labels[ahead.second], difference=ahead.difference,
        detectable=ahead.detectable,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """How far the best offer leads, in the unit of the objective."""

    best: int  # its place
    second: int | None  # place of the offer it leads; None: doing nothing, of a single offer
    difference: float
    detectable: float  # the difference a test of this size finds with a chance of 80 %


def lead(replicates: NDArray[np.float64], *, df: float, level: float, seed: int) -> Lead:
    """Return the lead of the best offer by jackknife replicates, shape (1 + buckets, offers), row 0 the estimate."""
    from scipy.special import ndtri

    count = replicates.shape[1]
    order = np.argsort(-replicates[0], kind="stable")
    best, second = int(order[0]), int(order[1]) if count > 1 else None
    pairs = np.triu_indices(count, 1)
    gaps = replicates if second is None else replicates[:, pairs[0]] - replicates[:, pairs[1]]
    q = simultaneous_quantile(jackknife_covariance(gaps[1:]), df=df, level=level, seed=seed)
    gap = replicates[:, best] - (0 if second is None else replicates[:, second])
    error = math.sqrt(jackknife_covariance(gap[1:, None])[0, 0])
    detectable = (q + float(ndtri(POWER))) * error
    return Lead(best=best, second=second, difference=float(gap[0]), detectable=detectable)


def tail(sheet: Sheet, cube: Cube) -> Finding:
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
    skew = skewness(value - customers * (value.sum(axis=1) / customers.sum(axis=1))[:, None])
    top = math.ceil(TOP * value.size)
    part = float(np.sort(value, axis=None)[-top:].sum()) / max(1.0, float(value.sum()))
    return _found("tail", "pass" if abs(skew) <= SKEWED else "warn", top=TOP, share=part, skewness=skew, safe=SKEWED)


def skewness(rows: NDArray[np.float64]) -> float:
    """Return the skewness of the values of all rows, each row centred and scaled on its own; 0 if none varies.

    >>> round(skewness(np.array([[1.0, 1, 4], [5, 5, 5]])), 4)
    0.7071
    """
    centred = rows - rows.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=1, keepdims=True))
    varies = spread[:, 0] > 0
    return float(((centred[varies] / spread[varies]) ** 3).mean()) if varies.any() else 0.0


CHECKS: dict[str, Callable[[Sheet, Cube], Finding]] = {
    "match": match,
    "sample_ratio": sample_ratio,
    "read_date": read_date,
    "holdout": holdout,
    "contamination": contamination,
    "repeats": repeats,
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
