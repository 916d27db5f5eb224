import numpy as np
import pandas as pd
import pytest
from scipy import stats

from joulelab.analysis.posthoc import dunn


def frame(samples):
    return pd.DataFrame(
        [(level, float(value)) for level, values in samples.items() for value in values],
        columns=["configuration", "energy_net_j"],
    )


def dunn_by_hand(first, second, everything):
    ranks = dict(zip(everything, stats.rankdata(everything), strict=True))
    n, ties = len(everything), np.unique(everything, return_counts=True)[1]
    variance = n * (n + 1) / 12 - (ties**3 - ties).sum() / (12 * (n - 1))
    difference = np.mean([ranks[v] for v in second]) - np.mean([ranks[v] for v in first])
    z = difference / np.sqrt(variance * (1 / len(first) + 1 / len(second)))
    return 2 * stats.norm.sf(abs(z))


def test_p_with_ties_is_that_of_the_worked_example():
    # Energies 10 20 | 20 30 | 40 50: ranks 1 2.5 | 2.5 4 | 5 6, one tie of two. The variance is
    # (6 * 7 / 12 - 6 / 60) * (1/2 + 1/2) = 3.4, so z = 1.5, 3.75, 2.25 over 1.84391.
    table = dunn(frame({"a": [10, 20], "b": [20, 30], "c": [40, 50]}))

    z = np.array([1.5, 3.75, 2.25]) / 1.843909
    p = 2 * stats.norm.sf(z)
    assert table["p"].tolist() == pytest.approx(p.tolist(), rel=1e-5)
    # Holm: 3 * .042 first, then 2 * .222, then 1 * .416, which may not fall below the one before.
    assert table["p_adjusted"].tolist() == pytest.approx([2 * p[2], 3 * p[1], 2 * p[2]], rel=1e-5)
    assert table["rank_first"].tolist() == [1.75, 1.75, 3.25]
    assert table["rank_second"].tolist() == [3.25, 5.5, 5.5]


def test_unequal_groups_with_many_ties_agree_with_the_formula():
    from statsmodels.stats.multitest import multipletests

    samples = {4: [7, 7, 7, 8], 16: [1, 2, 2, 7, 9], 1: [3, 3]}
    everything = [value for values in samples.values() for value in values]

    table = dunn(frame(samples))

    assert list(zip(table["first"], table["second"], strict=True)) == [(1, 4), (1, 16), (4, 16)]
    expected = [
        dunn_by_hand(samples[a], samples[b], everything) for a, b in [(1, 4), (1, 16), (4, 16)]
    ]
    assert table["p"].tolist() == pytest.approx(expected)
    assert table["p_adjusted"].tolist() == pytest.approx(
        multipletests(expected, method="holm")[1].tolist()
    )
    assert table["n_first"].tolist() == [2, 2, 4]


def test_scikit_posthocs_gives_the_same():
    import scikit_posthocs

    draw = np.random.default_rng(7)
    runs = pd.DataFrame(
        {"configuration": draw.integers(0, 5, 60), "energy_net_j": draw.integers(0, 20, 60) * 1.0}
    )
    table = dunn(runs)
    theirs = scikit_posthocs.posthoc_dunn(runs, "energy_net_j", "configuration", "holm")
    expected = [theirs.loc[a, b] for a, b in zip(table["first"], table["second"], strict=True)]
    assert table["p_adjusted"].tolist() == pytest.approx(expected)


def test_two_groups_give_the_p_of_kruskal_wallis():
    samples = {"off": [1, 2, 2, 3], "on": [2, 4, 5]}

    assert dunn(frame(samples))["p"].tolist() == pytest.approx(
        [stats.kruskal(*samples.values()).pvalue]
    )


def test_all_pairs_of_published_configurations_differ(architecture):
    table = dunn(architecture, ["linear_layers", "conv_layers", "relu"])

    assert len(table) == 28
    assert (table["p_adjusted"] < 0.05).all()
    assert table["first"].iloc[0] == "linear_layers=3, conv_layers=1, relu=False"


def test_runs_without_energy_are_dropped_and_counted():
    table = dunn(frame({"a": [1, 2, np.nan], "b": [3, np.nan]}))

    assert table["dropped"].tolist() == [2]
    assert (table["n_first"].iloc[0], table["n_second"].iloc[0]) == (2, 1)


def test_levels_of_several_types_are_compared():
    assert len(dunn(frame({16: [1, 2], "greedy": [3, 4]}))) == 1


def test_equal_energies_give_no_p_but_a_reason():
    table = dunn(frame({"a": [5, 5], "b": [5, 5]}))

    assert table[["p", "p_adjusted"]].isna().all(axis=None)
    assert table["reason"].tolist() == ["all values are the same"]


def test_one_group_has_no_pairs():
    table = dunn(frame({"a": [1, 2]}))

    assert table.empty
    assert {"first", "second", "p_adjusted"} <= set(table)
