"""Steps of a campaign killed at random points, and several at once: run again, all is as if nothing had happened."""

import os
import shutil

import campaign_steps as steps
import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return steps.prepared(tmp_path_factory.mktemp("campaign"))


@pytest.mark.parametrize("step", steps.STEPS)
def test_a_step_that_was_killed_is_run_again_and_nothing_is_lost(places, step, tmp_path):
    before, after = places[step]
    expected, chance = steps.state(after), steps.chance(20_161)
    long = steps.seconds(step, before, tmp_path / "whole")
    for number in range(3):
        folder = tmp_path / f"{number}"
        shutil.copytree(before, folder)
        steps.kill_at(step, folder, chance.uniform(0, 1.1 * long))
        steps.state(folder)  # whole, whatever it is
        assert steps.ended(steps.in_a_child(lambda folder=folder: steps.do(step, folder))), (step, number)
        assert steps.state(folder) == expected, (step, number)
        shutil.rmtree(folder)


def test_lists_read_back_at_once_lose_no_answer(places, tmp_path):
    folder = tmp_path / "at-once"
    shutil.copytree(places["contacts"][1], folder)
    names = ["a", "b", "c", "d"]
    steps.answer(folder, lists=names)
    children = [steps.in_a_child(lambda name=name: steps.do("answers", folder, lists=[name])) for name in names]
    assert [steps.ended(child) for child in children] == [True] * len(names)
    rows = steps.state(folder)["one/contacts.parquet"]
    assert len(rows) == len(steps.chosen(folder, "one"))


def test_two_tests_drawn_at_once_share_no_customer(places, tmp_path):
    folder = tmp_path / "two"
    shutil.copytree(places["assign"][0], folder)
    assert steps.ended(steps.in_a_child(lambda: steps.do("lock", folder, test="two")))
    children = [steps.in_a_child(lambda test=test: steps.do("assign", folder, test=test)) for test in ("one", "two")]
    assert [steps.ended(child) for child in children] == [True, True]
    found = steps.state(folder)
    assert len(found["ledger"]) == len({row[0] for row in found["ledger"]}) == steps.ASSIGNED
