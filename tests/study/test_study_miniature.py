"""Miniatures: how a share of the work is taken from a study, and what is said of it."""

import math
import tomllib

import pytest
import torch

from joulelab.errors import SpecError, UsageError
from joulelab.kinds.training.spec import TrainingKeys
from joulelab.learning.images import Images, Split, thinned
from joulelab.study.design import full_factorial
from joulelab.study.miniature import miniature_in_words
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec, load_spec, shipped_studies

KEYS = ("rounds", "repetitions")
TUNING, ARCHITECTURE = "yarally2023-tuning", "yarally2023-architecture"


def share_of_work(spec, whole):
    """Trainings x epochs x images, as a share of those of the whole study of 60,000 images."""

    def work(one):
        trainings = sum(
            len(full_factorial(e.factors(), e.exclude)) * math.prod(e.counts().values())
            for e in one.experiments().values()
        )
        wanted = one.train_images
        if wanted == "all":
            wanted = 60_000
        elif wanted < 1:
            wanted *= 60_000
        return trainings * one.epochs * wanted

    return work(spec) / work(whole)


TRAINING = sorted(name for name in shipped_studies() if isinstance(load_spec(name), TrainingKeys))


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize("scale", [0.9, 0.5, 0.1])
def test_a_miniature_does_the_share_of_the_work_that_was_asked_for(name, scale):
    spec = load_spec(name, scale=scale)
    assert share_of_work(spec, load_spec(name)) == pytest.approx(scale, rel=0.01)
    assert spec.scale == pytest.approx(scale, rel=0.01)


@pytest.mark.parametrize("scale", [0.05, 0.001, 0.0001])
@pytest.mark.parametrize("name", [TUNING, ARCHITECTURE])
def test_rounds_are_thinned_least_and_images_most(name, scale):
    whole, spec = load_spec(name), load_spec(name, scale=scale)
    (before,), (after,) = (s.experiments().values() for s in (whole, spec))
    rounds, repetitions = after.rounds / before.rounds, after.repetitions / before.repetitions
    assert rounds > repetitions
    assert rounds > spec.epochs / whole.epochs > spec.train_images


def test_nothing_is_thinned_below_what_a_finding_needs_and_the_share_says_so():
    spec = load_spec(ARCHITECTURE, scale=1e-6)
    (experiment,) = spec.experiments().values()
    assert (experiment.rounds, experiment.repetitions, spec.epochs) == (8, 2, 3)
    assert spec.train_images == 200 / 50_000
    assert spec.scale == pytest.approx(share_of_work(spec, load_spec(ARCHITECTURE)), rel=1e-3)
    assert spec.scale > 1e-6
    assert "0.004 % of the work, as little as possible" in spec.miniature_in_words()


def test_what_the_lower_limits_take_is_made_up_by_the_images():
    free = load_spec(TUNING, scale=0.001)
    bound = load_spec(TUNING, ["experiment.tuning.repetitions=8"], scale=0.001)
    assert bound.train_images < free.train_images
    assert bound.scale == pytest.approx(0.001, rel=0.01)


def test_what_is_set_is_not_thinned_and_the_rest_makes_up_for_it():
    overrides = ["epochs=20", "experiment.tuning.rounds=50", "test_images=all", "batch_size=512"]
    spec, whole = load_spec(TUNING, overrides, scale=0.001), load_spec(TUNING, overrides)
    assert (spec.epochs, spec.experiments()["tuning"].rounds) == (20, 50)
    assert (spec.test_images, spec.batch_size) == ("all", 512)
    assert share_of_work(spec, whole) == pytest.approx(0.001, rel=0.01)
    assert "epochs" not in spec.miniature_in_words()


def test_a_table_that_is_set_is_set_in_all_its_keys():
    table = load_spec("quickstart").to_dict()["experiment"]["architecture"]
    inline = (
        '{kind="architecture", network="SimpleCNN", rounds=40, repetitions=9, '
        "vary={conv_layers=[1, 2]}, space={learning_rate="
        '{type="continuous", low=1e-5, high=1e-3}}}'
    )
    spec = load_spec("quickstart", [f"experiment.architecture={inline}"], scale=0.05)
    kept = spec.experiments()["architecture"]
    assert (kept.rounds, kept.repetitions) == (40, 9) != (table["rounds"], table["repetitions"])


def test_an_epoch_keeps_enough_steps_to_learn():
    assert load_spec(TUNING, scale=0.05).batch_size == 512
    middle = load_spec(TUNING, scale=0.01)
    assert middle.batch_size == 256
    assert middle.train_images * 50_000 / middle.batch_size >= 16
    assert load_spec(TUNING, scale=0.0001).batch_size == 128


@pytest.mark.parametrize("scale", [0.0, -0.5, 1.0, 1.5, float("nan"), float("inf")])
def test_a_scale_that_is_no_share_is_refused(scale):
    with pytest.raises(UsageError, match="between 0 and 1") as caught:
        load_spec(TUNING, scale=scale)
    assert caught.value.exit_code == 2


def test_a_resolved_miniature_is_a_study_that_means_the_same_and_is_not_thinned_again(tmp_path):
    spec = load_spec(TUNING, scale=0.0005)
    (tmp_path / "study.toml").write_text(spec.to_toml())
    again = load_spec(tmp_path)
    assert again == spec
    assert again.scale == spec.scale
    assert tomllib.loads(spec.to_toml())["miniature"]["whole"]["experiment.tuning.rounds"] == 64
    for study in (tmp_path, tmp_path / "study.toml"):
        with pytest.raises(UsageError, match="a miniature already"):
            load_spec(study, scale=0.5)


def test_the_folder_of_a_whole_study_is_not_thinned(tmp_path):
    (tmp_path / "study.toml").write_text(load_spec("quickstart").to_toml())
    with pytest.raises(UsageError, match="in progress") as caught:
        Study.load(tmp_path, scale=0.5)
    assert "--scale" in caught.value.hint


def test_a_study_with_nothing_left_to_thin_is_refused():
    overrides = ["epochs=1", "train_images=50"]
    overrides += [f"experiment.{e}.{k}=1" for e in ("tuning", "architecture") for k in KEYS]
    with pytest.raises(UsageError, match="cannot be scaled down to"):
        load_spec("quickstart", overrides, scale=0.5)


def test_a_miniature_says_what_was_thinned_of_what():
    spec = load_spec(TUNING, scale=0.0005)
    assert spec.miniature_in_words((1280, 60_000)) == (
        "a miniature at scale 0.0005: 30 of 64 rounds, 2 of 8 repetitions, 5 of 25 epochs, "
        "1,280 of 60,000 images, batches of 128 instead of 512"
    )
    assert "2.1 % of the images" in spec.miniature_in_words()


def test_experiments_that_were_thinned_differently_are_named():
    words = load_spec("quickstart", scale=0.1).miniature_in_words()
    assert "2 of 3 repetitions in architecture" in words
    assert "of 1,500 images" in words


def test_a_whole_study_and_an_old_folder_are_no_miniatures():
    spec = load_spec("quickstart")
    assert spec.scale == 1
    assert spec.miniature_in_words() is None
    assert "miniature" not in spec.to_dict()
    assert miniature_in_words({"epochs": 25, "experiment": {}}) is None


def made_up(train, test):
    def split(count):
        return Split(
            torch.arange(count, dtype=torch.uint8).reshape(count, 1, 1, 1), torch.arange(count) % 5
        )

    return Images("made-up", split(train), split(test), 5, "here")


def test_a_share_of_the_images_is_taken_of_those_that_there_are():
    part = thinned(made_up(200, 100), 0.25, 0.5, seed=3)
    assert (len(part.train), len(part.test)) == (50, 50)
    assert part.available == (200, 100)
    assert len(part.train.images.unique()) == 50, "each once"


def test_a_share_leaves_as_many_images_as_there_are_classes():
    part = thinned(made_up(200, 100), 0.001, 0.001, seed=3)
    assert (len(part.train), len(part.test)) == (5, 5)


def test_the_training_images_do_not_depend_on_how_many_are_tested_on():
    one, other = (thinned(made_up(200, 100), 0.1, test, seed=3) for test in (0.1, 0.9))
    assert torch.equal(one.train.images, other.train.images)


@pytest.mark.parametrize("wanted", ["0.0", "1.0", "-0.2", "nan", "true", "'some'"])
def test_a_share_of_images_that_is_none_is_refused(wanted):
    with pytest.raises(SpecError, match="train_images"):
        load_spec("quickstart", [f"train_images={wanted}"])


def test_a_miniature_is_checked_as_a_study_is():
    keys = {**load_spec("quickstart").to_dict(), "miniature": {"scale": 2, "share": 1, "whole": {}}}
    with pytest.raises(SpecError, match=r"miniature\.scale"):
        check_spec(keys)
