"""What one customer of each arm brings, from a past test or from the simulator: where a size for money comes from.

A textbook knows the noise of a share. That of months, money and return on investment must have been seen once:
in the cube of an earlier test (jackknife), or in the simulated telecom, calibrated to the rates that are stated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.errors import WinbackError
from experiments.metrics import retention
from experiments.metrics.cube import Cube
from experiments.metrics.estimates import GAINED, Reading, ratio, returned_replicates
from experiments.metrics.objectives import NO_TERMS, OBJECTIVES, Terms
from experiments.sheet.sheet import Sheet
from experiments.stats.intervals import jackknife_covariance
from experiments.stats.power import Contrast, Pair, Question, inflation, paired

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ROUNDING = 1e-12  # of a score, relative
STEP = 1e-6  # of a numeric derivative, relative; the error is of its square
NUMBERS = ("value", "cost", "months", "active", "returned")  # what objectives are made of, in this order


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Months of outcomes of one assigned customer: means and covariances of an arm, follow-up complete.

    The outcomes stand in `columns`, (series, month): value and cost discounted, in currency, active, and returned
    within the window. `noise` is what the estimates vary by, `believed` what the jackknife of the readout takes
    them to vary by: it does not see that a stratified assignment evens out the strata.
    """

    arms: tuple[str, ...]
    holdout: str
    columns: tuple[tuple[str, int], ...]
    mean: Floats  # (arms, columns)
    noise: Floats  # (arms, columns, columns)
    believed: Floats
    df: float  # degrees of freedom of the readout's jackknife
    buckets: int | None = None  # from which the noise is estimated; None: exact
    kurtosis: float = 0.0  # excess, of the buckets' value in the offer of the heaviest tail

    @property
    def offers(self) -> tuple[str, ...]:
        """The arms without the holdout."""
        return tuple(arm for arm in self.arms if arm != self.holdout)

    @property
    def months(self) -> NDArray[np.int64]:
        """Month of each column."""
        return np.array([month for _, month in self.columns])

    @property
    def error(self) -> float:
        """Relative standard error of a variance, and so of a size; 0 where it is exact.

        sqrt(2 / (buckets - 1) + kurtosis / buckets): a few customers worth many times the others make it larger.
        """
        if not self.buckets:
            return 0.0
        return math.sqrt(2 / max(1, self.buckets - 1) + max(0.0, self.kurtosis) / self.buckets)

    def folded(self, covariance: Floats, followed: Sequence[float] | None) -> Floats:
        """Return the covariance of NUMBERS of each arm: (arms, numbers, numbers)."""
        fold = self._fold()
        inflated = covariance * inflation(followed, self.months)
        return np.asarray(np.einsum("fk,akl,gl->afg", fold, inflated, fold))

    def numbers(self) -> Floats:
        """Return the means of NUMBERS of each arm: (arms, numbers)."""
        return np.asarray(self.mean @ self._fold().T)

    def _fold(self) -> Floats:
        last = max((month for name, month in self.columns if name == "active"), default=-1)
        makes = {"months": "active"}
        return np.array([[makes.get(number, number) == name and (number != "active" or month == last)
                          for name, month in self.columns] for number in NUMBERS], float)  # fmt: skip


# From a past test.
def evidence_of(cube: Cube, sheet: Sheet) -> Evidence:
    """Return what a past test tells of its customers: the jackknife over buckets, each arm by itself.

    What staggered follow-up added to the noise is taken out again, month by month: the next test may be watched
    otherwise. Costs are those of the sheet; a fixed cost counts a head as in that test.
    """
    if sheet.holdout is None:
        raise WinbackError("The past test has no holdout, so nobody knows what its offers gained. Size on shares "
                           "instead, or plan a first test with a holdout.")  # fmt: skip
    _refuse_unwatched(cube, months=min(cube.months, max(sheet.horizon_months, sheet.window_months)))
    reading = Reading(cube=cube, sheet=sheet.model_copy(update={"winsorise": False, "adjust": False}))
    series, columns = _observed(reading)
    months, n = np.array([month for _, month in columns]), cube.by_arm("assigned")
    followed = np.minimum.accumulate(cube.by_arm("followed") / n[:, None], axis=1)
    noise = np.stack([n[a] * jackknife_covariance(series[1:, a]) / inflation(followed[a], months)
                      for a in range(len(cube.arms))])  # fmt: skip
    offers = [arm != sheet.holdout for arm in cube.arms]
    value = series[1:, :, [name == "value" for name, _ in columns]].sum(axis=2)[:, offers]
    apart = value - value.mean(axis=0)
    tails = (apart**4).mean(axis=0) / np.maximum((apart**2).mean(axis=0) ** 2, np.finfo(float).tiny) - 3
    return Evidence(arms=cube.arms, holdout=sheet.holdout, columns=columns, mean=series[0], noise=noise, believed=noise,
                    df=float(reading.df), buckets=reading.df + 1, kurtosis=float(tails.max()))  # fmt: skip


def _observed(reading: Reading) -> tuple[Floats, tuple[tuple[str, int], ...]]:
    """Return the monthly replicates of a test, (1 + buckets, arms, columns), and the columns."""
    window = min(reading.sheet.window_months, reading.cube.months)
    parts = {"value": reading.money["value"], "cost": reading.money["cost"]}
    if reading.cube.dated:
        parts["active"] = retention.active_share(reading.cube)[..., : reading.horizon]
    columns = [(name, month) for name, part in parts.items() for month in range(part.shape[-1])]
    returned = returned_replicates(reading.cube, window_months=window)
    return np.concatenate((*parts.values(), returned[..., None]), axis=-1), (*columns, ("returned", window - 1))


def _refuse_unwatched(cube: Cube, *, months: int) -> None:
    unseen = (cube.left_out("followed")[..., :months] <= 0).any(axis=(0, 1))
    if unseen.any():
        raise WinbackError(f"Too few customers of the past test were watched for {int(unseen.argmax()) + 1} months. "
                           "Read a shorter horizon and window, or a later day.")  # fmt: skip


# From evidence to a question.
def diluted_evidence(evidence: Evidence, *, reached: float, contact: float = 0.0) -> Evidence:
    """Return the evidence where only a share of the customers that were reached then is reached now.

    The others behave like the holdout, but for the `contact` cost of the attempts. They stay in: intention to treat.
    """
    place, lost = evidence.arms.index(evidence.holdout), 1 - reached
    nothing = evidence.mean[place] + [contact * (column == ("cost", 0)) for column in evidence.columns]
    mean, noise, believed = evidence.mean.copy(), evidence.noise.copy(), evidence.believed.copy()
    for a in (a for a in range(len(evidence.arms)) if a != place):
        gap = evidence.mean[a] - nothing
        mean[a] = nothing + reached * gap
        between = reached * lost * np.outer(gap, gap)
        for old, new in ((evidence.noise, noise), (evidence.believed, believed)):
            new[a] = reached * old[a] + lost * old[place] + between
    return replace(evidence, mean=mean, noise=noise, believed=believed)


def question_of(
    evidence: Evidence,
    *,
    objective: str = "profit",
    pairs: Sequence[Pair] | str | None = None,
    effects: Mapping[Pair, float] | None = None,
    followed: Sequence[float] | None = None,
    arms: Sequence[str] | None = None,
    terms: Terms = NO_TERMS,
    as_read: bool = True,
) -> Question:
    """Return the question which offer is better on an objective, whichever it is.

    An objective is a function of value, cost, months, active and returned of the arms; its noise follows by the delta
    method. `pairs`: of arms, the holdout standing for doing nothing; None: all pairs of offers. `effects`: the
    differences that matter; by default those of the evidence, which flatter the offer that led a past test.
    `followed`: planned share followed to the end of each month; None: the horizon is waited for.
    `arms`: those of the next test; all by default. `as_read`: the test estimates its noise as the readout does, by
    200 buckets that do not see the strata; False: the noise is known, as in a textbook.
    """
    chosen, values, slopes = _scored(evidence, objective, pairs=pairs, terms=terms)
    planned = tuple(evidence.arms if arms is None else arms)
    rows = [evidence.arms.index(arm) for arm in planned]
    if (lost := np.abs(slopes).sum(axis=(1, 2)) * [name not in planned for name in evidence.arms]).any():
        name = evidence.arms[int(lost.argmax())]
        raise WinbackError(f"The objective {objective!r} needs the arm {name!r}, which is not in {list(planned)}. "
                           "Add it.")  # fmt: skip

    def noise(covariance: Floats) -> Floats:
        parts = evidence.folded(covariance, followed)
        return np.asarray(np.einsum("acf,afg,adg->acd", slopes, parts, slopes)[rows])

    contrasts = tuple(Contrast(first=pair[0], second=pair[1], effect=(effects or {}).get(pair, float(value)))
                      for pair, value in zip(chosen, values, strict=True))  # fmt: skip
    return Question(
        arms=planned,
        contrasts=contrasts,
        noise=noise(evidence.noise),
        believed=noise(evidence.believed) if as_read else None,
        df=evidence.df if as_read else math.inf,
    )


def _scored(
    evidence: Evidence, objective: str, *, pairs: Sequence[Pair] | str | None, terms: Terms
) -> tuple[tuple[Pair, ...], Floats, Floats]:
    """Return the pairs, their differences on the objective, and its slopes: (arms, pairs, numbers)."""
    if not any(name == "active" for name, _ in evidence.columns) and "months" in _needs(objective):
        raise WinbackError(f"The past test has no dates, so no {objective!r}. Size it on profit, roi or returned.")
    chosen = paired(evidence.arms, tuple(combinations(evidence.offers, 2)) if pairs is None else pairs)
    middle = evidence.numbers()
    steps = STEP * np.maximum(np.abs(middle), np.abs(middle).max(axis=0) + (middle == 0).all(axis=0))
    moves = np.zeros((*middle.shape, *middle.shape))
    places = np.indices(middle.shape).reshape(2, -1)
    moves[places[0], places[1], places[0], places[1]] = steps.ravel()
    around = np.concatenate((middle[None], (middle + moves).reshape(-1, *middle.shape),
                             (middle - moves).reshape(-1, *middle.shape)))  # fmt: skip
    scores = _scores(evidence, around, objective=objective, terms=terms)
    if not np.isfinite(scores).all():
        raise WinbackError(f"The objective {objective!r} cannot be told for every offer: one costs nothing, so it has "
                           "no return on investment. Size on profit.")  # fmt: skip
    first, second = (np.array([evidence.arms.index(pair[end]) for pair in chosen]) for end in (0, 1))
    gaps = scores[:, first] - scores[:, second]
    up, down = np.split(gaps[1:].reshape(2 * len(middle), -1, len(chosen)), 2)
    rise = up - down
    rise[np.abs(rise) < ROUNDING * np.abs(scores[0]).max()] = 0.0  # the holdout's share moves no pair of offers
    return chosen, gaps[0], np.swapaxes(rise / (2 * steps[..., None]), 1, 2)


def _needs(objective: str) -> set[str]:
    """Return "months" where the objective rests on months."""
    return {"months"} if {"months_gained", "active_gained"} & set(OBJECTIVES[objective].needs) else set()


def _scores(evidence: Evidence, numbers: Floats, *, objective: str, terms: Terms) -> Floats:
    """Return the objective of every arm, doing nothing 0: (rows, arms) from numbers (rows, arms, numbers)."""
    base = evidence.arms.index(evidence.holdout)
    offers = [a for a in range(len(evidence.arms)) if a != base]
    gains = {GAINED[name]: numbers[:, offers, place] - numbers[:, [base], place]
             for place, name in enumerate(NUMBERS)}  # fmt: skip
    gains["net"] = gains["value_gained"] - gains["cost_added"]
    gains["roi"] = ratio(gains["net"], gains["cost_added"])
    scores = np.zeros(numbers.shape[:2])
    scores[:, offers] = OBJECTIVES[objective].score(gains, terms)
    return scores
