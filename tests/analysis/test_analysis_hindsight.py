"""Predictions compared with what came of them."""

import math

import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.prediction.scores import Predicted, hindsight, score
from joulelab.errors import UsageError


def rows(**columns):
    given = {"predicted": [10.0], "low": [8.0], "high": [12.0], "actual": [10.0]}
    return pd.DataFrame({**given, **columns})


def test_the_mean_error_is_that_of_the_scores_of_other_predictions():
    random = np.random.default_rng(3)
    predicted, actual = random.uniform(1, 9, (2, 20))
    found = hindsight(
        pd.DataFrame({"predicted": predicted, "low": 0.0, "high": 5.0, "actual": actual})
    )
    pairs = zip(predicted, actual, strict=True)
    known = score("x", 1.0, [Predicted(m, p, 0.0, 5.0) for p, m in pairs])
    assert found.mape == pytest.approx(known.mape)
    assert found.covered / found.ranged == pytest.approx(known.coverage)


def test_the_ratio_is_of_the_actual_over_the_predicted():
    found = hindsight(
        rows(predicted=[10.0, 10.0, 10.0], actual=[5.0, 13.0, 40.0], low=0.0, high=1.0)
    )
    assert found.table["ratio"].tolist() == [0.5, 1.3, 4.0]
    assert found.median_ratio == 1.3


@pytest.mark.parametrize("actual", [0.0, -1.0, math.nan, math.inf])
def test_what_is_not_above_0_has_no_ratio_and_is_counted(actual):
    found = hindsight(rows(predicted=[10.0, 10.0], actual=[actual, 11.0], low=8.0, high=12.0))
    assert (found.n, found.dropped, found.ranged) == (1, 1, 1)
    assert math.isnan(found.table["ratio"][0])
    assert found.table["covered"].isna().tolist() == [True, False]


def test_the_ends_of_a_range_belong_to_it_and_unknown_ranges_cover_nothing():
    found = hindsight(
        rows(
            predicted=[10.0] * 4,
            actual=[8.0, 12.0, 12.1, 10.0],
            low=[8.0, 8.0, 8.0, math.nan],
            high=12.0,
        )
    )
    assert found.table["covered"].tolist()[:3] == [True, True, False]
    assert pd.isna(found.table["covered"][3])
    assert (found.covered, found.ranged, found.n) == (2, 3, 4)


def test_of_nothing_nothing_is_said():
    found = hindsight(rows().iloc[:0])
    assert (found.n, found.covered, found.ranged) == (0, 0, 0)
    assert math.isnan(found.mape)
    assert math.isnan(found.median_ratio)


def test_a_missing_column_is_named():
    with pytest.raises(UsageError, match="low"):
        hindsight(rows().drop(columns="low"))
