"""A study killed with -9 at any moment, and run again: nothing is lost and nothing is run twice."""

import json
import random

import pytest
import torch
from killed_study import NEVER, kept, run
from tiny_study import TINY, as_toml, assert_same_results, layers_only

from joulelab.study.results import Results
from joulelab.study.study import Study

# In groups, of which some are half trained when they are killed.
SHORT = {
    "epochs": 10,
    "rounds_together": 2,
    "experiment": layers_only(rounds=2, vary={"conv_layers": [1, 2]}),
}
LONG = {
    "epochs": 30,
    "rounds_together": 2,
    "experiment": {**TINY["experiment"], **layers_only(rounds=4)},
}

# Every session is a fork of this process, since what a new interpreter would import first takes
# far longer than a study of this size.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def _autograd_can_be_forked():
    if torch.cuda.is_available():
        pytest.skip("autograd has threads for GPUs, and they do not survive a fork")


def trial(tmp_path, changes, moments):
    """Kill a study at each moment, end it, and compare it with one that was not killed.

    Returns:
        How many times it was killed, and how many sessions have worked on it.
    """
    study, out = Study.load(as_toml(tmp_path, **changes)), tmp_path / "out"
    unbroken = study.run(tmp_path / "unbroken")
    kills, finished = 0, {}
    for moment in [*moments, NEVER]:
        kills += run(study, out, *moment)
        now = kept(out)
        assert {run: now.get(run) for run in finished} == finished, "lost, or run again"
        finished = now
    results = Results.open(out)
    assert_same_results(results, unbroken)
    # Every attempt is in the ledger, those that were lost too.
    ledger = results.ledger_frame()
    booked = sum(len(json.loads(runs)) for runs in ledger["runs"])
    assert results.to_frame()["attempts"].sum() == booked
    assert set(ledger["state"]) <= {"finished", "interrupted"}
    return kills, ledger["session"].nunique()


def test_killed_again_and_again_it_goes_on_and_loses_nothing(tmp_path):
    chance = random.Random(20260)
    # While the first groups are trained, then anywhere from the start on.
    moments = [(number, chance.uniform(0, 0.1)) for number in (8, chance.randrange(1, 8))]
    kills, sessions = trial(tmp_path, SHORT, [(7, 0.0), *moments])
    assert kills >= 1
    assert sessions >= 2


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_21_times_it_ends_as_an_unbroken_run(tmp_path, seed):
    chance = random.Random(seed)
    moments = [
        (chance.randrange(1, 12), chance.choice((0.0, chance.uniform(0, 1)))) for _ in range(21)
    ]
    kills, _ = trial(tmp_path, LONG, moments)
    assert kills == 21, "the study is too short to be killed so often"
