"""Calibration factors from the agreement of instruments: what is kept, for which meter."""

import pytest
from many_instruments import CODECARBON, GPU_SHARE, changed, read_by_many

from joulelab.errors import UsageError
from joulelab.report.instruments.comparison import compare_instruments
from joulelab.report.instruments.saving import known_keys, new_factors

DATE = "2026-11-22"
UUID = "GPU-ABCD0001-0000"


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    path = tmp_path / "settings.toml"
    path.write_text("[meter.nvml.calibration]\n'abcd0001-0000' = 1.1\n")
    monkeypatch.setenv("JOULELAB_SETTINGS", str(path))
    return path


def channel(domain, source, meter, calibration=1.0):
    return {"domain": domain, "source": source, "meter": meter, "calibration": calibration}


CHANNELS = [
    channel("wall", "shelly-power", "shelly:192.168.1.20"),
    channel("gpu:0", "nvml-counter", "nvml", 1.25),
    channel("cpu:0", "rapl", "rapl"),
    channel("gpu:0", "codecarbon", "codecarbon"),
    channel("cpu:0", "codecarbon", "codecarbon"),
    channel("cpu:0", "estimate", "estimate"),
]


def measured(folder, channels=CHANNELS, **manifest):
    energy = {"channels": channels, "meters": {"nvml": {"gpu:0 uuid": UUID}}, "missing": []}
    return read_by_many(folder, **{"energy": energy, **manifest})


def factors(study, *named, **asked):
    compared = compare_instruments([study], only=named, **asked)
    return new_factors(compared, [study], DATE, named)


def test_a_card_has_its_factor_by_uuid_on_top_of_what_it_was_measured_with(tmp_path):
    (found,), doubts = factors(measured(tmp_path), "nvml")
    assert doubts == []
    assert (found.meter, found.domain) == ("nvml", "gpu:0")
    assert found.key == "abcd0001-0000"  # as the settings write it already
    assert found.factor == pytest.approx(1.25 / GPU_SHARE)
    assert (found.before, found.measured_with) == (1.1, 1.25)
    assert found.comment.startswith("2026-11-22: n = 12, 95 %: ")
    assert "against shelly (wall)" in found.comment
    assert "in place of 1.1" in str(found)


def test_each_domain_of_an_instrument_has_the_factor(tmp_path):
    found, _ = factors(measured(tmp_path), "codecarbon")
    assert [(one.meter, one.key) for one in found] == [
        ("codecarbon", "gpu:0"),
        ("codecarbon", "cpu:0"),
    ]
    for one in found:
        assert one.factor == pytest.approx(1 / CODECARBON, rel=0.02)
        assert one.low < one.factor < one.high


def test_the_factor_of_a_sum_goes_to_each_of_its_meters(tmp_path):
    study = measured(tmp_path)
    found, _ = factors(study, "sensors", sums={"sensors": ["nvml", "rapl"]})
    assert [one.meter for one in found] == ["nvml", "rapl"]
    assert found[1].factor == pytest.approx(1 / 0.8)
    assert found[0].factor == pytest.approx(1.25 / 0.8)
    assert ", of nvml+rapl" in found[0].comment


def test_two_factors_for_one_meter_are_refused(tmp_path):
    with pytest.raises(UsageError, match="nvml would be given two factors for gpu:0"):
        factors(measured(tmp_path), "sensors", "nvml", sums={"sensors": ["nvml", "rapl"]})


def test_an_instrument_of_other_parts_of_the_machine_is_saved_only_by_name(tmp_path):
    found, doubts = factors(measured(tmp_path))
    assert found == []
    assert any("--instrument nvml saves it all the same" in one for one in doubts)
    found, _ = factors(measured(tmp_path), domains=["gpu:0"])
    assert [one.meter for one in found] == ["codecarbon"]  # both read the card alone


def test_one_run_has_no_factor_that_is_worth_keeping(tmp_path):
    study = measured(tmp_path)
    study.runs = study.runs.iloc[:1]
    found, doubts = factors(study, "nvml")
    assert found == []
    assert "one run has no interval" in doubts[0]


def test_a_meter_that_changed_its_factor_between_sessions_is_not_calibrated(tmp_path):
    now = [channel("gpu:0", "nvml-counter", "nvml", 1.0)]
    sessions = [{"session": 2, "conditions": {"energy": {"channels": now}}}]
    study = measured(tmp_path, sessions=sessions)
    found, doubts = factors(study, "nvml")
    assert found == []
    assert "calibrated by 1.25 in one session and by 1 in another" in doubts[0]


def test_a_constant_part_is_doubted(tmp_path):
    study = measured(tmp_path)
    for run in range(12):
        hit = study.readings["run_id"] == f"run-{run}"
        wall_j = float(
            study.readings[hit & (study.readings["domain"] == "wall")]["gross_j"].iloc[0]
        )
        changed(study, run, "estimate", gross_j=0.1 * wall_j + 300)
    found, doubts = factors(study, "estimate")
    assert len(found) == 1
    assert "the intercept differs from 0" in doubts[0]
    assert "a factor alone does not make one the other" in doubts[0]


def test_a_card_whose_uuid_is_unknown_and_a_source_without_a_meter_have_none(tmp_path):
    channels = [channel("gpu:0", "nvml-counter", "nvml"), channel("cpu:0", "rapl", "gone")]
    energy = {"channels": channels, "missing": []}
    study = read_by_many(tmp_path, energy=energy)
    found, doubts = factors(study, "nvml", "rapl")
    assert found == []
    assert any("does not say which card" in one for one in doubts)
    assert any("not a meter that takes a factor" in one for one in doubts)


def test_the_keys_of_a_meter_are_those_that_the_study_has_read(tmp_path):
    assert known_keys(measured(tmp_path).manifest) == {
        "shelly": ["wall"],
        "nvml": [UUID],
        "rapl": ["cpu:0"],
        "codecarbon": ["gpu:0", "cpu:0"],
        "estimate": ["cpu:0"],
    }
