"""From joint estimates to a verdict that can also say "not separable"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from experiments.checks import Check
from experiments.estimate import DRAWS, jackknife_covariance, root_of, simultaneous_quantile
from experiments.plan import Sheet
from experiments.words import listed, money, number, share

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tone = Literal["go", "wait", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The first thing an executive reads."""

    word: str
    tone: Tone
    sentence: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Offers on one objective, best first, with what separates them.

    Intervals hold for all offers and pairs at once.
    """

    offers: tuple[str, ...]
    values: tuple[float, ...]
    worth_it: tuple[bool | None, ...]  # better than doing nothing, worse, or open
    behind: tuple[tuple[float, float, float], ...]  # difference to the best with bounds; first is zero
    tied: tuple[str, ...]  # the best and all that cannot be told from it
    p_best: tuple[float, ...]
    expected_loss: tuple[float, ...]  # of choosing the offer, in the objective's unit
    more: float | None  # how many times the customers that would separate the second from the best


def rank(
    replicates: NDArray[np.float64],
    offers: tuple[str, ...],
    *,
    df: float,
    level: float,
    tolerance: float = 0.0,
    nothing: float = 0.0,
    seed: int = 0,
) -> Ranking:
    """Rank offers on an objective by its jackknife replicates: shape (1 + buckets, offers), row 0 the estimate.

    `nothing` is the objective's value of doing nothing. Offers nearer than `tolerance` are equivalent.
    """
    order = np.argsort(-replicates[0], kind="stable")
    sorted_replicates = replicates[:, order]
    values, covariance = sorted_replicates[0], jackknife_covariance(sorted_replicates[1:])
    error = np.sqrt(np.diag(covariance))
    q = simultaneous_quantile(covariance, df=df, level=level, seed=seed)
    low, high = values - nothing - q * error, values - nothing + q * error
    behind = _behind(sorted_replicates, df=df, level=level, seed=seed)
    p_best, loss = _joint(values, covariance, seed=seed)
    names = tuple(offers[i] for i in order)
    tied = tuple(name for name, (_, bound, _) in zip(names, behind, strict=True) if bound <= tolerance)
    return Ranking(
        offers=names,
        values=tuple(map(float, values)),
        worth_it=tuple(True if a > 0 else False if b < 0 else None for a, b in zip(low, high, strict=True)),
        behind=behind,
        tied=tied,
        p_best=p_best,
        expected_loss=loss,
        more=_times_more(behind) if len(tied) > 1 else None,
    )


def _behind(
    replicates: NDArray[np.float64], *, df: float, level: float, seed: int
) -> tuple[tuple[float, float, float], ...]:
    """Return best minus each offer with bounds that hold for all pairs of offers at once."""
    count = replicates.shape[1]
    if count == 1:
        return ((0.0, 0.0, 0.0),)
    first, second = np.triu_indices(count, 1)
    covariance = jackknife_covariance(replicates[1:, first] - replicates[1:, second])
    q = simultaneous_quantile(covariance, df=df, level=level, seed=seed)
    difference = replicates[0, 0] - replicates[0, 1:]
    error = np.sqrt(np.diag(covariance))[: count - 1]  # the first pairs are those with the best
    rows = zip(difference, difference - q * error, difference + q * error, strict=True)
    return ((0.0, 0.0, 0.0), *((float(d), float(a), float(b)) for d, a, b in rows))


def _joint(
    values: NDArray[np.float64], covariance: NDArray[np.float64], *, seed: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return P(best) and the expected loss of each offer by joint draws, flat prior."""
    noise = np.random.default_rng(seed).standard_normal((DRAWS, len(values)))
    draws = values + np.einsum("ij,kj->ik", noise, root_of(covariance))
    best = draws.max(axis=1)
    p_best = np.bincount(draws.argmax(axis=1), minlength=len(values)) / DRAWS
    return tuple(map(float, p_best)), tuple(float(np.mean(best - draws[:, i])) for i in range(len(values)))


def _times_more(behind: tuple[tuple[float, float, float], ...]) -> float | None:
    """Return how many times the customers make the second's interval just miss zero, at today's difference."""
    difference, low, _ = behind[1]
    return None if difference <= 0 else ((difference - low) / difference) ** 2


GOALS = {
    "profit": "net profit per customer contacted",
    "roi": "return on investment",
    "returned": "the share who returned",
    "months": "months retained",
}


def verdict(sheet: Sheet, *, ranking: Ranking | None, checks: Sequence[Check], detail: str = "") -> Verdict:
    """Return the verdict on the declared objective, in plain words with numbers."""
    stops = [check for check in checks if check.state == "stop"]
    if stops:
        word = "Interim: do not decide" if stops[0].name == "Read date" else "Do not use these numbers"
        return Verdict(word=word, tone="stop", sentence=stops[0].reason, detail=stops[0].todo)
    if sheet.holdout is None:
        return Verdict(
            word="Gross figures, no verdict",
            tone="wait",
            sentence="There was no holdout, so nobody knows who would have come back without an offer.",
            detail="Keep a holdout in the next test. The figures below are gross, not incremental.",
        )
    goal = GOALS[sheet.objective]
    if ranking is None:
        return Verdict(word="No verdict", tone="wait", sentence=f"The offers cannot be ranked on {goal}: an offer "
                       "without cost has no return on investment.", detail="Declare another objective.")  # fmt: skip
    labels = {arm: offer.label or arm for arm, offer in sheet.arms.items()}
    return _choice(sheet, ranking, labels, detail=detail)


def _choice(sheet: Sheet, ranking: Ranking, labels: Mapping[str, str], *, detail: str) -> Verdict:
    leader, goal = labels[ranking.offers[0]], GOALS[sheet.objective]
    shown = _shown(sheet, ranking.values[0])
    if all(worth is False for worth in ranking.worth_it):
        return Verdict(word="No offer beats doing nothing", tone="stop", sentence=f"Every offer is worse than leaving "
                       f"customers alone; the least bad is {leader} with {shown} ({goal}).", detail=detail)  # fmt: skip
    if ranking.worth_it[0] is not True:
        return Verdict(word="Not enough data", tone="wait", sentence=f"{leader} looks best on {goal} with {shown}, but "
                       "that may be chance: doing nothing is not ruled out.", detail=detail)  # fmt: skip
    if len(ranking.tied) == 1:
        return Verdict(word=f"Choose {leader}", tone="go", sentence=f"{leader} is best on {goal}: {shown}"
                       f"{_ahead(sheet, ranking, labels)}.", detail=detail)  # fmt: skip
    tied = [labels[name] for name in ranking.tied]
    more = ""
    if ranking.more is not None and ranking.more < MOST_TIMES:
        times = number(ranking.more, digits=0)
        more = f" It would take about {times} times as many customers to tell {tied[0]} from {tied[1]}."
    rest = [labels[name] for name in ranking.offers if name not in ranking.tied]
    behind = f" {listed(rest)} {'is' if len(rest) == 1 else 'are'} behind." if rest else ""
    return Verdict(
        word=f"{listed(tied, last='or')}: not separable",
        tone="wait",
        sentence=f"On {goal} this test cannot tell {listed(tied)} apart; {leader} is nominally first with {shown}."
        f"{behind}{more}",
        detail=detail,
    )


MOST_TIMES = 1000  # beyond it "so many times more customers" is no advice


def _ahead(sheet: Sheet, ranking: Ranking, labels: Mapping[str, str]) -> str:
    if len(ranking.offers) == 1:
        return ""
    difference, low, high = ranking.behind[1]
    bounds = f"{_shown(sheet, low)} to {_shown(sheet, high)}"
    return f", {_shown(sheet, difference)} ahead of {labels[ranking.offers[1]]} ({bounds})"


def _shown(sheet: Sheet, value: float) -> str:
    if sheet.objective == "profit":
        return money(value, sheet.currency)
    if sheet.objective == "months":
        return f"{number(value)} months"
    return share(value, digits=0 if sheet.objective == "roi" else 2)


def faces(best: Mapping[str, str], *, among: str) -> str:
    """Say so where the most accepted offer is not the one that earns most; "" where it is.

    `best`: the label of the best offer on accepted or returned, net and roi. `among`: which offers.
    """
    liked = best.get("accepted", best.get("returned"))
    earns, efficient = best.get("net"), best.get("roi")
    if liked is None or earns is None or liked == earns:
        return ""
    verb = "accepted" if "accepted" in best else "answered"
    third = f", and {efficient} returns most per unit of cost" if efficient not in (None, earns) else ""
    return (f"{among} the most {verb} one is not the most profitable one: {liked} is {verb} most, {earns} earns "
            f"most{third}.")  # fmt: skip
