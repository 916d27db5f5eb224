"""Instruments of a study: what each is the sum of, and how they agree with one of them."""

import json

import numpy as np
import pandas as pd
import pytest
from many_instruments import CODECARBON, GPU_SHARE, changed, read_by_many

from joulelab.errors import UnknownNameError, UsageError
from joulelab.present import shown
from joulelab.present.style import drawn
from joulelab.report.instruments.comparison import compare_instruments
from joulelab.report.instruments.readings import read_runs
from joulelab.report.instruments.section import INSTRUMENTS, bland_altman, instruments_agree
from joulelab.report.instruments.tables import agreement_table, read_table
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import report_data, write_report
from shown import reason, seen

MINUS = "\N{MINUS SIGN}"


@pytest.fixture
def many(tmp_path):
    return read_by_many(tmp_path)


def domains(read):
    return {one.name: one.domains for one in read.instruments}


def said(compared):
    return " ".join(compared.remarks)


def test_each_source_is_an_instrument_without_domains_that_lie_within_others(many):
    read = read_runs([many])
    assert domains(read) == {
        "shelly": ("wall",),
        "nvml": ("gpu:0",),
        "rapl": ("cpu:0",),  # core:0 is a part of it
        "codecarbon": ("gpu:0", "cpu:0"),
        "estimate": ("cpu:0",),
    }
    energies = read.energies
    assert len(energies) == 12
    assert energies["codecarbon"].tolist() == pytest.approx(
        (energies["codecarbon gpu:0"] + energies["codecarbon cpu:0"]).tolist()
    )
    assert read["codecarbon"].status == "partly estimated"


def test_a_domain_that_was_not_read_in_every_run_is_no_part_of_the_instrument(many):
    gone = (many.readings["source"] == "codecarbon") & (many.readings["domain"] == "gpu:0")
    many.readings = many.readings[~(gone & (many.readings["run_id"] == "run-3"))]
    assert domains(read_runs([many]))["codecarbon"] == ("cpu:0",)


def test_the_counter_in_one_run_and_the_power_in_another_are_one_instrument(many):
    hit = (many.readings["run_id"] == "run-4") & (many.readings["source"] == "nvml-counter")
    many.readings.loc[hit, "source"] = "nvml-power"
    assert read_runs([many]).energies["nvml"].notna().all()


def test_the_user_adds_sources_up_and_no_joule_twice(many):
    read = read_runs([many], {"sensors": ["nvml", "rapl"]})
    energies = read.energies
    assert read["sensors"].domains == ("gpu:0", "cpu:0")
    assert energies["sensors"].tolist() == pytest.approx(
        (energies["nvml"] + energies["rapl"]).tolist()
    )
    with pytest.raises(UsageError, match="nvml and codecarbon both read gpu:0") as caught:
        read_runs([many], {"twice": ["nvml", "codecarbon"]})
    assert "--domain" in caught.value.hint
    with pytest.raises(UsageError, match="gpu:0 of nvml lies within wall of shelly"):
        read_runs([many], {"all": ["shelly", "nvml"]})
    with pytest.raises(UnknownNameError, match="'nvm'"):
        read_runs([many], {"sensors": ["nvm", "rapl"]})


def test_a_sum_of_sockets_covers_what_the_sockets_are(many):
    both = many.readings["source"] == "codecarbon"
    socket = both & (many.readings["domain"] == "cpu:0")
    many.readings.loc[socket, ["domain", "within"]] = ["cpus", "cpu:0+cpu:1+psys:0+wall"]
    compared = compare_instruments([many], reference="codecarbon", domains=["cpus", "cpu:0"])
    assert compared.reference.covers == {"cpu:0", "cpu:1"}
    with pytest.raises(UsageError, match="both read cpu:0"):
        read_runs([many], {"x": ["rapl", "codecarbon"]}, ["cpus", "cpu:0"])


def test_only_the_named_domains_count(many):
    compared = compare_instruments([many], domains=["gpu:0"])
    assert {one.name for one in compared.read.instruments} == {"nvml", "codecarbon"}
    assert compared.reference.name == "nvml"  # both measured, and first
    assert "other parts" not in said(compared)
    ratio = compared.agreements["codecarbon"].ratios.mean.value
    assert ratio == pytest.approx((CODECARBON - 0.15) / GPU_SHARE, rel=0.03)


@pytest.mark.parametrize(
    ("without", "reference", "why"),
    [
        ((), "shelly", "the whole machine"),
        (("shelly-power",), "nvml", "measured"),
        (("shelly-power", "nvml-counter", "rapl"), "codecarbon", "partly estimated"),
    ],
)
def test_the_reference_is_what_sees_most(many, without, reference, why):
    many.readings = many.readings[~many.readings["source"].isin(without)]
    compared = compare_instruments([many])
    assert compared.reference.name == reference
    assert why in compared.why


def test_another_reference_may_be_named_and_a_wrong_one_is_refused(many):
    compared = compare_instruments([many], reference="nvml", only=["codecarbon"])
    assert list(compared.agreements) == ["codecarbon"]
    assert compared.why == "as it was named"
    with pytest.raises(UnknownNameError, match="'shely'") as caught:
        compare_instruments([many], reference="shely")
    assert "shelly" in caught.value.hint


def test_the_ratio_the_line_and_the_factor_are_those_of_the_instruments(many):
    compared = compare_instruments([many], only=["codecarbon", "nvml"])
    (row,) = agreement_table(compared).frame.query("instrument == 'codecarbon'").to_dict("records")
    assert row["n"] == 12
    assert row["ratio_low"] < CODECARBON < row["ratio_high"]
    assert row["factor"] == pytest.approx(1 / row["ratio"])
    assert row["passing_bablok_slope_low"] < CODECARBON < row["passing_bablok_slope_high"]
    assert row["deming_slope_low"] < CODECARBON < row["deming_slope_high"]
    assert row["ratio_limit_lower"] < row["ratio_low"]
    assert row["ratio_limit_upper"] > row["ratio_high"]
    assert row["r"] > 0.99 > row["concordance"]


def test_different_parts_of_the_machine_are_said(many):
    compared = compare_instruments([many], only=["codecarbon"])
    assert "codecarbon (gpu:0 + cpu:0) reads other parts of the machine than shelly (wall)" in said(
        compared
    )
    same = compare_instruments(
        [many], reference="codecarbon", sums={"s": ["nvml", "rapl"]}, only=["s"]
    )
    assert "other parts" not in said(same)


def test_an_impossible_energy_is_named_by_run_and_instrument_and_its_run_left_out(many):
    changed(many, 2, "codecarbon", gross_j=-3.0)
    changed(many, 5, "nvml-counter", gross_j=0.0)
    compared = compare_instruments([many], only=["codecarbon", "nvml"])
    assert compared.agreements["codecarbon"].n == 11
    assert compared.agreements["nvml"].n == 11
    assert f"run-2, codecarbon {MINUS}6.00 J" in said(compared)
    assert "run-5, nvml 0.00 J" in said(compared)
    assert "2 runs" in said(compared)


def test_a_negative_part_spoils_the_sum_that_hides_it(many):
    hit = (many.readings["source"] == "codecarbon") & (many.readings["domain"] == "cpu:0")
    many.readings.loc[hit & (many.readings["run_id"] == "run-2"), "gross_j"] = -3.0
    compared = compare_instruments([many], only=["codecarbon"])
    assert (compared.read.energies["codecarbon"] > 0).all()
    assert compared.agreements["codecarbon"].n == 11
    assert f"run-2, codecarbon cpu:0 {MINUS}3.00 J" in said(compared)


def test_a_lost_sensor_is_no_reading_and_is_said_with_its_reason(many):
    changed(many, 1, "nvml-counter", gross_j=np.nan, status="missing", reason="GPU is lost")
    changed(many, 7, "nvml-counter", lost_s=2.0, status="estimated", reason="silent for 2 s")
    compared = compare_instruments([many], only=["nvml"])
    assert compared.agreements["nvml"].n == 10
    assert "nvml has no reading of 2 runs (run-1, run-7), left out" in said(compared)
    assert "GPU is lost; silent for 2 s" in said(compared)


def test_an_instrument_with_no_reading_above_zero_is_not_compared(many):
    for run in range(12):
        changed(many, run, "estimate", gross_j=0.0)
    compared = compare_instruments([many])
    assert "estimate" not in compared.agreements
    assert "estimate is not compared" in said(compared)


def test_runs_trained_together_are_one_observation(many):
    many.runs["group_size"] = 4
    many.runs["started_at"] = np.arange(12) // 4
    compared = compare_instruments([many], only=["codecarbon"])
    assert compared.agreements["codecarbon"].n == 3
    assert "12 became 3" in said(compared)


def test_one_run_has_a_ratio_and_no_statistics(tmp_path):
    compared = compare_instruments([read_by_many(tmp_path, runs=1)], only=["nvml"])
    found = compared.agreements["nvml"]
    assert found.ratios.mean.value == pytest.approx(GPU_SHARE)
    assert "nvml: one run: a ratio, and no statistics." in said(compared)
    column = dict(seen(agreement_table(compared)).itertuples(index=False))
    assert column["ratio"] == "0.600"
    assert "needs 3" in column["Passing-Bablok slope"]


def test_several_studies_are_one_table(tmp_path):
    one, other = (read_by_many(tmp_path / name, seed=seed) for seed, name in enumerate("ab"))
    read = read_runs([one, other])
    assert len(read.energies) == 24
    assert read.energies["run"].is_unique
    assert read.energies["run"][0] == "a: run-0"
    assert "nvml" not in said(compare_instruments([one, other], only=["shelly", "rapl"]))


def test_one_instrument_alone_has_no_section_and_an_error_with_what_to_do(many):
    many.readings = many.readings[many.readings["source"] == "shelly-power"]
    assert shown(INSTRUMENTS, ReportedStudy(many)) == []
    with pytest.raises(UsageError, match="only shelly has read these runs") as caught:
        compare_instruments([many])
    assert "energy.meters" in caught.value.hint


def test_nothing_measured_is_said(many):
    many.readings = many.readings.iloc[:0]
    with pytest.raises(UsageError, match="no meter has read these runs"):
        compare_instruments([many])


def test_a_study_that_has_not_begun_has_no_section(many):
    many.runs, many.readings = many.runs.iloc[:0], many.readings.iloc[:0]
    assert shown(INSTRUMENTS, ReportedStudy(many)) == []


def test_a_calibrated_instrument_is_said_to_be_so(tmp_path):
    channels = [{"domain": "gpu:0", "source": "nvml-counter", "calibration": 1.06}]
    study = read_by_many(tmp_path, energy={"channels": channels, "missing": []})
    compared = compare_instruments([study])
    assert "nvml is calibrated already (gpu:0 by 1.06): a new factor is multiplied on top." in said(
        compared
    )
    table = read_table(compared)
    assert seen(table).set_index("instrument")["calibrated"]["nvml"] == "gpu:0 1.06"


def test_the_figure_shows_every_instrument_and_is_the_same_twice(many):
    compared = compare_instruments([many], only=["nvml", "codecarbon"])
    picture = bland_altman(compared)
    figure = picture.draw("screen")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title for title in titles if title] == ["nvml", "codecarbon"]
    assert "codecarbon: ratio 0.5" in picture.alt
    assert drawn(figure, "svg") == drawn(picture.draw("screen"), "svg")


def test_the_page_and_its_json_have_the_section(many, unpictured):
    data = json.loads(json.dumps(report_data(ReportedStudy(many))))
    rows = {row["instrument"]: row for row in data["study_tables"]["agreement"]["rows"]}
    assert set(rows) == {"nvml", "rapl", "codecarbon", "estimate"}
    assert rows["nvml"]["ratio"] == pytest.approx(GPU_SHARE)
    page = write_report(ReportedStudy(many)).read_text()
    assert "Agreement with shelly" in page
    assert "Differences of the instruments" in page


def test_the_comparison_is_made_once_of_a_study_as_it_stands(many):
    def nvml(study):
        return instruments_agree(study).frame.set_index("instrument")["ratio"]["nvml"]

    before = ReportedStudy(many)
    first = nvml(before)
    changed(many, 0, "nvml-counter", gross_j=1.0)
    assert nvml(before) == first
    assert nvml(ReportedStudy(many)) != first


def test_all_impossible_leaves_a_sentence_for_a_table(many):
    many.readings["gross_j"] = many.readings["gross_j"].where(
        many.readings["source"] != "shelly-power", -1.0
    )
    assert "12 impossible energies" in reason(agreement_table, compare_instruments([many]))


def test_readings_that_were_stored_before_there_were_several_are_read(many):
    many.readings = many.readings.drop(columns=["within", "lost_s", "beside"])
    many.readings = many.readings[many.readings["domain"] != "core:0"]
    assert isinstance(read_runs([many]).energies, pd.DataFrame)
