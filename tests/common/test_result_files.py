"""Results as files: what is none is refused in one line, whoever made it."""

import json

import pytest

from experiments import Cohort, Design, Knowledge, Readout, WinbackError


@pytest.mark.parametrize("kind", [Cohort, Design, Knowledge, Readout])
@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '"x"', '{"format": 2}', '{"verdict": {}}', '{"format": "b"}'])
def test_what_is_no_result_is_refused_with_the_command_that_makes_it(kind, text, tmp_path):
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(
        WinbackError, match=f"result.json is no {kind.what} of this version: .+ Make it again: `winback"
    ):
        kind.load(path)


def test_a_result_of_a_newer_version_and_one_that_is_not_there_say_so(tmp_path):
    path = tmp_path / "readout.json"
    with pytest.raises(WinbackError, match=r"There is no readout '.*readout\.json'\. Make it: `winback readout"):
        Readout.load(path)
    path.write_text(json.dumps({"format": 99}), encoding="utf-8")
    with pytest.raises(WinbackError, match="its format is 99, this one reads up to 2"):
        Readout.load(path)
