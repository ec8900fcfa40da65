"""What a planned test can tell, and what it costs at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import WinbackError
from experiments.keep import keep
from experiments.offers import costs_of
from experiments.plan import Sheet, read_sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedArm:
    """An arm of the plan; money in currency, at full take-up."""

    name: str
    label: str
    share: float
    customers: int
    cost_per_acceptor: float
    budget: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The size of a test of shares, and the difference it can tell."""

    experiment: str
    question: str
    currency: str
    objective: str
    customers: int
    arms: tuple[PlannedArm, ...]
    expected_returned: float
    power: float
    level: float
    detectable: float  # difference of returned shares between two offers, in the smallest arm
    needed: int  # customers an arm to tell expected_returned from expected_returned - 4 points
    curve: tuple[tuple[int, float], ...]  # customers an arm, detectable difference

    @property
    def smallest_arm(self) -> int:
        """Customers in the smallest arm."""
        return min(arm.customers for arm in self.arms)

    @property
    def budget(self) -> float:
        """Cost of the test if everybody accepts and stays through every promotion."""
        return sum(arm.budget for arm in self.arms)

    def write(self, path: str | Path) -> None:
        """Write the plan as JSON, whole or not at all."""
        keep(self, path)


GAP = 0.04  # the difference of the Harvard Business Review case: 45 against 41 % accepted


def design_test(sheet: str | Path, *, customers: int, expected_returned: float = 0.45, power: float = 0.8) -> Design:
    """Plan a test of `customers` customers by the shares of the sheet.

    `expected_returned` is the share that the best offer is hoped to bring back. Sizes are for a
    two-sided comparison of two shares (statsmodels, `samplesize_proportions_2indep_onetail`).
    """
    plan, _ = read_sheet(sheet)
    plan.need_arms()
    if not 0 < expected_returned < 1 or not 0 < power < 1:
        raise WinbackError(f"expected_returned is {expected_returned}, power {power}: both are shares, such as 0.45.")
    if customers < 2 * len(plan.arms):
        raise WinbackError(f"{customers} customers are too few for {len(plan.arms)} arms: take two an arm or more.")
    arms = tuple(_planned(plan, name, customers) for name in plan.arms)
    smallest = min(arm.customers for arm in arms)
    sizes = sorted({smallest, *(round(10 ** (2 + step / 4)) for step in range(17))})
    return Design(
        experiment=plan.experiment,
        question=plan.question,
        currency=plan.currency,
        objective=plan.objective,
        customers=customers,
        arms=arms,
        expected_returned=expected_returned,
        power=power,
        level=plan.level,
        detectable=detectable(smallest, base=expected_returned, power=power, level=plan.level),
        needed=needed(expected_returned, expected_returned - min(GAP, expected_returned / 2), power=power,
                      level=plan.level),
        curve=tuple((n, detectable(n, base=expected_returned, power=power, level=plan.level)) for n in sizes),
    )  # fmt: skip


def needed(share: float, other: float, *, power: float = 0.8, level: float = 0.95) -> int:
    """Return the customers an arm that tell two shares apart, two-sided.

    >>> needed(0.45, 0.41), needed(0.47, 0.45)
    (2404, 9748)
    """
    from math import ceil

    from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail

    gap, base, alpha = abs(share - other), min(share, other), (1 - level) / 2
    size: float = samplesize_proportions_2indep_onetail(gap, base, power, alpha=alpha, alternative="larger")
    return ceil(size)


def detectable(customers: int, *, base: float, power: float = 0.8, level: float = 0.95) -> float:
    """Return the smallest shortfall from the share `base` that `customers` an arm can tell; at most `base`."""
    from scipy.optimize import brentq

    def excess(gap: float) -> float:
        return needed(base, base - gap, power=power, level=level) - customers

    widest = base * (1 - 1e-6)
    return base if excess(widest) > 0 else float(brentq(excess, base * 1e-4, widest, xtol=1e-6))


def _planned(plan: Sheet, name: str, customers: int) -> PlannedArm:
    total = sum(offer.share for offer in plan.arms.values())
    count = round(customers * plan.arms[name].share / total)
    each = max(_full_take_up(plan, name, factors) for factors in _strata(plan, name))
    fixed = 0.0 if name == plan.holdout else float(plan.arms[name].fixed)
    return PlannedArm(
        name=name,
        label=plan.arms[name].label or name,
        share=plan.arms[name].share / total,
        customers=count,
        cost_per_acceptor=each,
        budget=count * each + fixed,
    )


def _strata(plan: Sheet, name: str) -> Sequence[dict[str, str]]:
    """Return the factor values that choose between offers, or one empty stratum."""
    offer = plan.arms[name]
    return [{offer.by: value} for value in offer.choose] or [{}]


def _full_take_up(plan: Sheet, name: str, factors: dict[str, str]) -> float:
    costs = costs_of(name, {**plan.catalogue, **plan.arms}, factors=factors, decimals=plan.decimals)
    minor: int = 10**plan.decimals
    return (costs.contact + costs.gift + sum(cost * months for cost, months in costs.monthly)) / minor
