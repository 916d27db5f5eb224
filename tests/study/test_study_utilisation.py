"""What a study stores beside the energy of a run: FLOPs, load of the device, share of the whole."""

import json
import time
from pathlib import Path

import pandas as pd
import pytest
from tiny_study import TINY, layers_only, tiny
from torch import nn

from joulelab.cli.inspecting import export_table
from joulelab.energy.meter import Channel, Meter, Sample
from joulelab.energy.meters.processor import usable_processors
from joulelab.energy.reading import Status
from joulelab.energy.recorder import Recorder
from joulelab.energy.utilisation import LOOKS_BACK_S, QUANTILES
from joulelab.kinds.training.executor import ImagesRequest, TrainingExecutor, TrainingJob
from joulelab.learning.engine import Member, TrainingTask
from joulelab.learning.flops import count_flops
from joulelab.learning.images import ImageShape
from joulelab.learning.networks import networks
from joulelab.study.results import Results
from joulelab.study.run_frames import NOT_ASKED, NOT_FINISHED
from joulelab.study.store import Store
from joulelab.study.store_reading import reader
from joulelab.study.study import Study

DIGITS = ImageShape(1, 8, 8)
COLUMNS = [f"utilisation_{name}" for name in QUANTILES]
failing = {"on": False}


@networks.register("utilisation-not-countable")
class NotCountable(nn.Module):
    """Trains with sums alone, of which torch's counter knows none."""

    def __init__(self, shape, classes):
        super().__init__()
        self.bias = nn.Parameter(nn.init.zeros_(nn.Linear(1, classes).bias.detach()))

    def forward(self, images):
        if failing["on"]:
            raise ZeroDivisionError("by design")
        return images.mean(dim=(1, 2, 3))[:, None] + self.bias


class Busy(Meter):
    """A GPU that tells its load, and is read like a real one."""

    name = "busy"
    channels = (Channel("gpu:0", "busy-gpu", "counter", Status.MEASURED, 0.0, 0.0),)
    joules = 0.0

    def sample(self):
        self.joules += 1.0
        return [Sample(self.joules, state={"utilisation": 0.75})]


def study_of(network, **changes):
    """Two trainings of one network."""
    tuning = {**TINY["experiment"]["tuning"], "strategies": ["random"], "rounds": 1}
    return tiny(experiment={"one": {**tuning, "networks": [network]}}, **changes)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    energy = {**TINY["energy"], "traces": False}
    study = tiny(energy=energy, epochs=3, batch_size=40)
    return study.run(tmp_path_factory.mktemp("utilisation") / "out")


def test_every_run_knows_its_operations(results):
    # 100 images in batches of 40: two whole ones and one of 20, three times.
    frame = results.to_frame()
    assert set(frame["steps"]) == {9}
    for _, run in frame.iterrows():
        if run["experiment"] == "tuning":
            name, options = "DensePolyNN", {}
        else:
            name = "SimpleCNN"
            options = {
                "linear_layers": 2,
                "conv_layers": int(run["conv_layers"]),
                "relu": bool(run["relu"]),
            }
        assert run["flops"] == 300 * count_flops(name, options, DIGITS, 10).per_image
    assert set(frame["flops_reason"]) == {""}


def test_every_run_knows_how_busy_the_processor_was_also_without_traces(results):
    assert not (results.folder / "traces").exists()
    frame = results.to_frame()
    assert frame["utilisation_mean"].between(0, 1).all()
    assert (frame["utilisation_mean"] > 0.05 / usable_processors()).all()
    quantiles = frame[COLUMNS]
    assert quantiles.diff(axis=1).iloc[:, 1:].ge(0).all(axis=None), "quantiles rise"
    assert (frame["utilisation_mean"] >= frame["utilisation_p5"]).all()
    assert set(frame["utilisation_source"]) == {"estimate"}
    assert set(frame["utilisation_reason"]) == {""}


def test_the_store_keeps_samples_and_domain_beside_the_quantiles(results):
    with reader(results.folder) as connection:
        stored = connection.execute("SELECT utilisation_mean, utilisation FROM runs").fetchall()
    assert stored
    for mean, text in stored:
        told = json.loads(text)
        assert set(told) == {*QUANTILES, "samples", "seen", "domain", "source", "reason"}
        assert told["domain"] == "cpu:0"
        assert told["samples"] >= 1
        assert told["seen"] == pytest.approx(1.0)
        assert 0 <= mean <= 1


def test_a_whole_study_has_scale_one_and_the_manifest_says_so(results):
    assert set(results.to_frame()["scale"]) == {1.0}
    assert results.manifest["scale"] == 1.0


def test_runs_of_one_group_share_the_load_of_their_window(tmp_path):
    found = tiny(
        engine="fast", rounds_together=3, experiment=layers_only(rounds=3, vary={"relu": [True]})
    ).run(tmp_path / "out")
    frame = found.to_frame()
    assert frame["group_size"].max() > 1
    for _, group in frame.groupby("started_at"):
        assert group["utilisation_mean"].nunique() == 1
        assert group["flops"].nunique() == 1
    reference = count_flops(
        "SimpleCNN", {"linear_layers": 2, "relu": True}, DIGITS, 10
    ).of_training(100, 50, 2)
    assert set(frame["flops"]) == {reference}


def test_what_torchs_counter_does_not_know_is_missing_with_its_reason(tmp_path):
    frame = study_of("utilisation-not-countable").run(tmp_path / "out").to_frame()
    assert set(frame["state"]) == {"finished"}
    assert frame["flops"].isna().all()
    assert all("none of its operations" in reason for reason in frame["flops_reason"])


def test_a_failed_run_has_a_load_and_no_operations(tmp_path, monkeypatch):
    study = study_of("utilisation-not-countable")
    unbroken = TrainingExecutor.run

    def broken(self, job, on_heartbeat):
        monkeypatch.setitem(failing, "on", job.task.max_steps is None)
        return unbroken(self, job, on_heartbeat)

    monkeypatch.setattr(TrainingExecutor, "run", broken)
    frame = study.run(tmp_path / "out").to_frame()
    assert set(frame["state"]) == {"failed"}
    assert frame["flops"].isna().all()
    assert set(frame["flops_reason"]) == {NOT_FINISHED}
    assert frame["utilisation_mean"].between(0, 1).all()
    assert set(frame["scale"]) == {1.0}


def test_no_meter_no_load(tmp_path, monkeypatch):
    unbroken = TrainingExecutor.__init__

    def on_a_gpu_that_nobody_reads(self, recorder, domain, *rest):
        unbroken(self, recorder, "gpu:5", *rest)

    monkeypatch.setattr(TrainingExecutor, "__init__", on_a_gpu_that_nobody_reads)
    frame = study_of("DensePolyNN").run(tmp_path / "out").to_frame()
    assert frame[["utilisation_mean", *COLUMNS]].isna().all(axis=None)
    assert frame["utilisation_source"].isna().all()
    assert set(frame["utilisation_reason"]) == {"no meter reads gpu:5"}


@pytest.mark.parametrize(("looks_back_s", "pause_s", "mean"), [(0.1, 0.2, 0.75), (60.0, 0.0, None)])
def test_a_gpus_load_is_that_of_a_window_longer_than_it_looks_back(
    looks_back_s, pause_s, mean, monkeypatch
):
    monkeypatch.setitem(LOOKS_BACK_S, "gpu", looks_back_s)

    def slowly(shape, classes):
        time.sleep(pause_s)
        return nn.Sequential(nn.Flatten(), nn.Linear(shape.size, classes))

    networks.register(f"utilisation-slow-{pause_s}")(slowly)
    task = TrainingTask(
        f"utilisation-slow-{pause_s}", {}, "default", 1, 50, (Member(1),), max_steps=1
    )
    request = ImagesRequest("digits", None, 100, 50, 1)
    with Recorder([Busy()], interval_s=0.05) as recorder:
        executor = TrainingExecutor(recorder, "gpu:0", 0.0, print)
        outcome = executor.run(
            TrainingJob("one", "cpu", 1, task, request, "reference"), lambda _: None
        )
    assert outcome.utilisation.mean == pytest.approx(mean)
    assert (outcome.utilisation.reason == "") == (mean is not None)


def test_planned_runs_say_nothing_yet(tmp_path):
    class Stop(Exception):  # noqa: N818 - it ends the session
        pass

    def stop(*_):
        raise Stop

    study = study_of("DensePolyNN")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("joulelab.kinds.training.workload.TrainingWorkload.run", stop)
        with pytest.raises(Stop):
            study.run(tmp_path / "out")
    frame = Results.open(tmp_path / "out").to_frame()
    assert set(frame["state"]) == {"planned"}
    assert frame[["scale", "flops", "utilisation_mean", *COLUMNS]].isna().all(axis=None)
    assert NOT_ASKED not in set(frame["utilisation_reason"])


def test_frames_are_read_again_once_somebody_has_written(tmp_path):
    study = study_of("DensePolyNN")
    found = study.run(tmp_path / "out")
    first = found.to_frame()
    first["accuracy"] = -1.0
    assert (found.to_frame()["accuracy"] >= 0).all(), "a reader's changes are its own"
    time.sleep(0.2)
    kept = found._frames()
    assert found._frames() is kept
    with Store.open(found.folder, study.spec.to_toml()) as store, store._transaction() as writing:
        writing.execute("UPDATE runs SET accuracy = 0.125")
        assert found._frames() is kept, "what is not committed is not there"
    assert set(found.to_frame()["accuracy"]) == {0.125}


def test_every_result_of_a_thinned_study_has_its_scale(tmp_path):
    whole = tmp_path / "whole.toml"
    whole.write_text(study_of("DensePolyNN", epochs=8).spec.to_toml())
    study = Study.load(whole, scale=0.25)
    assert study.spec.scale < 1
    found = study.run(tmp_path / "out")
    frame = found.to_frame()
    assert set(frame["scale"]) == {study.spec.scale}
    assert found.manifest["scale"] == study.spec.scale
    assert set(frame["flops"]) == {
        count_flops("DensePolyNN", {}, DIGITS, 10).of_training(
            found.data_sets[0]["train_images"], study.spec.batch_size, int(frame["steps"][0])
        )
    }


def test_an_exported_table_has_all_of_it(results, tmp_path):
    export_table(results.folder, "csv", "runs", tmp_path / "runs.csv")
    read = pd.read_csv(tmp_path / "runs.csv")
    frame = results.to_frame()
    for column in ("scale", "flops", "utilisation_mean", *COLUMNS):
        assert read[column].to_numpy() == pytest.approx(frame[column].to_numpy())


def test_all_columns_of_a_run_are_in_the_docs(results):
    docs = (Path(__file__).parents[2] / "docs" / "results.md").read_text("utf-8")
    undocumented = [
        column
        for column in results.to_frame().columns
        if f"`{column}`" not in docs
        and not column.endswith((" gross_j", " status"))
        and column not in results.factors("tuning") + results.factors("architecture")
    ]
    assert undocumented == []
