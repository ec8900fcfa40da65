"""A number with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its interval. None stands for "not estimable" (value) and "no bound" (low, high)."""

    value: float | None
    low: float | None
    high: float | None
    level: float
    n: int
    unit: str
    se: float | None = None  # standard error, where one value is known well enough to be pooled with others

    @property
    def excludes_zero(self) -> bool:
        """Tell whether the whole interval lies on one side of zero."""
        return (self.low is not None and self.low > 0) or (self.high is not None and self.high < 0)


def missing(*, level: float, n: int, unit: str) -> Estimate:
    """Return the estimate of something the data cannot tell."""
    return Estimate(value=None, low=None, high=None, level=level, n=n, unit=unit)
