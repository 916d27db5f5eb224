"""``joulelab predict step`` on traces with a known end."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from joulelab.cli.predict_commands import Step, commands
from joulelab.cli.predicting import whole_duration_s
from joulelab.errors import TraceError, UsageError

LEVEL_W, SECONDS = 128.0, 400


@pytest.fixture
def trace(tmp_path):
    """400 s of epochs of 40 s, of which 8 s are at 80 W and the others at 140 W."""
    time_s = np.arange(SECONDS + 1.0)
    path = tmp_path / "power.csv"
    power_w = np.where(time_s % 40 < 8, 80.0, 140.0)
    pd.DataFrame({"t_s": time_s, "power_w": power_w}).to_csv(path, index=False)
    return path


def run(*arguments):
    return CliRunner().invoke(
        commands, ["predict", "step", *map(str, arguments)], catch_exceptions=False
    )


def test_ten_of_fifty_epochs_give_the_energy_of_fifty(trace):
    done = run(trace, "--epochs-done", 10, "--epochs", 50, "--json")
    data = json.loads(done.stdout)
    (one,) = data["predictions"]
    assert data["duration_s"] == pytest.approx(5 * SECONDS)
    assert one["energy_j"] == pytest.approx(5 * SECONDS * LEVEL_W, rel=0.005)
    assert one["low_j"] < one["energy_j"] < one["high_j"]
    assert (one["domain"], one["epoch_s"]) == ("gpu:0", 40)


def test_a_duration_takes_the_place_of_epochs(trace):
    by_epochs = run(trace, "--epochs-done", 10, "--epochs", 50, "--json").stdout
    assert run(trace, "--duration", 2000, "--json").stdout == by_epochs


def test_fine_tuning_widens_the_interval_and_says_why(trace):
    plain = json.loads(run(trace, "--duration", 8000, "--json").stdout)["predictions"][0]
    tuned = json.loads(run(trace, "--duration", 8000, "--fine-tuning", "--json").stdout)
    one = tuned["predictions"][0]
    assert one["high_j"] - one["low_j"] > 5 * (plain["high_j"] - plain["low_j"])
    assert "may still change" in run(trace, "--duration", 8000, "--fine-tuning").stdout
    assert "may still change" not in run(trace, "--duration", 8000).stdout


@pytest.mark.parametrize("in_the_hole_w", [40.0, 300.0])
def test_the_interval_holds_what_was_drawn_while_nobody_looked(trace, in_the_hole_w):
    """Of 2,000 s the first 400 s are recorded, but for 100 s with another power."""
    rows = pd.read_csv(trace)
    rows[(rows["t_s"] < 200) | (rows["t_s"] >= 300)].to_csv(trace, index=False)
    (one,) = json.loads(run(trace, "--duration", 2000, "--json").stdout)["predictions"]
    truth_j = 1900 * LEVEL_W + 100 * in_the_hole_w
    assert one["low_j"] < truth_j < one["high_j"]
    assert "gpu:0: partly estimated: recorded: no reading for 10" in " ".join(
        run(trace, "--duration", 2000).stdout.split()
    )


def test_the_table_fits_a_terminal(trace):
    out = run(trace, "--duration", 2000).stdout
    assert "gpu:0" in out
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_a_guess_is_called_one(tmp_path):
    path = tmp_path / "short.csv"
    path.write_text("t_s,power_w\n0,100\n1,100\n2,100\n")
    assert "little more than a guess" in run(path, "--duration", 2000).stdout


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"epochs": 50.0},
        {"epochs_done": 5.0},
        {"epochs_done": 5.0, "epochs": 50.0, "duration": 9.0},
        {"epochs": 50.0, "duration": 900.0},
        {"epochs_done": 0.0, "epochs": 50.0},
        {"epochs_done": 60.0, "epochs": 50.0},
        {"duration": 399.0},
        {"duration": float("inf")},
    ],
)
def test_a_whole_that_is_not_known_is_refused(given):
    with pytest.raises(UsageError):
        whole_duration_s(Step(trace="power.csv", **given), float(SECONDS))


def test_a_domain_that_is_not_in_the_trace_names_those_that_are(trace):
    with pytest.raises(UsageError) as caught:
        run(trace, "--duration", 2000, "--domain", "cpu:0")
    assert "gpu:0" in caught.value.hint


def test_one_sample_is_no_trace(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("t_s,power_w\n0,100\n")
    with pytest.raises((TraceError, UsageError)):
        run(path, "--duration", 2000)
