"""Trainings that are measured together: what is shared, what is prepared, what is resumed."""

import json
import time

import pytest
from grouping_engine import NAME, GroupingEngine
from tiny_study import SAME, TINY, assert_same_results, layers_only, tiny

from joulelab.errors import TrainingError
from joulelab.learning.images import load_images
from joulelab.study.listener import Listener
from joulelab.study.results import Results

LAYERS = layers_only(vary={"conv_layers": [1, 2]}, rounds=2)
LONGER = layers_only(vary={"conv_layers": [1, 2]}, rounds=3)
SEARCH = {"tuning": {**TINY["experiment"]["tuning"], "strategies": ["random", "bayesian-pi"]}}


@pytest.fixture(autouse=True)
def engine():
    GroupingEngine.reset()
    yield GroupingEngine
    GroupingEngine.reset()


class InterruptAt(Listener):
    """Ends the session when the n-th part has started."""

    def __init__(self, count):
        self.count = count

    def started(self, runs):
        self.count -= 1
        if self.count < 0:
            raise KeyboardInterrupt


def test_a_group_shares_one_measurement_equally(tmp_path):
    results = tiny(engine=NAME, experiment=LAYERS).run(tmp_path / "out")
    frame = results.to_frame()
    assert set(frame["group_size"]) == {2}
    assert (frame.groupby(["configuration", "round"])["energy_gross_j"].nunique() == 1).all()
    assert frame["energy_gross_j"].nunique() > 1
    trainings = results.ledger_frame().query("kind == 'training'")
    assert len(trainings) == 4
    assert trainings["energy_gross_j"].sum() == pytest.approx(frame["energy_gross_j"].sum())
    assert trainings["duration_s"].sum() == pytest.approx(frame["duration_s"].sum())


def test_engine_and_precision_are_those_of_the_result(tmp_path):
    GroupingEngine.precisions = ("fp32", "bf16")
    study = tiny(engine=NAME, precision="bf16", experiment=layers_only(vary={"relu": [True]}))
    frame = study.run(tmp_path / "out").to_frame()
    assert set(frame["engine"]) == {NAME}
    assert set(frame["precision"]) == {"bf16"}


def test_a_failed_run_has_engine_precision_and_size_of_its_group(tmp_path):
    experiment = layers_only(vary={"relu": [True]})

    class Arm(Listener):
        def started(self, runs):
            GroupingEngine.most = 1

    frame = tiny(engine=NAME, experiment=experiment).run(tmp_path / "out", Arm()).to_frame()
    assert set(frame["state"]) == {"failed"}
    assert set(frame["engine"]) == {NAME}
    assert set(frame["precision"]) == {"fp32"}
    assert set(frame["group_size"]) == {2}


def test_rounds_that_are_trained_together_give_what_they_give_one_by_one(tmp_path):
    one_by_one = tiny(experiment=SEARCH).run(tmp_path / "one")
    together = tiny(engine=NAME, rounds_together=2, experiment=SEARCH).run(tmp_path / "together")
    same = [column for column in SAME if column not in {"position", "block"}]
    left, right = (
        one.to_frame()[same].sort_values("run_id", ignore_index=True)
        for one in (one_by_one, together)
    )
    assert left.equals(right), left.compare(right)
    assert one_by_one.rounds_frame().equals(together.rounds_frame())
    sizes = together.to_frame().groupby("strategy")["group_size"].unique()
    assert set(sizes["random"]) == {4, 2}, "two rounds of two repetitions, and the last round"
    assert set(sizes["bayesian-pi"]) == {2}, "each proposal needs the score of the last"


def test_only_what_is_left_of_a_group_is_trained_after_an_interruption(tmp_path, engine):
    changes = {"engine": NAME, "rounds_together": 3, "experiment": LONGER}
    engine.most = 2
    unbroken = tiny(**changes).run(tmp_path / "unbroken")
    for count in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            tiny(**changes).run(tmp_path / "out", InterruptAt(count))
    engine.trained.clear()
    results = tiny(**changes).run(tmp_path / "out")
    assert_same_results(results, unbroken)
    assert [len(members) for members in engine.trained] == [2, 2, 2]
    assert set(results.to_frame()["attempts"]) == {1}, "no finished run was trained again"


def test_what_an_engine_prepares_is_booked_as_calibration_and_nothing_twice(tmp_path, engine):
    def try_out(task):
        time.sleep(0.15)
        return len(engine.prepared) == 1

    engine.preparing = staticmethod(try_out)
    results = tiny(engine=NAME, experiment=LAYERS).run(tmp_path / "out")
    ledger = results.ledger_frame().sort_values("started_at")
    # One network after the other is prepared, and timed: a training to warm up, three that count
    # (so few steps are no long training). Then every group is.
    assert (ledger["kind"] == "calibration").sum() == 1 + 2 * 4
    assert len(engine.prepared) == 2 + 4
    assert set(ledger["state"]) == {"finished"}
    last = ledger.iloc[-1]
    whole_s = last["started_at"] + last["duration_s"] - ledger["started_at"].iloc[0]
    # No preparation is lost, and none is there twice.
    assert ledger["duration_s"].sum() == pytest.approx(whole_s, abs=0.14)


def test_ctrl_c_while_an_engine_prepares_is_booked_and_passed_on(tmp_path, engine):
    study = tiny(engine=NAME, experiment=LAYERS)

    def interrupt(task):
        if len(engine.prepared) == 3:
            raise KeyboardInterrupt
        return True

    engine.preparing = staticmethod(interrupt)
    with pytest.raises(KeyboardInterrupt):
        study.run(tmp_path / "out")
    halfway = Results.open(tmp_path / "out")
    assert set(halfway.to_frame()["state"]) == {"planned"}
    ledger = halfway.ledger_frame()
    (lost,) = ledger[ledger["state"] == "interrupted"].to_dict("records")
    assert (lost["kind"], lost["energy_gross_j"] > 0) == ("calibration", True)
    assert set(study.run(tmp_path / "out").to_frame()["state"]) == {"finished"}


def test_an_engine_that_cannot_prepare_trains_all_the_same(tmp_path, engine):
    def fail(task):
        raise TrainingError("out of memory while trying", "choose a smaller batch")

    class Heard(Listener):
        def __init__(self):
            self.said = []

        def doing(self, what):
            self.said.append(what)

    engine.preparing, listener = staticmethod(fail), Heard()
    results = tiny(engine=NAME, experiment=LAYERS).run(tmp_path / "out", listener)
    assert set(results.to_frame()["state"]) == {"finished"}
    ledger = results.ledger_frame()
    assert set(ledger.loc[ledger["state"] == "failed", "kind"]) == {"calibration"}
    assert any("out of memory while trying" in said for said in listener.said)


def test_a_member_of_a_group_is_predicted_to_cost_its_share(engine, monkeypatch):
    def slow(self, task, images, device, progress=None):
        # A step takes as long for many members as for one.
        end_s = time.monotonic() + 0.02 * task.max_steps
        while time.monotonic() < end_s:
            pass
        engine.trained.append((len(task.members), task.max_steps))
        return [None] * len(task.members)

    monkeypatch.setattr(GroupingEngine, "train", slow)
    experiment = layers_only(vary={"relu": [True]}, repetitions=4, rounds=3)
    costs = {}
    for most in (100, 1):
        engine.most, engine.trained = most, []
        study = tiny(engine=NAME, rounds_together=2, experiment=experiment)
        plan, prediction = study.predict()
        costs[most] = prediction.of(plan.runs[0])
        assert {size for size, _ in engine.trained} == {min(most, 8)}
        assert len(engine.trained) == 4, "one to warm up, and three that count"
    # On a busy machine a training takes longer than its busy waiting, and both take longer.
    assert costs[1].duration_s >= 0.04
    assert costs[100].duration_s >= 0.04 / 8
    assert costs[100].duration_s < 0.5 * costs[1].duration_s
    assert costs[100].energy_j < 0.5 * costs[1].energy_j


def test_a_calibration_evaluates_few_images_and_the_data_set_is_read_once(tmp_path, monkeypatch):
    evaluated, read = {True: [], False: []}, []
    train = GroupingEngine.train

    def noting(self, task, images, device, progress=None):
        evaluated[task.max_steps is None].append(len(images.test))
        return train(self, task, images, device, progress)

    def reading(name, data_dir):
        read.append(name)
        return load_images(name, data_dir)

    monkeypatch.setattr(GroupingEngine, "train", noting)
    monkeypatch.setattr("joulelab.kinds.training.executor.load_images", reading)
    monkeypatch.setattr("joulelab.kinds.training.prediction.TEST_IMAGES", 20)
    tiny(engine=NAME, experiment=layers_only(vary={"relu": [True]})).run(tmp_path / "out")
    assert set(evaluated[False]) == {20}
    assert set(evaluated[True]) == {50}
    assert read == ["digits"]


def test_the_ledger_names_all_runs_of_a_group(tmp_path):
    results = tiny(engine=NAME, rounds_together=2, experiment=LAYERS).run(tmp_path / "out")
    trainings = results.ledger_frame().query("kind == 'training'")
    assert [len(json.loads(runs)) for runs in trainings["runs"]] == [4, 4]
    assert set(results.to_frame()["group_size"]) == {4}
