"""A study killed with -9 at any moment, and run again."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from tiny_study import TINY, as_toml, assert_same_results, layers_only, tiny

from joulelab.study.results import Results

# Long enough for a process to be killed in the middle of a training; in groups of which some are
# half trained then.
LONGER = {
    "epochs": 30,
    "rounds_together": 2,
    "experiment": {**TINY["experiment"], **layers_only(rounds=2)},
}


def start(study, out):
    command = [sys.executable, "-m", "joulelab", "run", str(study), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finished(out):
    """How many runs are stored; 0 where there is no store yet."""
    try:
        with sqlite3.connect(f"file:{out}/runs.sqlite?mode=ro", uri=True) as connection:
            query = "SELECT count(*) FROM runs WHERE state = 'finished'"
            (count,) = connection.execute(query).fetchone()
        connection.close()
    except sqlite3.OperationalError:
        return 0
    return count


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_in_the_middle_it_goes_on_and_loses_nothing(tmp_path):
    study, out = as_toml(tmp_path, **LONGER), tmp_path / "out"
    process = start(study, out)
    while finished(out) < 5:
        assert process.poll() is None, "the study ended before it was killed"
        time.sleep(0.02)
    kill(process)
    kept = Results.open(out).to_frame()
    kept = kept[kept["state"] == "finished"].set_index("run_id")
    results = tiny(**LONGER).run(out)
    assert_same_results(results, tiny(**LONGER).run(tmp_path / "unbroken"))
    after = results.to_frame().set_index("run_id").loc[kept.index]
    assert (after["attempts"] == kept["attempts"]).all(), "no finished run was run again"
    assert (after["energy_gross_j"] == kept["energy_gross_j"]).all()
    ledger = results.ledger_frame()
    assert set(ledger["session"]) == {1, 2}


@pytest.mark.long
def test_killed_at_ten_random_moments_it_ends_as_an_unbroken_run(tmp_path):
    study, out = as_toml(tmp_path, **LONGER), tmp_path / "out"
    chance = random.Random(20260)
    kills = 0
    while kills < 10:
        process = start(study, out)
        before = finished(out)
        # Somewhere between the start of the process and a few trainings later.
        wanted, limit_s = before + chance.randrange(4), time.monotonic() + 60
        while process.poll() is None and finished(out) < wanted and time.monotonic() < limit_s:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.5 if wanted > before else 15))
        if process.poll() is not None:
            break
        kill(process)
        kills += 1
    assert kills == 10, "the study is too short to be killed ten times"
    assert_same_results(tiny(**LONGER).run(out), tiny(**LONGER).run(tmp_path / "unbroken"))
