"""Ranks of strategies and the uncertainty of optima, as the report shows them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reported_study import FakeResults, drawn, ledger_of, readings_of
from scipy import stats

from joulelab.analysis.convergence import optimum_uncertainty, winners
from joulelab.analysis.ranking import Ranking
from joulelab.report.experiment import experiments
from joulelab.report.search import (
    _alike,
    convergence_curves,
    friedman_words,
    optima,
    optimum_certainty,
    rank_diagram,
    ranking,
    ranks,
)
from shown import bold, reason, seen


@pytest.fixture(scope="module")
def tuning(tmp_path_factory):
    return experiments(drawn(tmp_path_factory.mktemp("search")))[0]


@pytest.fixture(scope="module")
def authors(published):
    return experiments(published)[0]


def ranked(**mean_ranks):
    """A ranking with these mean ranks and a critical difference of 1."""
    treatments = pd.DataFrame({"treatment": list(mean_ranks), "mean_rank": mean_ranks.values()})
    return Ranking(treatments, pd.DataFrame(), 5, 0, 0.95, "", critical_difference=1.0)


def test_friedman_and_its_pairs_are_scipys(authors):
    made = ranking([authors])
    optima = (
        authors.runs.groupby(["network", "hyperparameters", "strategy"])["accuracy"]
        .max()
        .unstack("strategy")
    )
    assert made.blocks == 6
    assert made.chi2 == pytest.approx(stats.friedmanchisquare(*optima.to_numpy().T).statistic)
    table = ranks(authors)
    row = table.frame.set_index(["first", "second"]).loc["bayesian", "grid"]
    gain = optima["bayesian"] - optima["grid"]
    assert row["wilcoxon_p"] == pytest.approx(stats.wilcoxon(gain, method="exact").pvalue)
    assert list(seen(table)["wins"]) == ["6 : 0", "5 : 1", "1 : 5"]
    assert "Friedman over 6 configurations: χ²(2) = 8.333, p 0.012 (exact)" in table.note
    assert bold(table) == {(0, "Nemenyi p")}


def test_configurations_that_lack_a_strategy_are_said(authors):
    kept = authors.runs[
        ~((authors.runs["network"] == "SimpleCNN") & (authors.runs["strategy"] == "grid"))
    ]
    made = ranking([experiment_with(authors, kept)])
    assert "Friedman over 4 configurations, 2 left out" in friedman_words(made)


def experiment_with(experiment, runs):
    study = FakeResults(
        Path("absent"),
        runs.assign(state="finished"),
        readings_of(runs.assign(state="finished")),
        ledger_of(runs.assign(state="finished")),
        {"tuning": list(experiment.factors)},
    )
    return experiments(study)[0]


def test_one_strategy_has_no_rank(tuning):
    alone = experiment_with(tuning, tuning.runs[tuning.runs["strategy"] == "grid"])
    for make in (ranks, rank_diagram):
        assert reason(make, alone) == "fewer than 2 treatments."


def test_one_configuration_has_no_rank(tuning):
    alone = experiment_with(tuning, tuning.runs[tuning.runs["network"] == "SimpleCNN"])
    assert reason(ranks, alone) == "a single block has a value of every treatment."


def test_experiments_are_ranked_over_all_their_configurations(tuning):
    assert ranking([tuning, tuning]).blocks == 2, "the same configurations are the same blocks"
    other = experiment_with(tuning, tuning.runs.assign(network="Other " + tuning.runs["network"]))
    assert ranking([tuning, other]).blocks == 4


@pytest.mark.parametrize(
    ("mean_ranks", "groups"),
    [
        ({"a": 1.0, "b": 2.5, "c": 4.0}, []),
        ({"a": 1.0, "b": 1.9, "c": 2.0}, [["a", "b", "c"]]),
        ({"a": 1.0, "b": 1.9, "c": 2.5}, [["a", "b"], ["b", "c"]]),
        ({"c": 3.0, "a": 1.0, "b": 1.5, "d": 3.9}, [["a", "b"], ["c", "d"]]),
    ],
)
def test_bars_join_what_does_not_differ_and_none_lies_within_another(mean_ranks, groups):
    assert _alike(ranked(**mean_ranks)) == groups


def test_the_picture_says_in_words_what_it_shows(authors):
    made = rank_diagram(authors)
    assert made.alt == "Mean ranks: bayesian 1.17, random 2.00 and grid 2.83."
    assert made.note.startswith("Rank 1 is best")


def test_the_uncertainty_is_that_of_the_analysis(tuning):
    table = optimum_certainty(tuning)
    expected = optimum_uncertainty(
        tuning.runs, ["network", "hyperparameters", "strategy"], within=27, resamples=1000
    )
    assert table.frame["round_high"].tolist() == expected["round_high"].tolist()
    assert list(seen(table).columns[:2]) == ["network", "strategy"], "3 hyperparameters throughout"
    assert (table.frame["accuracy_low"] <= table.frame["accuracy_high"]).all()
    assert set(seen(table)["within 27"]) == {"100 %"}
    won = winners(tuning.runs, "strategy", ["network", "hyperparameters"], resamples=1000)
    assert table.frame["share_best"].tolist() == won["share_best"].tolist()
    of_setting = table.frame.groupby(["network", "hyperparameters"])["share_best"].sum()
    assert of_setting.tolist() == pytest.approx([1.0] * len(of_setting))


def test_single_repetitions_have_no_uncertainty(authors):
    assert reason(optimum_certainty, authors) == "every round has a single repetition."


def test_without_a_score_the_reason_is_given(tuning):
    unknown = experiment_with(tuning, tuning.runs.assign(accuracy=np.nan))
    assert reason(optimum_certainty, unknown).endswith(".")
    assert reason(optima, unknown) == "no round has a score yet."
    assert reason(convergence_curves, unknown) == "no round has a score yet."


def test_strategies_that_are_not_compared_have_no_optima(tmp_path):
    layers = experiments(drawn(tmp_path))[1]
    for make in (optima, convergence_curves):
        assert reason(make, layers) == "strategies are not compared in this experiment."


def test_table_iii_agrees_with_the_paper(authors):
    found = optima(authors).frame.set_index(["network", "hyperparameters", "strategy"])
    assert found.loc[("SimpleCNN", 5, "random"), "optimum_round"] == 29
    assert found.loc[("SimpleCNN", 5, "random"), "optimum_accuracy"] == pytest.approx(
        0.8879, abs=1e-4
    )
    assert found.loc[("DensePolyNN", 3, "bayesian"), "optimum_round"] == 46
    assert found.loc[("SimpleCNN", 3, "grid"), "optimum_round"] == 20


def test_the_best_strategy_of_each_setting_is_bold(authors):
    table = optima(authors)
    best = {row for row, heading in bold(table) if heading == "accuracy"}
    assert len(best) == 6
    names = table.frame.loc[sorted(best), "strategy"].value_counts().to_dict()
    assert names == {"bayesian": 5, "random": 1}


def test_curves_count_rounds_from_1_and_mark_the_optimum(authors):
    figure = convergence_curves(authors).draw("screen")
    panel = next(
        a for a in figure.axes if a.get_title(loc="left").endswith("SimpleCNN, 5 hyperparameters")
    )
    curve = next(line for line in panel.lines if line.get_label() == "bayesian")
    rounds, best = curve.get_xdata(), curve.get_ydata()
    assert (rounds[0], rounds[-1]) == (1, 64)
    assert curve.get_markevery() == [19]
    assert best[19] == pytest.approx(0.8876, abs=1e-4)
    assert best[18] < best[19] == best[-1]
    assert len(figure.axes) == 6
