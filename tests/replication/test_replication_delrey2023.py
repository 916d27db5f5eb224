"""Predictions on traces in files: made-up ones with known answers, and the authors' own."""

import json
import math
import statistics

import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.prediction.scores import Predicted, score
from joulelab.analysis.prediction.step import PhaseChange, predict_step
from joulelab.analysis.prediction.traces import find_stable_part
from joulelab.cli.replicating import best_methods
from joulelab.errors import DatasetError, UsageError
from joulelab.replication.delrey2023 import (
    FRACTIONS,
    METHODS,
    energy_window_j,
    power_window_j,
    replicate,
)
from joulelab.replication.delrey2023_data import (
    limit_w,
    memory_gb,
    read_runs_of_folder,
    read_table_of_runs,
    row_of,
)

HEADER = (
    "training environment,architecture,training duration (h),max power limit (W),"
    "average memory used (MB),energy (MJ),trained epochs\n"
)
EPOCHS = 40


def samples(run="one", environment="cloud", model="vgg16", duration_s=1600, level_w=200.0):
    """Start-up at 20 W for 20 s, then one level; utilisation 0.8 throughout."""
    time_s = np.arange(duration_s + 1.0)
    return pd.DataFrame(
        {
            "run": run,
            "environment": environment,
            "model": model,
            "t_s": time_s,
            "power_w": np.where(time_s < 20, 20.0, level_w),
            "utilisation_pct": 80.0,
            "temperature_c": 60.0,
        }
    )


ENERGY_J = 19 * 20.0 + 110.0 + 1580 * 200.0


def write_table(folder, energy_mj=ENERGY_J / 1e6, duration_h=1600 / 3600):
    row = f"Cloud,vgg16,{duration_h},300.0,10000.0,{energy_mj},{EPOCHS}\n"
    (folder / "runs.csv").write_text(HEADER + row)


def scores(folder):
    return {(one.method, one.fraction): one for one in replicate(folder).scores}


@pytest.fixture
def folder(tmp_path):
    samples().to_csv(tmp_path / "traces.csv", index=False)
    write_table(tmp_path)
    return tmp_path


def test_there_is_a_score_for_every_method_and_fraction(folder):
    found = scores(folder)
    assert set(found) == {(name, fraction) for name in METHODS for fraction in FRACTIONS}
    assert all(one.n == 1 for one in found.values())
    assert all((one.coverage is None) == (one.method != "step") for one in found.values())


def test_the_simple_methods_are_their_formulas(folder):
    found = scores(folder)
    assert found["tdp", 0.2].rmse_kj == pytest.approx((300.0 * 1600 - ENERGY_J) / 1e3)
    green_j = (300.0 * 0.8 + 0.3725 * 10.0) * 1600
    assert found["green-algorithms", 0.2].mape == pytest.approx(abs(green_j / ENERGY_J - 1))
    seen_j = ENERGY_J - 1440 * 200.0
    assert found["mean-so-far", 0.1].mape == pytest.approx(abs(seen_j * 10 / ENERGY_J - 1))
    assert found["window", 0.2].rmse_kj == pytest.approx(0.0, abs=1e-9)


def test_parquet_and_csv_give_the_same(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("parquet")
    samples().to_parquet(other / "run=7.parquet")
    write_table(other)
    assert replicate(other).scores == replicate(folder).scores


def test_a_file_a_run_and_many_runs_in_one_file_give_the_same(tmp_path, tmp_path_factory):
    apart = tmp_path_factory.mktemp("apart")
    runs = [samples("one"), samples("two", level_w=150.0)]
    for number, run in enumerate(runs):
        run.to_csv(apart / f"{number}.csv", index=False)
    pd.concat(runs).to_csv(tmp_path / "all.csv", index=False)
    assert replicate(apart).scores == replicate(tmp_path).scores


def test_without_the_table_the_papers_machines_are_taken(tmp_path):
    samples(environment="local-v2").to_csv(tmp_path / "traces.csv", index=False)
    study = replicate(tmp_path)
    found = {one.method: one for one in study.scores}
    assert found["tdp"].rmse_kj == pytest.approx((240.0 * 1600 - ENERGY_J) / 1e3)
    windows = [one for one in study.comparisons if one.published.cell.endswith("window")]
    assert [one.value for one in windows] == [None, None]
    assert all("needs runs.csv" in one.note for one in windows)


def test_the_limit_that_a_trace_records_goes_before_all_others(folder):
    samples().assign(power_limit_w=280.0).to_csv(folder / "traces.csv", index=False)
    (run,) = read_runs_of_folder(folder)[0]
    assert limit_w(run, read_table_of_runs(folder)) == 280.0


def test_an_unknown_machine_has_no_tdp_and_it_is_said(tmp_path):
    samples(environment="attic").to_csv(tmp_path / "traces.csv", index=False)
    study = replicate(tmp_path)
    found = {one.method: one for one in study.scores}
    assert (found["tdp"].n, found["tdp"].mape, found["green-algorithms"].n) == (0, None, 0)
    assert found["step"].n == 1
    assert any("'attic'" in remark for remark in study.remarks)


def test_without_utilisation_only_what_needs_it_is_missing(tmp_path):
    samples().drop(columns="utilisation_pct").to_csv(tmp_path / "traces.csv", index=False)
    found = {one.method: one for one in replicate(tmp_path).scores}
    assert (found["green-algorithms"].n, found["tdp"].n) == (0, 1)


def test_a_trace_finds_its_row_by_duration_and_energy(folder):
    (run,) = read_runs_of_folder(folder)[0]
    row = row_of(run, read_table_of_runs(folder))
    assert row is not None
    assert row.epochs == EPOCHS
    assert memory_gb(run, [row]) == 10.0
    write_table(folder, energy_mj=1.1 * ENERGY_J / 1e6)
    assert row_of(run, read_table_of_runs(folder)) is None


def test_the_authors_windows_are_their_formulas(folder):
    (run,) = read_runs_of_folder(folder)[0]
    assert power_window_j(run, EPOCHS) == pytest.approx(200.0 * 1600)
    # 40 s an epoch: the first ten are those with the start-up
    first_j = ENERGY_J - 1200 * 200.0
    assert energy_window_j(run, EPOCHS) == pytest.approx(first_j + 30 * 40 * 200.0)
    values = {one.published.cell: one.value for one in replicate(folder).comparisons}
    assert values["power-window"] == pytest.approx((200.0 * 1600 - ENERGY_J) / 1e3)
    assert values["energy-window"] == pytest.approx(0.0, abs=1e-9)


def test_samples_without_power_or_back_in_time_are_left_out_and_said(folder):
    frame = samples()
    extra = frame.tail(1).assign(t_s=-55211.0, power_w=np.nan)
    pd.concat([frame, extra]).to_csv(folder / "traces.csv", index=False)
    study = replicate(folder)
    assert any("1 sample without time or power" in remark for remark in study.remarks)
    (run,) = read_runs_of_folder(folder)[0]
    assert run.trace.energy_j == pytest.approx(ENERGY_J)


def test_a_gap_is_bridged_and_said(folder):
    frame = samples()
    frame.drop(range(800, 900)).to_csv(folder / "traces.csv", index=False)
    runs, remarks = read_runs_of_folder(folder)
    assert runs[0].trace.energy_j == pytest.approx(ENERGY_J)
    assert any("1 gap" in remark and "straight" in remark for remark in remarks)


def test_a_run_of_a_single_sample_is_left_out_and_said(folder):
    alone = samples("alone").head(1)
    pd.concat([samples(), alone]).to_csv(folder / "traces.csv", index=False)
    study = replicate(folder)
    assert all(one.n == 1 for one in study.scores)
    assert any("'alone' is left out" in remark for remark in study.remarks)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("power_w", "much", "line 5, column power_w: 'much' is not a number"),
        ("power_w", -3.0, "line 5, column power_w: '-3.0' is not a number from 0"),
        ("t_s", "noon", "line 5, column t_s: 'noon' is not a number"),
    ],
)
def test_a_value_that_is_none_is_named_with_its_row(tmp_path, column, value, words):
    frame = samples().astype({column: object})
    frame.loc[3, column] = value
    frame.to_csv(tmp_path / "traces.csv", index=False)
    with pytest.raises(DatasetError) as caught:
        replicate(tmp_path)
    assert words in caught.value.message


def test_power_without_time_is_a_mistake(tmp_path):
    samples().drop(columns="t_s").to_csv(tmp_path / "traces.csv", index=False)
    with pytest.raises(DatasetError, match="no column 't_s'"):
        replicate(tmp_path)


def test_a_run_in_two_files_is_a_mistake(folder):
    samples().to_csv(folder / "again.csv", index=False)
    with pytest.raises(DatasetError, match="another file of the folder"):
        replicate(folder)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "traces.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DatasetError, match=r"traces\.parquet cannot be read"):
        replicate(tmp_path)


def test_a_folder_without_traces_names_what_was_looked_for(tmp_path):
    write_table(tmp_path)
    with pytest.raises(UsageError, match="no power traces") as caught:
        replicate(tmp_path)
    assert "t_s and power_w" in caught.value.hint
    with pytest.raises(UsageError, match="cannot be read"):
        replicate(tmp_path / "nowhere")


def test_json_is_a_list_of_scores(folder, joulelab):
    _, out, _ = joulelab("replicate", "delrey2023", "--data", folder, "--json")
    rows = json.loads(out)
    assert len(rows) == len(METHODS) * len(FRACTIONS)
    assert list(rows[0]) == ["method", "fraction", "n", "rmse_kj", "mape", "coverage"]
    assert next(row for row in rows if row["method"] == "tdp")["coverage"] is None


def test_the_terminal_shows_every_method_and_both_windows(folder, joulelab):
    _, out, _ = joulelab("replicate", "delrey2023", "--data", folder)
    assert all(out.count(f"\n{name} ") >= len(FRACTIONS) for name in METHODS)
    assert "7.34" in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_conclusion_names_the_best_method_of_each_fraction(folder):
    _, best = best_methods(replicate(folder).scores)
    assert [seen for seen, _ in best.pairs] == [
        f"{100 * one:.0f} % of the run" for one in FRACTIONS
    ]


@pytest.fixture(scope="module")
def own(data_dir):
    path = data_dir / "delrey2023"
    if not (path / "power-traces.parquet").is_file():
        pytest.skip(f"no published traces in {path}")
    return scores(path)


def test_on_the_authors_traces_step_is_within_its_bounds(own):
    assert {one.n for one in own.values()} == {40}
    assert own["step", 0.1].mape <= 0.06
    assert own["step", 0.2].mape <= 0.012
    for fraction in FRACTIONS:
        step = own["step", fraction]
        assert 0.90 <= step.coverage <= 0.99
        assert step.mape == min(own[name, fraction].mape for name in METHODS)


def test_on_the_authors_traces_the_window_has_the_error_known_for_it(own):
    assert own["window", 0.1].mape == pytest.approx(0.075, abs=0.0005)
    assert own["window", 0.15].mape == pytest.approx(0.033, abs=0.0005)
    assert own["window", 0.2].mape == pytest.approx(0.016, abs=0.0005)


def test_every_one_of_the_authors_traces_has_a_row_of_its_own(data_dir, own):
    assert own
    runs, _ = read_runs_of_folder(data_dir / "delrey2023")
    table = read_table_of_runs(data_dir / "delrey2023")
    rows = [row_of(run, table) for run in runs]
    assert None not in rows
    assert len(set(rows)) == len(runs)


def changes_of(runs):
    """Of every run its machine, its network, ln of the place of the change and of its ratio."""
    for run in runs:
        half = run.trace.between(0.0, run.trace.duration_s / 2)
        part = find_stable_part(half.binned_w(1.0))
        place = part.start / run.trace.duration_s
        yield run, math.log(place), math.log(part.levels_w.mean() / part.before_w)


def fitted(changes):
    places, ratios = [one[1] for one in changes], [one[2] for one in changes]
    return PhaseChange(
        math.exp(statistics.median(places)),
        statistics.stdev(places),
        statistics.fmean(ratios),
        statistics.stdev(ratios),
        0.5 / (len(changes) + 1),
    )


def one(run, fraction, change):
    trace = run.trace
    seen = trace.between(0.0, fraction * trace.duration_s)
    found = predict_step(seen, trace.duration_s, change)
    return Predicted(trace.energy_j, found.energy_j, found.low_j, found.high_j)


@pytest.mark.parametrize("left_out", ["model", "environment"])
def test_a_network_or_machine_that_the_prior_has_not_seen_is_predicted_as_well(
    data_dir, own, left_out
):
    """The prior of the change is fitted anew without all runs of the network, or machine."""
    assert own
    changes = list(changes_of(read_runs_of_folder(data_dir / "delrey2023")[0]))
    groups = {getattr(run, left_out) for run, *_ in changes}
    priors = {
        group: fitted([change for change in changes if getattr(change[0], left_out) != group])
        for group in groups
    }
    scores = {}
    for fraction in FRACTIONS:
        predictions = [one(run, fraction, priors[getattr(run, left_out)]) for run, *_ in changes]
        scores[fraction] = score(f"step without its {left_out}", fraction, predictions)
        print(scores[fraction])
    assert scores[0.1].mape <= 0.06
    assert scores[0.2].mape <= 0.012
    assert all(scores[fraction].coverage >= 0.9 for fraction in FRACTIONS[1:])
