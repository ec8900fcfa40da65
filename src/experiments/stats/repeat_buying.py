"""Is a silent customer still a customer? A second opinion to a rule of silence, from purchase histories.

A history is that of a customer, or of one who left after the last purchase: all answers follow from the odds between
the two. Nobody's leaving is seen; the models learn it from those who came back after a silence and those who did not.
Histories come as arrays, one place a history, with the number of customers who share it: what a million customers
cost depends on how many different histories they have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from experiments.common.errors import WinbackError, short
from experiments.common.estimate import Estimate, missing
from experiments.stats.intervals import normal_quantile

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Matrix = tuple[tuple[float, ...], ...]
    Score = Callable[[Floats], tuple[float, Floats]]  # log parameters -> log likelihood of all customers, its gradient

Model = TypeVar("Model", "Alive", "AliveByOpportunity")

LEAST_OPPORTUNITIES = 3  # two make four different histories, that is three free shares for four parameters
FEW = 10_000  # histories find the neighbourhood of the maximum; all of them find the maximum
WIDE = 9.0  # a log parameter stays so near to its origin: at e^9 = 8,103 all customers are as good as alike
EDGE = WIDE - 0.001  # so near to its end a step does not go on
ARRIVED, NEAR = 1e-4, 1e-3  # a search that ends on a steeper slope, a customer, and may gain more has found no maximum
NODES = 160  # of a mean over chances of leaving: nine digits or more, see the tests
FAR = 40.0  # e^-40 adds nothing
NEWTON = 3  # steps, from a good start
NUDGE = 1e-4  # of a log parameter, for a slope by differences
MOST_STEPS, MOST_HALVES, LONGEST, FLAT = 100, 12, 2.0, 1e-12  # of a search, which takes about ten steps
CLOSE = 1e-11  # relative gain a step promises: after that one a search has arrived
PAIRS = ((1, 1, 0, 0), (0, 1, 0, 0), (0, 0, 1, 1), (0, 0, 0, 1))  # of four log parameters: 1, 2 - 1, 3, 4 - 3
STARTS = ((0, 0, -1, -1), (0, 0, -1, 3))  # most leave, few leave: each alone ends on a side hill now and then


# Purchases at any time.
@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """Customers who buy at a rate of their own and, after a purchase, leave with a chance of their own.

    Rates a unit of time are gamma distributed (r, alpha), chances beta distributed (a, b). `modified`: the first
    purchase may be the last (MBG/NBD; Batislam, Denizel & Filiztekin 2007, Wagner & Hoppe 2008). Else (BG/NBD; Fader,
    Hardie & Lee 2005) whoever bought once is surely still a customer: no model for lost ones.

    A history: `frequency` x, the purchases after the first; `recency` t_x, the time from the first to the last, 0
    without a second; `age` T, the time from the first until today. Any unit of time, the same for all.
    """

    r: float
    alpha: float  # in units of time
    a: float
    b: float
    modified: bool = True
    log_likelihood: float | None = None  # of the fit; None for parameters from elsewhere
    covariance: Matrix | None = None  # of the four logarithms, in their order

    def p_alive(self, frequency: ArrayLike, recency: ArrayLike, *, age: ArrayLike) -> Floats:
        """Return the probability that a customer with this history is still one.

        >>> cdnow = Alive(r=0.243, alpha=4.414, a=0.793, b=2.426, modified=False)
        >>> round(float(cdnow.p_alive(2, 30.43, age=38.86)), 4)
        0.7266
        """
        from scipy.special import expit

        return np.asarray(expit(-self._odds_gone(*_histories(frequency, recency, age))))

    def log_density(self, frequency: ArrayLike, recency: ArrayLike, *, age: ArrayLike) -> Floats:
        """Return the logarithm of the likelihood of a history (Fader, Hardie & Lee 2005, eq. 6)."""
        from scipy.special import betaln, gammaln

        x, last, age = _histories(frequency, recency, age)
        rate = gammaln(self.r + x) - gammaln(self.r) + self.r * math.log(self.alpha)
        stays = betaln(self.a, self.b + self._chances(x)) - betaln(self.a, self.b)
        alive = rate + stays - (self.r + x) * np.log(self.alpha + age)
        return np.asarray(alive + np.logaddexp(0, self._odds_gone(x, last, age)))

    def share_alive(
        self, frequency: ArrayLike, recency: ArrayLike, *, age: ArrayLike, customers: ArrayLike = 1, level: float = 0.95
    ) -> Estimate:
        """Return the share of these customers who still are, with its interval; `customers` share each history.

        Of those whom a rule calls lost: the second opinion. Give all of them at once, so they share the uncertainty
        of the fit. The interval is that of many: where most buy once it held in 86 % of 200 simulated companies of 400
        customers, 90 % with 2,000 and 95 % with 10,000. No bounds for parameters from elsewhere. Unit: share.
        """
        x, last, age, counts = _histories(frequency, recency, age, customers=customers)
        return _share(lambda model: model.p_alive(x, last, age=age), self, customers=counts, level=level)

    def silence_until(self, frequency: ArrayLike, recency: ArrayLike, *, alive: float = 0.5) -> Floats:
        """Return the silence since the last purchase after which P(alive) has fallen to `alive`. Unit: of time.

        What to hold against a rule of silence. 0 where it is as low from the start, infinite where it never falls.
        """
        if not 0 < alive < 1:
            raise WinbackError(f"alive is {alive!r}, but a probability lies between 0 and 1. Try alive=0.5.")
        x, last = _histories(frequency, recency, recency)[:2]
        to_go = math.log(1 / alive - 1) - self._odds_gone(x, last, last)
        with np.errstate(over="ignore"):
            return np.asarray((self.alpha + last) * np.expm1(np.maximum(to_go, 0) / (self.r + x)))

    def expected(self, frequency: ArrayLike, recency: ArrayLike, *, age: ArrayLike, ahead: ArrayLike) -> Floats:
        """Return the purchases to expect of a customer with this history in the next `ahead` units of time.

        P(alive) times the mean of (1 - exp(-rate p ahead)) / p, over what the history tells of the rate and the
        chance p. A new customer has the history 0, 0, age 0; the first purchase does not count. The published form
        (Fader, Hardie & Lee 2005, eq. 10) is a difference that loses its digits near a = 1 and in long histories.
        """
        x, last, age, ahead = _histories(frequency, recency, age, ahead=ahead)
        return np.asarray(self.p_alive(x, last, age=age) * self._purchases(x, ahead / (self.alpha + age)))

    def probability_of(self, purchases: ArrayLike, *, within: ArrayLike) -> Floats:
        """Return the share of new customers who buy again exactly so many times within so many units of time.

        Still customers at the end, or gone with the last of these purchases (Fader, Hardie & Lee 2005, eq. 8).
        """
        from scipy.special import betainc, betaln, gammaln, xlog1py, xlogy

        x, _, within = _histories(purchases, 0, within)
        share, k = within / (self.alpha + within), self._chances(x)
        counts = gammaln(self.r + x) - gammaln(self.r) - gammaln(x + 1)
        exactly = np.exp(counts + xlogy(x, share) + xlog1py(self.r, -share))
        at_least = np.where(x > 0, betainc(np.maximum(x, 1), self.r, share), 1)
        stays = np.exp(betaln(self.a, self.b + k) - betaln(self.a, self.b))
        return np.asarray(stays * (exactly + np.exp(self._odds_at_last(x)) * at_least))

    def _chances(self, x: Floats) -> Floats:
        """Return how often a customer could have left: after each purchase that counts."""
        return x + self.modified

    def _odds_gone(self, x: Floats, last: Floats, age: Floats) -> Floats:
        """Return the log odds of having left: a / (b + k - 1) * ((alpha + T) / (alpha + t_x)) ** (r + x)."""
        return self._odds_at_last(x) + (self.r + x) * np.log((self.alpha + age) / (self.alpha + last))

    def _odds_at_last(self, x: Floats) -> Floats:
        """Return the log odds of having left right after the last of k chances; without one nobody leaves."""
        k = self._chances(x)
        return np.where(k > 0, math.log(self.a) - np.log(self.b + np.maximum(k, 1) - 1), -np.inf)

    def _purchases(self, x: Floats, ahead: Floats) -> Floats:
        """Return the purchases to expect of a customer: the mean of (1 - (1 + p w) ** -R) / p, p from beta(a, B).

        R = r + x, B = b + k, w = ahead / (alpha + T). With p = 1 / (1 + exp(-u)) nothing happens near the axis, so the
        trapezoidal rule in u gains digits with every node (Trefethen & Weideman 2014, SIAM Review 56). The chord in
        p, whose mean is known, is taken off: what is left dies out at both ends.
        """
        from scipy.special import betaln

        known, place = np.unique(x, return_inverse=True)
        place, shape, beta = place.reshape(x.shape), self.r + x, self.b + self._chances(known)
        grid, step = _grid(self.a, beta)
        p, q = 1 / (1 + np.exp(-grid)), 1 / (1 + np.exp(grid))
        weights = step * np.exp(self.a * np.log(p) + beta * np.log(q) - betaln(self.a, beta))
        at_0, at_1 = shape * ahead, -np.expm1(-shape * np.log1p(ahead))
        mean = (at_0 * beta[place] + at_1 * self.a) / (self.a + beta[place])
        for chance, rest, weight in zip(p, q, weights, strict=True):
            bend = -np.expm1(-shape * np.log1p(chance[place] * ahead)) / chance[place]
            mean = mean + weight[place] * (bend - at_0 * rest[place] - at_1 * chance[place])
        return mean


def _grid(a: float, b: Floats) -> tuple[Floats, Floats]:
    """Return logits (NODES, len(b)) between which p ** (a + 1) * (1 - p) ** (b + 1) is large, and their steps.

    Ends: where it has fallen to e ** -FAR of its maximum. By Newton from outside: the logarithm is concave, its first
    bound from |f'''| <= f'' (Bach 2010, Electronic Journal of Statistics 4).
    """
    left, right = a + 1, b + 1
    top, bound = np.log(left / right), FAR * (1 / left + 1 / right)
    ends = [top, top]
    for at_end, side in enumerate((-1, 1)):
        far = (bound + np.sqrt(bound * (bound + 8))) / 2
        for _ in range(NEWTON):
            logit = top + side * far
            fallen = (left + right) * (np.logaddexp(0, logit) - np.logaddexp(0, top)) - left * side * far
            far = far - (fallen - FAR) / (side * ((left + right) / (1 + np.exp(-logit)) - left))
        ends[at_end] = top + side * far
    low, high = ends
    return np.linspace(low, high, NODES), (high - low) / (NODES - 1)


def fit_alive(
    frequency: ArrayLike, recency: ArrayLike, *, age: ArrayLike, customers: ArrayLike = 1, modified: bool = True
) -> Alive:
    """Return the model of highest likelihood; `customers` share each history.

    Two purchases in one unit of time are one: count the days, weeks or months with a purchase after the first.
    """
    table = _counted(_histories(frequency, recency, age, customers=customers))
    if not (table[0].any() and table[2].any()):
        raise WinbackError("Nobody bought twice, so nothing tells a silence from a loss. Give a longer history, or let "
                           "the rule for one-time buyers decide.")  # fmt: skip
    # Time is measured in mean intervals: what the unit is changes nothing.
    interval = _sum(table[3], table[2]) / _sum(table[3], table[0])
    score_of = partial(_alive_score, modified=modified)
    fit = _highest(score_of, table, origin=np.array([0, math.log(interval), 0, 0]))
    r, alpha, a, b = map(float, np.exp(fit.logs))
    return Alive(
        r=r, alpha=alpha, a=a, b=b, modified=modified,
        log_likelihood=fit.log_likelihood, covariance=fit.covariance,
    )  # fmt: skip


def _alive_score(x: Floats, last: Floats, age: Floats, counts: Floats, *, modified: bool) -> Score:
    """Return the score of the BG/NBD: what depends on one of x, t_x and T is computed once a value, not a history."""
    from scipy.special import betaln, digamma, gammaln

    (x, at_x), (last, at_last), (age, at_age) = (np.unique(values, return_inverse=True) for values in (x, last, age))
    k, bought = x + modified, x[at_x]
    n, of_x, of_age = counts.sum(), _totals(at_x, counts), _totals(at_age, counts)
    bought_of_age = _totals(at_age, counts * bought)

    def score(logs: Floats) -> tuple[float, Floats]:
        r, alpha, a, b = np.exp(logs)
        until, since, others = alpha + age, alpha + last, b + np.maximum(k, 1) - 1
        stretch = np.log(until)[at_age] - np.log(since)[at_last]
        odds = np.where(k > 0, logs[2] - np.log(others), -np.inf)[at_x] + (r + bought) * stretch
        small = np.exp(-np.abs(odds))
        gone = counts * np.where(odds > 0, 1, small) / (1 + small)
        value = (
            _sum(of_x, gammaln(r + x) - gammaln(r) + r * logs[1] + betaln(a, b + k) - betaln(a, b))
            - _sum(r * of_age + bought_of_age, np.log(until))
            + _sum(counts, np.maximum(odds, 0) + np.log1p(small))
        )
        power, gone_of_x = gone * (r + bought), _totals(at_x, gone)
        alive_of_age = r * of_age + bought_of_age - _totals(at_age, power)
        both = digamma(a + b) - digamma(a + b + k)
        slopes = (
            _sum(of_x, digamma(r + x) - digamma(r) + logs[1]) - _sum(of_age, np.log(until)) + _sum(gone, stretch),
            n * r / alpha - _sum(alive_of_age, 1 / until) - _sum(_totals(at_last, power), 1 / since),
            _sum(of_x, both) + gone.sum() / a,
            _sum(of_x, both + digamma(b + k) - digamma(b)) - _sum(gone_of_x, 1 / others),
        )
        return value, np.array(slopes) * (r, alpha, a, b)

    return score


# Purchases at fixed opportunities.
@dataclass(frozen=True, slots=True, kw_only=True)
class AliveByOpportunity:
    """Customers who take an opportunity with a chance of their own, until they leave before one: the BG/BB.

    For what can happen once a period: a yearly appeal, a monthly bill, an event (Fader, Hardie & Shang 2010). Chances
    to take are beta distributed (alpha, beta), chances to leave beta distributed (gamma, delta).

    A history: `frequency` x, the opportunities taken; `recency` t_x, the number of the last one taken, 0 for none;
    `opportunities` n, how many there were since the one that brought the customer, which does not count.
    """

    alpha: float
    beta: float
    gamma: float
    delta: float
    log_likelihood: float | None = None  # of the fit; None for parameters from elsewhere
    covariance: Matrix | None = None  # of the four logarithms, in their order

    def p_alive(
        self, frequency: ArrayLike, recency: ArrayLike, *, opportunities: ArrayLike, ahead: ArrayLike = 1
    ) -> Floats:
        """Return the probability that a customer with this history will be one at opportunity n + `ahead`.

        Fader, Hardie & Shang 2010, eq. 11. `ahead=0` asks for the last opportunity that was.

        >>> donors = AliveByOpportunity(alpha=1.204, beta=0.750, gamma=0.657, delta=2.783)
        >>> round(float(donors.p_alive(2, 4, opportunities=6)), 2)
        0.59
        """
        from scipy.special import betaln, expit

        x, last, n, ahead = _occasions(frequency, recency, opportunities, ahead=ahead)
        stays = betaln(self.gamma, self.delta + n + ahead) - betaln(self.gamma, self.delta + n)
        return np.asarray(expit(-self._odds_gone(x, last, n)) * np.exp(stays))

    def log_density(self, frequency: ArrayLike, recency: ArrayLike, *, opportunities: ArrayLike) -> Floats:
        """Return the logarithm of the likelihood of a history (Fader, Hardie & Shang 2010, eq. 5)."""
        from scipy.special import betaln

        x, last, n = _occasions(frequency, recency, opportunities)
        takes = betaln(self.alpha + x, self.beta + n - x) - betaln(self.alpha, self.beta)
        stays = betaln(self.gamma, self.delta + n) - betaln(self.gamma, self.delta)
        return np.asarray(takes + stays + np.logaddexp(0, self._odds_gone(x, last, n)))

    def expected(
        self, frequency: ArrayLike, recency: ArrayLike, *, opportunities: ArrayLike, ahead: ArrayLike
    ) -> Floats:
        """Return how many of the next `ahead` opportunities a customer with this history is expected to take.

        (alpha + x) / (alpha + beta + n) times the sum of P(alive) at n + 1, n + 2, ...: eq. 13 of Fader, Hardie &
        Shang 2010 without its hole at gamma = 1.
        """
        x, last, n, ahead = _occasions(frequency, recency, opportunities, ahead=ahead)
        stays, periods = np.ones_like(n), np.zeros_like(n)
        for later in range(int(ahead.max(initial=0))):
            stays = stays * (self.delta + n + later) / (self.gamma + self.delta + n + later)
            periods = periods + stays * (later < ahead)
        alive = self.p_alive(x, last, opportunities=n, ahead=0)
        return np.asarray(alive * periods * (self.alpha + x) / (self.alpha + self.beta + n))

    def probability_of(self, purchases: ArrayLike, *, opportunities: int) -> Floats:
        """Return the share of new customers who take exactly so many of their first `opportunities`.

        The likelihood of every recency times the ways to reach it: a shorter form of eq. 7 of Fader, Hardie & Shang
        2010.
        """
        from scipy.special import gammaln

        asked = _columns(("purchases",), purchases=purchases)["purchases"]
        x, last = np.broadcast_arrays(asked[..., None], np.arange(opportunities + 1.0))
        possible = (last >= x) & ((x > 0) == (last > 0))
        x, last = np.where(possible, x, 0), np.where(possible, last, 0)
        ways = np.where(x > 0, gammaln(last) - gammaln(np.maximum(x, 1)) - gammaln(last - x + 1), 0)
        shares = np.exp(ways + self.log_density(x, last, opportunities=opportunities))
        return np.asarray((shares * possible).sum(axis=-1))

    def share_alive(
        self, frequency: ArrayLike, recency: ArrayLike, *, opportunities: ArrayLike, ahead: ArrayLike = 1,
        customers: ArrayLike = 1, level: float = 0.95,
    ) -> Estimate:  # fmt: skip
        """Return the share of these customers who will be one at opportunity n + `ahead`; as Alive.share_alive."""
        x, last, n, ahead, counts = _occasions(frequency, recency, opportunities, ahead=ahead, customers=customers)
        return _share(
            lambda model: model.p_alive(x, last, opportunities=n, ahead=ahead), self, customers=counts, level=level
        )

    def _odds_gone(self, x: Floats, last: Floats, n: Floats) -> Floats:
        logs = np.log([self.alpha, self.beta, self.gamma, self.delta])
        return _odds_missed(logs, *(values.ravel() for values in (x, last, n)))[0].reshape(x.shape)


def _odds_missed(logs: Floats, x: Floats, last: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Return the log odds of having left by opportunity n, and their slopes in the log parameters (4, histories).

    The sum over m from t_x to n - 1 of leaves(m) / (misses(m) ... misses(n - 1)): leaves before opportunity m + 1, or
    stays and does not take it. Neither depends on t_x, so sums from the back serve all histories with the same x.
    The first term is the largest, and all are positive: in logarithms, a long silence costs no digits.
    """
    alpha, beta, gamma, delta = np.exp(logs)
    (known, at), m = np.unique(x, return_inverse=True), np.arange(n.max(initial=0) + 1)
    free, zero = np.maximum(m - known[:, None], 0), np.zeros((len(known), len(m)))
    trials, periods = alpha + beta + m, gamma + delta + m
    misses = np.log((beta + free) / trials) + np.log((delta + m) / periods)
    before = np.cumsum(misses, axis=1) - misses
    misses = np.stack((zero - alpha / trials, beta / (beta + free) - beta / trials, zero - gamma / periods,
                       zero + delta / (delta + m) - delta / periods))  # fmt: skip
    before_slopes = np.cumsum(misses, axis=2) - misses
    terms = logs[2] - np.log(periods) + before
    sums = np.logaddexp.accumulate(terms[:, ::-1], axis=1)[:, ::-1]
    slopes = before_slopes + np.stack((0 * m, 0 * m, 1 - gamma / periods, -delta / periods))[:, None]
    for here in range(len(m) - 2, -1, -1):
        later = np.exp(sums[:, here + 1] - sums[:, here])
        slopes[..., here] += later * (slopes[..., here + 1] - slopes[..., here])
    odds, odds_slopes, missed = np.full(len(x), -np.inf), np.zeros((4, len(x))), n > last
    at, last, n = at[missed], last[missed].astype(int), n[missed].astype(int)
    later = np.exp(sums[at, n] - sums[at, last])
    odds[missed] = sums[at, last] + np.log1p(-later) - before[at, n]
    odds_slopes[:, missed] = (
        (slopes[:, at, last] - later * slopes[:, at, n]) / (1 - later) - before_slopes[:, at, n]
    )  # fmt: skip
    return odds, odds_slopes


def fit_alive_by_opportunity(
    frequency: ArrayLike, recency: ArrayLike, *, opportunities: ArrayLike, customers: ArrayLike = 1
) -> AliveByOpportunity:
    """Return the model of highest likelihood; `customers` share each history."""
    table = _counted(_occasions(frequency, recency, opportunities, customers=customers))
    if not table[0].any():
        raise WinbackError("Nobody took a single opportunity after the first, so nothing tells a silence from a loss. "
                           "Give more periods.")  # fmt: skip
    if table[2].max() < LEAST_OPPORTUNITIES:
        raise WinbackError(f"The longest history has {table[2].max():.0f} opportunities, but four parameters need "
                           f"{LEAST_OPPORTUNITIES}. Give more or shorter periods.")  # fmt: skip
    fit = _highest(_occasion_score, table, origin=np.zeros(4))
    alpha, beta, gamma, delta = map(float, np.exp(fit.logs))
    return AliveByOpportunity(
        alpha=alpha, beta=beta, gamma=gamma, delta=delta,
        log_likelihood=fit.log_likelihood, covariance=fit.covariance,
    )  # fmt: skip


def _occasion_score(x: Floats, last: Floats, n: Floats, counts: Floats) -> Score:
    from scipy.special import betaln, digamma, expit

    def score(logs: Floats) -> tuple[float, Floats]:
        alpha, beta, gamma, delta = np.exp(logs)
        odds, slopes = _odds_missed(logs, x, last, n)
        value = (
            betaln(alpha + x, beta + n - x) - betaln(alpha, beta)
            + betaln(gamma, delta + n) - betaln(gamma, delta) + np.logaddexp(0, odds)
        )  # fmt: skip
        takes = digamma(alpha + beta) - digamma(alpha + beta + n)
        stays = digamma(gamma + delta) - digamma(gamma + delta + n)
        known = np.stack((
            alpha * (takes + digamma(alpha + x) - digamma(alpha)),
            beta * (takes + digamma(beta + n - x) - digamma(beta)),
            gamma * stays,
            delta * (stays + digamma(delta + n) - digamma(delta)),
        ))  # fmt: skip
        return _sum(counts, value), (counts * (known + expit(odds) * slopes)).sum(axis=1)

    return score


# What a purchase brings.
@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Customers who spend around a mean of their own: gamma purchases of shape p, their rates gamma (q, v).

    The gamma-gamma model (Fader & Hardie 2013). It takes for granted that who buys often spends no other amounts.
    """

    p: float
    q: float
    v: float  # in units of money
    log_likelihood: float | None = None  # of the fit; None for parameters from elsewhere

    def expected(self, purchases: ArrayLike, mean_spend: ArrayLike) -> Floats:
        """Return the mean spend a purchase to expect of a customer seen to spend `mean_spend` in so many purchases.

        p (v + x m) / (p x + q - 1): between what was seen and the mean of all, eq. 5. With 0 purchases the mean of
        all, whatever `mean_spend` says. Unit: of money. Infinite where p x + q is 1 or less.

        >>> cdnow = Spend(p=6.25, q=3.74, v=15.44)
        >>> round(float(cdnow.expected(2, 22.35)), 2)
        24.66
        """
        x, spend = _columns(("purchases",), purchases=purchases, mean_spend=mean_spend).values()
        free = self.p * x + self.q - 1
        return np.where(free > 0, self.p * (self.v + x * spend) / np.where(free > 0, free, 1), np.inf)


def fit_spend(purchases: ArrayLike, mean_spend: ArrayLike, *, customers: ArrayLike = 1) -> Spend:
    """Return the model of highest likelihood; `customers` share each pair. Mean spend in any unit of money.

    Give the purchases whose mean it is: all of them, or, as Fader & Hardie do, those after the first.
    """
    columns = _columns(("purchases",), purchases=purchases, mean_spend=mean_spend, customers=customers)
    _refuse(columns["purchases"] < 1, "without a purchase there is no mean spend", "Leave these out.", **columns)
    _refuse(columns["mean_spend"] <= 0, "mean_spend is 0", "Leave free orders out, or their buyers.", **columns)
    table = _counted(list(columns.values()))
    if np.ptp(table[1]) == 0:
        raise WinbackError(f"Everybody spends {table[1][0]:g}: there is no distribution to fit. Use this number.")
    # Money is measured in mean spends: what the unit is changes nothing. The third step goes along p v / q.
    mean = _sum(table[2], table[1]) / table[2].sum()
    pairs, starts = ((1, 0, -1), (0, 1, 1), (0, 0, 1)), ((0, 1, 0), (2, 2, 0))
    fit = _highest(_spend_score, table, origin=np.array([0, 0, math.log(mean)]), pairs=pairs, starts=starts)
    p, q, v = map(float, np.exp(fit.logs))
    return Spend(p=p, q=q, v=v, log_likelihood=fit.log_likelihood)


def _spend_score(x: Floats, spend: Floats, counts: Floats) -> Score:
    """Return the score of the gamma-gamma model (Fader & Hardie 2013, eq. 1a)."""
    from scipy.special import digamma, gammaln

    known, place = np.unique(x, return_inverse=True)
    of_x, n, paid = _totals(place, counts), counts.sum(), x * spend
    log_spend, log_paid = _sum(counts, np.log(spend)), _sum(counts * x, np.log(paid))

    def score(logs: Floats) -> tuple[float, Floats]:
        p, q, v = np.exp(logs)
        total, shape = np.log(paid + v), p * known + q
        value = (
            _sum(of_x, gammaln(shape) - gammaln(p * known) - gammaln(q) + q * logs[2])
            + p * log_paid - log_spend - _sum(counts * (p * x + q), total)
        )  # fmt: skip
        slopes = (
            _sum(of_x * known, digamma(shape) - digamma(p * known)) + log_paid - _sum(counts * x, total),
            _sum(of_x, digamma(shape) - digamma(q) + logs[2]) - _sum(counts, total),
            n * q / v - _sum(counts * (p * x + q), 1 / (paid + v)),
        )
        return value, np.array(slopes) * (p, q, v)

    return score


# The search for the highest likelihood, the same for all.
@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    logs: Floats  # of the parameters
    log_likelihood: float
    covariance: Matrix  # of the logs


def _highest(
    score_of: Callable[..., Score],
    table: Floats,
    *,
    origin: Floats,
    pairs: Sequence[Sequence[float]] = PAIRS,
    starts: Sequence[Sequence[float]] = STARTS,
) -> _Fit:
    """Return the log parameters of highest likelihood. `table`: a row for x, ..., customers each.

    From every start on some of the histories, then from the best end on all of them. Log parameters are
    origin + steps @ pairs: a step goes along what the data know well, such as the ratio of two parameters.
    """
    if table.shape[1] < len(origin):
        raise WinbackError(f"There are {table.shape[1]} different histories, but {len(origin)} parameters need "
                           "at least as many. Give more customers.")  # fmt: skip
    ways = np.array(pairs, float)
    some, customers = table[:, :: -(-table.shape[1] // FEW)], table[-1].sum()
    rehearsal, down = (_downhill(score_of(*rows), origin, ways, rows[-1].sum()) for rows in (some, table))
    ends = [_search(rehearsal, np.array(start, float)) for start in starts]
    steps = _search(down, min(ends, key=lambda end: down(end)[0]))
    value, slope = down(steps)
    return _Fit(
        logs=origin + steps @ ways,
        log_likelihood=-float(value * customers),
        covariance=_covariance(down, steps, slope * customers, ways=ways, customers=customers),
    )


def _downhill(score: Score, origin: Floats, ways: Floats, customers: float) -> Score:
    """Return what a search takes: the negative log likelihood a customer, and its slope, by steps from the origin."""

    def down(steps: Floats) -> tuple[float, Floats]:
        value, slope = score(origin + steps @ ways)
        return -value / customers, -(ways @ slope) / customers

    return down


def _search(down: Score, start: Floats) -> Floats:
    """Return where the way down ends: Newton's steps, and away from a saddle, each coordinate at most WIDE.

    Not scipy's: with four parameters its linear algebra costs little, but where BLAS has threads they wait for each
    other longer than all the rest takes.
    """
    steps, (value, slope) = start, down(start)
    for _ in range(MOST_STEPS):
        free = (np.abs(steps) < EDGE) | (steps * slope > 0)
        values, vectors = np.linalg.eigh(_curvature(down, steps, slope)[np.ix_(free, free)])
        move = np.zeros(len(steps))
        move[free] = -vectors @ ((vectors.T @ slope[free]) / np.maximum(np.abs(values), FLAT))
        move *= min(1, LONGEST / max(LONGEST, np.abs(move).max()))
        last = -slope @ move <= CLOSE * abs(value)
        for _ in range(MOST_HALVES):
            tried = np.clip(steps + move, -WIDE, WIDE)
            found, there = down(tried)
            if found <= value + CLOSE * abs(value):
                break
            move /= 2
        else:
            break
        steps, value, slope = tried, found, there
        if last:
            break
    return steps


def _curvature(down: Score, steps: Floats, slope: Floats) -> Floats:
    """Return the second derivatives, by differences of the slope."""
    found = np.array([down(steps + nudge)[1] - slope for nudge in NUDGE * np.eye(len(steps))]) / NUDGE
    return np.asarray((found + found.T) / 2)


def _covariance(down: Score, steps: Floats, slope: Floats, *, ways: Floats, customers: float) -> Matrix:
    """Return the inverse of the observed information on log parameters; an error where the search has not arrived.

    What the data do not tell is known to WIDE, and a parameter that went as far as it may is taken for known.
    """
    inside = np.abs(steps) < EDGE
    information = customers * _curvature(down, steps, slope / customers)[np.ix_(inside, inside)]
    values, vectors = np.linalg.eigh(information)
    spread = 1 / np.maximum(values, WIDE**-2)
    to_gain = np.sum((vectors.T @ slope[inside]) ** 2 * spread) / 2
    if to_gain > NEAR and np.any(np.abs(slope[inside]) > ARRIVED * customers):
        raise WinbackError(f"The search for the highest likelihood did not arrive within {MOST_STEPS} steps. Give more "
                           "customers or longer histories.")  # fmt: skip
    found = ways[inside].T @ (vectors * spread) @ vectors.T @ ways[inside]
    return tuple(tuple(map(float, row)) for row in found)


def _share(p_alive: Callable[[Model], Floats], model: Model, *, customers: Floats, level: float) -> Estimate:
    """Return the share of these customers who still are: mean P(alive), its interval on the scale of log odds.

    Variance: of the fit by the delta method, and of who of them happens to stay, p (1 - p) each.
    """
    from scipy.special import expit, logit

    p, n = p_alive(model), round(customers.sum())
    if n == 0:
        return missing(level=level, n=0, unit="share")
    value, low, high = _sum(customers, p) / n, None, None
    if model.covariance is not None and 0 < value < 1:
        slopes = []
        for name in [field.name for field in fields(model)][: len(model.covariance)]:
            more, less = (
                p_alive(replace(model, **{name: getattr(model, name) * math.exp(nudge)})) for nudge in (NUDGE, -NUDGE)
            )
            slopes.append(_sum(customers, more - less) / (2 * NUDGE * n))
        variance = np.einsum("i,ij,j", slopes, model.covariance, slopes) + _sum(customers, p * (1 - p)) / n**2
        half = normal_quantile(level) * math.sqrt(variance) / (value * (1 - value))
        low, high = (float(expit(logit(value) + side * half)) for side in (-1, 1))
    return Estimate(value=value, low=low, high=high, level=level, n=n, unit="share")


def _sum(weights: Floats, values: Floats) -> float:
    # Not BLAS: the same bits whatever the number of threads, and none of them spins.
    return float((weights * values).sum())


def _totals(place: NDArray[np.intp], weights: Floats) -> Floats:
    return np.bincount(place, weights).astype(float)


# What a history may be.
def _columns(whole: Sequence[str], **given: ArrayLike) -> dict[str, Floats]:
    """Return numbers as floats of one shape: none missing or negative, those named in `whole` whole."""
    numbers = {}
    for name, values in given.items():
        try:
            numbers[name] = np.asarray(values, float)
        except (TypeError, ValueError) as error:
            raise WinbackError(f"{name} must be numbers, not {short(repr(values), 40)}.") from error
    try:
        columns = dict(zip(numbers, np.broadcast_arrays(*numbers.values()), strict=True))
    except ValueError as error:
        shapes = ", ".join(f"{name} {values.shape}" for name, values in numbers.items())
        raise WinbackError(f"These arrays do not fit together: {shapes}. Give one place a history.") from error
    for name, values in columns.items():
        _refuse(~np.isfinite(values), f"{name} is missing or infinite", "Leave these out.", **columns)
        _refuse(values < 0, f"{name} is negative", "Give 0 or more.", **columns)
        if name in whole:
            _refuse(values % 1 != 0, f"{name} is no whole number", "It counts: give 0, 1, 2, ...", **columns)
    return columns


def _histories(frequency: ArrayLike, recency: ArrayLike, age: ArrayLike, **more: ArrayLike) -> list[Floats]:
    """Return possible histories as floats of one shape."""
    columns = _columns(("frequency",), frequency=frequency, recency=recency, age=age, **more)
    x, last, today, *_ = columns.values()
    _refuse(last > today, "the last purchase (recency) comes after today (age)",
            "Measure both from the first purchase, and leave out what comes after today.", **columns)  # fmt: skip
    _refuse((x == 0) & (last > 0), "a repeat purchase has a time (recency), but there was none (frequency)",
            "Give recency 0 where frequency is 0, and do not count the first purchase.", **columns)  # fmt: skip
    return list(columns.values())


def _occasions(frequency: ArrayLike, recency: ArrayLike, opportunities: ArrayLike, **more: ArrayLike) -> list[Floats]:
    """Return possible histories of opportunities as floats of one shape."""
    columns = _columns(
        ("frequency", "recency", "opportunities", "ahead"),
        frequency=frequency, recency=recency, opportunities=opportunities, **more,
    )  # fmt: skip
    x, last, n, *_ = columns.values()
    _refuse(last > n, "the last one taken (recency) comes after all there were (opportunities)",
            "Number them 1, 2, ... from the first after the one that brought the customer.", **columns)  # fmt: skip
    _refuse((x > last) | ((x == 0) & (last > 0)), "frequency and recency contradict each other",
            "Of the opportunities 1 to recency, frequency were taken and recency was: 0 and 0, or 1 <= frequency <= "
            "recency.", **columns)  # fmt: skip
    return list(columns.values())


def _refuse(bad: NDArray[np.bool_], what: str, cure: str, **columns: Floats) -> None:
    """Raise an error where a history is bad: how many are, the first of them, and the cure."""
    if bad.any():
        place = np.unravel_index(np.argmax(bad), bad.shape)
        example = ", ".join(f"{name} {values[place]:g}" for name, values in columns.items())
        raise WinbackError(f"{bad.sum():,} of {bad.size:,} histories: {what}. The first has {example}. {cure}")


def _counted(histories: Sequence[Floats]) -> Floats:
    """Return a table of the different histories: a row for each of their numbers, the last one for customers.

    In an order of its own, so neither the order of what was given nor how it was summed before changes a bit.
    """
    kept = histories[-1] > 0
    if not kept.any():
        raise WinbackError("There are no customers to learn from. Give at least one history.")
    *numbers, customers = (values[kept] for values in histories)
    first, place = np.zeros(1, int), np.zeros(len(customers), int)
    for values in numbers:
        known, code = np.unique(values, return_inverse=True)
        _, first, place = np.unique(place * len(known) + code, return_index=True, return_inverse=True)
    return np.stack([*(values[first] for values in numbers), _totals(place, customers)])
