"""What several tests say together of one offer: their mean, how far tests differ, what to expect of the next one.

A test is taken for a draw of all tests one might run: its true effect differs from the others by tau.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from experiments.common.errors import WinbackError, did_you_mean
from experiments.common.estimate import Estimate
from experiments.common.finding import Finding
from experiments.common.results import Result
from experiments.stats.intervals import normal_quantile, t_quantile

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Value = bool | int | float | str  # of a setting
EXACT = 1e-16  # of the width of a bracket: how near a root is found
ANYWHERE = (-math.inf, math.inf)
POINTS = 200  # of the confidence distribution of tau: intervals are right to .1 % of their width
FOR_THE_NEXT = 3  # tests; with fewer too little is known of how far the next may lie from them


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """What k tests say together of an offer on a metric. One test is not pooled: its mean is its own estimate."""

    offer: str
    label: str  # of the offer; of a kind its name, such as discount
    metric: str
    unit: str
    experiments: tuple[str, ...]
    estimates: tuple[Estimate, ...]  # as each test found them
    mean: Estimate  # over all tests one might run
    next: Estimate | None = None  # the true effect in the next test; None with fewer than three
    shrunken: tuple[Estimate, ...]  # of each test, drawn to the mean as far as tests differ by chance
    weights: tuple[float, ...] = (1.0,)  # of each test in the mean; together 1
    tau: float | None = None  # standard deviation of true effects between tests; None with one test
    i2: float | None = None  # share of the variance between estimates that is more than chance, 0 to 1
    p: float | None = None  # of "all tests have the same true effect"
    alike: dict[str, Value]  # the settings that all of them share, such as horizon_months
    is_kind: bool = False  # it stands for every offer of a kind

    @property
    def k(self) -> int:
        """How many tests."""
        return len(self.estimates)

    @property
    def currency(self) -> str:
        """The currency of money; empty for what is no money."""
        return str(self.alike.get("currency", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge(Result):
    """What offers have done so far: `write` keeps it as pooled.json, `prior_of` takes a prior out of it.

    `experiments`: the tests that count. `level`: confidence of the intervals. `pooled`: one an offer and metric.
    `notes`: what was not pooled, and why. `settings`: how each test that counts was read, by experiment.
    """

    what: ClassVar[str] = "pooled knowledge"
    command: ClassVar[str] = "winback compare <readouts>"

    experiments: tuple[str, ...]
    level: float
    pooled: tuple[Pooled, ...]
    notes: tuple[Finding, ...]
    settings: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)

    def of(self, metric: str) -> tuple[Pooled, ...]:
        """Return what is known on a metric, offer by offer."""
        return tuple(pooled for pooled in self.pooled if pooled.metric == metric)

    def frame(self) -> pd.DataFrame:
        """Return one row an offer and metric: tests, mean and next test with their bounds, tau, i2, p, unit.

        Numbers that so few tests do not tell are NaN.
        """
        import pandas as pd

        about, bounds = ("offer", "metric", "unit", "tau", "i2", "p"), ("low", "high")
        rows = [
            {name: getattr(one, name) for name in about}
            | {"tests": one.k, "mean": one.mean.value, "level": one.mean.level}
            | {name: getattr(one.mean, name) for name in bounds}
            | {f"next_{name}": getattr(one.next, name, None) for name in bounds}
            for one in self.pooled
        ]
        return pd.DataFrame(rows)

    @classmethod
    def upgraded(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Return what a program of format 1 wrote as this one writes it: its notes were sentences."""
        notes = [{"key": "note", "state": "warn", "facts": {"said": note}} for note in content["notes"]]
        return content | {"notes": notes}

    def _repr_html_(self) -> str:
        """Return the means of every offer, as a notebook shows them."""
        from importlib import import_module

        page = import_module("experiments.report.compare")  # by name: results stand below the pages
        return str(page.table((), self))


def prior_of(path: str | Path, offer: str, metric: str) -> Estimate:
    """Return what to expect of an offer in the next test: the mean of past tests and its prediction interval.

    As a normal distribution: mean `value`, standard deviation (high - low) / (2 normal_quantile(level)). With fewer
    than three tests there is no prediction: the mean comes without bounds.
    """
    known = Knowledge.load(path)
    offers = sorted({pooled.offer for pooled in known.pooled})
    if offer not in offers:
        raise WinbackError(f"{path} knows nothing of the offer {offer!r}. {did_you_mean(offer, offers)}")
    found = {pooled.metric: pooled for pooled in known.pooled if pooled.offer == offer}
    if metric not in found:
        why = " Its page says what was not pooled, and why." if known.notes else ""
        raise WinbackError(f"{path} has {', '.join(sorted(found))} of {offer!r}, not {metric!r}.{why}")
    return found[metric].next or replace(found[metric].mean, low=None, high=None, se=None)


def pool(
    estimates: Sequence[Estimate],
    *,
    offer: str,
    metric: str,
    experiments: Sequence[str],
    label: str = "",
    is_kind: bool = False,
    level: float = 0.95,
    within: tuple[float, float] = ANYWHERE,
    alike: Mapping[str, Value] | None = None,
) -> Pooled:
    """Pool the estimates y_i of one offer, one a test, each with its standard error s_i: random effects.

    Mean: tau**2 by Paule & Mandel (1982), weights w_i = 1 / (tau**2 + s_i**2), sum w y / sum w with variance 1 / sum w
    and t with k - 1 degrees of freedom: the interval of Hartung & Knapp (Statistics in Medicine 20, 2001) and Sidik &
    Jonkman (2002), whose factor max(1, sum w (y - mean)**2 / (k - 1)) is always 1 with this tau. Next test and shrunken
    estimates: tau**2 is not taken as known but averaged over its confidence distribution, see `spreads`. I**2 =
    max(0, 1 - (k - 1) / Q), Q with weights 1 / s_i**2: Higgins & Thompson (Statistics in Medicine 21, 2002).
    `within`: what the metric can be; intervals end there. `alike`: the settings of the tests, kept with the result.
    """
    first = Pooled(
        offer=offer,
        label=label or offer,
        is_kind=is_kind,
        metric=metric,
        unit=estimates[0].unit,
        experiments=tuple(experiments),
        estimates=tuple(estimates),
        mean=estimates[0],
        shrunken=(estimates[0],),
        alike=dict(alike or {}),
    )
    return _pooled(first, level=level, within=within) if first.k > 1 else first


def _pooled(first: Pooled, *, level: float, within: tuple[float, float]) -> Pooled:
    """Return several tests pooled, of which `first` knows the estimates."""
    estimates = first.estimates
    y, noise = _numbers(estimates, first.experiments)
    k, n = len(y), sum(estimate.n for estimate in estimates)
    tau2 = moment_variance(y[:, None], noise=noise, dimensions=1)
    centre = _centre(y, noise, np.array([tau2]))
    middle, error = float(centre.mean[0]), math.sqrt(centre.variance[0])
    half = t_quantile(level, df=k - 1) * error
    i2, p = _heterogeneity(y, noise)

    def estimate(value: float, low: float, high: float, *, n: int, se: float | None = None) -> Estimate:
        low, high = max(within[0], low), min(within[1], high)
        return Estimate(value=value, low=low, high=high, level=level, n=n, unit=first.unit, se=se)

    following, so_far = _unknown_spread(y, noise)
    return replace(
        first,
        mean=estimate(middle, middle - half, middle + half, n=n, se=error),
        next=estimate(middle, *following.interval(level), n=n) if k >= FOR_THE_NEXT else None,
        shrunken=tuple(
            estimate(float(mixture.means.mean()), *mixture.interval(level), n=one.n)
            for mixture, one in zip(so_far, estimates, strict=True)
        ),
        weights=tuple(map(float, centre.weights[0] / centre.weights[0].sum())),
        tau=math.sqrt(tau2),
        i2=i2,
        p=p,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Centre:
    """Weights (spreads, tests), weighted means and their variances (spreads), for each tau**2."""

    weights: Floats
    mean: Floats
    variance: Floats


def _centre(y: Floats, noise: Floats, tau2: Floats) -> _Centre:
    weights = 1 / (tau2[:, None] + noise)
    total = weights.sum(axis=1)
    return _Centre(weights=weights, mean=weights @ y / total, variance=1 / total)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mixture:
    """An even mixture of normal distributions."""

    means: Floats
    variances: Floats

    def interval(self, level: float) -> tuple[float, float]:
        """Return the equal-tailed interval."""
        from scipy.optimize import brentq
        from scipy.special import ndtr

        z, scale, found = normal_quantile(level), np.sqrt(self.variances), []
        for side in (-1, 1):
            ends = self.means + side * z * scale
            edge = 1e-9 * float(scale.max())  # where all are the same, both ends are the root
            low, high, share = float(ends.min()) - edge, float(ends.max()) + edge, 0.5 + side * level / 2

            def excess(x: float, share: float = share) -> float:
                return float(ndtr((x - self.means) / scale).mean()) - share

            found.append(float(brentq(excess, low, high, xtol=EXACT * (high - low))))
        return found[0], found[1]


def _unknown_spread(y: Floats, noise: Floats) -> tuple[_Mixture, list[_Mixture]]:
    """Return the distribution of the true effect in the next test, and of that in each test so far.

    Given tau**2 the next is N(mean, tau**2 + 1 / sum w); that of test i is N(mean + b (y_i - mean), b s_i**2 +
    (1 - b)**2 / sum w), b = tau**2 w_i (best linear unbiased prediction; Raudenbush & Bryk 1985).
    """
    tau2 = spreads(y, noise)
    centre = _centre(y, noise, tau2)
    keeps = tau2[:, None] * centre.weights
    drawn = centre.mean[:, None] + keeps * (y - centre.mean[:, None])
    error = keeps * noise + (1 - keeps) ** 2 * centre.variance[:, None]
    so_far = [_Mixture(means=means, variances=variances) for means, variances in zip(drawn.T, error.T, strict=True)]
    return _Mixture(means=centre.mean, variances=tau2 + centre.variance), so_far


def spreads(y: Floats, noise: Floats) -> Floats:
    """Return tau**2 at POINTS equal steps of its confidence distribution, ascending: shape (POINTS,).

    With the true tau**2, Q(tau**2) = sum w (y - mean)**2 is chi-squared with k - 1 degrees of freedom, so tau**2 <= t
    with confidence P(chi2 > Q(t)): the Q profile, Viechtbauer (Statistics in Medicine 26, 2007). Averaged over it the
    prediction interval holds with few tests too, as Nagashima, Noma & Furukawa found (Statistical Methods in Medical
    Research 28, 2019): docs/decisions/0006-next-test.md has the coverage, and that of the usual interval.
    """
    from scipy.optimize import elementwise
    from scipy.special import chdtri

    def excess(tau2: Floats, expected: Floats) -> Floats:
        centre = _centre(y, noise, tau2)
        squares: Floats = (centre.weights * (y - centre.mean[:, None]) ** 2).sum(axis=1)
        return squares - expected

    expected = chdtri(len(y) - 1, (np.arange(POINTS) + 0.5) / POINTS)
    found = np.zeros(POINTS)  # exactly 0 where Q(0) is small enough
    above = excess(found, expected) > 0
    if above.any():
        high = ((y - y.mean()) ** 2).sum() / expected[above]
        roots = elementwise.find_root(excess, (np.zeros(len(high)), high), args=(expected[above],))
        found[above] = roots.x
    return found


def _numbers(estimates: Sequence[Estimate], experiments: Sequence[str]) -> tuple[Floats, Floats]:
    """Return values and variances, each of shape (tests,)."""
    for estimate, experiment in zip(estimates, experiments, strict=True):
        if estimate.value is None or not estimate.se:
            found = f"the value {estimate.value} with the standard error {estimate.se}"
            cure = "Leave it out, or read the test out again."
            raise WinbackError(f"{experiment} has {found}: that cannot be pooled. {cure}")
    return np.array([e.value for e in estimates]), np.array([e.se for e in estimates], dtype=float) ** 2


def _heterogeneity(y: Floats, noise: Floats) -> tuple[float, float]:
    """Return I**2 and the p value of Cochran's Q, chi-squared with k - 1 degrees of freedom."""
    from scipy.special import chdtrc

    q = float(((y - (y / noise).sum() / (1 / noise).sum()) ** 2 / noise).sum())
    df = len(y) - 1
    return (1 - df / q if q > df else 0.0), float(chdtrc(df, q))


def moment_variance(points: Floats, *, noise: Floats, dimensions: int) -> float:
    """Return the variance of true values of which `points` (groups, anything) are noisy observations.

    The t >= 0 at which sum_g |x_g - x~|^2 / (t + noise_g) has its expectation, dimensions x (groups - 1), x~ the
    mean with weights 1 / (t + noise_g): Paule & Mandel 1982. `dimensions`: in how many the points are free.

    >>> round(moment_variance(np.array([[1.0], [3.0], [5.0]]), noise=np.array([1.0, 1.0, 1.0]), dimensions=1), 6)
    3.0
    """
    from scipy.optimize import brentq

    expected = dimensions * (len(points) - 1)
    centred = points - points.mean(axis=0)
    squares = float((centred**2).sum())
    if expected == 0 or squares == 0:
        return 0.0
    noise = np.maximum(noise, 1e-12 * squares)

    def excess(variance: float) -> float:
        weight = 1 / (variance + noise)
        return float(weight @ ((centred - weight @ centred / weight.sum()) ** 2).sum(axis=1)) - expected

    high = squares / expected + float(noise.max())
    return 0.0 if excess(0.0) <= 0 else float(brentq(excess, 0.0, high, xtol=EXACT * high))
