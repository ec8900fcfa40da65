"""A look at the customers of a company on a day: the engine, the rules, and how the sums of `sql/lost.sql` are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.common.estimate import Estimate
from experiments.data.tables import columns_of, statements
from experiments.sheet.lost_rules import Lost
from experiments.sheet.sheet import Sheet
from experiments.stats.intervals import proportion

if TYPE_CHECKING:
    import duckdb

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The engine with the tables of a company, its sheet and the rules in use."""

    con: duckdb.DuckDBPyConnection
    sheet: Sheet
    rule: Lost
    folder: Path
    last_day: date | None = None  # of any purchase there is, once they are read
    steps: dict[str, str] = field(default_factory=lambda: statements("lost"))

    def text(self, step: str, **values: object) -> str:
        """Return one step of lost.sql; values are our own or checked, never foreign text."""
        month = self.rule.as_of.year * 12 + self.rule.as_of.month
        return self.steps[step].format(as_of=self.rule.as_of.isoformat(), month=month, **values)

    def make(self, step: str, **values: object) -> None:
        """Carry out one step of lost.sql that makes a table or view, or fills one."""
        self.con.execute(self.text(step, **values))

    def rows(self, step: str, **values: object) -> list[Row]:
        """Return the rows of one step of lost.sql, by column."""
        return self.query(self.text(step, **values))

    def row(self, step: str, **values: object) -> Row:
        """Return the one row of a step, by column; 0 for a sum of nothing."""
        return {name: value or 0 for name, value in self.rows(step, **values)[0].items()}

    def query(self, text: str) -> list[Row]:
        """Return the rows of a query, by column."""
        found = self.con.execute(text)
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def value(self, text: str) -> Any:  # noqa: ANN401  whatever the engine has there
        """Return the first cell of a query."""
        return self.con.execute(text).fetchall()[0][0]

    def money(self, minor: float | None) -> float:
        """Return minor units in currency."""
        return int(minor or 0) / self.minor

    def share(self, part: int, whole: int) -> Estimate:
        """Return a share with its interval."""
        return proportion(int(part), int(whole), level=self.sheet.level)

    def knows(self, table: str, column: str) -> bool:
        """Tell whether the file of a table has a column."""
        return table in self.sheet.tables and column in columns_of(self.con, table)

    def returned(self, customers: float | None) -> int | None:
        """Return how many bought again after the day; None where the data end on it."""
        return int(customers or 0) if self.knows_later else None

    @property
    def minor(self) -> int:
        """Minor units in one of the currency, such as 100 cents."""
        units: int = 10**self.sheet.decimals
        return units

    @property
    def hour_cost(self) -> int:
        """Minor units for an hour of work; 0 unless the sheet says."""
        return round((self.rule.hour_cost or 0) * self.minor)

    @property
    def knows_later(self) -> bool:
        """Whether the data reach beyond the day: only then is it known who bought again."""
        return self.last_day is not None and self.last_day > self.rule.as_of
