"""The page of a planned test: what it can tell and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments import parts
from experiments.figures import design as figures
from experiments.parts import Html
from experiments.report import shared
from experiments.words import money, share

if TYPE_CHECKING:
    from experiments.design import Design


def question(design: Design) -> Html:
    """Return the title of the page and what the test asks."""
    return parts.heading("What can the test tell, and what does it cost?", design.question)


def verdict(design: Design) -> Html:
    """Return what the planned test can tell and what it costs."""
    said = (
        f"With {design.smallest_arm:,} customers in the smallest arm it can tell offers apart that differ by "
        f"{share(design.detectable)} of customers returned. To tell {share(design.expected_returned, digits=0)} from "
        f"{share(design.expected_returned - 0.04, digits=0)} takes {design.needed:,} an arm."
    )
    enough = design.smallest_arm >= design.needed
    decides = design.objective == "returned"  # else the size that tells responses apart is not enough
    card = parts.verdict(said, word="Large enough to compare responses" if enough else "Too small to compare offers",
                         tone="go" if enough and decides else "wait",
                         detail="Money varies far more than responses: to rank offers on net profit a test needs many "
                         "times as many customers. The readout says so when they cannot be separated.")  # fmt: skip
    return card + parts.facts([
        ("Customers", f"{design.customers:,}", f"in {len(design.arms)} arms"),
        ("Smallest difference", share(design.detectable), f"power {share(design.power, digits=0)}"),
        ("Most it can cost", money(design.budget, design.currency, digits=0), "if everybody accepts and stays"),
    ])  # fmt: skip


def arms(design: Design) -> Html:
    """Return the arms, their sizes and costs."""
    import pandas as pd

    rows = [
        [share(arm.share), f"{arm.customers:,}", money(arm.cost_per_acceptor, design.currency),
         money(arm.budget, design.currency, digits=0)]
        for arm in design.arms
    ]  # fmt: skip
    columns = ["Share", "Customers", "Cost a head at full take-up", "Budget at most"]
    frame = pd.DataFrame(rows, columns=columns, index=[arm.label for arm in design.arms])
    frame.index.name = "Arm"
    return parts.section("Arms and budget", parts.table(frame, caption="The plan, arm by arm"))


def size(design: Design) -> Html:
    """Return the curve of what a test of each size can tell."""
    return parts.section("What the test can tell", shared.picture(figures.tell_apart(design)))


def method(design: Design) -> Html:
    """Return how the sizes were computed."""
    rows = {
        "Sizes": f"Two-sided comparison of two shares at level {share(design.level, digits=0)} with power "
        f"{share(design.power, digits=0)} (statsmodels, samplesize_proportions_2indep_onetail), no correction for "
        "several offers.",
        "Budget": "Contact, gifts and every month of every promotion for every customer; dearest offer where the arm "
        "chooses by segment. Shares of value are not included.",
    }
    return parts.section("Method", parts.definitions(rows), open=False)
