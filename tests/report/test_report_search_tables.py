"""Ranks of strategies and the uncertainty of optima, as the report shows them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from joulelab.report.search_pictures import rank_picture
from joulelab.report.search_tables import alike, friedman_words, ranking, ranks, uncertainty
from joulelab.report.tables import Omitted
from reported_study import FakeResults, drawn, ledger_of, readings_of
from scipy import stats

from joulelab.analysis.convergence import optimum_uncertainty, winners
from joulelab.analysis.ranking import Ranking
from joulelab.report.experiment import experiments


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
    row = table.raw.set_index(["first", "second"]).loc["bayesian", "grid"]
    gain = optima["bayesian"] - optima["grid"]
    assert row["wilcoxon_p"] == pytest.approx(stats.wilcoxon(gain, method="exact").pvalue)
    assert list(table.shown["wins"]) == ["6 : 0", "5 : 1", "1 : 5"]
    assert "Friedman over 6 configurations: χ²(2) = 8.333, p 0.012 (exact)" in table.note
    assert table.bold == {(0, "Nemenyi p")}


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
    for made in (ranks(alone), rank_picture(alone)):
        assert isinstance(made, Omitted)
        assert made.reason == "fewer than 2 treatments."


def test_one_configuration_has_no_rank(tuning):
    alone = experiment_with(tuning, tuning.runs[tuning.runs["network"] == "SimpleCNN"])
    assert ranks(alone).reason == "a single block has a value of every treatment."


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
    assert alike(ranked(**mean_ranks)) == groups


def test_the_picture_says_in_words_what_it_shows(authors):
    made = rank_picture(authors)
    assert made.alt == "Mean ranks: bayesian 1.17, random 2.00 and grid 2.83."
    assert made.note.startswith("Rank 1 is best")


def test_the_uncertainty_is_that_of_the_analysis(tuning):
    table = uncertainty(tuning)
    expected = optimum_uncertainty(
        tuning.runs, ["network", "hyperparameters", "strategy"], within=27, resamples=1000
    )
    assert table.raw["round_high"].tolist() == expected["round_high"].tolist()
    assert list(table.shown.columns[:2]) == ["network", "strategy"], "3 hyperparameters throughout"
    assert (table.raw["accuracy_low"] <= table.raw["accuracy_high"]).all()
    assert set(table.shown["within 27"]) == {"100 %"}
    won = winners(tuning.runs, "strategy", ["network", "hyperparameters"], resamples=1000)
    assert table.raw["share_best"].tolist() == won["share_best"].tolist()
    of_setting = table.raw.groupby(["network", "hyperparameters"])["share_best"].sum()
    assert of_setting.tolist() == pytest.approx([1.0] * len(of_setting))


def test_single_repetitions_have_no_uncertainty(authors):
    assert uncertainty(authors).reason == "every round has a single repetition."


def test_without_a_score_the_reason_is_given(tuning):
    assert isinstance(
        uncertainty(experiment_with(tuning, tuning.runs.assign(accuracy=np.nan))), Omitted
    )
