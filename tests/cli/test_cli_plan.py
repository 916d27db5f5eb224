"""``joulelab plan`` and ``--scale``: what is printed, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_study import layers_only, tiny

from joulelab import formats
from joulelab.cli.options import default_folder
from joulelab.cli.output import show
from joulelab.cli.planning import plan_parts, timed
from joulelab.energy.reading import Status
from joulelab.present import terminal
from joulelab.study.listener import WorkloadSummary
from joulelab.study.prediction import Estimate, Prediction
from joulelab.study.study import Study
from joulelab.study.study_file import load_spec


def shown(spec, seconds, train_images=None, **changes):
    """The plan as text where every run takes so many seconds, within 10 %, at 10 W."""
    plan = Study(spec).plan()
    one = Estimate(
        seconds, 0.0, float("inf"), 10.0, seconds, 0.0, float("inf"), 5.0, Status.ESTIMATED
    )
    networks = {(c.experiment, c.name): "net" for c in plan.configurations}
    prediction = Prediction(networks, {"net": replace(one, **changes)}, drift=0.1 / 1.96)
    summary = WorkloadSummary(
        "reference engine, fp32",
        "training",
        "of 1 epoch on digits (100 training and 100 test images)",
        "a few steps of each network",
        train_images=train_images,
    )
    return terminal.to_text(*plan_parts(spec, plan, prediction, {}, [summary]))


def test_a_plan_says_time_and_energy_with_their_ranges():
    spec = tiny(experiment=layers_only()).spec
    text = shown(spec, 450.0)
    assert "8 trainings of 1 epoch on digits (100 training and 100 test images)" in text
    # 8 x 450 s; 36 kJ, less and more by the meter's half.
    assert "about 1 h 00 min (54 min 32 s to 1 h 06 min)" in text
    assert "36,000 J (estimated; 14,727 to 57,600 J)" in text


def test_an_unknown_error_of_the_meters_is_said():
    spec = tiny(experiment=layers_only()).spec
    text = shown(spec, 1.0, error_w=None)
    assert "80.0 J (estimated; how far that may be wrong is unknown)" in text


def test_unknown_power_leaves_the_energy_unknown():
    spec = tiny(experiment=layers_only()).spec
    assert "and energy unknown" in shown(spec, 1.0, power_w=None, status=Status.MISSING)


def test_a_plan_of_a_miniature_says_what_was_thinned():
    spec = load_spec("yarally2023-architecture", scale=0.0005)
    text = shown(spec, 1.0, (918, 60_000))
    assert "a miniature at scale 0.0005: 4 of 24 repetitions, 5 of 25 epochs, 918 of 60,000" in text


def test_a_study_of_weeks_is_offered_as_a_miniature_and_a_short_one_is_not():
    # 1,536 runs of 1,000 s are 18 days; a thousandth of them is 26 minutes.
    spec = load_spec("yarally2023-architecture")
    assert "--scale 0.001 makes a miniature" in shown(spec, 1000.0)
    assert "--scale" not in shown(spec, 10.0)


def test_json_has_the_ranges_and_the_images(capsys):
    show(timed(tiny(experiment=layers_only(vary={"relu": [True]}))), as_json=True)
    data = json.loads(capsys.readouterr().out)
    for cost in (data["total"], data["configurations"][0]):
        assert 0 < cost["duration_low_s"] < cost["duration_s"] < cost["duration_high_s"]
        assert 0 <= cost["energy_low_j"] <= cost["energy_net_j"] < cost["energy_high_j"]
    assert data["total"]["duration_s"] == pytest.approx(2 * data["configurations"][0]["duration_s"])
    assert (data["train_images"], data["test_images"]) == (100, 50)
    assert (data["scale"], data["miniature"]) == (1.0, None)


@pytest.mark.parametrize(
    ("scale", "said"),
    [("nan", "between 0 and 1"), ("tiny", "'--scale': it should be a valid number\n")],
)
def test_an_impossible_scale_ends_with_exit_code_2(scale, said, joulelab):
    code, out, err = joulelab("plan", "yarally2023-tuning", "--scale", scale)
    assert (code, out) == (2, "")
    assert said in err


def test_the_folder_of_a_miniature_is_named_for_its_scale():
    whole, half = (default_folder("quickstart", ["epochs=2"], scale) for scale in (None, 0.5))
    assert whole == Path("joulelab-out/quickstart-epochs-2")
    assert half == Path("joulelab-out/quickstart-scale-0.5-epochs-2")


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (60e3, 970e3, "60.0 to 970 kJ"),
        (0.0, 970e3, "up to 970 kJ"),
        (0.0, 0.0, "up to 0.00 J"),
        (12.0, 15.0, "12.0 to 15.0 J"),
        (None, 15.0, "unknown"),
    ],
)
def test_a_range_of_energy_is_in_one_unit(low, high, words):
    assert formats.joules_range(low, high) == words


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.5, "50 %"), (0.021, "2.1 %"), (0.00012, "0.012 %"), (None, formats.DASH)],
)
def test_a_small_share_keeps_two_digits(share, words):
    assert formats.share(share) == words
