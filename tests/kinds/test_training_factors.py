"""Experiments that vary how networks are trained: optimiser, batch size, precision and the rest."""

import json
import sqlite3
from contextlib import closing

import pytest
import torch
from grouping_engine import NAME, GroupingEngine
from tiny_study import TINY, tiny

from joulelab.errors import SpecError
from joulelab.kinds.training.settings import RESERVED
from joulelab.report.experiment import experiments
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import report_data, write_report
from joulelab.study.plan import make_plan
from joulelab.study.results import Results
from joulelab.study.study_file import check_spec, load_spec
from joulelab.study.trust import functions_of

BASE = {"kind": "architecture", "network": "DensePolyNN", "repetitions": 1}


@pytest.fixture(autouse=True)
def engine():
    GroupingEngine.reset()
    yield GroupingEngine
    GroupingEngine.reset()


def mine(vary, **others):
    return {"mine": {**BASE, "vary": vary, **others}}


def trained(folder, vary, changes=None, **others):
    """The runs of a study of one experiment, by configuration."""
    study = tiny(experiment=mine(vary, **others), **(changes or {}))
    return study.run(folder).to_frame().set_index("configuration")


VARIED = {
    "optimiser": ["adam", "sgd"],
    "batch_size": [50, 25],
    "protocol": ["default", "yarally2023"],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study of three settings, on the reference engine."""
    folder = tmp_path_factory.mktemp("settings") / "out"
    return trained(folder, VARIED, fixed={"learning_rate": 0.01, "momentum": 0.9}), folder


def test_every_configuration_is_trained_with_its_own_settings(whole):
    runs, folder = whole
    assert len(runs) == 8
    assert (runs["state"] == "finished").all()
    assert (runs["steps"] == 100 // runs["batch_size"]).all(), "of 100 images"
    assert runs["train_loss"].nunique() == 8
    stored = json.loads((folder / "manifest.json").read_text())["engines"]
    assert (stored["used"], stored["precision"]) == (["reference"], "fp32")


def test_the_runs_table_holds_what_each_run_used(whole):
    _, folder = whole
    with closing(sqlite3.connect(folder / "runs.sqlite")) as connection, connection:
        rows = connection.execute("SELECT factors, protocol, engine, precision FROM runs")
        for factors, protocol, used, precision in rows:
            assert json.loads(factors)["protocol"] == protocol
            assert (used, precision) == ("reference", "fp32")


def test_a_study_of_settings_goes_on_where_it_was(whole):
    runs, folder = whole
    study = tiny(experiment=mine(VARIED, fixed={"learning_rate": 0.01, "momentum": 0.9}))
    again = study.run(folder).to_frame().set_index("configuration")
    assert again["accuracy"].equals(runs["accuracy"])
    assert Results.open(folder).factors("mine") == list(VARIED)


def test_its_report_speaks_of_its_own_factors(whole, unpictured):
    """The paper has neither claims nor figures about them."""
    _, folder = whole
    study = ReportedStudy(Results.open(folder))
    page = write_report(study)
    assert sorted(one.name for one in page.parent.glob("*.html")) == ["index.html"]
    assert report_data(study)["claims"] == []
    text = page.read_text()
    assert "Factors: optimiser, batch_size and protocol." in text
    assert "Convolutional layers" not in text
    assert "n = 0" not in text
    for words in ("epochs, batches of 50; varied: batch_size", "constant; varied: optimiser"):
        assert words in text


def test_a_prediction_differs_by_setting():
    """It times each setting; more epochs take longer, because they have more steps."""
    vary = {"epochs": [1, 40], "batch_size": [50, 10]}
    plan, prediction = tiny(experiment=mine(vary)).predict()
    runs = {run.configuration: run for run in plan.runs}
    assert len({prediction.keys[one.key] for one in plan.configurations}) == 4
    for size in (50, 10):
        few, many = (
            prediction.total([runs[f"epochs={epochs}, batch_size={size}"]]).duration_s
            for epochs in (1, 40)
        )
        assert many > few


def test_hyperparameters_are_factors_and_need_no_search(tmp_path):
    vary = {"learning_rate": [1e-4, 1e-2], "nesterov": [False, True], "linear_layers": [1, 2]}
    runs = trained(
        tmp_path / "out",
        vary,
        {"optimiser": "sgd", "schedule": "cosine", "engine": "fast"},
        fixed={"momentum": 0.9},
    )
    assert len(runs) == 8
    assert set(runs["learning_rate"]) == {1e-4, 1e-2}
    assert runs["train_loss"].nunique() == 8
    assert runs.groupby("learning_rate")["train_loss"].mean().is_monotonic_decreasing
    assert runs.groupby("linear_layers")["parameters"].nunique().eq(1).all()


def test_engine_and_precision_may_vary_together(tmp_path, engine):
    engine.precisions = ("fp32", "bf16")
    exclude = [{"engine": "reference", "precision": "bf16"}]
    vary = {"engine": ["reference", NAME], "precision": ["fp32", "bf16"]}
    runs = trained(tmp_path / "out", vary, exclude=exclude)
    assert len(runs) == 3
    assert (runs["state"] == "finished").all()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["engines"]["used"] == ["reference", NAME]
    assert manifest["engines"]["precision"] == "fp32 and bf16"
    (experiment,) = experiments(Results.open(tmp_path / "out"))
    assert "must not be compared" not in " ".join(experiment.energy.remarks)


def test_threads_are_those_of_the_level(tmp_path, engine, monkeypatch):
    used, train = [], engine.train

    def noted(self, task, images, device, progress=None):
        if task.max_steps is None:
            used.append(torch.get_num_threads())
        return train(self, task, images, device, progress)

    monkeypatch.setattr(engine, "train", noted)
    trained(tmp_path / "out", {"threads": [1, 2]}, {"engine": NAME, "train_images": 20})
    assert sorted(used) == [1, 2]


def test_an_engine_that_is_a_level_is_not_replaced_by_another(tmp_path, engine):
    engine.obstacles = {"DensePolyNN": "Dropout is not supported"}
    with pytest.raises(SpecError, match=r"experiment\.mine\.vary\.engine = ") as refused:
        trained(tmp_path / "out", {"engine": ["reference", NAME]})
    assert "Dropout is not supported" in refused.value.message


def test_an_engine_that_does_not_know_optimisers_leaves_them_to_the_reference(tmp_path, engine):
    engine.follows = frozenset()
    try:
        runs = trained(tmp_path / "out", {"optimiser": ["adam", "sgd"]}, {"engine": NAME})
    finally:
        del engine.follows
    assert set(runs["engine"]) == {"reference"}
    remark = json.loads((tmp_path / "out" / "manifest.json").read_text())["engines"]["remark"]
    assert "it does not read optimiser = 'sgd'" in remark


def test_an_impossible_precision_names_the_level(tmp_path):
    with pytest.raises(SpecError, match=r"experiment\.mine\.vary\.precision = 'bf16': the ref"):
        trained(tmp_path / "out", {"precision": ["fp32", "bf16"]})


def test_augmentation_and_data_set_may_vary(tmp_path):
    vary = {"dataset": ["digits", "digits?side=12"], "augmentation": ["none", "flip"]}
    runs = trained(tmp_path / "out", vary)
    assert runs["train_loss"].nunique() == 4
    assert runs.groupby("dataset")["parameters"].nunique().eq(1).all()


def test_a_study_needs_no_epochs_that_it_varies():
    without = {key: value for key, value in TINY.items() if key != "epochs"}
    spec = check_spec({**without, "experiment": mine({"epochs": [1, 4, 2]})})
    assert spec.epochs == 4
    for wrong in ({"batch_size": [1]}, {"epochs": ["1"]}):
        with pytest.raises(SpecError, match="'epochs' is missing"):
            check_spec({**without, "experiment": mine(wrong)})


def test_the_other_kinds_that_train_vary_settings_too():
    search = {**TINY["experiment"]["tuning"], "strategies": ["random"], "rounds": 1}
    cost = {"kind": "training-cost", "networks": ["DensePolyNN"], "repetitions": 1}
    vary = {"batch_size": [50, 25]}
    spec = check_spec(
        {**TINY, "experiment": {"a": {**search, "vary": vary}, "b": {**cost, "vary": vary}}}
    )
    sizes = {one.name: one.settings.batch_size for one in make_plan(spec).configurations}
    assert sorted(sizes.values()) == [25, 25, 50, 50]
    assert all(name.endswith(f"batch_size={size}") for name, size in sizes.items())
    assert "vary" not in check_spec(TINY).to_dict()["experiment"]["tuning"]


def test_a_varied_data_set_is_not_code_and_a_network_is():
    vary = {"dataset": ["digits", "folder:birds"], "factory": ["mine:small", "mine:large"]}
    table = {**mine(vary)["mine"], "network": "factory"}
    assert [one.name for one in functions_of(table)] == ["mine:large", "mine:small"]


def test_a_miniature_leaves_varied_keys_alone(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        check_spec(
            {**TINY, "train_images": 1000, "experiment": mine({"epochs": [5, 10]})}
        ).to_toml()
    )
    spec = load_spec(path, scale=0.5)
    assert {one.settings.epochs for one in make_plan(spec).configurations} == {5, 10}
    assert spec.train_images == 500


REFUSED = [  # changed keys of the experiment, and of the study; words of the message
    ({"vary": {"optimiser": ["adam", "sdg"]}}, {}, ["mine.vary", "optimiser: 'sdg' is not"]),
    ({"vary": {"batch_size": [0]}}, {}, ["batch_size: 0 is not possible", "greater than 0"]),
    ({"vary": {"precision": ["fp16"]}}, {}, ["precision: 'fp16' is not possible"]),
    ({"vary": {"schedule": ["cosine(2)"]}}, {}, ["schedule: 'cosine(2)' is not", "lowest"]),
    ({"vary": {"engine": ["fst"]}}, {}, ["engine: 'fst'", "unknown engine"]),
    ({"vary": {"threads": [0]}}, {}, ["threads: 0 is not possible"]),
    ({"vary": {"learning_rate": [0.0]}}, {}, ["learning_rate = 0.0 is not possible"]),
    ({"vary": {"nesterov": [1]}}, {}, ["nesterov = 1 is not possible", "true or false"]),
    ({"vary": {"epochs": [1, 1]}}, {}, ["epochs: 1 occurs twice"]),
    ({"vary": {"seed": [1, 2]}}, {}, ["'seed' is a column of the results"]),
    (
        {"vary": {"beta1": [0.5, 0.9]}, "fixed": {"beta1": 0.9}},
        {},
        ["experiment.mine", "'beta1' is in both vary and fixed"],
    ),
    (
        {
            "vary": {"beta1": [0.5, 0.9]},
            "space": {"beta1": {"type": "continuous", "low": 0.1, "high": 0.9}},
        },
        {},
        ["'beta1' is in both vary and space"],
    ),
    (
        {"vary": {"beta1": [0.5, 0.9]}},
        {"optimiser": "sgd"},
        ["experiment.mine.vary.beta1: the optimiser sgd has no 'beta1'", "momentum, nesterov"],
    ),
    (
        {"vary": {"optimiser": ["adam", "sgd"], "momentum": [0.0, 0.9]}},
        {},
        ["the optimiser adam has no 'momentum'", "learning_rate, beta1"],
    ),
    (
        {"vary": {"linear_layers": [1, 2]}, "fixed": {"momentum": 0.9}},
        {},
        ["experiment.mine.fixed.momentum: the optimiser adam has no"],
    ),
    (
        {"vary": {"momentum": [0.0, 0.9]}, "fixed": {"nesterov": True}},
        {"optimiser": "sgd"},
        ["experiment.mine.fixed.nesterov: nesterov = true needs a momentum above 0"],
    ),
    ({"rounds": 2}, {}, ["rounds = 1 is enough without a search"]),
    ({}, {"schedule": "steps(1)"}, ["schedule: unknown schedule 'steps(1)'"]),
    ({}, {"augmentation": "rotate"}, ["augmentation = 'rotate' is not possible"]),
]


@pytest.mark.parametrize(("experiment", "study", "words"), REFUSED)
def test_what_cannot_be_is_refused_before_anything_runs(experiment, study, words):
    changed = {**mine({"linear_layers": [1, 2]})["mine"], **experiment}
    with pytest.raises(SpecError) as refused:
        check_spec({**TINY, **study, "experiment": {"mine": changed}})
    for part in words:
        assert part in str(refused.value)


def test_an_error_names_the_line_of_the_key(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'dataset = "digits"\nepochs = 1\n[experiment.a]\nkind = "architecture"\n'
        'network = "DensePolyNN"\nrepetitions = 1\nfixed = { beta1 = 0.9 }\n'
        '[experiment.a.vary]\noptimiser = ["sgd"]\nmomentum = [0.0, 0.9]\n'
    )
    with pytest.raises(SpecError, match=r"mine\.toml, line 7: experiment\.a\.fixed\.beta1: the"):
        load_spec(path)


def test_another_kind_says_what_it_can_vary():
    cost = {"kind": "training-cost", "networks": ["DensePolyNN"], "repetitions": 1}
    with pytest.raises(SpecError, match="'bach_size' cannot be varied here") as refused:
        check_spec({**TINY, "experiment": {"a": {**cost, "vary": {"bach_size": [1]}}}})
    assert "batch_size" in str(refused.value)
    assert {"optimiser", "momentum", "threads", "dataset"} < RESERVED
