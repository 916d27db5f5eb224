"""What stored runs say of a whole study: beside the plan, and alone."""

import json

import pytest
import tomli_w
from small_studies import LAYERS, layers

from joulelab.forecast.history import read_history
from joulelab.forecast.study_history import study_forecast
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec


def other_study(**changes):
    """Three layers, and two epochs, of which nothing was run."""
    return {
        "name": "other",
        "dataset": "digits",
        "train_images": 100,
        "test_images": 50,
        "epochs": 2,
        "batch_size": 50,
        "threads": 1,
        "energy": {"meters": ["estimate"], "idle_s": 0.05, "traces": False},
        "experiment": {"other": {**LAYERS, "vary": {"linear_layers": [1, 3]}, "repetitions": 3}},
        **changes,
    }


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "other.toml"
    path.write_text(tomli_w.dumps(other_study()))
    return path


def test_a_study_is_the_sum_of_its_runs(trained):
    study = Study(check_spec(other_study()))
    history = read_history([trained])
    found = study_forecast(study.spec, study.plan(), history.of(history.machines[0]))
    rows = list(found.by_configuration.values())
    assert len(rows) == 2
    assert found.total.energy_j == pytest.approx(3 * sum(one.energy_j for one in rows))
    assert found.total.energy_low_j == pytest.approx(3 * sum(one.energy_low_j for one in rows))
    assert found.total.energy_low_j < found.total.energy_j < found.total.energy_high_j
    assert "steps" in found.outside
    assert any("steps 4 (seen: 2 only)" in str(one) for one in rows[0].outside)


def test_more_epochs_are_known_from_runs_of_more_epochs(trained, tmp_path):
    """Runs of one and of three epochs say what two take."""
    longer = layers(
        tmp_path / "longer", epochs=3, experiment={"layers": {**LAYERS, "repetitions": 1}}
    )
    history = read_history([trained, longer])
    study = Study(check_spec(other_study()))
    found = study_forecast(study.spec, study.plan(), history.of(history.machines[0]))
    assert found.learnt.stored.groups == 16
    assert "steps" not in found.outside


def test_a_study_that_serves_is_no_training(trained):
    study = Study.load("batching")
    history = read_history([trained])
    found = study_forecast(study.spec, study.plan(), history.of(history.machines[0]))
    assert found.total is None
    assert "not all of its runs are trainings" in found.reason


def test_a_plan_says_what_stored_runs_say_without_timing(joulelab, file, trained):
    code, out, err = joulelab("plan", file, "--untimed", "--from", trained)
    assert code == 0
    assert "from 16 stored runs of 8 configurations" in out
    said = " ".join(out.split())
    assert "in cross-validation" in said
    assert "warning: beyond what the stored runs have seen in " in said
    assert err == ""


def test_a_timed_plan_says_it_too(joulelab, file, trained):
    code, out, _ = joulelab("plan", file, "--from", trained, "--json")
    assert code == 0
    told = json.loads(out)
    assert told["total"]["energy_net_j"] > 0
    stored = told["stored_runs"]
    assert (stored["runs"], stored["configurations"], stored["reason"]) == (16, 8, "")
    total = stored["total"]
    assert 0 < total["energy_low_j"] < total["energy_j"] < total["energy_high_j"]
    assert len(stored["by_configuration"]) == 2


def test_without_stored_runs_a_plan_is_as_it_was(joulelab, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = joulelab("plan", file)
    assert code == 0
    assert "stored" not in out


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--untimed"], 2, "leave out --untimed"),
        (["--device", "H200"], 2, "--device needs --untimed"),
        (["--untimed", "--from", "/nowhere"], 2, "/nowhere is not a folder"),
        (["--from", "/nowhere"], 2, "/nowhere is not a folder"),
    ],
)
def test_mistakes_are_explained(joulelab, file, tmp_path, monkeypatch, options, code, told):
    monkeypatch.chdir(tmp_path)
    ended, out, err = joulelab("plan", file, *options)
    assert ended == code
    assert told in err
    assert out == ""
