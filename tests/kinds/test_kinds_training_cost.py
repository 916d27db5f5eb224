"""The kind `training-cost`: what a study file may say, and what its runs know."""

import json
import shutil
from pathlib import Path

import pytest

from joulelab.errors import SpecError, StoreMismatchError
from joulelab.study.listener import Listener
from joulelab.study.plan import make_plan
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec, load_spec

OWN = """\
from torch import nn

def small(shape, classes, width=4):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape.size, width), nn.Linear(width, classes))
"""
SMALL, LARGER = "digits?channels=3&side=32", "digits?channels=3&side=40"


def study(**changes):
    """A study file of seconds as plain data; `changes` are keys of its experiment."""
    return {
        "name": "costs",
        "dataset": SMALL,
        "train_images": 40,
        "test_images": 20,
        "protocol": "xu2023",
        "epochs": 1,
        "batch_size": 20,
        "seed": 3,
        "threads": 1,
        "energy": {"meters": ["estimate"], "idle_s": 0.05, "interval_s": 0.02},
        "experiment": {
            "cost": {
                "kind": "training-cost",
                "networks": ["shufflenet_v2_x0_5"],
                "weights": "random",
                "repetitions": 2,
                **changes,
            }
        },
    }


def mistake(**changes):
    with pytest.raises(SpecError) as caught:
        check_spec(study(**changes))
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"networks": ["vgg61"]}, "vgg1"),
        ({"networks": ["mymodels:"]}, "module:function"),
        ({"networks": ["resnet18", "resnet18"]}, "occurs twice"),
        ({"bases": ["frozn"]}, "frozen"),
        ({"head": "xu2032"}, "xu2023"),
        ({"datasets": ["digitz"]}, "digits"),
        ({"datasets": ["digits?chanels=3"]}, "channels"),
        ({"datasets": ["digits?side=0"]}, "side"),
        ({"places": ["Frnace"]}, "France"),
        ({"places": [0.139]}, "0.139 kg/kWh"),
        ({"pue": 0.9}, "1 or more"),
        ({"network_options": {"resnet18": {}}}, "not in networks"),
        ({"fixed": {"beta1": 1.5}}, "beta1"),
        ({"rounds": 3}, "unknown key"),
    ],
)
def test_a_mistake_is_told_with_a_remedy(changes, said):
    message = mistake(**changes)
    assert said in message
    assert "cost" in message


def test_a_network_without_a_base_is_trained_and_never_frozen():
    options = {"SimpleCNN": {"linear_layers": 1, "conv_layers": 1}}
    both = {"networks": ["SimpleCNN", "resnet18"], "network_options": options}
    spec = check_spec(study(**both, bases=["frozen", "trained"]))
    names = [one.name for one in make_plan(spec).configurations]
    assert names == ["SimpleCNN, trained", "resnet18, frozen", "resnet18, trained"]
    assert 'add "trained" to bases' in mistake(**both, bases=["frozen"])


def test_a_study_needs_a_data_set_unless_each_experiment_names_its_own():
    without = study()
    del without["dataset"]
    with pytest.raises(SpecError, match="'dataset' is missing"):
        check_spec(without)
    without["experiment"]["cost"]["datasets"] = [SMALL]
    assert [one.dataset for one in make_plan(check_spec(without)).configurations] == [SMALL]


def test_every_block_has_one_repetition_of_every_configuration():
    spec = check_spec(study(bases=["frozen", "trained"], repetitions=3))
    groups = make_plan(spec).groups
    assert [len(group.runs) for group in groups] == [1] * 6
    blocks = [(group.runs[0].block, group.configuration.name) for group in groups]
    for block in range(3):
        assert {name for number, name in blocks if number == block} == {
            "shufflenet_v2_x0_5, frozen",
            "shufflenet_v2_x0_5, trained",
        }


def test_a_course_of_intensities_counts_from_the_folder_of_the_study(tmp_path):
    series = "time,g_per_kwh\n2026-01-01T00:00:00Z,100\n2026-01-01T01:00:00Z,200\n"
    (tmp_path / "grid.csv").write_text(series)
    text = check_spec(study()).to_toml().replace("places = []", 'places = ["grid.csv"]')
    (tmp_path / "mine.toml").write_text(text)
    (found,) = load_spec(tmp_path / "mine.toml").experiments().values()
    assert found.places == [str(tmp_path / "grid.csv")]


@pytest.mark.parametrize("name", ["training-cost", "xu2023"])
def test_the_shipped_studies_can_be_laid_out_whole_and_thinned(name):
    whole, thin = make_plan(load_spec(name)), load_spec(name, scale=0.05)
    assert len({one.name for one in whole.configurations}) == len(whole.configurations)
    assert thin.scale < 1
    assert len(make_plan(thin).configurations) == len(whole.configurations)


def test_the_study_of_the_paper_is_its_eighteen_trainings():
    spec = load_spec("xu2023")
    plan = make_plan(spec)
    assert len(plan.runs) == 3 * 2 * 3
    assert (spec.epochs, spec.batch_size, spec.protocol) == (50, 32, "xu2023")
    assert {one.network_options["base"] for one in plan.configurations} == {"frozen"}
    assert {one.network_options["head"] for one in plan.configurations} == {"xu2023"}


class Heard(Listener):
    """Keeps what it was told."""

    def loaded(self, summaries):
        self.summaries = summaries


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study with a frozen and a trained network, one of its own, and two data sets."""
    folder = tmp_path_factory.mktemp("costs")
    (folder / "mymodels.py").write_text(OWN)
    spec = check_spec(
        study(
            networks=["shufflenet_v2_x0_5", "mymodels:small"],
            bases=["frozen", "trained"],
            network_options={"mymodels:small": {"width": 3}},
            datasets=[SMALL, LARGER],
            repetitions=1,
        )
    )
    heard = Heard()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        results = Study(spec).run(folder / "out", heard)
    return results, heard, spec


def test_a_run_knows_its_data_set_and_what_was_counted_of_its_network(finished):
    results, _, _ = finished
    runs = results.to_frame()
    assert list(runs["state"]) == ["finished"] * 6
    assert results.factors("cost") == ["network", "base", "dataset"]
    assert set(runs["dataset"]) == {SMALL, LARGER}
    runs = runs.set_index(["network", "base", "dataset"])
    frozen, trained = (
        runs.loc["shufflenet_v2_x0_5", base, SMALL] for base in ("frozen", "trained")
    )
    own = runs.loc["mymodels:small", "trained", SMALL]
    assert frozen["parameters"] < frozen["parameters_total"]
    assert trained["parameters"] == trained["parameters_total"] == frozen["parameters_total"]
    # Of a frozen network there is one forward pass, and the head, which is next to nothing.
    assert 0 < frozen["flops_trainable"] < 0.05 * frozen["flops"]
    assert trained["flops_trainable"] == trained["flops"] > 2.5 * frozen["flops"]
    size = 3 * 32 * 32
    assert own["parameters_total"] == size * 3 + 3 + 3 * 10 + 10
    assert frozen["weights"] == "random"
    assert own["weights"] != own["weights"], "nothing is known of the weights of one's own"
    assert runs["f1"].between(0, 1).all()
    assert (runs["energy_gross_j"] > 0).all()


def test_larger_images_cost_more_operations(finished):
    results, _, _ = finished
    flops = results.to_frame().set_index(["network", "base", "dataset"])["flops"]
    name = ("shufflenet_v2_x0_5", "trained")
    assert flops[(*name, LARGER)] > flops[(*name, SMALL)]


def test_random_weights_and_all_data_sets_are_told_and_kept(finished):
    results, heard, _ = finished
    (summary,) = heard.summaries
    assert "random weights" in summary.remark
    assert SMALL in summary.extent
    assert LARGER in summary.extent
    assert summary.train_images[0] == 80
    assert results.manifest["weights"] == {"shufflenet_v2_x0_5": "random"}
    checksums = {one["name"]: one["checksum"] for one in results.data_sets}
    assert set(checksums) == {SMALL, LARGER}
    assert checksums[SMALL] != checksums[LARGER]


@pytest.fixture(scope="module")
def described(finished, tmp_path_factory):
    """A study, and its folder, planned and described by a session that finished nothing."""
    _, _, spec = finished
    out = tmp_path_factory.mktemp("described") / "out"
    alone = {"networks": ["shufflenet_v2_x0_5"], "bases": ["trained"], "repetitions": 1}
    table = {**spec.to_dict()["experiment"]["cost"], **alone}
    table["network_options"] = {}
    study = Study(check_spec({**spec.to_dict(), "experiment": {"cost": table}}))

    class Stop(Listener):
        def started(self, runs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run(out, Stop())
    return study, out


@pytest.mark.parametrize("changed", ["weights", "data_sets"])
def test_a_study_goes_on_only_with_what_it_began_with(described, changed, tmp_path):
    study, before = described
    out = Path(shutil.copytree(before, tmp_path / "out"))
    path = out / "manifest.json"
    manifest = json.loads(path.read_text())
    if changed == "weights":
        manifest["weights"]["shufflenet_v2_x0_5"] = "IMAGENET1K_V1"
    else:
        manifest["data_sets"][1]["checksum"] = "0" * 64
    path.write_text(json.dumps(manifest))
    with pytest.raises(StoreMismatchError, match="began with"):
        study.run(out)
