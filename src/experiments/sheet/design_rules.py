"""What a test must be able to tell, and what is known before it: `design:` in the sheet."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from experiments.sheet.strict import Strict

Rate = Annotated[float, Field(strict=True)]  # yes and no are no numbers


class DesignRules(Strict):
    """What the test must be able to tell, what is known before it, and what there is to spend."""

    power: float = Field(default=0.8, gt=0.5, lt=1, description="chance to tell a difference that is there")
    correction: Literal["simultaneous", "holm", "bonferroni", "none"] = Field(
        default="simultaneous", description="for several comparisons: simultaneous, holm, bonferroni, none"
    )
    compare: Literal["offers", "holdout"] = Field(
        default="offers", description="what it must tell: the best offer from the others, or each from the holdout"
    )
    past: str | None = Field(
        default=None,
        description="sheet of a past test, relative to this one: its customers tell how much months and money vary",
    )
    pooled: str | None = Field(
        default=None,
        description="pooled.json of `winback compare`, relative to the sheet: what to expect of each offer",
    )
    accepted: dict[str, Rate] = Field(
        default_factory=dict,
        description="without a past test: the simulated telecom, calibrated so that this share "
        "of its customers accepts each offer",
    )
    returning: float | None = Field(
        default=None, ge=0, le=1, description="with `accepted`: share who return by themselves"
    )
    like: dict[str, str] = Field(
        default_factory=dict,
        description="arm: the arm of the past test, or of the simulated "
        "telecom, that it resembles; left out: the one of its name",
    )
    rates: dict[str, Rate] = Field(
        default_factory=dict, description="without both: share of each arm hoped to return; sizes for returns only"
    )
    reached: float = Field(
        default=1.0, gt=0, le=1, description="share whom a contact reaches, of those it reached then"
    )
    follow_up: tuple[int, int] | None = Field(
        default=None,
        description="months the last and the first customer are watched, where they are assigned over "
        "time; left out: the horizon is waited for",
    )
    budget: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="money for the test")
    weeks: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="weeks in which the callers of `contacts` can call; left out: until the deadline",
    )
    calls_each: float = Field(default=1.0, gt=0, allow_inf_nan=False, description="calls an assigned customer takes")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        sources = [name for name in ("past", "accepted", "rates") if getattr(self, name)]
        if len(sources) > 1:
            raise ValueError(
                f"{' and '.join(map(repr, sources))} are both given: what is known before the test comes "
                "from one of them."
            )
        for name, rate in (self.accepted | self.rates).items():
            if not 0 <= rate <= 1:
                raise ValueError(f"the rate of {name!r} is {rate}: write a share from 0 to 1, 45 % is 0.45.")
        if self.pooled and not (self.past or self.accepted):
            raise ValueError("pooled: it says what to expect, not how much customers differ. Give `past` too.")
        for name, given in (("reached", self.reached < 1), ("like", bool(self.like))):
            if given and not (self.past or self.accepted):
                raise ValueError(
                    f"{name}: it goes with `past` or `accepted`. Stated `rates` are of everybody assigned, arm by arm."
                )
        if self.returning is not None and not self.accepted:
            raise ValueError("returning: it goes with `accepted`.")
        if self.follow_up and not 1 <= self.follow_up[0] <= self.follow_up[1]:
            raise ValueError(f"`follow_up` is {list(self.follow_up)}: months of the last customer, then of the first.")
        return self
