"""The paper's findings: each verdict on data made so that it must come out."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from joulelab.analysis.claims.architecture import architecture_claims, hyperparameters_claim
from joulelab.analysis.claims.claim import Effect, Verdict, below
from joulelab.analysis.claims.search import search_claims, searches

HOLDS, FAILS, UNDECIDED = Verdict.HOLDS, Verdict.FAILS, Verdict.UNDECIDED
STRATEGIES = ("bayesian", "grid", "random")
LAYERS = ["conv_layers", "linear_layers", "relu"]


def search(optima, at=None, rounds=64):
    """Rounds of a search a configuration: 0.1 until round `at`, then the optimum and no more."""
    rows = []
    for strategy, reached in optima.items():
        places = (at or {}).get(strategy, [5] * len(reached))
        for number, (best, place) in enumerate(zip(reached, places, strict=True)):
            for index in range(rounds):
                score = best if index + 1 == place else 0.1
                rows.append((strategy, f"net {number}", index, score))
    return pd.DataFrame(rows, columns=["strategy", "network", "round", "score"])


def claims_of_search(*arguments, **settings):
    found = search_claims(search(*arguments, **settings), "strategy", ["network"])
    return {claim.key: claim for claim in found}


def ladder(base, n, step=0.001):
    """Optima that differ from configuration to configuration."""
    return [base + step * number for number in range(n)]


def test_an_effect_is_below_its_reference_with_all_of_its_interval_or_not():
    assert below(Effect("x", 1.0, 0.5, 1.5, 2.0)) is HOLDS
    assert below(Effect("x", 3.0, 2.5, 3.5, 2.0)) is FAILS
    assert below(Effect("x", 1.9, 1.5, 2.5, 2.0)) is UNDECIDED
    assert below(Effect("x", 1.0, reference=2.0)) is UNDECIDED, "without an interval"


# Bayesian search reaches the best accuracy.


def test_bayesian_search_that_always_wins_over_eight_configurations_holds():
    optima = {
        "bayesian": ladder(0.90, 8, 0.003),
        "grid": ladder(0.80, 8),
        "random": ladder(0.85, 8),
    }
    claim = claims_of_search(optima)["bayesian-wins"]
    assert claim.verdict is HOLDS
    assert claim.words == "holds"
    assert (claim.n, claim.unit) == (8, "configurations")
    # Two tests with the same p = 2 / 2^8, the smaller of which Holm doubles.
    assert claim.p == pytest.approx(2 * 2 / 2**8)
    gains = np.array(optima["bayesian"]) - optima["random"]
    walsh = [(a + b) / 2 for a, b in itertools.combinations_with_replacement(gains, 2)]
    assert claim.effect.value == pytest.approx(np.median(walsh))
    assert "bayesian minus random" in claim.effect.name, "against the better of the rivals"
    assert claim.effect.low > 0
    assert "best optimum in 8 of 8 configurations" in claim.said


def test_six_wins_of_six_against_two_rivals_are_too_few_and_that_is_said():
    optima = {"bayesian": ladder(0.90, 6), "grid": ladder(0.80, 6), "random": ladder(0.85, 6)}
    claim = claims_of_search(optima)["bayesian-wins"]
    assert claim.words == "cannot be decided with n = 6 configurations"
    assert claim.p == pytest.approx(2 * 2 / 2**6)
    assert "Not even 6 wins of 6 would be significant" in claim.said


def test_six_wins_of_six_against_one_rival_are_enough():
    claim = claims_of_search({"bayesian": ladder(0.90, 6), "random": ladder(0.85, 6)})
    assert claim["bayesian-wins"].verdict is HOLDS
    assert claim["bayesian-wins"].p == pytest.approx(2 / 2**6)
    assert "Not even" not in claim["bayesian-wins"].said


def test_a_rival_that_beats_bayesian_search_refutes_it_though_another_does_not():
    optima = {"bayesian": ladder(0.85, 8), "grid": ladder(0.80, 8), "random": ladder(0.90, 8)}
    assert claims_of_search(optima)["bayesian-wins"].verdict is FAILS


def test_many_equal_optima_and_some_wins_are_not_a_defeat():
    # The median gain is 0, and yet every gain that is not 0 speaks for Bayesian search.
    optima = {"bayesian": ladder(0.90, 30), "random": ladder(0.90, 30)}
    optima["bayesian"][:10] = [best + 0.01 * (1 + n) / 10 for n, best in enumerate(ladder(0.9, 10))]
    claim = claims_of_search(optima)["bayesian-wins"]
    assert claim.p < 0.05
    assert claim.verdict is HOLDS


def test_p_is_that_of_scipys_exact_test():
    random = np.random.default_rng(8)
    optima = {name: random.uniform(0.7, 0.9, 9).tolist() for name in ("bayesian", "random")}
    found = claims_of_search(optima)
    gains = np.array(optima["bayesian"]) - optima["random"]
    assert found["bayesian-wins"].p == pytest.approx(stats.wilcoxon(gains, method="exact").pvalue)


def test_one_configuration_decides_nothing():
    found = claims_of_search({name: [0.8] for name in STRATEGIES})
    assert {claim.verdict for claim in found.values()} == {UNDECIDED}
    assert {claim.words for claim in found.values()} == {
        "cannot be decided with n = 1 configuration"
    }


def test_without_bayesian_search_what_is_about_it_cannot_be_decided():
    found = claims_of_search({"grid": ladder(0.8, 8), "random": ladder(0.8, 8)})
    for key in ("bayesian-wins", "bayesian-27-rounds"):
        assert found[key].verdict is UNDECIDED
        assert math.isnan(found[key].effect.value)
        assert "these data have only grid and random" in found[key].said
    assert found["random-against-grid"].verdict is HOLDS


def test_without_grid_search_there_is_nothing_to_compare_random_search_with():
    found = claims_of_search({"bayesian": ladder(0.9, 8), "random": ladder(0.8, 8)})
    claim = found["random-against-grid"]
    assert claim.verdict is UNDECIDED
    assert math.isnan(claim.p)
    assert "these data have only bayesian and random" in claim.said


def test_of_several_bayesian_strategies_one_stands_for_all_and_the_others_are_named():
    optima = {
        "bayesian-ei": ladder(0.90, 8),
        "bayesian-pi": ladder(0.95, 8),
        "grid": ladder(0.80, 8),
    }
    claim = claims_of_search(optima)["bayesian-wins"]
    assert claim.verdict is HOLDS, "a Bayesian strategy is no rival of another"
    assert claim.effect.name.startswith("bayesian-ei minus grid")
    assert "bayesian-ei stands for Bayesian search; not compared: bayesian-pi." in claim.said


def test_configurations_that_lack_a_strategy_are_left_out():
    rounds = search({name: ladder(0.8, 8) for name in STRATEGIES})
    partly = rounds[~((rounds["network"] == "net 3") & (rounds["strategy"] == "grid"))]
    found = searches(partly, "strategy", ["network"])
    assert (len(found.accuracy), found.dropped) == (7, 1)
    assert {c.n for c in search_claims(partly, "strategy", ["network"])} == {7}


def test_strategies_without_a_configuration_in_common_decide_nothing_and_say_so():
    rounds = search({name: ladder(0.8, 3) for name in STRATEGIES})
    apart = rounds[rounds["network"].str[-1].astype(int) == rounds["strategy"].map(len) % 3]
    for claim in search_claims(apart, "strategy", ["network"]):
        assert (claim.verdict, claim.n) == (UNDECIDED, 0)
        assert claim.said == "No configuration has been searched by every strategy."


def test_without_other_factors_there_is_one_configuration():
    rounds = search({name: [0.8] for name in STRATEGIES}).drop(columns="network")
    assert {claim.n for claim in search_claims(rounds, "strategy", [])} == {1}


def test_a_round_without_a_score_is_no_optimum():
    rounds = search({name: ladder(0.8, 8) for name in STRATEGIES})
    rounds.loc[rounds["score"] > 0.5, "score"] = np.nan
    found = searches(rounds, "strategy", ["network"])
    assert (found.accuracy.to_numpy() == 0.1).all()


# ... within about 27 rounds.


@pytest.mark.parametrize(
    ("places", "verdict"),
    [
        ([10, 12, 14, 9, 11, 13], HOLDS),
        ([50, 52, 49, 60, 55, 51], FAILS),
        ([18, 20, 48, 46, 29, 36], UNDECIDED),
    ],
)
def test_the_interval_of_the_mean_optimum_round_decides(places, verdict):
    optima = {name: ladder(0.8, 6) for name in STRATEGIES}
    claim = claims_of_search(optima, {"bayesian": places})["bayesian-27-rounds"]
    assert claim.verdict is verdict
    low, high = stats.t.interval(0.95, 5, np.mean(places), stats.sem(places))
    assert claim.effect.value == pytest.approx(np.mean(places))
    assert (claim.effect.low, claim.effect.high) == pytest.approx((low, high))
    assert claim.effect.reference == 27
    assert f"{sum(place <= 27 for place in places)} of 6 optima lie within 27" in claim.said


def test_a_search_of_less_than_54_rounds_cannot_tell():
    optima = {name: ladder(0.8, 6) for name in STRATEGIES}
    places = {"bayesian": [10, 12, 14, 9, 11, 13]}
    assert claims_of_search(optima, places, rounds=54)["bayesian-27-rounds"].verdict is HOLDS
    short = claims_of_search(optima, places, rounds=53)["bayesian-27-rounds"]
    assert short.verdict is UNDECIDED
    assert "A search of 53 rounds is too short to decide" in short.said


def test_an_increase_of_less_than_half_a_point_is_not_a_late_optimum():
    rounds = search({name: ladder(0.8, 6) for name in STRATEGIES}, {"bayesian": [50] * 6})
    early = (rounds["strategy"] == "bayesian") & (rounds["round"] == 4)
    rounds.loc[early, "score"] = 0.7999
    claim = search_claims(rounds, "strategy", ["network"])[1]
    # The optima are 0.800, 0.801 ... 0.805; the last is more than half a point above 0.7999.
    assert "0 of 6 optima lie within 27 rounds; 5 where an increase" in claim.said


# Between random and grid search there is no winner.


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ([0.001, -0.002, 0.003, -0.004, 0.002, -0.001, 0.0005, -0.003], HOLDS),
        ([0.02, 0.03, 0.01, 0.05, 0.04, 0.06, 0.07, 0.08], FAILS),
        ([0.02, -0.03, 0.01, -0.05, 0.04, -0.06, 0.07, 0.08], UNDECIDED),
        ([0.001] * 8, FAILS),
    ],
    ids=["equivalent", "one wins", "wide", "one wins by a little"],
)
def test_no_winner_needs_an_interval_within_a_point_and_no_significant_difference(gains, verdict):
    grid = ladder(0.8, len(gains))
    optima = {"grid": grid, "random": [g + gain for g, gain in zip(grid, gains, strict=True)]}
    claim = claims_of_search(optima)["random-against-grid"]
    assert claim.verdict is verdict
    assert claim.effect.reference == 0
    assert f"random is better in {sum(g > 0 for g in gains)}" in claim.said


def test_the_same_optima_everywhere_are_no_winner():
    optima = {"grid": ladder(0.8, 8), "random": ladder(0.8, 8)}
    claim = claims_of_search(optima)["random-against-grid"]
    assert (claim.verdict, claim.p) == (HOLDS, 1)
    assert (claim.effect.low, claim.effect.value, claim.effect.high) == (0, 0, 0)


# Layers and energy.


def layers(energy, accuracy=None, rounds=6, repetitions=4, noise=0.002, seed=0):
    """A full factorial design; energy and accuracy of a run from its levels."""
    random = np.random.default_rng(seed)
    columns = ["conv_layers", "linear_layers", "relu", "round", "repetition"]
    levels = itertools.product([1, 4], [3, 7], [False, True], range(rounds), range(repetitions))
    runs = pd.DataFrame(levels, columns=columns)
    runs["configuration"] = runs[columns[:3]].astype(str).agg(", ".join, axis=1)
    runs["energy_net_j"] = energy(runs) * random.normal(1, noise, len(runs))
    gain = accuracy(runs) if accuracy else 0.85 + 0.002 * runs["conv_layers"]
    runs["accuracy"] = gain * random.normal(1, 1e-4, len(runs))
    return runs


def paper_like(runs):
    return 100.0 * runs["conv_layers"] + 8 * runs["linear_layers"] + 1 * runs["relu"]


def claims_of_layers(runs, factors=LAYERS):
    return {claim.key: claim for claim in architecture_claims(runs, factors)}


# Hyperparameters do not move the energy.


@pytest.mark.parametrize(("noise", "verdict"), [(0.002, HOLDS), (0.05, FAILS), (0.01, UNDECIDED)])
def test_the_interval_of_the_mean_coefficient_of_variation_decides(noise, verdict):
    runs = layers(paper_like, noise=noise, seed=4)
    claim = hyperparameters_claim(runs)
    assert claim.verdict is verdict
    grouped = runs.groupby("configuration")["energy_net_j"]
    cvs = grouped.std() / grouped.mean()
    low, high = stats.t.interval(0.95, 7, cvs.mean(), stats.sem(cvs))
    assert (claim.effect.low, claim.effect.value, claim.effect.high) == pytest.approx(
        (low, cvs.mean(), high)
    )
    assert (claim.n, claim.unit) == (8, "configurations")
    smallest = min(
        stats.kruskal(*(rows["energy_net_j"] for _, rows in one.groupby("round"))).pvalue
        for _, one in runs.groupby("configuration")
    )
    assert claim.p == pytest.approx(min(1, 8 * smallest)), "Holm multiplies the smallest of eight"


def test_one_configuration_has_no_interval_of_its_coefficient():
    runs = layers(paper_like)
    claim = hyperparameters_claim(runs[runs["configuration"] == runs["configuration"][0]])
    assert claim.words == "cannot be decided with n = 1 configuration"
    assert claim.effect.value < 0.01


def test_constant_energies_do_not_vary_and_rounds_cannot_be_tested():
    claim = hyperparameters_claim(layers(paper_like, noise=0))
    assert claim.verdict is HOLDS
    assert (claim.effect.low, claim.effect.high) == (0, 0)
    assert math.isnan(claim.p)


def test_one_round_has_a_coefficient_but_no_test_between_rounds():
    claim = hyperparameters_claim(layers(paper_like, rounds=1))
    assert claim.verdict is HOLDS
    assert math.isnan(claim.p)
    assert claim.test == "Student's t interval over configurations"


def test_energies_that_are_not_positive_have_no_coefficient_and_that_is_said():
    runs = layers(paper_like)
    runs["energy_net_j"] -= 10_000
    claim = hyperparameters_claim(runs)
    assert (claim.verdict, claim.n) == (UNDECIDED, 0)
    assert "the mean energy is not positive" in claim.said
    one = layers(paper_like)
    one.loc[one["configuration"] == one["configuration"][0], "energy_net_j"] *= -1
    partly = hyperparameters_claim(one)
    assert partly.n == 7
    assert "1 configuration left out: the mean energy is not positive." in partly.said


# Convolutions, then linear layers, then ReLU.

LAYER_ORDER = ("conv_layers", "linear_layers", "relu")


def test_gaps_above_zero_give_the_order_and_rounds_are_what_counts():
    runs = layers(lambda runs: paper_like(runs) + 11 * runs["relu"], rounds=24)
    claim = claims_of_layers(runs)["convolutions-dominate"]
    assert claim.verdict is HOLDS
    means = runs.groupby(["configuration", "round", *LAYERS], as_index=False)["energy_net_j"].mean()

    def eta_squared(factor):
        samples = [rows["energy_net_j"] for _, rows in means.groupby(factor)]
        return (stats.kruskal(*samples).statistic - 1) / (len(means) - 2)

    conv, linear, relu = (eta_squared(factor) for factor in LAYER_ORDER)
    assert claim.effect.value == pytest.approx(min(conv - linear, linear - relu))
    assert 0 < claim.effect.low <= claim.effect.high
    assert (claim.n, claim.unit) == (len(means), "rounds of configurations")


def test_an_estimate_outside_its_interval_is_said():
    small = claims_of_layers(layers(paper_like, rounds=1))["convolutions-dominate"].said
    assert "An estimate lies outside its interval" in small
    apart = claims_of_layers(layers(paper_like, rounds=3))["convolutions-dominate"].said
    assert "outside" not in apart


def test_the_other_way_round_refutes_the_order():
    runs = layers(lambda runs: 100 + 5.0 * runs["conv_layers"] + 90 * runs["linear_layers"])
    assert claims_of_layers(runs)["convolutions-dominate"].verdict is FAILS


def test_layers_that_do_nothing_decide_nothing():
    runs = layers(lambda runs: 0 * runs["conv_layers"] + 100.0)
    assert claims_of_layers(runs)["convolutions-dominate"].verdict is UNDECIDED


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        (["conv_layers", "relu"], "here it is conv_layers and relu."),
        (["width"], "here none of them does."),
    ],
)
def test_the_order_needs_all_three_types_of_layer(factors, said):
    runs = layers(paper_like).assign(width=lambda runs: runs["linear_layers"])
    claim = claims_of_layers(runs, factors)["convolutions-dominate"]
    assert (claim.verdict, claim.n) == (UNDECIDED, 0)
    assert claim.said.startswith("It needs conv_layers, linear_layers and relu to vary")
    assert claim.said.endswith(said)


# A smaller network takes half the energy, and returns diminish.


def by_round(runs):
    """Mean energy and accuracy of one and of four layers in every round."""
    means = runs.groupby(["round", "conv_layers"])[["energy_net_j", "accuracy"]].mean()
    return means.xs(1, level=1), means.xs(4, level=1)


@pytest.mark.parametrize(
    ("energy", "verdict"),
    [
        (lambda runs: np.where(runs["conv_layers"] == 1, 50.0, 100.0), HOLDS),
        (lambda runs: np.where(runs["conv_layers"] == 1, 90.0, 100.0), FAILS),
        (
            lambda runs: np.where(
                runs["conv_layers"] == 1, np.where(runs["round"] % 2, 40.0, 70.0), 100.0
            ),
            UNDECIDED,
        ),
    ],
    ids=["half", "nine tenths", "from round to round"],
)
def test_the_interval_of_the_ratio_over_rounds_decides_on_half(energy, verdict):
    runs = layers(energy)
    claim = claims_of_layers(runs)["energy-can-be-halved"]
    assert claim.verdict is verdict
    low, high = by_round(runs)
    logs = np.log(low["energy_net_j"] / high["energy_net_j"])
    ends = stats.t.interval(0.95, len(logs) - 1, logs.mean(), stats.sem(logs))
    assert claim.effect.value == pytest.approx(np.exp(logs.mean()))
    assert (claim.effect.low, claim.effect.high) == pytest.approx(tuple(np.exp(ends)))
    assert (claim.n, claim.unit) == (6, "rounds")


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        (lambda runs: 0.80 + 0.01 * (runs["conv_layers"] == 4), HOLDS),
        (lambda runs: np.where(runs["conv_layers"] == 4, 0.9, 0.2), FAILS),
        (
            lambda runs: np.where(
                runs["conv_layers"] == 4, 0.9, np.where(runs["round"] % 2, 0.2, 0.8)
            ),
            UNDECIDED,
        ),
    ],
    ids=["little", "much", "from round to round"],
)
def test_the_interval_of_the_elasticity_decides_on_diminishing_returns(accuracy, verdict):
    runs = layers(lambda runs: np.where(runs["conv_layers"] == 1, 50.0, 100.0), accuracy)
    claim = claims_of_layers(runs)["diminishing-returns"]
    assert claim.verdict is verdict
    low, high = by_round(runs)
    elastic = np.log(high["accuracy"] / low["accuracy"]) / np.log(
        high["energy_net_j"] / low["energy_net_j"]
    )
    ends = stats.t.interval(0.95, 5, elastic.mean(), stats.sem(elastic))
    assert claim.effect.value == pytest.approx(elastic.mean())
    assert (claim.effect.low, claim.effect.high) == pytest.approx(ends)


def test_one_round_has_a_ratio_and_no_interval():
    claim = claims_of_layers(layers(paper_like, rounds=1))["energy-can-be-halved"]
    assert claim.words == "cannot be decided with n = 1 round"
    assert claim.effect.value < 0.55
    assert math.isnan(claim.effect.low)


@pytest.mark.parametrize("factors", [["linear_layers"], ["conv_layers", "linear_layers"]])
def test_without_convolutional_layers_that_vary_the_strongest_factor_makes_the_clusters(factors):
    runs = layers(lambda runs: np.where(runs["linear_layers"] == 3, 50.0, 100.0))
    claim = claims_of_layers(runs.assign(conv_layers=4), factors)["energy-can-be-halved"]
    assert claim.verdict is HOLDS
    assert claim.said.startswith("linear_layers = 3 instead of 7 takes")


def test_energies_that_are_all_the_same_are_not_half_and_have_no_elasticity():
    found = claims_of_layers(layers(lambda runs: 0 * runs["conv_layers"] + 100.0, noise=0))
    assert found["energy-can-be-halved"].verdict is FAILS
    assert found["energy-can-be-halved"].effect.value == 1
    assert (found["diminishing-returns"].verdict, found["diminishing-returns"].n) == (UNDECIDED, 0)
    assert "In 6 rounds E+ takes no more than E-." in found["diminishing-returns"].said
    order = found["convolutions-dominate"]
    assert order.verdict is UNDECIDED
    assert order.said == "No test: all values are the same."
    assert "nan" not in order.test


def test_rounds_in_which_the_larger_cluster_takes_no_more_are_left_out_and_said():
    runs = layers(paper_like)
    swap = (runs["round"] == 2) & (runs["conv_layers"] == 4)
    runs.loc[swap, "energy_net_j"] = 20.0
    claim = claims_of_layers(runs)["diminishing-returns"]
    assert claim.n == 5
    assert "In 1 round E+ takes no more than E-." in claim.said


def test_energies_that_are_not_positive_have_no_ratio():
    runs = layers(paper_like)
    runs.loc[runs["conv_layers"] == 1, "energy_net_j"] -= 1000
    found = claims_of_layers(runs)
    for key in ("energy-can-be-halved", "diminishing-returns"):
        assert found[key].verdict is UNDECIDED
        assert "is not positive" in found[key].said
        assert math.isnan(found[key].effect.value)


def test_rounds_without_an_accuracy_in_one_cluster_are_no_pairs():
    runs = layers(paper_like)
    runs.loc[(runs["round"] < 2) & (runs["conv_layers"] == 4), "accuracy"] = np.nan
    found = claims_of_layers(runs)
    assert found["energy-can-be-halved"].n == found["diminishing-returns"].n == 4
    runs.loc[(runs["round"] >= 2) & (runs["conv_layers"] == 1), "accuracy"] = np.nan
    nothing = claims_of_layers(runs)["energy-can-be-halved"]
    assert (nothing.verdict, nothing.n) == (UNDECIDED, 0)
    assert nothing.said == "No round has runs in both clusters."


def test_without_any_accuracy_there_are_no_clusters_but_the_energy_is_judged():
    found = claims_of_layers(layers(paper_like).assign(accuracy=np.nan))
    assert found["hyperparameters-do-not-move-energy"].verdict is HOLDS
    for key in ("energy-can-be-halved", "diminishing-returns"):
        assert found[key].verdict is UNDECIDED
        assert found[key].said.startswith("Two clusters cannot be formed: ")


def test_the_authors_own_data_decide_what_they_can(data_dir):
    folder = data_dir / "yarally2023"
    if not (folder / "architecture-fashion-mnist.csv").is_file():
        pytest.skip(f"no published measurements in {folder}")
    rounds = pd.read_csv(folder / "tuning-fashion-mnist.csv").rename(columns={"accuracy": "score"})
    for claim in search_claims(rounds, "strategy", ["network", "hyperparameters"]):
        assert claim.words == "cannot be decided with n = 6 configurations", claim.key
    runs = pd.read_csv(folder / "architecture-fashion-mnist.csv")
    runs["relu"] = runs["relu_layers"] > 0
    runs["configuration"] = runs[LAYERS].astype(str).agg(", ".join, axis=1)
    runs["round"] = runs.groupby(["learning_rate", "beta1", "beta2"], sort=False).ngroup()
    steady, order, halved, returns = architecture_claims(runs, LAYERS, "energy_j")
    assert steady.words == "cannot be decided with n = 8 configurations"
    assert steady.effect.value == pytest.approx(0.0073, abs=5e-5)
    assert (order.verdict, halved.verdict, returns.verdict) == (HOLDS, HOLDS, HOLDS)
    assert order.n == 128
    assert order.effect.value == pytest.approx(0.132, abs=5e-4)
    assert halved.effect.value == pytest.approx(0.512, abs=5e-4)
    # Sixteen sets of hyperparameters with ReLU, and sixteen others without.
    assert (halved.n, returns.n) == (32, 32)
    assert returns.effect.value == pytest.approx(0.013, abs=5e-4)


# Verdicts on energies that no sensor has read.


def timed(noise, seed=0):
    """Runs whose energy is their time at one power, as an estimate has it."""
    random = np.random.default_rng(seed)
    rows = [
        (conv, round_number, 50.0 * conv * random.normal(1, noise), 0.8 + 0.01 * conv)
        for conv, round_number, _ in itertools.product((1, 4), range(8), range(3))
    ]
    columns = ["conv_layers", "round", "energy_net_j", "accuracy"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(configuration=frame["conv_layers"].astype(str))


@pytest.mark.parametrize(("noise", "measured"), [(0.05, "does not hold"), (0.001, "holds")])
@pytest.mark.parametrize("status", ["estimated", "partly estimated"])
def test_estimates_do_not_decide_what_time_cannot_show(noise, measured, status):
    runs = timed(noise)
    claim = hyperparameters_claim(runs, status=status)

    assert hyperparameters_claim(runs).words == measured
    assert claim.words == f"cannot be decided on {status} energy with n = 2 configurations"
    assert "follows time by construction" in claim.said


def test_a_verdict_on_estimates_says_so_and_one_on_measurements_does_not():
    runs = timed(0.005)
    for status, words in (
        ("measured", "holds"),
        ("of unknown source", "holds"),
        ("estimated", "holds on estimated energy"),
        ("partly estimated", "holds on partly estimated energy"),
    ):
        claims = architecture_claims(runs, ["conv_layers"], status=status)
        found = {claim.key: claim.words for claim in claims}
        assert found["energy-can-be-halved"] == words
        assert found["diminishing-returns"] == words
    wasteful = runs.assign(energy_net_j=200.0 + runs["energy_net_j"])
    halved = architecture_claims(wasteful, ["conv_layers"], status="estimated")[2]
    assert halved.words == "does not hold on estimated energy"
    few = runs[runs["round"] == 0]
    undecided = architecture_claims(few, ["conv_layers"], status="estimated")[2]
    assert undecided.words == "cannot be decided on estimated energy with n = 1 round"
