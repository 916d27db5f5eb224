import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from joulelab.analysis.interaction import TIMES, align, interactions
from joulelab.errors import UsageError

# Higgins, Blair and Tashtoush (1990), Table 1: four values in each of three rows by three columns.
HIGGINS = pd.DataFrame(
    {
        "row": np.repeat([1, 2, 3], 12),
        "column": np.tile(np.repeat([1, 2, 3], 4), 3),
        "y": [
            11.5, 10.1, 9.9, 10.6, 9.0, 7.4, 8.8, 8.8, 3.8, 6.3, 4.9, 5.3,
            9.9, 9.8, 9.3, 9.1, 9.3, 7.4, 7.7, 7.9, 4.1, 6.3, 5.5, 5.4,
            13.9, 16.0, 14.2, 15.2, 13.0, 13.4, 11.2, 12.8, 9.6, 9.6, 11.0, 13.4,
        ],
    }
)  # fmt: skip
# The three-factor example of ARTool, and the ranks it prints for the interaction of all three.
ABC = pd.DataFrame(
    {
        "a": np.repeat([1, 2], 8),
        "b": np.tile(np.repeat([1, 2], 4), 2),
        "c": np.tile([1, 2], 8),
        "y": [100, 116, 104, 112, 128, 132, 122, 136, 136, 148, 140, 140, 130, 146, 132, 142],
    }
)
ABC_RANKS = [2.5, 14, 10.5, 7, 16, 2.5, 5, 10.5, 7, 12, 14, 1, 4, 14, 9, 7]


def unbalanced(seed=0, n=60):
    rng = np.random.default_rng(seed)
    runs = pd.DataFrame(
        {
            "a": rng.choice(["x", "y", "z"], n, p=[0.5, 0.3, 0.2]),
            "b": rng.choice([False, True], n, p=[0.3, 0.7]),
        }
    )
    runs["y"] = 100 + 3 * runs["b"] + (runs["a"] == "z") * (2 - 4 * runs["b"]) + rng.normal(size=n)
    return runs


def test_artools_example_gives_the_f_of_artool():
    table = interactions(HIGGINS, ["row", "column"], "y")

    assert table["effect"].tolist() == ["row", "column", f"row{TIMES}column"]
    assert table["art_f"].round(4).tolist() == [29.9925, 77.8668, 0.6417]
    assert table["art_p"].round(4).tolist() == [0, 0, 0.6374]
    assert table["df"].tolist() == [2, 2, 4]
    assert table["df_residual"].tolist() == [27] * 3
    f, df = table["art_f"], table["df"]
    np.testing.assert_allclose(
        table["art_partial_eta_squared"].astype(float), f * df / (f * df + 27)
    )


def test_aligning_for_three_factors_gives_the_ranks_of_artool():
    aligned = align(ABC, ["a", "b", "c"], ["a", "b", "c"], "y")

    assert stats.rankdata(np.round(aligned, 9)).tolist() == ABC_RANKS


def test_aligned_values_add_up_to_0_and_hold_no_other_effect():
    runs = unbalanced()
    for effect in (["a"], ["b"], ["a", "b"]):
        assert align(runs, ["a", "b"], effect, "y").sum() == pytest.approx(0, abs=1e-9)
    # In a balanced design the aligned values have no effect but the one they are aligned for.
    aligned = HIGGINS.assign(y=align(HIGGINS, ["row", "column"], ["row"], "y"))
    table = interactions(aligned, ["row", "column"], "y").set_index("effect")
    assert table.loc["row", "anova_f"] > 10
    assert table.loc[["column", f"row{TIMES}column"], "anova_f"].tolist() == pytest.approx([0, 0])


def by_statsmodels(runs, factors, values):
    """Type III ANOVA with sum contrasts, as ARTool does it in R."""
    import statsmodels.api as sm
    import statsmodels.formula.api as smf

    terms = " * ".join(f"C({factor}, Sum)" for factor in factors)
    fitted = smf.ols(f"response ~ {terms}", runs.assign(response=values)).fit()
    table = sm.stats.anova_lm(fitted, typ=3)
    return {name.replace(", Sum", ""): row for name, row in table.iterrows()}


@pytest.mark.parametrize(
    ("runs", "factors"), [(unbalanced(), ["a", "b"]), (ABC.iloc[1:], ["a", "b", "c"])]
)
def test_unequal_cells_give_the_type_iii_tests_of_statsmodels(runs, factors):
    table = interactions(runs, factors, "y", most=len(factors))

    plain = by_statsmodels(runs, factors, runs["y"])
    effects = [
        list(effect)
        for order in range(1, len(factors) + 1)
        for effect in itertools.combinations(factors, order)
    ]
    assert len(table) == len(effects)
    for effect, (_, found) in zip(effects, table.iterrows(), strict=True):
        name = ":".join(f"C({factor})" for factor in effect)
        expected = plain[name]
        assert found["anova_f"] == pytest.approx(expected["F"])
        assert found["anova_p"] == pytest.approx(expected["PR(>F)"])
        squares = expected["sum_sq"]
        assert found["anova_partial_eta_squared"] == pytest.approx(
            squares / (squares + plain["Residual"]["sum_sq"])
        )
        # The aligned ranks, by hand: residual of the cell plus the estimate of the effect.
        estimate = pd.Series(0.0, runs.index)
        for size in range(len(effect) + 1):
            for some in itertools.combinations(effect, size):
                means = (
                    runs.groupby(list(some))["y"].transform("mean") if some else runs["y"].mean()
                )
                estimate = estimate + (-1) ** (len(effect) - size) * means
        residual = runs["y"] - runs.groupby(factors)["y"].transform("mean")
        ranks = (residual + estimate).round(9).rank()
        aligned = by_statsmodels(runs, factors, ranks)[name]
        assert found["art_f"] == pytest.approx(aligned["F"])
        assert found["art_p"] == pytest.approx(aligned["PR(>F)"])


def test_the_largest_order_limits_the_rows_and_not_the_model():
    few, all_of_them = (interactions(ABC, ["a", "b", "c"], "y", most=most) for most in (1, 3))

    assert few["order"].tolist() == [1, 1, 1]
    pd.testing.assert_frame_equal(few, all_of_them.iloc[:3])
    assert all_of_them["order"].tolist() == [1, 1, 1, 2, 2, 2, 3]


def test_runs_without_a_value_are_dropped_and_the_frame_is_left_alone():
    runs = pd.concat([HIGGINS, pd.DataFrame({"row": [1, None], "column": [1, 2], "y": [None, 3]})])
    before = runs.copy()

    table = interactions(runs, ["row", "column"], "y")

    assert table["dropped"].tolist() == [2] * 3
    assert table["art_f"].tolist() == pytest.approx(
        interactions(HIGGINS, ["row", "column"], "y")["art_f"].tolist()
    )
    pd.testing.assert_frame_equal(runs, before)


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        (ABC[(ABC["a"] == 1) | (ABC["b"] == 1)], "no run has a = 2 and b = 2"),
        (
            HIGGINS.rename(columns={"row": "a", "column": "b"}).iloc[::4],
            "every cell has a single run",
        ),
        (ABC.assign(y=7.0), "the values do not scatter within the cells"),
        (ABC.assign(y=ABC["a"] * 1000.1 + ABC["b"]), "the values do not scatter within the cells"),
        (ABC.iloc[:0], "no run has a value and every level"),
    ],
)
def test_what_cannot_be_computed_has_a_reason(runs, reason):
    table = interactions(runs, ["a", "b"], "y")

    assert table["reason"].tolist() == [reason] * 3
    assert table[["df", "art_f", "art_p", "anova_f", "anova_p"]].isna().all(axis=None)


def test_a_single_level_leaves_the_effects_of_the_other_factors():
    runs = HIGGINS.assign(place="gpu:0")

    table = interactions(runs, ["row", "place", "column"], "y").set_index("effect")
    alone = interactions(HIGGINS, ["row", "column"], "y").set_index("effect")

    assert table.loc["place", "reason"] == "place has a single level"
    assert table.loc[f"row{TIMES}place{TIMES}column", "reason"] == "place has a single level"
    for effect in alone.index:
        assert table.loc[effect, "art_f"] == pytest.approx(alone.loc[effect, "art_f"])
        assert table.loc[effect, "reason"] == ""


@pytest.mark.parametrize("factors", [[], ["a", "a"]])
def test_factors_are_named_once(factors):
    with pytest.raises(UsageError, match="are not factors"):
        interactions(ABC, factors, "y")


def test_an_order_below_1_is_refused():
    with pytest.raises(UsageError, match="order 0"):
        interactions(ABC, ["a"], "y", most=0)


def test_layers_multiply_in_the_published_energies(architecture):
    factors = ["linear_layers", "conv_layers", "relu"]
    joules = interactions(architecture, factors).set_index("effect")
    logs = architecture.assign(log=np.log(architecture["energy_net_j"]))
    logarithms = interactions(logs, factors, "log").set_index("effect")

    pair = f"conv_layers{TIMES}relu"
    assert joules.loc[pair, "anova_partial_eta_squared"] > 0.2
    assert logarithms.loc[pair, "anova_partial_eta_squared"] < 0.01
    assert joules["art_p"].drop(f"linear_layers{TIMES}relu").max() < 0.001
    assert joules.loc[f"linear_layers{TIMES}relu", "art_p"] > 0.05


def test_every_effect_counts_all_runs(architecture):
    runs = pd.concat([architecture] * 4, ignore_index=True)

    table = interactions(runs, ["linear_layers", "conv_layers", "relu"])

    assert table["n"].tolist() == [12_288] * 7
