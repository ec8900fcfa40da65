"""Today is one value for the whole program: the environment may say it, and a run is verified on its own day."""

import datetime as dt
import os
import subprocess
import sys

import pytest

from experiments.common import today
from experiments.common.errors import WinbackError


def test_the_environment_says_the_day_and_every_process_below_has_it(monkeypatch):
    monkeypatch.delenv(today.TODAY, raising=False)
    assert abs(today.today() - dt.datetime.now(dt.UTC).date()) <= dt.timedelta(days=1)
    with today.on(dt.date(2020, 2, 29)):
        assert today.today() == dt.date(2020, 2, 29)
        line = [sys.executable, "-c", "from experiments.common.today import today; print(today())"]
        assert subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip() == "2020-02-29"
        with today.on(dt.date(2021, 1, 1)):
            assert today.today() == dt.date(2021, 1, 1)
        assert today.today() == dt.date(2020, 2, 29)
    assert today.TODAY not in os.environ


def test_a_day_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv(today.TODAY, "yesterday")
    with pytest.raises(WinbackError, match="WINBACK_TODAY is 'yesterday'"):
        today.today()
