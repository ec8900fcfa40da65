"""A table over things of one kind, such as offers: a row each, built column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, Self, TypeVar

from experiments.common.estimate import Estimate
from experiments.common.language import say
from experiments.report import html, shared
from experiments.report.html import Html
from experiments.report.wording.metrics import METRICS

Row = TypeVar("Row")


class Table(Generic[Row]):
    """A table that grows by columns and is shown at the end.

    >>> costs = {"Discount": 7, "Upgrade": 9}
    >>> table = Table(costs, name=str, head="Offer").column("Cost", lambda offer: costs[offer])
    >>> table.head, table.rows
    (['Offer', 'Cost'], [['Discount', 7], ['Upgrade', 9]])
    """

    def __init__(
        self,
        things: Iterable[Row],
        *,
        name: Callable[[Row], object],
        head: object = "",
        currency: str | Callable[[Row], str] = "",
    ) -> None:
        """Begin with a column of the names of things, headed "Offer" unless `head` says other.

        `currency`: of the money in the columns of estimates, or of each thing.
        """
        self.things = [*things]
        self.head: list[object] = [head or say("Offer")]
        self.rows: list[list[object]] = [[name(thing)] for thing in self.things]
        self._currency = currency if callable(currency) else lambda _: currency

    def column(self, head: object, cell: Callable[[Row], object]) -> Self:
        """Add a column: its head, and what its cell says of each thing."""
        return self.columns({"": head}, lambda thing, _: cell(thing))

    def columns(self, heads: Mapping[str, object], cell: Callable[[Row, str], object]) -> Self:
        """Add a column for each key of `heads`: its head, and what its cell says of each thing and that key."""
        self.head += heads.values()
        for thing, row in zip(self.things, self.rows, strict=True):
            row += [cell(thing, key) for key in heads]
        return self

    def estimate(self, head: object, of: Callable[[Row], Estimate | None]) -> Self:
        """Add a column of values, each with its interval small below it; a dash where there is none."""
        return self.column(head, lambda thing: shared.value(of(thing), self._currency(thing)))

    def metrics(self, names: Sequence[str], of: Callable[[Row, str], Estimate | None]) -> Self:
        """Add a column of estimates for each metric, headed by its label; those that nothing has are left out."""
        heads = {name: METRICS[name].label for name in names if any(of(thing, name) for thing in self.things)}
        return self.columns(heads, lambda thing, name: shared.value(of(thing, name), self._currency(thing)))

    def html(self, *, caption: object, notes: Sequence[object] = ()) -> Html:
        """Return the table for a page."""
        return html.grid(self.head, self.rows, caption=caption, notes=notes)
