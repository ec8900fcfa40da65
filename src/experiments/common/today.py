"""The day it is: one value for the whole program, in UTC. The variable WINBACK_TODAY sets it, for tests and reruns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime

from experiments.common.errors import WinbackError

TODAY = "WINBACK_TODAY"  # of the environment, so that kernels have it too


@contextmanager
def on(day: date) -> Iterator[None]:
    """Let it be another day, here and in every process that is started meanwhile."""
    before = os.environ.get(TODAY)
    os.environ[TODAY] = day.isoformat()
    try:
        yield
    finally:
        if before is None:
            del os.environ[TODAY]
        else:
            os.environ[TODAY] = before


def today() -> date:
    """Return the day, in UTC. Raises WinbackError where WINBACK_TODAY is no day."""
    given = os.environ.get(TODAY)
    try:
        return date.fromisoformat(given) if given else datetime.now(UTC).date()
    except ValueError:
        raise WinbackError(f"{TODAY} is {given!r}: write a day, such as 2026-01-31, or leave it out.") from None
