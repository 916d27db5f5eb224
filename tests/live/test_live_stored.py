"""The pages of studies that have been stored: every kind, and older folders."""

import pytest

from joulelab.live.study_source import StudySource


def page_of(folder):
    source = StudySource(folder)
    source.update()
    return source.message("")


@pytest.mark.parametrize(
    ("study", "metric", "energy"),
    [
        ("tuning", "accuracy", "net energy of a run"),
        ("architecture", "accuracy", "net energy of a run"),
        ("training-cost", "accuracy", "net energy of a run"),
        ("batching", "response_p95_s", "net energy of a request"),
        ("timeline", "published_top1", "net energy of an image"),
        ("version-1", "accuracy", "net energy of a run"),
        ("version-2", "accuracy", "net energy of a run"),
    ],
)
def test_every_kind_shows_its_main_metric(study, metric, energy, finished_study):
    told = page_of(finished_study(study))
    [experiment] = told["head"]["experiments"]
    assert (experiment["metric"], experiment["energy"]) == (metric, energy)
    assert experiment["status"] == "estimated"
    assert told["points"]
    assert told["head"]["best"][0]["metric"] == metric
    assert told["head"]["problems"] == []


def test_energy_and_time_are_compared_with_the_forecast(finished_study):
    head = page_of(finished_study("unfinished"))["head"]
    assert head["state"] == "stopped"
    assert head["counts"] == {"finished": 9, "failed": 0, "running": 0, "planned": 23}
    assert head["interrupted"] == 1
    energy = head["energy"]
    assert (energy["forecast"], energy["basis"]) == ("1.90 J", "net")
    assert (energy["runs"], energy["same"], energy["change"]) == (
        "0.29 J",
        "0.41 J",
        "\N{MINUS SIGN}29.3 %",
    )
    assert energy["share"] == pytest.approx(0.29 / 1.90, rel=0.02)
    assert head["left"]["how"] == "by the forecast and the runs so far"
    assert head["left"]["seconds"] > 0


def test_energies_agree_with_the_status_command(finished_study, joulelab):
    folder = finished_study("troubled")
    told = page_of(folder)
    _, out, _ = joulelab("status", folder)
    assert f"energy so far, including setup and idle: {told['head']['energy']['text']}" in " ".join(
        out.split()
    )
    assert sum(runs for _, runs, *_ in told["errors"]) == told["head"]["counts"]["failed"] == 2
