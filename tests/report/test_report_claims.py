"""Claims as a report shows them: which data decide, in words, as data and as macros."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reported_study import drawn

from joulelab.analysis.claims.architecture import architecture_claims
from joulelab.analysis.claims.claim import Claim, Effect, Verdict
from joulelab.analysis.claims.search import search_claims
from joulelab.analysis.convergence import score_rounds
from joulelab.present import markdown
from joulelab.report import claims
from joulelab.report.claims import TONES, Scope, effect_words, scopes
from joulelab.report.experiment import experiments
from shown import seen


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A search and a design of layers."""
    return experiments(drawn(tmp_path_factory.mktemp("claims"), rounds=4))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The same on another data set."""
    study = drawn(tmp_path_factory.mktemp("other"), rounds=4, seed=6)
    return [replace(one, dataset="mnist") for one in experiments(study)]


def claim(**changes):
    given = {
        "key": "a-key",
        "statement": "It is so | or not.",
        "source": "Somebody",
        "verdict": Verdict.HOLDS,
        "rule": "Holds if.",
        "test": "A test",
        "p": 0.0004,
        "effect": Effect("ratio", 0.5123, 0.5, 0.53, 0.55),
        "n": 6,
        "unit": "rounds",
        "said": "Seen.",
    }
    return Claim(**{**given, **changes})


def test_the_claims_are_those_of_the_analysis_on_the_runs_of_the_experiment(found):
    tuning, layers = found
    search, design = scopes(found)
    rounds = score_rounds(tuning.runs, list(tuning.factors))
    for scope, expected in (
        (search, search_claims(rounds, "strategy", ["network", "hyperparameters"])),
        (
            design,
            architecture_claims(
                layers.runs, layers.factors, "energy_net_j", status=layers.energy.status
            ),
        ),
    ):
        shown = [(c.key, c.words, repr(c.effect)) for c in scope.claims]
        assert shown == [(c.key, c.words, repr(c.effect)) for c in expected]
    assert (search.name, design.name) == ("tuning on digits", "layers (architecture) on digits")


def test_estimated_energies_of_a_study_stand_in_its_verdicts(tmp_path):
    study = drawn(tmp_path, rounds=4)
    study.runs["energy_status"] = "estimated"
    (scope,) = [one for one in scopes(experiments(study)) if "layers" in one.name]
    (data,) = [row for row in claims.data([scope]) if row["claim"] == "energy-can-be-halved"]
    assert data["verdict"].endswith(" on estimated energy")
    assert data["basis"] == "estimated"
    assert any(
        "on estimated energy" in cell for cell in seen(claims.evidence(scope.claims))["verdict"]
    )
    assert scope.claims[0].judgement == "cannot be decided on estimated energy"


def test_an_interval_that_no_resample_moves_says_why():
    effect = Effect("gap", 0.67, 0.67, 0.67, 0.0)
    assert effect_words(claim(effect=effect)) == (
        "gap: 0.670 (the same in every resample: no configurations overlap)"
    )


def test_layers_without_an_energy_and_experiments_without_a_run_have_no_claims(found, tmp_path):
    study = drawn(tmp_path)
    study.runs[["energy_net_j", "energy_gross_j"]] = np.nan
    assert [one.name for one in scopes(experiments(study))] == ["tuning on digits"]
    study.runs["state"] = "planned"
    assert scopes(experiments(study)) == []


def test_searches_on_several_data_sets_are_decided_together_as_well(found, other):
    names = [scope.name for scope in scopes([*found, *other])]
    assert names == [
        "tuning on digits",
        "tuning on mnist",
        "All data sets together",
        "layers (architecture) on digits",
        "layers (architecture) on mnist",
    ]
    together = scopes([*found, *other])[2]
    assert {c.n for c in together.claims} == {4}, "two networks on two data sets"


def test_searches_with_other_factors_are_decided_together(found, other):
    search = other[0]
    deeper = replace(search, factors=("strategy", "network"))
    deeper = replace(deeper, runs=search.runs.drop(columns="hyperparameters"))
    longer = pd.concat([search.runs.assign(depth=1), search.runs.assign(depth=2)])
    wider = replace(search, factors=(*search.factors, "depth"), runs=longer)
    for one in (deeper, wider):
        together = scopes([found[0], one])[2]
        assert together.name == "All data sets together"
    assert {c.n for c in scopes([found[0], wider])[2].claims} == {2 + 4}


def test_a_group_of_runs_counts_once(tmp_path):
    study = drawn(tmp_path, rounds=2, repetitions=4)
    groups = study.runs.groupby(["configuration", "round"])
    for name in ("started_at", "energy_net_j", "energy_gross_j"):
        study.runs[name] = groups[name].transform("first")
    study.runs["group_size"] = 4
    order = scopes(experiments(study))[1].claims[1]
    assert order.key == "convolutions-dominate"
    assert order.n == 8 * 2


def test_the_effect_is_said_with_its_interval_or_that_there_is_none():
    assert effect_words(claim()) == "ratio: 0.512 (95 % interval 0.500 to 0.530)"
    assert effect_words(claim(effect=Effect("ratio", 0.5))) == "ratio: 0.500 (no interval)"
    assert effect_words(claim(effect=Effect("ratio"))) == "ratio: unknown"


@pytest.mark.parametrize(
    ("verdict", "n", "unit", "words"),
    [
        (Verdict.HOLDS, 6, "rounds", "holds"),
        (Verdict.FAILS, 6, "rounds", "does not hold"),
        (Verdict.UNDECIDED, 1, "rounds", "cannot be decided with n = 1 round"),
        (Verdict.UNDECIDED, 0, "configurations", "cannot be decided with n = 0 configurations"),
        (
            Verdict.UNDECIDED,
            1024,
            "rounds of configurations",
            "cannot be decided with n = 1,024 rounds of configurations",
        ),
    ],
)
def test_a_verdict_in_words(verdict, n, unit, words):
    assert claim(verdict=verdict, n=n, unit=unit).words == words


def test_every_verdict_has_a_tone_of_its_own():
    assert set(TONES) == set(Verdict)
    assert len(set(TONES.values())) == 3


def test_evidence_has_a_row_a_claim_and_escapes_what_would_end_a_cell():
    row = markdown.table(claims.evidence((claim(),))).splitlines()[-1]
    assert row == (
        "| It is so \\| or not. Seen. | **holds** | ratio: 0.512 (95 % interval 0.500 to 0.530) "
        "| A test |"
    )


def test_an_overview_has_a_line_a_claim_with_its_verdict():
    made = claims.overview(Scope("tuning", (claim(), claim(verdict=Verdict.FAILS))))
    assert made.title == "Claims, tuning"
    assert seen(made)["verdict"].tolist() == ["holds", "does not hold"]
    assert [row[1].tone for row in made.cells()] == ["good", "bad"]


def test_details_say_rule_source_and_evidence_of_each_claim():
    section = claims.details(Scope("tuning", (claim(),), ("A remark.",)))
    remark, one = section.parts
    assert remark == "A remark."
    assert one.title == "It is so | or not."
    verdict, said, facts = one.parts
    assert (verdict.text, verdict.tone, said) == ("holds", "good", "Seen.")
    assert [name for name, _ in facts.pairs] == ["Effect", "Test", "Evidence", "Rule", "Source"]
    assert ("Evidence", "n = 6 rounds") in facts.pairs


def test_unknown_numbers_are_null_in_the_data():
    (row,) = claims.data([Scope("s", (claim(p=math.nan, effect=Effect("ratio", 0.5)),))])
    assert row["p"] is None
    assert row["effect"] == {
        "name": "ratio",
        "value": 0.5,
        "low": None,
        "high": None,
        "reference": None,
    }
    assert (row["scope"], row["claim"], row["verdict"], row["n"]) == ("s", "a-key", "holds", 6)


def test_macros_are_made_of_what_is_known():
    found = dict(claims.named([Scope("s", (claim(),))]))
    assert found == {
        ("claim", "s", "a-key", "value"): "0.512",
        ("claim", "s", "a-key", "low"): "0.500",
        ("claim", "s", "a-key", "high"): "0.530",
        ("claim", "s", "a-key", "n"): "6",
        ("claim", "s", "a-key", "p"): "< 0.001",
    }
    bare = claim(p=math.nan, effect=Effect("ratio"))
    assert dict(claims.named([Scope("s", (bare,))])) == {("claim", "s", "a-key", "n"): "6"}


def test_no_two_scopes_share_a_name(found):
    names = [scope.name for scope in scopes([*found, *found])]
    assert names == [
        "tuning on digits (1)",
        "tuning on digits (2)",
        "layers (architecture) on digits (1)",
        "layers (architecture) on digits (2)",
    ]
