"""What a report says of programs whose truth is known."""

import itertools

import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.claims.claim import Verdict
from joulelab.kinds.program.report import PROGRAM
from joulelab.kinds.program.tables import claims, configurations, effects
from joulelab.report.experiment import EnergyBasis, Experiment


def simulated(levels, value, repetitions=5, seed=1, **table):
    """An experiment with the metric ``m`` of known truth, and an energy that is nothing but noise.

    Args:
        levels: by factor.
        value: of the levels and a random generator.
        repetitions: of each combination.
        seed: of the noise.
        table: keys of the study file.
    """
    chance = np.random.default_rng(seed)
    rows = [
        dict(zip(levels, combination, strict=True))
        for _ in range(repetitions)
        for combination in itertools.product(*levels.values())
    ]
    runs = pd.DataFrame(
        {
            **row,
            "configuration": ", ".join(f"{name}={level}" for name, level in row.items()),
            "energy_gross_j": chance.lognormal(0, 0.3),
            "duration_s": 1.0,
            "m": value(row, chance),
        }
        for row in rows
    )
    return Experiment(
        name="e",
        kind="command",
        protocol="",
        factors=tuple(levels),
        runs=runs[runs["m"] != GONE],
        planned=len(runs),
        failed=0,
        score="mean",
        energy=EnergyBasis("energy_gross_j", "measured", ()),
        table={"metrics": {"m": {"better": "min"}}, **table},
        noun="run",
    )


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """No interval is looked at."""
    monkeypatch.setattr("joulelab.report.effects.RESAMPLES", 10)


GONE = -99
TWO = {"a": [1, 2], "b": ["x", "y"]}


def said(experiment):
    return " ".join(PROGRAM.findings(experiment))


def test_levels_that_only_act_together_are_found():
    words = said(
        simulated(
            TWO,
            lambda row, rng: (
                2
                + (row["a"] == 1) * (row["b"] == "x") * 2
                - (row["a"] == 1)
                - (row["b"] == "x")
                + rng.normal(0, 0.1)
            ),
        )
    )
    assert "How a moves m depends on b" in words
    assert "No factor moves m" not in words


def test_a_metric_that_is_always_the_same_is_told_as_that():
    words = said(simulated(TWO, lambda *_: 0.0, claims=["a moves m", "b does not move m"]))
    assert "m is 0.000 in every run." in words
    assert "best m" not in words
    assert words.startswith("Of 2 claims, 1 holds, 1 does not hold.")


def test_few_runs_are_told_to_be_too_few():
    words = said(simulated({"a": [1, 2]}, lambda row, _: float(row["a"]), repetitions=3))
    assert "too few runs to find what moves m: the smallest p that they allow is 0.100" in words


def test_levels_that_go_together_are_one_factor():
    pairs = {"width, rate": [[16, 0.1], [32, 0.1], [64, 0.01]], "b": ["x", "y"]}
    levels = {"width": [16, 32, 64], "rate": [0.1, 0.01], "b": ["x", "y"]}
    rates = {16: 0.1, 32: 0.1, 64: 0.01}

    def value(row, rng):
        return row["width"] + rng.normal() if rates[row["width"]] == row["rate"] else GONE

    made = simulated(
        levels, value, vary=pairs, claims=["rate moves m", "b = z gives lower m than x"]
    )
    assert set(effects(made).frame["factor"]) == {"width, rate", "b"}
    assert "width, rate moves m most" in said(made)
    rate, unknown = claims(made)
    assert rate.verdict is Verdict.HOLDS
    assert "width changes with it" in rate.said
    assert unknown.words == "cannot be decided with n = 0 runs"


def test_in_a_latin_square_the_effects_are_estimated_together():
    def value(row, rng):
        fits = (row["a"] + row["b"] + row["c"]) % 3 == 0
        return 100 * row["a"] + row["b"] + rng.normal(0, 0.1) if fits else GONE

    made = simulated({name: [0, 1, 2] for name in "abc"}, value, repetitions=3)
    p = effects(made).frame.set_index(["measure", "factor"])["p_adjusted"]["m"]
    assert p["a"] < 0.001
    assert p["b"] < 0.001
    assert p["c"] > 0.05


def test_a_factor_may_be_called_like_a_column_of_the_report():
    names = {"n": [1, 2], "measure": [1, 2]}
    made = simulated(names, lambda row, rng: rng.normal(), repetitions=2)
    assert set(configurations(made).frame["n"]) == {2}
    assert len(effects(made).frame) == 4


@pytest.mark.long
def test_noise_is_seldom_taken_for_an_effect():
    """Of six factors; without an adjustment it would be one study in four."""
    levels = {name: [0, 1] for name in "abcdef"}
    found = [
        said(simulated(levels, lambda row, rng: rng.normal(), repetitions=1, seed=seed))
        for seed in range(100)
    ]
    assert sum("moves m most" in one for one in found) <= 12
