"""The cube: sums of a test by arm, stratum, bucket and month since assignment. Every estimate is a function of them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from experiments.common.errors import WinbackError
from experiments.common.files import whole_file
from experiments.common.finding import Finding
from experiments.common.results import FORMAT
from experiments.data.randomise import BUCKETS
from experiments.data.tables import Account

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]
    Floats = NDArray[np.float64]


def _full(name: str, meaning: str) -> property:
    """Return one of the sums as an attribute of the cube: the full array, made when asked for."""

    def full(cube: Cube) -> Counts:
        return cube.full(name)

    return property(full, doc=meaning)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Cube:
    """Sums of a test, kept for the cells (arm, stratum, bucket) that have customers. Money in minor units.

    `sums` has for each name an array (cells,) or, by month, (cells, months). Month t is the t-th whole month since
    assignment; without dates there is one month and no lifetime (`dated` is False). Beside the attributes below there
    are `promoted_<m>`: customers, acceptors active in month t, within m months of their return (of promotions); and
    `paid_<m>`: money, what acceptors paid in month t within so many months, 0: without end (of percentages).

    `cube.followed` and the like are full arrays, (arms, strata, buckets) or (arms, strata, buckets, months). With many
    strata most of it is empty: `by_arm`, `by_stratum` and `by_bucket` add the cells up without it.
    """

    arms: tuple[str, ...]
    strata: tuple[str, ...]
    dated: bool
    contacts_known: bool
    margin_share: float  # value counts margin; where the data have only revenue, this share of it
    cells: Counts  # (cells,), rising: (place of arm * strata + place of stratum) * BUCKETS + bucket
    sums: dict[str, Counts]
    accounts: tuple[Account, ...] = ()
    premises: tuple[Finding, ...] = ()  # of the tables: do they speak of the same customers, of each purchase once
    last_purchase: date | None = None  # of anybody, in the test or not

    assigned = _full("assigned", "Customers assigned, reached or not: (arms, strata, buckets).")
    attempts = _full("attempts", "Contact attempts: (arms, strata, buckets).")
    reached = _full("reached", "Customers whom a contact reached: (arms, strata, buckets).")
    accepted = _full("accepted", "Customers who said yes: (arms, strata, buckets).")
    before = _full("before", "Value before the assignment, minor units: (arms, strata, buckets).")
    followed = _full("followed", "Customers watched to the end of month t: (arms, strata, buckets, months).")
    active = _full("active", "Of the followed, those who bought in month t: (arms, strata, buckets, months).")
    returned = _full("returned", "Of the followed, those who bought by its end: (arms, strata, buckets, months).")
    value = _full("value", "Margin in month t of the followed, minor units: (arms, strata, buckets, months).")
    value_capped = _full("value_capped", "Value, where who brought more than the WINSORISED quantile counts with it.")
    value_accepted = _full("value_accepted", "The part of the value that acceptors brought.")
    cost = _full("cost", "Costs found in the data, minor units: (arms, strata, buckets, months).")
    ended = _full("ended", "Acceptors who bought for t + 1 months from their first purchase and then no more.")
    stayed = _full("stayed", "Acceptors who bought for t + 1 months and were still buying when last seen.")

    @property
    def months(self) -> int:
        """Length of the month axis."""
        return int(self.sums["followed"].shape[-1])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of arms, strata and buckets."""
        return len(self.arms), len(self.strata), BUCKETS

    @property
    def places(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Arm, stratum and bucket of each cell: three arrays (cells,)."""
        arm, stratum, bucket = np.unravel_index(self.cells, self.shape)
        return arm, stratum, bucket

    def lengths(self, name: str) -> tuple[int, ...]:
        """Return the months for which the cube has "promoted" or "paid"."""
        return tuple(sorted(int(key.removeprefix(f"{name}_")) for key in self.sums if key.startswith(f"{name}_")))

    def full(self, of: str | NDArray[Any]) -> NDArray[Any]:
        """Return a sum, or an array (cells, ...), with the empty cells: (arms, strata, buckets, ...)."""
        return self._by(of, self.cells, self.shape)

    def by_arm(self, of: str | NDArray[Any]) -> NDArray[Any]:
        """Return a sum, or an array (cells, ...), by arm: (arms, ...)."""
        return self._by(of, self.places[0], (len(self.arms),))

    def by_stratum(self, of: str | NDArray[Any]) -> NDArray[Any]:
        """Return a sum, or an array (cells, ...), by arm and stratum: (arms, strata, ...)."""
        return self._by(of, self.cells // BUCKETS, self.shape[:2])

    def by_bucket(self, of: str | NDArray[Any]) -> NDArray[Any]:
        """Return a sum, or an array (cells, ...), by arm and bucket: (arms, buckets, ...)."""
        arm, _, bucket = self.places
        return self._by(of, arm * BUCKETS + bucket, (len(self.arms), BUCKETS))

    def _by(self, of: str | NDArray[Any], group: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[Any]:
        """Add up by group, cell after cell: the same bits whichever cells are empty."""
        sums = self.sums[of] if isinstance(of, str) else of
        width = math.prod(sums.shape[1:])
        flat = np.zeros(math.prod(shape) * width, sums.dtype)
        place = group if width == 1 else (group[:, None] * width + np.arange(width)).ravel()
        np.add.at(flat, place, sums.ravel())
        return flat.reshape(*shape, *sums.shape[1:])

    def left_out(self, of: str | NDArray[Any]) -> Floats:
        """Return sums over strata with every bucket left out in turn: the replicates of the jackknife.

        Shape (1 + buckets, arms, ...): row 0 is everything, row 1 + b everything but bucket b.
        """
        by_bucket = np.moveaxis(self.by_bucket(of), 1, 0)
        total = by_bucket.sum(axis=0)
        return np.concatenate((total[None], total - by_bucket)).astype(float)

    def frame(self) -> pd.DataFrame:
        """Return the sums as a tidy table: a row for each cell with customers and each month.

        Columns: arm, stratum, bucket, month, then the sums. What has no month (assigned, attempts, reached, accepted,
        before) stands in month 0 and is 0 later, so that any sum over rows is right. Customers are counts, money is
        in minor units. No customers by name; but in a small test a cell is one of them: keep it as you keep their rows.
        """
        import pandas as pd

        months = self.months
        arm, stratum, bucket = (np.repeat(place, months) for place in self.places)
        columns = {
            "arm": np.array(self.arms)[arm],
            "stratum": np.array(self.strata)[stratum],
            "bucket": bucket,
            "month": np.tile(np.arange(months), len(self.cells)),
        }
        for name, sums in self.sums.items():
            by_month = sums if sums.ndim > 1 else np.pad(sums[:, None], ((0, 0), (0, months - 1)))
            columns[name] = by_month.ravel()
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        return f"Cube(arms={self.arms}, strata={len(self.strata)}, cells={len(self.cells)}, months={self.months})"

    def _repr_html_(self) -> str:
        """Return the sums of each arm over all months, as a notebook shows them. Money in minor units."""
        import pandas as pd

        shown = ("assigned", "attempts", "reached", "accepted", "value", "cost")
        sums = {name: self.by_arm(name).reshape(len(self.arms), -1).sum(axis=1) for name in shown}
        return str(pd.DataFrame(sums, index=list(self.arms)).to_html())

    def write(self, path: str | Path) -> None:
        """Write the cube to a file (numpy's npz), whole or not at all; `load` gives it back to the last digit."""
        from pydantic import TypeAdapter

        about = {name: getattr(self, name) for name in ABOUT} | {"format": FORMAT}
        text = np.array(TypeAdapter(dict[str, Any]).dump_json(about).decode())
        with whole_file(Path(path)) as part, part.open("wb") as file:
            arrays: dict[str, Any] = {"about": text, "cells": self.cells, **self.sums}
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> Cube:
        """Return a cube that `write` wrote. Raises WinbackError where there is none, or one of a newer version."""
        from pydantic import TypeAdapter, ValidationError

        again = f"`make_cube(sheet).write({str(path)!r})`"
        if not Path(path).is_file():
            raise WinbackError(f"There is no cube {str(path)!r}. Make it: {again}.")
        try:
            with np.load(path, allow_pickle=False) as file:
                sums = {name: file[name] for name in file.files}
            about = json.loads(str(sums.pop("about")))
            if about["format"] > FORMAT:
                raise WinbackError(
                    f"{path} is of a newer version: its format is {about['format']}, this one reads "
                    f"{FORMAT}. Install the newer one, or make it again: {again}."
                )
            known: dict[str, Any] = {
                name: TypeAdapter(kind).validate_python(about[name]) for name, kind in ABOUT.items()
            }
            return cls(cells=sums.pop("cells"), sums=sums, **known)
        except (ValueError, KeyError, TypeError, BadZipFile, ValidationError) as error:
            raise WinbackError(f"{path} is no cube of this version: {error}. Make it again: {again}.") from None


ABOUT: dict[str, Any] = {
    "arms": tuple[str, ...],
    "strata": tuple[str, ...],
    "dated": bool,
    "contacts_known": bool,
    "margin_share": float,
    "accounts": tuple[Account, ...],
    "premises": tuple[Finding, ...],
    "last_purchase": date | None,
}
