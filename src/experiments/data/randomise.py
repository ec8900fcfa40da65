"""Who gets which offer: stratified randomisation with exact shares, pushed down to the engine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from experiments.common.errors import WinbackError
from experiments.data.tables import refuse_duplicates, sql

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

BUCKETS = 200  # groups of customers left out one at a time: 199 degrees of freedom


def assign(con: duckdb.DuckDBPyConnection, *, shares: Mapping[str, float], seed: int) -> None:
    """Randomise the rows of `to_assign(customer_id, stratum)` into the table `assigned`.

    Every stratum gets the shares of the arms exactly (to one customer); `bucket` is balanced
    inside each arm. The same seed and customers give the same arms, in any row order, on any engine.
    """
    import pandas as pd

    _refuse(con)
    strata = [row[0] for row in con.execute("SELECT DISTINCT stratum FROM to_assign ORDER BY 1").fetchall()]
    starts = [_uniform(f"{seed}:start:{stratum}") for stratum in strata]
    con.register("starts", pd.DataFrame({"stratum": strata, "start": starts}))
    con.register("arm_shares", _intervals(shares))
    con.execute(sql("assign", seed=seed, bucket=sql("bucket", seed=seed, buckets=BUCKETS)))


def _refuse(con: duckdb.DuckDBPyConnection) -> None:
    """Refuse customers that would be lost or would get two offers."""
    rows, placed = con.execute("SELECT count(*), count(stratum) FROM to_assign").fetchall()[0]
    if placed < rows:
        raise WinbackError(
            f"{rows - placed:,} of {rows:,} customers to assign have no stratum. Give each one, for example 'unknown'."
        )
    refuse_duplicates(con, "to_assign", called="Customers to assign", cure="remove the others.")


def _intervals(shares: Mapping[str, float]) -> pd.DataFrame:
    """Return the half-open interval of positions that belongs to each arm."""
    import pandas as pd

    total = sum(shares.values())
    upto = (pd.Series(shares, dtype=float).cumsum() / total).tolist()
    upto[-1] = 1.0
    return pd.DataFrame({"arm": list(shares), "above": [0.0, *upto[:-1]], "upto": upto})


def _uniform(text: str) -> float:
    """Return a number in [0, 1) from md5: the one source of chance that every engine shares."""
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:13], 16) / 16**13
