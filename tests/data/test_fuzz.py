"""Spoilt files are read or refused in words; `make fuzz` does the same ten thousand times."""

import fuzzing
import pytest


@pytest.mark.parametrize("kind", fuzzing.KINDS)
def test_whatever_is_done_to_a_file_it_is_read_or_refused_in_words(tmp_path, kind):
    outcome = fuzzing.KINDS[kind](tmp_path, seed=1, count=120)
    assert outcome.faults() == []
    assert outcome.files == outcome.read + outcome.refused == 120
    assert min(outcome.read, outcome.refused) > 5
