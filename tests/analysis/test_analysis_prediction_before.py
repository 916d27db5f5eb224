"""Regression on stored runs: power laws with known exponents, intervals, and no leak."""

import math

import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.prediction import before
from joulelab.analysis.prediction.before import (
    FEATURES,
    KERNEL,
    LINEAR,
    fit_by_group,
    learn,
    stored_runs,
)
from joulelab.errors import UsageError

STEPS = 500.0


def made_up(
    rng,
    groups=14,
    repetitions=3,
    group_spread=0.0,
    run_spread=0.01,
    law=None,
    names="configuration",
):
    """Runs whose energy is a power law of operations a step, bytes and steps."""
    rows = []
    for number in range(groups):
        per_step, steps = 10 ** rng.uniform(8, 11), float(rng.integers(100, 2000))
        features = {
            "group": f"configuration {number}",
            "engine": "reference",
            "precision": "fp32",
            "protocol": "default",
            "flops": per_step * steps,
            "flops_per_step": per_step,
            "bytes": 10 ** rng.uniform(6, 9),
            "steps": steps,
            "images": 32 * steps,
            "batch_size": 32.0,
            "parameters": 10 ** rng.uniform(4, 7),
            "together": 1.0,
        }
        own = rng.normal(0, group_spread)
        true_j = (law or power_law)(features) * math.exp(own)
        for _ in range(repetitions):
            energy_j = true_j * math.exp(rng.normal(0, run_spread))
            rows.append({**features, "energy_j": energy_j, "duration_s": energy_j / 50.0})
    return pd.DataFrame(rows)


def power_law(run):
    """E = 1e-4 J x steps x (operations a step)^0.6 x bytes^0.2 x 1e-4."""
    return 1e-8 * run["steps"] * run["flops_per_step"] ** 0.6 * run["bytes"] ** 0.2


def saturating(run):
    """A fixed cost a step, and above some size the cost of its operations."""
    return run["steps"] * (0.05 + run["flops_per_step"] * 2e-11)


def one_of(runs):
    return runs.drop_duplicates("group")


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_exponents_of_a_power_law_are_recovered(rng):
    learnt = learn(stored_runs(made_up(rng, groups=30)))
    assert learnt.regression.method[0] == LINEAR
    asked = one_of(made_up(rng, groups=2))
    asked = asked.assign(steps=STEPS, images=32 * STEPS, parameters=1e5, bytes=1e8)
    asked["flops_per_step"] = [1e9, 1e10]
    asked["flops"] = asked["flops_per_step"] * STEPS
    low, high = (one.energy_j for one in learnt.predict(asked))
    assert math.log10(high / low) == pytest.approx(0.6, abs=0.03)
    asked["flops_per_step"], asked["flops"] = 1e9, 1e9 * STEPS
    asked["bytes"] = [1e7, 1e8]
    low, high = (one.energy_j for one in learnt.predict(asked))
    assert math.log10(high / low) == pytest.approx(0.2, abs=0.03)
    assert low == pytest.approx(power_law(asked.iloc[0]), rel=0.05)


def test_twice_the_steps_take_twice_the_energy_where_nothing_else_was_seen(rng):
    runs = made_up(rng).assign(steps=STEPS, images=32 * STEPS)
    runs["flops"] = runs["flops_per_step"] * STEPS
    learnt = learn(stored_runs(runs))
    once = one_of(runs).iloc[:1]
    twice = once.assign(steps=2 * STEPS)
    assert learnt.predict(twice)[0].energy_j == pytest.approx(
        2 * learnt.predict(once)[0].energy_j, rel=1e-9
    )


def test_the_kernel_is_taken_where_logarithms_bend(rng):
    runs = made_up(rng, groups=60, law=saturating)
    learnt = learn(stored_runs(runs))
    assert learnt.regression.method[0] == KERNEL
    assert learnt.mape[KERNEL][0] < learnt.mape[LINEAR][0]
    new = one_of(made_up(np.random.default_rng(9), groups=20, law=saturating, run_spread=0.0))
    found = np.array([one.energy_j for one in learnt.predict(new)])
    true_j = new["energy_j"].to_numpy()
    assert np.median(np.abs(found / true_j - 1)) < 0.15


def test_the_interval_holds_the_energy_of_new_configurations(rng):
    held = []
    for _ in range(3):
        learnt = learn(stored_runs(made_up(rng, group_spread=0.2, run_spread=0.05)))
        new = one_of(made_up(rng, groups=80, group_spread=0.2, run_spread=0.05))
        held += [
            one.energy_low_j <= true_j <= one.energy_high_j
            for one, true_j in zip(learnt.predict(new), new["energy_j"], strict=True)
        ]
    assert 0.9 <= np.mean(held) <= 1.0


def test_repetitions_of_a_configuration_never_stand_on_both_sides(rng):
    """What each configuration has of its own is in no feature: no fit may know it beforehand."""
    spread = 0.5
    runs = made_up(rng, groups=40, repetitions=6, group_spread=spread, run_spread=0.01)
    learnt = learn(stored_runs(runs))
    assert learnt.regression.deviation[0] > 0.8 * spread
    # Expected of |e^z - 1| with z normal: about 0.42 for 0.5. Leaked, it would be 0.01.
    assert learnt.mape[learnt.regression.method[0]][0] > 0.3


def test_rows_of_one_group_are_held_out_together(rng):
    """Two precisions of one network are two rows, and one group."""
    own = rng.normal(0, 1, 12)
    x = rng.normal(0, 1, (12, 2)).repeat(2, axis=0)
    groups = np.repeat(np.arange(12), 2).tolist()
    found = fit_by_group(x, own.repeat(2)[:, None], groups)
    assert found.deviation[0] > 0.7


def test_each_method_has_its_error_and_the_lower_is_taken(rng):
    learnt = learn(stored_runs(made_up(rng, groups=20, group_spread=0.1)))
    table = learnt.stored.table
    assert set(learnt.mape) == {LINEAR, KERNEL}
    errors = {
        method: np.sqrt(
            np.mean((found[:, 0] - (table["log_energy"] - np.log(table["steps"]))) ** 2)
        )
        for method, found in learnt.regression.out_of_fold.items()
    }
    assert learnt.regression.method[0] == min(errors, key=errors.get)


def test_impossible_and_unknown_runs_are_left_out_and_counted(rng):
    runs = made_up(rng)
    runs.loc[0, "energy_j"] = -3.0
    runs.loc[1, "energy_j"] = 0.0
    runs.loc[2, "energy_j"] = np.nan
    runs.loc[3, "flops"] = np.nan
    runs.loc[4, "duration_s"] = 0.0
    found = stored_runs(runs)
    assert found.left_out == {
        "energy is unknown": 1,
        "energy is zero or negative": 2,
        "duration is zero or negative": 1,
        "flops unknown": 1,
    }
    assert found.runs == len(runs) - 5


def test_nothing_to_learn_from_is_no_error_until_it_is_learnt(rng):
    none = stored_runs(made_up(rng).iloc[:0])
    assert (none.runs, none.groups, none.enough) == (0, 0, False)
    with pytest.raises(UsageError, match="0 groups are too few"):
        learn(none)


def test_few_groups_are_too_few_however_many_runs(rng):
    few = stored_runs(made_up(rng, groups=5, repetitions=50))
    assert not few.enough
    with pytest.raises(UsageError, match="5 groups are too few"):
        learn(few)


def test_what_lies_outside_of_what_was_seen_is_named(rng):
    runs = made_up(rng)
    learnt = learn(stored_runs(runs))
    within = one_of(runs).iloc[[0]]
    assert learnt.predict(within)[0].outside == ()
    far = within.assign(batch_size=4096.0, precision="bf16")
    said = " ".join(map(str, learnt.predict(far)[0].outside))
    assert "batch size 4,096 (seen: 32 only)" in said
    assert "precision bf16 (seen: fp32)" in said


def test_a_constant_power_is_judged_by_the_same_groups(rng):
    learnt = learn(stored_runs(made_up(rng, groups=20)))
    assert learnt.baseline_mape(50.0) == pytest.approx(
        learnt.mape[learnt.regression.method[1]][1], abs=0.05
    )
    assert learnt.baseline_mape(100.0) == pytest.approx(1.0, abs=0.1)


def test_above_a_thousand_rows_the_kernel_is_left_out(rng, monkeypatch):
    monkeypatch.setattr(before, "MOST_KERNEL_ROWS", 20)
    assert set(learn(stored_runs(made_up(rng, groups=25))).mape) == {LINEAR}


def test_every_feature_is_a_column_of_what_is_learnt_from(rng):
    assert set(FEATURES) <= set(stored_runs(made_up(rng)).table)
