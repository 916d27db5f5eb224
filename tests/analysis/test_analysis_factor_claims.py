"""Claims about factors in words: read, decided, and right as often as they say."""

import math

import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.claims.claim import Verdict
from joulelab.analysis.claims.factors import decide, parse_claim
from joulelab.errors import UsageError

LEVELS = {"width": [16, 32, 64], "mode": ["a", "b"]}
MEASURES = ["energy", "loss"]


@pytest.mark.parametrize(
    ("statement", "wanted"),
    [
        ("width moves energy", ("width", "energy", True, "", "", False)),
        ("mode does not move loss.", ("mode", "loss", False, "", "", False)),
        ("width = 64 uses more energy than 16", ("width", "energy", None, "64", "16", False)),
        ("width=16 uses less energy than 64", ("width", "energy", None, "16", "64", True)),
        ("mode = a reaches a lower loss  than mode = b", ("mode", "loss", None, "a", "b", True)),
    ],
)  # fmt: skip
def test_a_claim_is_read(statement, wanted):
    found = parse_claim(statement, LEVELS, MEASURES)
    assert (
        found.factor, found.measure, found.moves, found.one, found.other, found.less
    ) == wanted  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("energy is low", "not understood"),
        ("depth moves energy", "names 'depth'"),
        ("width moves accuracy", "names 'accuracy'"),
        ("width = 65 takes more energy than width = 16", "names the level '65'"),
    ],
)
def test_a_claim_that_cannot_be_read_is_refused(statement, said):
    with pytest.raises(UsageError) as refused:
        parse_claim(statement, LEVELS, MEASURES)
    assert said in str(refused.value)


def runs(rng, effect, spread=0.02, repetitions=6):
    """Runs whose mode has a known effect, beside a large one of width."""
    rows = [
        {"width": width, "mode": mode, "energy": value}
        for width in LEVELS["width"]
        for mode in LEVELS["mode"]
        for value in width
        * (effect if mode == "b" else 1.0)
        * rng.lognormal(0, spread, repetitions)
    ]
    return pd.DataFrame(rows)


def verdict(statement, frame, tolerance=0.05):
    claim = parse_claim(statement, LEVELS, ["energy"])
    return decide(claim, frame, ["width", "mode"], "energy", tolerance)


@pytest.mark.parametrize(
    ("statement", "effect", "wanted"),
    [
        ("mode moves energy", 1.3, Verdict.HOLDS),
        ("mode moves energy", 1.0, Verdict.FAILS),
        ("mode does not move energy", 1.0, Verdict.HOLDS),
        ("mode does not move energy", 1.3, Verdict.FAILS),
        ("mode = b takes more energy than mode = a", 1.3, Verdict.HOLDS),
        ("mode = b takes less energy than mode = a", 1.3, Verdict.FAILS),
        ("mode = b takes less energy than mode = a", 1.0, Verdict.FAILS),
        ("width moves energy", 1.0, Verdict.HOLDS),
    ],
)
def test_a_small_factor_beside_a_large_one_is_decided(statement, effect, wanted):
    found = verdict(statement, runs(np.random.default_rng(1), effect))
    assert found.verdict is wanted
    assert found.n == 36


def test_few_scattered_runs_do_not_decide():
    frame = runs(np.random.default_rng(2), 1.05, spread=0.5, repetitions=2)
    for statement in ("mode moves energy", "mode does not move energy"):
        assert verdict(statement, frame).verdict is Verdict.UNDECIDED


def test_the_ratio_is_that_of_least_squares_with_the_other_factor_as_blocks():
    import statsmodels.formula.api as smf

    frame = runs(np.random.default_rng(3), 1.1).sample(30, random_state=1)
    frame = frame.assign(log=np.log(frame["energy"]))
    fit = smf.ols("log ~ C(mode) + C(width)", frame).fit()
    low, high = fit.conf_int().loc["C(mode)[T.b]"]
    effect = verdict("mode = b takes more energy than mode = a", frame).effect
    assert effect.value == pytest.approx(math.exp(fit.params["C(mode)[T.b]"]))
    assert (effect.low, effect.high) == pytest.approx((math.exp(low), math.exp(high)))


@pytest.mark.long
def test_its_interval_covers_the_true_ratio_95_times_in_100():
    rng = np.random.default_rng(4)
    effects = [
        verdict("mode = b takes more energy than mode = a", runs(rng, 1.2, 0.1, 3)).effect
        for _ in range(100)
    ]
    covered = np.mean([one.low <= 1.2 <= one.high for one in effects])
    assert covered >= 0.88


def test_values_that_are_not_positive_have_a_test_and_no_ratio():
    frame = runs(np.random.default_rng(5), 2.0)
    found = verdict("mode moves energy", frame.assign(energy=frame["energy"] - 40))
    assert math.isnan(found.effect.value)
    assert found.p < 0.05
