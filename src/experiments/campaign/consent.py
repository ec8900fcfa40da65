"""Who may be contacted, and how: consents by channel, as the law of most countries asks of a marketer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from experiments.data.tables import statements

if TYPE_CHECKING:
    import duckdb


def find_allowed(con: duckdb.DuckDBPyConnection, channels: Sequence[str], *, day: date) -> None:
    """Make `allowed(customer_id, channels)` and `consent_days(customer_id, given_at)` from the view full_consents.

    `channels`: those of the sheet, in its order; `day`: consents given later, and withdrawn later, are not known yet.
    Nobody without a consent that stands is in `allowed`.
    """
    steps = statements("consents")
    con.execute("CREATE OR REPLACE TEMP TABLE consent_channels (place INTEGER, channel VARCHAR)")
    con.executemany("INSERT INTO consent_channels VALUES (?, ?)", [*enumerate(channels)])
    for step in steps.values():
        con.execute(step.format(day=day))
