"""A campaign under fire: every step killed at random points, and all of them at once. Nothing twice, nothing lost."""

import collections
import os
import shutil

import campaign_steps as steps
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")]

KILLS, ROUNDS = int(os.environ.get("KILLS", "72")), int(os.environ.get("ROUNDS", "400"))  # kills of each step; rounds
SEED = 20_161


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return steps.prepared(tmp_path_factory.mktemp("campaign"))


@pytest.mark.parametrize("step", steps.STEPS)
def test_a_step_killed_at_random_points_and_run_again_is_as_if_it_never_was(places, step, tmp_path, tell):
    before, after = places[step]
    expected, chance, counts = steps.state(after), steps.chance(SEED), collections.Counter()
    long = steps.seconds(step, before, tmp_path / "whole")
    for number in range(KILLS):
        folder = tmp_path / f"{number}"
        shutil.copytree(before, folder)
        counts["killed"] += steps.kill_at(step, folder, chance.uniform(0, 1.1 * long))
        counts["done before"] += steps.state(folder) == expected
        assert steps.ended(steps.in_a_child(lambda folder=folder: steps.do(step, folder))), (step, number)
        assert steps.state(folder) == expected, (step, number)
        shutil.rmtree(folder)
    tell(f"{step}, seed {SEED}", counts)


def test_lists_read_back_at_once_lose_no_answer_and_two_tests_share_no_customer(places, tmp_path, tell):
    chance, counts = steps.chance(SEED), collections.Counter()
    for number in range(ROUNDS):
        folder = tmp_path / f"{number}"
        names = "abcd"[: chance.randint(2, 4)]
        shutil.copytree(places["contacts"][1], folder)
        steps.answer(folder, lists=names)
        work = [("answers", {"lists": [name]}) for name in names]
        work += [("contacts", {}), ("assign", {})] if chance.random() < 0.5 else []
        children = [
            steps.in_a_child(lambda step=step, more=more, folder=folder: steps.do(step, folder, **more))
            for step, more in work
        ]
        done = [steps.ended(child) for child in children]
        assert all(done), number
        found = steps.state(folder)
        counts["imports"] += len(names)
        counts["answers lost"] += len(steps.chosen(folder, "one")) - len(found["one/contacts.parquet"])
        shutil.rmtree(folder)
    tell(f"at once, seed {SEED}", counts)
    assert counts["answers lost"] == 0
