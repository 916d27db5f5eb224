"""Which engine trains what: obstacles, mixing, precision, and resuming with another."""

import pytest
from grouping_engine import NAME, GroupingEngine
from tiny_study import TINY, layers_only, tiny

from joulelab.errors import SpecError, StoreMismatchError
from joulelab.study.listener import Listener
from joulelab.study.results import Results

TWO_NETWORKS = {
    "tuning": {
        **TINY["experiment"]["tuning"],
        "strategies": ["random"],
        "networks": ["DensePolyNN", "DenseLinearNN"],
        "rounds": 1,
    }
}


@pytest.fixture(autouse=True)
def engine():
    GroupingEngine.reset()
    yield GroupingEngine
    GroupingEngine.reset()


class Heard(Listener):
    """Keeps which engines were chosen."""

    def loaded(self, summaries):
        (self.summary,) = summaries


def run(folder, **changes):
    listener = Heard()
    results = tiny(engine=NAME, experiment=TWO_NETWORKS, **changes).run(folder, listener)
    engines = results.to_frame().groupby("network")["engine"].unique().map(list).to_dict()
    return engines, listener.summary, results


def test_without_an_obstacle_the_engine_that_is_asked_for_trains_all(tmp_path):
    engines, summary, results = run(tmp_path / "out")
    assert engines == {"DensePolyNN": [NAME], "DenseLinearNN": [NAME]}
    assert summary.remark is None
    assert summary.means == f"{NAME} engine, fp32"
    assert results.manifest["engines"]["used"] == [NAME]


def test_one_obstacle_leaves_the_whole_study_to_the_reference_engine(tmp_path, engine):
    engine.obstacles = {"DensePolyNN": "Dropout is not supported"}
    engines, summary, results = run(tmp_path / "out")
    assert engines == {"DensePolyNN": ["reference"], "DenseLinearNN": ["reference"]}
    assert summary.remark == (
        f"the {NAME} engine cannot train DensePolyNN (Dropout is not supported): the whole study "
        f"is trained by the reference engine; with mix_engines = true the {NAME} engine trains the "
        "others"
    )
    assert results.manifest["engines"]["remark"] == summary.remark
    assert set(results.to_frame()["group_size"]) == {1}


def test_with_mix_engines_only_what_has_an_obstacle_is_left_to_the_reference_engine(
    tmp_path, engine
):
    engine.obstacles = {"DensePolyNN": "Dropout is not supported"}
    engines, summary, results = run(tmp_path / "out", mix_engines=True)
    assert engines == {"DensePolyNN": ["reference"], "DenseLinearNN": [NAME]}
    assert "do not compare" in summary.remark
    assert results.manifest["engines"]["configurations"]["tuning"] == {
        "random, DensePolyNN, hyperparameters=2": "reference",
        "random, DenseLinearNN, hyperparameters=2": NAME,
    }


def test_configurations_of_one_network_are_told_apart(tmp_path, engine, monkeypatch):
    def obstacle(self, task, images, device):
        return "too deep" if task.network_options["conv_layers"] > 1 else None

    monkeypatch.setattr(GroupingEngine, "obstacle", obstacle)
    listener = Heard()
    experiment = layers_only(vary={"conv_layers": [1, 2]})
    tiny(engine=NAME, experiment=experiment).run(tmp_path / "out", listener)
    assert "cannot train layers: conv_layers=2 (too deep): " in listener.summary.remark


def test_another_precision_cannot_be_left_to_the_reference_engine(tmp_path, engine):
    engine.precisions = ("fp32", "bf16")
    engine.obstacles = {"DensePolyNN": "Dropout is not supported"}
    with pytest.raises(SpecError, match="the reference engine trains in fp32 only") as refused:
        run(tmp_path / "out", precision="bf16")
    assert "DensePolyNN (Dropout is not supported)" in refused.value.message
    assert 'precision = "fp32"' in refused.value.hint


def test_an_impossible_precision_names_the_key(tmp_path):
    with pytest.raises(SpecError, match="precision = 'tf32': cpu has no tf32") as refused:
        run(tmp_path / "out", precision="tf32")
    assert refused.value.hint == 'set precision = "fp32"'


def test_the_reference_engine_refuses_another_precision_before_anything_is_planned(tmp_path):
    with pytest.raises(SpecError, match="precision = 'bf16': the reference engine"):
        tiny(precision="bf16").run(tmp_path / "out")
    assert len(Results.open(tmp_path / "out").to_frame()) == 0


class InterruptAfter(Listener):
    """Ends the session when a part has been stored."""

    def finished(self, rows, total):
        raise KeyboardInterrupt


@pytest.fixture
def halfway(tmp_path):
    """A folder with one network trained by the engine that was asked for."""
    with pytest.raises(KeyboardInterrupt):
        tiny(engine=NAME, experiment=TWO_NETWORKS).run(tmp_path / "out", InterruptAfter())
    return tmp_path / "out"


def test_a_study_is_not_resumed_with_another_engine(halfway, engine):
    engine.obstacles = {"DensePolyNN": "Dropout is not supported"}
    before = Results.open(halfway).to_frame()
    with pytest.raises(StoreMismatchError, match=f"trained by the {NAME} engine, fp32") as refused:
        run(halfway)
    assert "would be trained by the reference engine, fp32 (the " in refused.value.message
    assert str(halfway) in refused.value.message
    assert "--out" in refused.value.hint
    assert Results.open(halfway).to_frame().equals(before)
    engine.obstacles = {}
    assert run(halfway)[0] == {"DensePolyNN": [NAME], "DenseLinearNN": [NAME]}


def test_nor_where_the_manifest_is_lost(halfway, engine):
    (halfway / "manifest.json").unlink()
    engine.obstacles = {"DensePolyNN": "Dropout is not supported"}
    with pytest.raises(StoreMismatchError, match=f"trained by the {NAME} engine"):
        run(halfway)


def test_with_nothing_finished_it_may_go_on_with_another_engine(tmp_path, engine):
    class AtOnce(Listener):
        def started(self, runs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny(engine=NAME, experiment=TWO_NETWORKS).run(tmp_path / "out", AtOnce())
    engine.obstacles = {"DensePolyNN": "Dropout is not supported"}
    engines, _, results = run(tmp_path / "out")
    assert engines == {"DensePolyNN": ["reference"], "DenseLinearNN": ["reference"]}
    assert results.manifest["engines"]["used"] == ["reference"]


def test_a_study_that_mixes_engines_is_resumed_with_another(tmp_path, engine):
    study = tiny(engine=NAME, mix_engines=True, experiment=TWO_NETWORKS)
    with pytest.raises(KeyboardInterrupt):
        study.run(tmp_path / "out", InterruptAfter())
    engine.obstacles = dict.fromkeys(("DensePolyNN", "DenseLinearNN"), "not today")
    frame = study.run(tmp_path / "out").to_frame()
    assert sorted(frame["engine"].unique()) == [NAME, "reference"]
