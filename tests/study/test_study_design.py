"""The design of an experiment: combinations, exclusions, order."""

import pytest

from joulelab.errors import SpecError, UsageError
from joulelab.study.design import Factor, configuration_name, full_factorial
from joulelab.study.plan import make_plan
from joulelab.study.seeds import derive_seed
from joulelab.study.spec import load_spec

LAYERS = [
    Factor("linear_layers", (3, 7)),
    Factor("conv_layers", (1, 4)),
    Factor("relu", (False, True)),
]


def test_full_factorial_has_every_combination_once():
    combinations = full_factorial(LAYERS)
    assert len(combinations) == 8
    assert len({tuple(combination.items()) for combination in combinations}) == 8


def test_an_exclusion_leaves_out_every_combination_that_matches_all_of_it():
    kept = full_factorial(LAYERS, [{"conv_layers": 4, "relu": False}])
    assert len(kept) == 6
    assert not [c for c in kept if c["conv_layers"] == 4 and c["relu"] is False]


def test_an_exclusion_of_an_unknown_factor_names_the_nearest():
    with pytest.raises(SpecError, match="did you mean 'conv_layers'"):
        full_factorial(LAYERS, [{"conv_layer": 4}])


def test_an_exclusion_of_an_unknown_level_lists_the_levels():
    with pytest.raises(SpecError, match="levels: 1, 4"):
        full_factorial(LAYERS, [{"conv_layers": 2}])


def test_a_level_of_one_is_not_the_level_on():
    with pytest.raises(SpecError, match="no level"):
        full_factorial(LAYERS, [{"relu": 1}])


def test_excluding_everything_is_an_error():
    with pytest.raises(SpecError, match="leaves no configuration"):
        full_factorial(LAYERS, [{"relu": False}, {"relu": True}])


def test_a_configuration_is_named_by_its_levels():
    levels = {"strategy": "grid", "hyperparameters": 3, "relu": True, "dropout": 0.5}
    assert configuration_name(levels) == "grid, hyperparameters=3, relu=on, dropout=0.5"


def test_quickstart_has_both_experiments_of_the_paper_in_miniature():
    plan = make_plan(load_spec("quickstart"))
    tuning = [c for c in plan.configurations if c.experiment == "tuning"]
    layers = [c for c in plan.configurations if c.experiment == "architecture"]
    assert {c.levels["strategy"] for c in tuning} == {"grid", "random", "bayesian-pi"}
    assert {c.network for c in tuning} == {"DensePolyNN", "DenseLinearNN", "SimpleCNN"}
    assert len(tuning) == 9
    assert len(layers) == 8
    assert [run.position for run in plan.runs] == list(range(len(plan.runs)))
    assert len({run.run_id for run in plan.runs}) == len(plan.runs)
    assert len({run.seed for run in plan.runs}) == len(plan.runs)


def test_a_block_holds_one_round_of_every_configuration_in_an_order_of_its_own():
    plan = make_plan(load_spec("quickstart"))
    blocks: dict[int, list[str]] = {}
    for group in plan.groups:
        if group.configuration.experiment == "tuning":
            blocks.setdefault(group.round, []).append(group.configuration.name)
    names = {tuple(sorted(block)) for block in blocks.values()}
    assert len(names) == 1, "every block holds the same configurations"
    assert len({tuple(block) for block in blocks.values()}) > 1, "their order is randomised"


def test_the_order_follows_from_the_seed_alone():
    first, again, other = (
        [run.run_id for run in make_plan(load_spec("quickstart", overrides)).runs]
        for overrides in ([], [], ["seed=1"])
    )
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)


def test_architectures_share_their_hyperparameters_and_strategies_do_not():
    plan = make_plan(load_spec("quickstart"))
    seeds = {
        experiment: [c.strategy_seed for c in plan.configurations if c.experiment == experiment]
        for experiment in ("tuning", "architecture")
    }
    assert len(set(seeds["architecture"])) == 1
    assert len(set(seeds["tuning"])) == len(seeds["tuning"])


def test_a_seed_derives_from_identity_and_never_collides_by_concatenation():
    assert derive_seed(1, "a", 2) == derive_seed(1, "a", 2)
    assert derive_seed(1, "a", 2) != derive_seed(2, "a", 2)
    assert derive_seed(1, "a", 23) != derive_seed(1, "a2", 3)
    assert 0 <= derive_seed(0, "x") < 2**63


def test_a_grid_with_fewer_points_than_rounds_is_refused_when_planning():
    overrides = ["experiment.tuning.rounds=200"]
    with pytest.raises(UsageError, match="the grid has 125 points"):
        make_plan(load_spec("quickstart", overrides))
