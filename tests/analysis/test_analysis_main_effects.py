"""Effects in a part of a design, against those of statsmodels."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from joulelab.analysis.main_effects import contrast, main_effects


def latin(rng, repetitions=2):
    return pd.DataFrame(
        {"a": a, "b": b, "c": (a + b) % 3, "y": 5.0 * a + b + rng.normal(0, 0.5)}
        for a in range(3)
        for b in range(3)
        for _ in range(repetitions)
    )


def test_effects_are_those_of_an_analysis_of_variance_of_ranks():
    import statsmodels.formula.api as smf
    from statsmodels.stats.anova import anova_lm

    runs = latin(np.random.default_rng(1)).drop(index=[0, 5])  # unbalanced
    fit = smf.ols("r ~ C(a) + C(b) + C(c)", runs.assign(r=rankdata(runs["y"]))).fit()
    expected = anova_lm(fit, typ=2)
    found = main_effects(runs, ["a", "b", "c"], "y").set_index("factor")
    for factor in "abc":
        row = expected.loc[f"C({factor})"]
        assert found["f"][factor] == pytest.approx(row["F"])
        assert found["p"][factor] == pytest.approx(row["PR(>F)"])


def test_the_difference_of_two_levels_is_that_of_least_squares():
    import statsmodels.formula.api as smf

    runs = latin(np.random.default_rng(2))
    fit = smf.ols("y ~ C(a) + C(b) + C(c)", runs).fit()
    interval, p = contrast(runs, ["a", "b", "c"], "b", (2, 0), runs["y"].to_numpy())
    assert interval.value == pytest.approx(fit.params["C(b)[T.2]"])
    assert (interval.low, interval.high) == pytest.approx(tuple(fit.conf_int().loc["C(b)[T.2]"]))
    assert p == pytest.approx(fit.pvalues["C(b)[T.2]"])


def test_factors_that_cannot_be_told_apart_have_a_reason_and_no_effect():
    runs = latin(np.random.default_rng(3)).assign(d=lambda frame: frame["a"] * 10)
    found = main_effects(runs, ["a", "d"], "y")
    assert set(found["reason"]) == {"other factors change together with it"}
    assert contrast(runs, ["a", "d"], "a", (1, 0), runs["y"].to_numpy()) is None
    few = main_effects(runs.iloc[:3], ["a", "b", "c"], "y")
    assert few["p"].isna().all()
