"""The recording of learning curves: what a row holds, and how it goes on after a kill."""

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from pyarrow import parquet

from joulelab.learning.fast import trial
from joulelab.tuning.recorded import RecordedTrials

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SMALL = [
    *("--dataset", "digits", "--networks", "DensePolyNN", "--quick", "--epochs", "2"),
    *("--train-images", "96", "--validation-images", "40", "--test-images", "40"),
]
UNITS, TRAININGS, EPOCHS = 4, 8, 2


@pytest.fixture
def curves(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import learning_curves

    monkeypatch.setattr(trial, "TRIAL_S", 0.0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield learning_curves
    torch.set_num_threads(before)


def options(folder):
    return [*SMALL, "--folder", str(folder), "--out", str(folder / "table.parquet")]


def check_table(curves, folder):
    table = parquet.read_table(folder / "table.parquet")
    about = json.loads(table.schema.metadata[b"joulelab"])
    assert about["sha256"] == curves.checksum(table)
    assert str(folder) not in json.dumps(about)
    assert about["levels"]["DensePolyNN"]["batch_size"] == [32, 2048]
    assert (about["training_images"], about["validation_images"]) == (96, 40)
    for known in (
        "command",
        "hardware",
        "meters",
        "versions",
        "licence",
        "recorded",
        "images_sha256",
    ):
        assert about[known], known
    rows = table.to_pylist()
    assert len(rows) == UNITS * TRAININGS * EPOCHS
    levels = about["levels"]["DensePolyNN"]
    names = (*levels, "repetition", "epoch")
    found = [tuple(row[name] for name in names) for row in rows]
    assert sorted(found) == sorted(itertools.product(*levels.values(), (0, 1), (1, 2)))
    for row in rows:
        assert row["network"] == "DensePolyNN"
        assert row["conv_layers"] is None
        assert 0 <= row["validation_accuracy"] <= 1
        assert 0 <= row["test_accuracy"] <= 1
        assert row["seconds"] > 0
        assert row["unit_size"] == TRAININGS
        assert 1 <= row["stack_size"] <= TRAININGS
        assert (row["energy_j"] is None) == (row["energy_status"] == "missing")
    # Searches run on it.
    replayed = RecordedTrials(table.to_pandas(), list(levels), judged="test_accuracy")
    assert replayed.judged.size == UNITS * TRAININGS // 2
    assert (replayed.epochs, replayed.repetitions) == (EPOCHS, 2)
    return rows


def test_a_table_is_recorded_unit_after_unit_and_goes_on_where_it_stopped(
    curves, tmp_path, monkeypatch, capsys
):
    record, recorded = curves.record, []

    def interrupted(unit, *others):
        if len(recorded) == 2:
            raise KeyboardInterrupt
        recorded.append(unit.name)
        return record(unit, *others)

    monkeypatch.setattr(curves, "record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        curves.main(options(tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.glob("DensePolyNN-*.parquet")}
    assert sorted(path.stem for path in before) == sorted(recorded)
    assert not (tmp_path / "table.parquet").exists()
    monkeypatch.setattr(curves, "record", record)
    curves.main(options(tmp_path))
    assert "2 of 4 units are there" in capsys.readouterr().out
    assert all(path.read_bytes() == content for path, content in before.items())
    rows = check_table(curves, tmp_path)
    # The same seed in all configurations, another in the other repetition.
    by_key = {
        (row["batch_size"], row["learning_rate"], row["beta1"], row["repetition"]): row["loss"]
        for row in rows
        if row["epoch"] == 1 and row["linear_layers"] == 1
    }
    one, other = (by_key[2048, 3e-5, 0.5, repetition] for repetition in (0, 1))
    assert one != other
    # In one batch an epoch the loss is that of the initial weights, whatever the learning rate.
    assert math.isclose(one, by_key[2048, 0.1, 0.9, 0], rel_tol=1e-5)
    with pytest.raises(SystemExit, match="other settings"):
        curves.main([*options(tmp_path), "--epochs", "3"])


def test_an_estimate_names_the_minutes_of_every_network(curves, tmp_path, capsys):
    curves.main([*options(tmp_path), "--estimate"])
    assert "DensePolyNN: 64 epochs; " in capsys.readouterr().out
    assert not list(tmp_path.glob("*.parquet"))


@pytest.mark.long
def test_a_recording_that_is_killed_goes_on(curves, tmp_path):
    command = [sys.executable, BENCHMARKS / "learning_curves.py", *options(tmp_path)]
    conditions = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    killed = subprocess.Popen(command, **conditions)
    while not list(tmp_path.glob("DensePolyNN-*.parquet")) and killed.poll() is None:
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    before = {path: path.read_bytes() for path in tmp_path.glob("DensePolyNN-*.parquet")}
    assert before
    subprocess.run(command, check=True, **conditions)
    assert all(path.read_bytes() == content for path, content in before.items())
    check_table(curves, tmp_path)
