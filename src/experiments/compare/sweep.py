"""What a sweep found: the readout of a test under every setting, who leads where, and where that changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from experiments.common.errors import WinbackError
from experiments.common.results import Result
from experiments.common.run_records import RECORD, Run
from experiments.metrics.objectives import OBJECTIVES
from experiments.readout.readout import Arm, Readout

if TYPE_CHECKING:
    import pandas as pd

FILE = "sweep.json"  # in the folder of a sweep
COLUMNS = ("value", "low", "high", "level", "n", "unit")  # of an estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of a sweep: the swept parameters and what the test says under them."""

    parameters: dict[str, Any]
    readout: Readout

    @property
    def leader(self) -> Arm | None:
        """The offer with the best objective, however unsure that is; None where offers cannot be ranked."""
        ranking = self.readout.ranking
        return self.readout.arm(ranking.offers[0]) if ranking is not None else None

    @property
    def is_clear(self) -> bool:
        """Whether the verdict is to choose the leader."""
        return self.readout.verdict.tone == "go"

    @property
    def metric(self) -> str:
        """The metric that decides in this setting."""
        return OBJECTIVES[self.readout.objective].needs[0]

    @property
    def columns(self) -> dict[str, Any]:
        """What every row of the setting begins with: its parameters, its verdict, and who leads."""
        leads = self.leader.name if self.leader else None
        return {**self.parameters, "verdict": self.readout.verdict.tone, "leads": leads}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A place where another offer leads when one parameter takes its next value; the offers by label."""

    parameter: str
    value: Any
    following: Any
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep(Result):
    """The settings of a sweep in their order, and those that failed with the reason."""

    what: ClassVar[str] = "sweep"
    command: ClassVar[str] = "winback sweep <sheet> --over name=1,2"
    page: ClassVar[str] = "sweep"

    over: tuple[str, ...]
    settings: tuple[Setting, ...]
    failed: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that decide, in the order of the settings; one where all settings decide on the same."""
        return tuple(dict.fromkeys(setting.metric for setting in self.settings))

    @property
    def leads(self) -> Counter[str]:
        """In how many settings each offer leads, by label, the most first."""
        return Counter(dict(Counter(s.leader.label for s in self.settings if s.leader).most_common()))

    def values(self, name: str) -> list[Any]:
        """Return the values of a swept parameter, in their order."""
        return list(dict.fromkeys(setting.parameters[name] for setting in self.settings))

    def changes(self) -> Iterator[Change]:
        """Yield where another offer leads when one parameter takes its next value."""
        at = {tuple(setting.parameters.values()): setting.leader for setting in self.settings}
        for place, name in enumerate(self.over):
            for value, following in pairwise(self.values(name)):
                for key, leader in at.items():
                    other = at.get((*key[:place], following, *key[place + 1 :]))
                    if key[place] == value and leader and other and leader.name != other.name:
                        labels = {"before": leader.label, "after": other.label}
                        yield Change(parameter=name, value=value, following=following, **labels)

    def frame(self) -> pd.DataFrame:
        """Return one row a setting, offer and metric.

        Columns: the parameters; verdict (go, wait or stop) and leads (the offer ahead) of the setting; arm, metric,
        value, low, high, level, n, unit.
        """
        import pandas as pd

        rows = [
            {**setting.columns, "arm": arm.name, "metric": metric, **{name: getattr(found, name) for name in COLUMNS}}
            for setting in self.settings
            for arm in setting.readout.arms
            for metric, found in arm.estimates.items()
        ]
        return pd.DataFrame(rows).astype({"value": float, "low": float, "high": float})

    def write(self, path: str | Path) -> None:
        """Write sweep.json, and the rows beside it as sweep.parquet and sweep.csv; `path`: the file, or its folder."""
        import duckdb

        from experiments.data.columns import literal

        rows, file = self.frame(), _file(path)
        Result.write(self, file)
        rows.to_csv(file.with_suffix(".csv"), index=False)
        with duckdb.connect() as con:
            con.register("rows", rows)
            con.execute(f"COPY (SELECT * FROM rows) TO {literal(file.with_suffix('.parquet'))} (FORMAT parquet)")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return a sweep that `write` wrote; `path`: its sweep.json, or the folder of that. Raises WinbackError."""
        return super(Sweep, cls).load(_file(path))  # with slots a bare super() is that of another class

    @classmethod
    def of_runs(cls, settings: Sequence[str], *, over: Sequence[str], failed: Sequence[str] = ()) -> Self:
        """Return the sweep whose runs lie in these folders, one a setting. Raises WinbackError."""
        if not settings:
            raise WinbackError(f"A sweep without settings says nothing. Make one: `{cls.command}`.")
        found = []
        for folder in map(Path, settings):
            given = Run.read(folder / RECORD).parameters
            parameters = {name: _one(given[name]) for name in over}
            found.append(Setting(parameters=parameters, readout=Readout.load(folder / "readout.json")))
        return cls(over=tuple(over), settings=tuple(found), failed=tuple(failed))


def _file(path: str | Path) -> Path:
    return Path(path) / FILE if Path(path).is_dir() else Path(path)


def _one(value: object) -> object:
    """Return a value that can be a key and a cell: a list as its items with commas."""
    return ", ".join(map(str, value)) if isinstance(value, list) else value
