"""The runner: what is stored, what is resumed, and what becomes of trainings that go wrong."""

import json
from dataclasses import replace

import pytest
from tiny_study import TINY, assert_same_results, layers_only, tiny
from torch import nn

from joulelab.energy.traces.recording import read_recording
from joulelab.errors import SpecError, StoreMismatchError
from joulelab.learning.images import load_images
from joulelab.learning.networks import networks
from joulelab.study.listener import Listener
from joulelab.study.results import Results

trouble = {"raise": None, "countdown": 0}


@networks.register("runner-test-net")
class TroubledNet(nn.Module):
    """A linear layer that raises what a test wants, on its n-th forward pass."""

    def __init__(self, shape, classes, width=0):
        super().__init__()
        self.layer = nn.Sequential(nn.Flatten(), nn.Linear(shape.size, classes))

    def forward(self, images):
        if trouble["raise"] is not None:
            trouble["countdown"] -= 1
            if trouble["countdown"] < 0:
                error, trouble["raise"] = trouble["raise"], None
                raise error
        return self.layer(images)


@pytest.fixture(autouse=True)
def no_trouble():
    trouble.update({"raise": None, "countdown": 0})


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return tiny().run(tmp_path_factory.mktemp("unbroken") / "out")


class InterruptAt(Listener):
    """Presses Ctrl-C when the n-th part has started, before it is trained."""

    def __init__(self, count):
        self.count = count

    def started(self, runs):
        self.count -= 1
        if self.count < 0:
            raise KeyboardInterrupt


class Remember(Listener):
    """Keeps what it hears."""

    def __init__(self):
        self.heard = []

    def predicted(self, prediction):
        self.heard.append(prediction)

    def finished(self, rows, total):
        self.heard.append((rows, total))


def test_every_run_of_the_plan_is_stored_once(unbroken):
    frame = unbroken.to_frame()
    assert list(frame["run_id"]) == [run.run_id for run in tiny().plan().runs]
    assert set(frame["state"]) == {"finished"}
    assert set(frame["attempts"]) == {1}
    assert frame["accuracy"].between(0, 1).all()
    assert frame["steps"].eq(2).all()


def test_factors_have_columns_of_their_own_and_stay_apart(unbroken):
    frame = unbroken.to_frame().set_index("experiment")
    assert unbroken.factors("tuning") == ["strategy", "network", "hyperparameters"]
    assert unbroken.factors("architecture") == ["conv_layers", "relu"]
    tuned = unbroken.to_frame().query("experiment == 'tuning'")
    assert set(tuned["hyperparameters"]) == {2}, "a factor, and not the column of that name"
    assert set(frame.loc["tuning", "strategy"]) == {"grid", "random", "bayesian-pi"}
    assert frame.loc["tuning", "conv_layers"].isna().all()
    assert set(frame.loc["architecture", "relu"]) == {True, False}


def test_energy_is_estimated_here_and_says_so(unbroken):
    frame = unbroken.to_frame()
    assert set(frame["energy_status"]) == {"estimated"}
    assert set(frame["energy_source"]) == {"estimate"}
    assert set(frame["energy_domains"]) == {"cpu:0+dram:0"}
    assert (frame["energy_gross_j"] > 0).all()
    difference = frame["energy_gross_j"] - frame["energy_idle_j"] - frame["energy_net_j"]
    assert difference.abs().max() < 1e-9
    by_domain = unbroken.energy_frame().groupby("run_id")["gross_j"].sum()
    assert by_domain[frame["run_id"]].to_numpy() == pytest.approx(frame["energy_gross_j"])


def test_the_ledger_books_all_kinds_of_work_and_the_trainings_in_it(unbroken):
    ledger = unbroken.ledger_frame()
    assert {"setup", "idle", "calibration", "tuner", "training", "between"} <= set(ledger["kind"])
    trainings = ledger[ledger["kind"] == "training"]
    frame = unbroken.to_frame()
    assert trainings["energy_gross_j"].sum() == pytest.approx(frame["energy_gross_j"].sum())
    assert len(trainings) == len(frame)


def test_the_ledger_covers_the_session_without_gaps(unbroken):
    ledger = unbroken.ledger_frame()
    # A training's entry begins before the wait for it, which is booked by itself.
    began = ledger["started_at"].where(ledger["kind"] != "training").min()
    whole_s = (ledger["started_at"] + ledger["duration_s"]).max() - began
    assert ledger["duration_s"].sum() == pytest.approx(whole_s, rel=0.05)


def test_the_score_of_a_round_is_the_mean_of_its_repetitions(unbroken):
    frame, rounds = unbroken.to_frame(), unbroken.rounds_frame()
    means = frame.groupby(["experiment", "configuration", "round"])["accuracy"].mean()
    stored = rounds.set_index(["experiment", "configuration", "round"])["score"]
    assert stored[means.index].to_numpy() == pytest.approx(means.to_numpy())


def test_the_score_may_be_the_best_repetition(tmp_path):
    results = tiny(score="max", experiment=layers_only(rounds=1)).run(tmp_path / "out")
    best = results.to_frame().groupby("configuration")["accuracy"].max()
    stored = results.rounds_frame().set_index("configuration")["score"]
    assert stored[best.index].to_numpy() == pytest.approx(best.to_numpy())
    assert results.spec["score"] == "max"


def test_every_training_with_samples_inside_has_a_power_trace(tmp_path):
    # Long enough for several values of the estimate, which has a new one every 0.1 s.
    layers = layers_only(vary={"relu": [False]}, rounds=1, repetitions=1)
    results = tiny(epochs=150, experiment=layers).run(tmp_path / "out")
    traces = list((results.folder / "traces").glob("*.csv.gz"))
    assert len(traces) == len(results.to_frame())
    ledger = results.ledger_frame().set_index("entry")
    for path in traces:
        recording = read_recording(path)
        assert recording.about.interval_s > 0
        assert all(channel.remark for channel in recording.channels)
        booked_j = ledger.loc[int(path.name.partition(".")[0]), "energy_gross_j"]
        assert recording.measure().energy_j == pytest.approx(booked_j, rel=0.05, abs=1e-3)


def test_the_manifest_has_the_conditions_and_one_session(unbroken):
    manifest = unbroken.manifest
    assert len(manifest["data_sets"][0]["checksum"]) == 64
    assert manifest["seed"] == 11
    assert manifest["libraries"]["torch"]
    assert len(manifest["sessions"]) == 1
    assert "cpu:0" in manifest["sessions"][0]["idle_before_w"]
    assert "cpu:0" in manifest["sessions"][0]["idle_after_w"]
    remarks = [channel["remark"] for channel in manifest["energy"]["channels"]]
    assert any("process tree" in remark for remark in remarks)


def test_a_finished_study_is_not_run_again(unbroken):
    listener = Remember()
    before = unbroken.to_frame()
    tiny().run(unbroken.folder, listener)
    assert listener.heard == []
    assert Results.open(unbroken.folder).to_frame().equals(before)


def test_the_same_study_elsewhere_gives_the_same(unbroken, tmp_path):
    assert_same_results(tiny().run(tmp_path / "out"), unbroken)


def test_interrupted_again_and_again_it_ends_as_an_unbroken_run(unbroken, tmp_path):
    for count in (0, 3, 7):
        with pytest.raises(KeyboardInterrupt):
            tiny().run(tmp_path / "out", InterruptAt(count))
    results = tiny().run(tmp_path / "out")
    assert_same_results(results, unbroken)
    assert len(results.manifest["sessions"]) == 4


def test_ctrl_c_in_a_training_books_its_energy_and_the_run_is_run_again(tmp_path):
    experiment = layers_only(network="runner-test-net", network_options={}, vary={"width": [1, 2]})
    study = tiny(experiment=experiment)

    class Arm(Listener):
        def started(self, runs):
            trouble.update({"raise": KeyboardInterrupt(), "countdown": 1})

    with pytest.raises(KeyboardInterrupt):
        study.run(tmp_path / "out", Arm())
    halfway = Results.open(tmp_path / "out")
    assert set(halfway.to_frame()["state"]) == {"planned"}
    ledger = halfway.ledger_frame()
    (lost,) = ledger[ledger["state"] == "interrupted"].to_dict("records")
    assert lost["energy_gross_j"] > 0
    results = study.run(tmp_path / "out")
    assert set(results.to_frame()["state"]) == {"finished"}
    assert results.to_frame()["attempts"].sum() == len(results.to_frame()) + 1


def test_a_training_that_raises_is_stored_as_failed_and_the_study_goes_on(tmp_path):
    experiment = layers_only(network="runner-test-net", network_options={}, vary={"width": [1, 2]})

    class Arm(Listener):
        def started(self, runs):
            if runs[0].repetition == 1:
                trouble.update({"raise": RuntimeError("out of tune"), "countdown": 0})

    results = tiny(experiment=experiment).run(tmp_path / "out", Arm())
    frame = results.to_frame().set_index("repetition")
    assert set(frame.loc[0, "state"]) == {"finished"}
    assert set(frame.loc[1, "state"]) == {"failed"}
    assert frame.loc[1, "error"].str.contains("out of tune").all()
    assert frame.loc[1, "accuracy"].isna().all()
    assert (frame.loc[1, "energy_gross_j"] > 0).all(), "a failure has used energy, too"
    assert results.failed() == 2
    ledger = results.ledger_frame()
    assert ledger.loc[ledger["state"] == "failed", "error"].str.contains("Traceback").all()


def test_a_training_that_diverges_is_a_result_with_a_flag(tmp_path):
    space = {"beta1": {"type": "continuous", "low": 0.5, "high": 0.9}}
    experiment = layers_only(space=space, fixed={"learning_rate": 1e30})
    results = tiny(experiment=experiment).run(tmp_path / "out")
    frame = results.to_frame()
    assert set(frame["state"]) == {"finished"}
    assert frame["diverged"].all()
    assert frame["accuracy"].between(0, 1).all()
    assert frame["train_loss"].isna().all()


def test_only_the_searched_hyperparameters_are_in_the_results(unbroken):
    frame = unbroken.to_frame()
    assert frame["learning_rate"].notna().all()
    assert frame["weight_decay"].isna().all()
    assert frame.loc[frame["experiment"] == "architecture", "beta1"].isna().all()


def test_four_poolings_on_a_small_image_are_refused_before_anything_is_planned(tmp_path):
    study = tiny(experiment=layers_only(vary={"conv_layers": [1, 4]}))
    with pytest.raises(SpecError, match="while-possible") as refused:
        study.run(tmp_path / "out")
    assert "conv_layers=4" in str(refused.value)
    mended = layers_only(
        vary={"conv_layers": [1, 4]},
        network_options={"linear_layers": 2, "pooling": "while-possible"},
    )
    results = tiny(experiment=mended).run(tmp_path / "out")
    assert set(results.to_frame()["state"]) == {"finished"}


def test_a_device_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SpecError, match="cuda:99"):
        tiny(device="cuda:99").run(tmp_path / "out")


def test_a_domain_that_cannot_be_read_is_refused(tmp_path):
    energy = {**TINY["energy"], "domains": ["cpu:0", "psys:0"]}
    with pytest.raises(SpecError, match="psys:0"):
        tiny(energy=energy).run(tmp_path / "out")


def test_a_prediction_covers_every_configuration(tmp_path):
    plan, prediction = tiny().predict()
    cost = prediction.total(plan.runs)
    assert cost.duration_s > 0
    assert cost.energy_j >= 0
    assert str(cost.status) == "estimated"
    assert len(prediction.by_configuration) == len(plan.configurations)


def test_other_data_than_at_the_beginning_is_refused(tmp_path, monkeypatch):
    def other(name, data_dir):
        images = load_images("digits", data_dir)
        return replace(images, train=replace(images.train, labels=images.train.labels.flip(0)))

    half = tiny(experiment=layers_only())
    with pytest.raises(KeyboardInterrupt):
        half.run(tmp_path / "out", InterruptAt(1))
    monkeypatch.setattr("joulelab.kinds.training.executor.load_images", other)
    with pytest.raises(StoreMismatchError, match="data set digits"):
        half.run(tmp_path / "out")


def test_losses_of_every_epoch_are_kept(unbroken):
    import sqlite3

    with sqlite3.connect(unbroken.folder / "runs.sqlite") as connection:
        (metrics,) = connection.execute("SELECT metrics FROM runs LIMIT 1").fetchone()
    connection.close()
    assert len(json.loads(metrics)["train_losses"]) == TINY["epochs"]
