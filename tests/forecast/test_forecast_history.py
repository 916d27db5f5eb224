"""Stored runs as a table to learn from: features, hardware, and what is left out."""

import doctest

import pytest
from small_studies import copied, on_a_card

from joulelab.analysis.prediction.before import stored_runs
from joulelab.errors import DatasetError, UnknownNameError, UsageError
from joulelab.forecast import training_request as module
from joulelab.forecast.hardware import Hardware, counted_domains
from joulelab.forecast.history import read_history, results_folders
from joulelab.forecast.training_request import KNOWN, TrainingRequest, data_shape
from joulelab.learning.images import load_images
from joulelab.study.results import Results


def request(**changes):
    data = data_shape("digits").with_images(100)
    return TrainingRequest("SimpleCNN", {}, "digits", data, 3, 32, **changes)


def test_the_worked_example_holds():
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_a_known_shape_is_that_of_the_loaded_images():
    images, known = load_images("digits"), KNOWN["digits"]
    assert images.shape == known.shape
    assert (images.classes, len(images.train), len(images.test)) == (
        known.classes,
        known.train_images,
        known.test_images,
    )


@pytest.mark.parametrize(("wanted", "taken"), [(None, 1437), (100, 100), (0.1, 144), (1e9, 1437)])
def test_fewer_images_are_as_many_as_a_study_takes(wanted, taken):
    assert data_shape("digits").with_images(wanted).train_images == taken


def test_an_unknown_data_set_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="digit"):
        data_shape("digit")
    with pytest.raises((DatasetError, UsageError)):
        data_shape("folder:nowhere", tmp_path)


def test_features_by_hand():
    """100 images in batches of 32 are four steps, the last of four images; three epochs."""
    found = request().features()
    assert (found["steps"], found["images"], found["batch_size"]) == (12.0, 300.0, 32.0)
    assert found["flops"] == pytest.approx(found["flops_per_step"] * 12.0)
    per_image = found["flops"] / 300.0
    assert request(together=4).features()["flops"] == pytest.approx(per_image * 300.0)


def test_engine_and_precision_are_no_part_of_the_group():
    """One network in two precisions must not stand on both sides of a fold."""
    assert request().group == request(engine="fast", precision="bf16").group


def test_stored_runs_have_the_features_of_a_request(trained):
    history = read_history([trained])
    runs = Results.open(trained).to_frame()
    assert len(history.runs) == len(runs) == 16
    assert history.runs["group"].nunique() == 8
    assert history.runs["flops"].tolist() == pytest.approx(runs["flops"].tolist())
    assert history.runs["parameters"].tolist() == pytest.approx(runs["parameters"].tolist())
    assert (history.runs["steps"] == 2).all()
    assert history.studies == 1


def test_gross_energy_is_learnt_from_where_idle_power_is_unknown(trained):
    history = read_history([trained])
    selection = history.of(history.machines[0])
    assert not selection.net
    assert stored_runs(selection.runs).runs == 16


def test_another_number_of_threads_of_the_same_processor_is_named(trained):
    history = read_history([trained])
    (here,) = history.machines
    more = Hardware(here.model, here.threads + 1)
    count = "1 thread" if here.threads == 1 else f"{here.threads} threads"
    said = {f"recorded with {count} (try --threads {here.threads})": 16}
    assert history.of(more).left_out == read_history([trained], more).left_out == said


def test_runs_of_other_hardware_are_left_out_and_counted(trained, tmp_path):
    card = copied(trained, tmp_path / "card", on_a_card)
    history = read_history([trained, card])
    selection = history.of(Hardware("NVIDIA H200", 0))
    assert len(selection.runs) == 16
    assert selection.left_out == {"on other hardware": 16}
    assert history.named("h200").model == "NVIDIA H200"
    with pytest.raises(UsageError, match=r"no stored run matches hardware 'TPU'") as caught:
        history.named("TPU")
    assert "NVIDIA H200" in caught.value.hint


def test_a_text_that_fits_several_machines_is_refused(trained, tmp_path):
    def more_threads(told):
        for one in [told, *(each["conditions"] for each in told["sessions"])]:
            one["threads"] = 7

    other = copied(trained, tmp_path / "other", more_threads)
    history = read_history([trained, other])
    with pytest.raises(UsageError, match="several stored machines match"):
        history.named("thread")
    assert history.named("7 threads").threads == 7


def test_a_study_that_moved_between_machines_is_left_out(trained, tmp_path):
    moved = copied(
        trained,
        tmp_path / "moved",
        lambda told: told["sessions"].append(
            {
                **told["sessions"][0],
                "session": 2,
                "conditions": {**told["sessions"][0]["conditions"], "threads": 99},
            }
        ),
    )
    history = read_history([moved])
    assert history.runs.empty
    assert history.left_out == {"of studies on several machines, or on an unknown one": 16}


def test_zero_negative_and_missing_energies_are_counted(trained, tmp_path):
    damaged = copied(
        trained,
        tmp_path / "damaged",
        sql=[
            "UPDATE runs SET energy_gross_j = 0 WHERE position = 0",
            "UPDATE runs SET energy_gross_j = -1 WHERE position = 1",
            "UPDATE runs SET energy_gross_j = NULL WHERE position = 2",
            "UPDATE runs SET state = 'failed' WHERE position = 3",
        ],
    )
    history = read_history([damaged])
    found = stored_runs(history.of(history.machines[0]).runs)
    assert found.left_out == {"energy is unknown": 1, "energy is zero or negative": 2}
    assert found.runs == 12


def test_other_domains_are_another_energy(trained, tmp_path):
    other = copied(
        trained,
        tmp_path / "other",
        sql=[
            "UPDATE runs SET energy_domains = 'wall', energy_status = 'measured' WHERE round = 0"
            " AND repetition = 0"
        ],
    )
    history = read_history([trained, other])
    selection = history.of(history.machines[0])
    assert selection.counts == "cpu and dram, estimated"
    assert selection.left_out == {"that count other domains": 8}


def test_runs_without_energy_are_told_from_runs_that_count_other_domains(trained, tmp_path):
    silent = copied(
        trained,
        tmp_path / "silent",
        sql=[
            "UPDATE runs SET energy_gross_j = NULL, energy_net_j = NULL, energy_domains = NULL,"
            " energy_status = 'missing' WHERE repetition = 0"
        ],
    )
    history = read_history([silent])
    selection = history.of(history.machines[0])
    assert selection.counts == "cpu and dram, estimated"
    assert not selection.left_out
    assert stored_runs(selection.runs).left_out == {"energy is unknown": 8}


def test_a_folder_that_cannot_be_read_does_not_spoil_the_others(trained, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "runs.sqlite").write_text("no database")
    history = read_history([broken, trained])
    assert len(history.runs) == 16
    assert "a damaged store (broken:" in next(iter(history.left_out))


def test_nothing_stored_is_an_empty_table():
    history = read_history([])
    assert history.runs.empty
    assert history.of(Hardware("any", 1)).runs.empty


def test_results_folders_are_found_in_a_folder_of_them(trained, tmp_path):
    (tmp_path / "empty").mkdir()
    assert results_folders([trained.parent, trained]) == [trained]
    assert results_folders([tmp_path]) == []
    with pytest.raises(UsageError, match="nowhere"):
        results_folders([tmp_path / "nowhere"])


def test_domains_are_counted_without_the_numbers_of_devices():
    assert counted_domains("gpu:3+cpu:0", "measured") == "gpu and cpu, measured"
    assert Hardware("EPYC", 1).key != Hardware("EPYC", 2).key
