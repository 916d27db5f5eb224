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


@pytest.mark.parametrize(
    ("statement", "effect", "wanted"),
    [
        ("mode = b has a higher energy than mode = a", 2.0, Verdict.HOLDS),
        ("mode = b has a lower energy than mode = a", 2.0, Verdict.FAILS),
        ("mode moves energy", 1.0, Verdict.FAILS),
        ("mode does not move energy", 1.0, Verdict.HOLDS),
    ],
)
def test_values_that_are_not_positive_are_compared_by_their_difference(statement, effect, wanted):
    frame = runs(np.random.default_rng(5), effect)
    found = verdict(statement, frame.assign(energy=frame["energy"] - 40))
    assert found.verdict is wanted
    assert found.effect.low <= 37 * (effect - 1) <= found.effect.high  # 37 on average
    assert " minus " in found.effect.name


def test_claims_about_a_part_of_the_combinations_are_decided():
    rng = np.random.default_rng(6)
    frame = pd.DataFrame(
        {"a": a, "b": b, "c": (a + b) % 3, "energy": 10**a * (1 + b) * rng.lognormal(0, 0.02)}
        for a in range(3)
        for b in range(3)
        for _ in range(3)
    )
    levels = {name: [0, 1, 2] for name in "abc"}
    claims = ["b moves energy", "c does not move energy", "b = 1 takes more energy than b = 0"]
    found = [
        decide(parse_claim(claim, levels, ["energy"]), frame, ["a", "b", "c"], "energy", 0.1)
        for claim in claims
    ]
    assert [one.verdict for one in found] == [Verdict.HOLDS] * 3
    assert found[2].effect.value == pytest.approx(2.0, rel=0.05)


def test_levels_are_known_in_other_spellings():
    levels = {"rate": [0.001, 0.1], "relu": [True, False]}
    claim = parse_claim("rate = 1e-3 takes less energy than rate = 0.1", levels, ["energy"])
    assert claim.one == "0.001"
    assert parse_claim("relu = true takes more energy than false", levels, ["energy"]).one == "on"


def test_three_runs_against_three_never_decide_by_ranks():
    frame = pd.DataFrame({"mode": ["a"] * 3 + ["b"] * 3, "energy": [1.0, 1.1, 1.2, 2, 2.1, 2.2]})
    claim = parse_claim("mode moves energy", {"mode": ["a", "b"]}, ["energy"])
    found = decide(claim, frame, ["mode"], "energy", 0.05)
    assert found.p == pytest.approx(0.1)
    assert found.verdict is Verdict.UNDECIDED
