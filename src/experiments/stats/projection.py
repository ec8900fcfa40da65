"""What may come after the horizon: models of how long those still buying will go on. A guess, kept in its own box."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate, missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    # parameters (replicates, k), months (months,) -> hazard (replicates, months), its slopes (k, replicates, months)
    Hazards = Callable[[Floats, Floats], tuple[Floats, Floats]]

LAST_MONTHS = 6  # that set the constant hazard: the latest news,
LEAST_LEFT = 10  # with enough leavers behind it
SURE = 1e-9  # a hazard keeps so far from 0 and 1
MOST_STEPS = 200  # of Fisher scoring; it needs about ten
LEAST_DAMPING, MOST_DAMPING = 1e-12, 1e12
CLOSE = 1e-12  # relative gain of the likelihood below which a fit has arrived
TAIL_MONTHS = 20_000  # of a sum that has no closed form
NOTHING = 1e-6  # what its last month may add


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """What one model says of customers still buying."""

    model: str
    parameters: dict[str, float]
    log_likelihood: float | None  # of all months fitted; None for a model fitted on part of them
    survival: tuple[float, ...]  # share still buying 1, 2, ... months on
    residual: float | None  # months to come, each at its present value; None: no end in sight


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Months to come from a customer who has bought for `active_months`; the first model's with its interval."""

    active_months: int
    promotion_months: int  # left out of the fit
    discount_rate: float  # nominal a year
    residual: Estimate  # of the shifted beta-geometric; unit months, discounted
    tails: tuple[Tail, ...]  # one a model, MODELS' order; none where nobody has left yet

    @property
    def spread(self) -> tuple[float, float] | None:
        """The least and the most that a model says; None where one sees no end."""
        values = [tail.residual for tail in self.tails if tail.residual is not None]
        return (min(values), max(values)) if values and len(values) == len(self.tails) else None


def project(
    at_risk: Sequence[float],
    ended: Sequence[float],
    *,
    active_months: int,
    discount_rate: float,
    promotion_months: int = 0,
    ahead_months: int = 36,
    level: float = 0.95,
    draws: int = 400,
    seed: int = 0,
) -> Projection:
    """Project how long customers go on who have bought for `active_months` months.

    Counts by duration: place d - 1 holds those who may leave, and who left, after d months. The months of a promotion
    and the cliff at its end are left out, since no smooth model fits them; the clock starts after them.
    Interval: percentile bootstrap, `draws` times binomial leavers at each duration's own hazard. It knows nothing of
    the model being wrong: read it with `spread`.
    """
    if active_months <= promotion_months:
        raise WinbackError(f"active_months is {active_months}, but the promotion runs {promotion_months} months: nobody"
                           f" was seen without it. Use {promotion_months + 1} or more.")  # fmt: skip
    risk, gone = (np.asarray(counts, float)[promotion_months:] for counts in (at_risk, ended))
    seen = risk > 0
    risk, gone = risk[seen], gone[seen]
    clock, discount = active_months - promotion_months, 1 / (1 + discount_rate / 12)
    known = len(risk) > 1 and 0 < gone.sum() < risk.sum()
    residual = missing(level=level, n=round(float(risk.max(initial=0))), unit="months")
    tails: tuple[Tail, ...] = ()
    if known:
        tails = tuple(
            model(risk, gone, clock=clock, discount=discount, ahead=ahead_months) for model in MODELS.values()
        )
        low, high = _bootstrap(risk, gone, clock=clock, discount=discount, level=level, draws=draws, seed=seed)
        if tails[0].residual is not None:
            residual = Estimate(value=tails[0].residual, low=low, high=high, level=level, n=residual.n, unit="months")
    return Projection(
        active_months=active_months,
        promotion_months=promotion_months,
        discount_rate=discount_rate,
        residual=residual,
        tails=tails,
    )


def residual_lifetime(
    alpha: Floats | float, beta: Floats | float, *, active_months: int, discount: float
) -> NDArray[np.float64]:
    """Return the discounted expected residual lifetime of a shifted beta-geometric (Fader & Hardie 2010, eq. 6).

    (beta + n - 1) / (alpha + beta + n - 1) * 2F1(1, beta + n; alpha + beta + n; discount), in months: the next one,
    paid now, counts 1. Infinite without discount where alpha <= 1.

    >>> round(float(residual_lifetime(0.668, 3.806, active_months=1, discount=1 / 1.1)), 2)
    5.41
    """
    a, b = np.asarray(alpha, float), np.asarray(beta, float) + active_months
    if discount >= 1:
        return np.where(a > 1, (b - 1) / np.where(a > 1, a - 1, 1), np.inf)
    return np.asarray((b - 1) / (a + b - 1) * _gauss(b, a + b, discount))


def _gauss(b: Floats, c: Floats, z: float) -> Floats:
    """Return 2F1(1, b; c; z) for 0 < b < c and 0 <= z < 1 by Gauss's continued fraction (DLMF 15.7.5).

    scipy.special.hyp2f1 gives nan from c = 171 on, where the gamma function overflows: telecom customers have 200.
    """
    root = math.sqrt(1 - z)
    terms = 2 * math.ceil(20 / math.log((1 + root) / (1 - root))) + 2
    fraction = np.ones_like(c)
    for m in range(terms // 2, 0, -1):
        even = m * (c - b + m - 1) / ((c + 2 * m - 2) * (c + 2 * m - 1))
        odd = (b + m) * (c + m - 1) / ((c + 2 * m - 1) * (c + 2 * m))
        fraction = 1 - even * z / (1 - odd * z / fraction)
    return np.asarray(1 / (1 - b / c * z / fraction))


def _beta_geometric(parameters: Floats, months: Floats) -> tuple[Floats, Floats]:
    """Hazard alpha / (alpha + beta + t - 1) (Fader & Hardie 2007, eq. 7) from log(alpha / beta) and log(beta)."""
    odds, scale = parameters.T[..., None]
    later = (months - 1) * np.exp(-scale)
    hazard = 1 / (1 + np.exp(-odds) * (1 + later))
    slope = hazard * (1 - hazard)
    return hazard, np.stack((slope, slope * later / (1 + later)))


def _weibull(parameters: Floats, months: Floats) -> tuple[Floats, Floats]:
    """Hazard 1 - q ** (t ** c - (t - 1) ** c) (Nakagawa & Osaki 1975) from log(-log q) and log(c)."""
    rate, shape = np.exp(parameters.T[..., None])
    powers, before = months**shape, np.where(months > 1, (months - 1) ** shape, 0.0)
    growth = powers * np.log(months) - before * np.log(np.maximum(months - 1, 1))
    stay = np.exp(-rate * (powers - before))
    return 1 - stay, np.stack((stay * rate * (powers - before), stay * rate * shape * growth))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """A hazard with two parameters, and where the fit may look for them."""

    hazards: Hazards
    start: float  # of the second parameter; the first starts at the mean hazard
    low: tuple[float, float]
    high: tuple[float, float]


BETA_GEOMETRIC = _Form(hazards=_beta_geometric, start=3.0, low=(-12.0, -6.0), high=(12.0, 10.0))  # high: geometric
WEIBULL = _Form(hazards=_weibull, start=0.0, low=(-12.0, -2.5), high=(3.0, 1.5))


def _fit(form: _Form, at_risk: Floats, ended: Floats) -> tuple[Floats, Floats]:
    """Return the parameters (replicates, 2) of highest likelihood, and its logarithm (replicates,).

    `at_risk` has shape (months,), `ended` (replicates, months): many sets of counts at once. Fisher scoring, with
    Levenberg's damping where a step would lose.
    """
    months = np.arange(1, len(at_risk) + 1, dtype=float)
    mean = np.clip(ended.sum(axis=1) / at_risk.sum(), SURE, 1 - SURE)
    theta = np.stack((np.log(mean / (1 - mean)), np.full(len(mean), form.start)), axis=1).clip(form.low, form.high)
    best, damping = _log_likelihood(form, theta, months, at_risk, ended), np.full(len(mean), LEAST_DAMPING)
    rest = np.arange(len(mean))
    for _ in range(MOST_STEPS):
        step = _step(form, theta[rest], months, at_risk, ended[rest], damping=damping[rest]).clip(-2, 2)
        tried = np.clip(theta[rest] + step, form.low, form.high)
        found = _log_likelihood(form, tried, months, at_risk, ended[rest])
        gain = found - best[rest]
        arrived = (np.abs(gain) <= CLOSE * np.abs(found)) & ((damping[rest] < 1) | (damping[rest] >= MOST_DAMPING))
        better = rest[gain > 0]
        theta[better], best[better] = tried[gain > 0], found[gain > 0]
        damping[rest] = np.clip(damping[rest] * np.where(gain > 0, 0.1, 10), LEAST_DAMPING, MOST_DAMPING)
        rest = rest[~arrived]
        if not len(rest):
            break
    return theta, best


def _log_likelihood(form: _Form, theta: Floats, months: Floats, at_risk: Floats, ended: Floats) -> Floats:
    """Return the sum over durations of d log h + (Y - d) log(1 - h): who was last seen buying is in Y until then."""
    hazard = np.clip(form.hazards(theta, months)[0], SURE, 1 - SURE)
    return np.asarray((ended * np.log(hazard) + (at_risk - ended) * np.log1p(-hazard)).sum(axis=1))


def _step(form: _Form, theta: Floats, months: Floats, at_risk: Floats, ended: Floats, *, damping: Floats) -> Floats:
    """Return the damped scoring step: the expected information solved for the score."""
    hazard, slopes = form.hazards(theta, months)
    hazard = np.clip(hazard, SURE, 1 - SURE)
    weight = 1 / (hazard * (1 - hazard))
    score = np.einsum("krt,rt->rk", slopes, (ended - at_risk * hazard) * weight)
    information = np.einsum("krt,jrt,rt->rkj", slopes, slopes, at_risk * weight)
    # A parameter at its bound that wants to go beyond stays there, and the other does not wait for it.
    free = ~(((theta <= form.low) & (score < 0)) | ((theta >= form.high) & (score > 0)))
    score, information[:, 0, 1], information[:, 1, 0] = score * free, *2 * (information[:, 0, 1] * free.all(axis=1),)
    diagonal = np.einsum("rkk->rk", information)
    diagonal += damping[:, None] * diagonal + SURE
    return np.asarray(np.linalg.solve(information, score[..., None])[..., 0])


def _bootstrap(
    at_risk: Floats, ended: Floats, *, clock: int, discount: float, level: float, draws: int, seed: int
) -> tuple[float | None, float | None]:
    rng = np.random.default_rng(seed)
    again = rng.binomial(np.round(at_risk).astype(int), ended / at_risk, size=(draws, len(at_risk)))
    alpha, beta = _alpha_beta(_fit(BETA_GEOMETRIC, at_risk, again.astype(float))[0])
    months = residual_lifetime(alpha, beta, active_months=clock, discount=discount)
    bounds = np.quantile(months, ((1 - level) / 2, (1 + level) / 2), method="inverted_cdf")
    low, high = (float(bound) if math.isfinite(bound) else None for bound in bounds)
    return low, high


def _alpha_beta(theta: Floats) -> tuple[Floats, Floats]:
    return np.exp(theta.sum(axis=1)), np.exp(theta[:, 1])


def beta_geometric(at_risk: Floats, ended: Floats, *, clock: int, discount: float, ahead: int) -> Tail:
    """Fit the shifted beta-geometric: everybody has one chance of leaving a month, drawn from a beta distribution."""
    theta, best = _fit(BETA_GEOMETRIC, at_risk, ended[None])
    alpha, beta = (float(value[0]) for value in _alpha_beta(theta))
    months = float(residual_lifetime(alpha, beta, active_months=clock, discount=discount))
    return Tail(
        model="shifted beta-geometric",
        parameters={"alpha": alpha, "beta": beta},
        log_likelihood=float(best[0]),
        survival=_onwards(BETA_GEOMETRIC, theta, clock, ahead),
        residual=months if math.isfinite(months) else None,
    )


def weibull(at_risk: Floats, ended: Floats, *, clock: int, discount: float, ahead: int) -> Tail:
    """Fit the discrete Weibull: the hazard falls or rises as a power of time."""
    theta, best = _fit(WEIBULL, at_risk, ended[None])
    rate, shape = map(float, np.exp(theta[0]))
    paid = np.array(_onwards(WEIBULL, theta, clock, TAIL_MONTHS)) * discount ** np.arange(TAIL_MONTHS)
    return Tail(
        model="discrete Weibull",
        parameters={"q": math.exp(-rate), "c": shape},
        log_likelihood=float(best[0]),
        survival=_onwards(WEIBULL, theta, clock, ahead),
        residual=float(paid.sum()) if paid[-1] < NOTHING else None,
    )


def constant(at_risk: Floats, ended: Floats, *, clock: int, discount: float, ahead: int) -> Tail:  # noqa: ARG001  # as all
    """Let everybody leave with the hazard of the last months, for ever: LAST_MONTHS, or more until LEAST_LEFT left."""
    latest = ended[::-1].cumsum()
    last = max(LAST_MONTHS, int(np.searchsorted(latest, min(LEAST_LEFT, latest[-1]))) + 1)
    hazard = float(ended[-last:].sum() / at_risk[-last:].sum())
    stay = 1 - hazard
    return Tail(
        model="constant hazard",
        parameters={"hazard": hazard},
        log_likelihood=None,
        survival=tuple(stay**k for k in range(1, ahead + 1)),
        residual=stay / (1 - stay * discount),
    )


def _onwards(form: _Form, theta: Floats, clock: int, ahead: int) -> tuple[float, ...]:
    """Return the share still buying 1, 2, ... months after the `clock`-th."""
    hazard = form.hazards(theta, np.arange(clock, clock + ahead, dtype=float))[0][0]
    return tuple(map(float, np.cumprod(1 - hazard)))


MODELS = {"shifted beta-geometric": beta_geometric, "constant hazard": constant, "discrete Weibull": weibull}
