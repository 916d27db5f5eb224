"""The design of an experiment: combinations, exclusions, order."""

import hashlib

import pytest
from tiny_study import tiny

from joulelab.errors import SpecError, UsageError
from joulelab.study.design import Factor, configuration_name, derive_seed, full_factorial
from joulelab.study.plan import make_plan
from joulelab.study.study_file import load_spec

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
    with pytest.raises(SpecError, match="not one of its levels"):
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
            blocks.setdefault(group.rounds, []).append(group.configuration.name)
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


def test_stored_folders_keep_their_plan():
    """What a plan was when the first folders were written, to the bit."""
    plan = tiny().plan()
    listed = repr([(run.run_id, run.position, run.block, run.seed) for run in plan.runs])
    assert hashlib.sha256(listed.encode()).hexdigest()[:12] == "d9afc5a7d2d8"


def test_rounds_together_are_groups_of_strategies_that_propose_ahead():
    overrides = ["rounds_together=2", "experiment.tuning.rounds=5"]
    plan = make_plan(load_spec("quickstart", overrides))
    rounds: dict[str, list[tuple[int, ...]]] = {}
    for group in plan.groups:
        if group.configuration.experiment == "tuning":
            rounds.setdefault(group.configuration.name, []).append(group.rounds)
        assert {run.configuration for run in group.runs} == {group.configuration.name}
        repetitions = range(group.configuration.repetitions)
        places = [(run.round, run.repetition) for run in group.runs]
        assert places == [(r, n) for r in group.rounds for n in repetitions]
    for name, listed in rounds.items():
        if "bayesian" in name:
            assert listed == [(0,), (1,), (2,), (3,), (4,)]
        else:
            assert listed == [(0, 1), (2, 3), (4,)]


def test_rounds_together_change_the_order_of_the_runs_and_nothing_else():
    one_by_one, together = (
        make_plan(load_spec("quickstart", overrides)) for overrides in ([], ["rounds_together=2"])
    )
    assert {run.run_id: run.seed for run in one_by_one.runs} == {
        run.run_id: run.seed for run in together.runs
    }
    assert [run.position for run in together.runs] == list(range(len(together.runs)))
    blocks = [run.block for run in together.runs]
    assert blocks == sorted(blocks)
    for run in together.runs:
        if run.experiment == "tuning":
            assert run.block == run.round // 2
    orders = {}
    for group in together.groups:
        orders.setdefault(group.runs[0].block, []).append(group.configuration.name)
    assert len({tuple(sorted(order)) for order in list(orders.values())[:2]}) == 1
    assert orders[0] != orders[1], "each block has an order of its own"


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
