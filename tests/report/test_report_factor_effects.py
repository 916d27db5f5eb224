"""Tables on factors: what leads holds the other factors fixed, wherever it is shown."""

import itertools

import numpy as np
import pandas as pd
import pytest
from joulelab.report.design_tables import dominances, factor_interactions
from joulelab.report.effort import time_energy_picture
from joulelab.report.factor_effects import FIXED, effects, factor_levels, pairs
from joulelab.report.findings import training_findings
from joulelab.report.paper import latex
from joulelab.report.paper.tables import paper_tables
from joulelab.report.pictures import energy_picture
from joulelab.report.tables import Omitted
from joulelab.report.training_chapter import training_tables

from joulelab.report import factor_effects
from joulelab.report.experiment import experiment_of_table

LEVELS = [(relu, size) for relu in (False, True) for size in (1, 2, 3, 4, 5)]


def designed(effect, levels=LEVELS, runs=4, seed=0):
    """An experiment in which `size` takes 100 J a step, and ReLU so much more; noise of 1 J."""
    random = np.random.default_rng(seed)
    rows = [
        (relu, size, number, 100.0 * size + effect * relu + random.normal(), 0.8, float(size))
        for relu, size in levels
        for number in range(runs)
    ]
    columns = ["relu", "size", "round", "joules", "accuracy", "duration_s"]
    return experiment_of_table(
        pd.DataFrame(rows, columns=columns),
        name="layers",
        kind="architecture",
        dataset="digits",
        factors=["relu", "size"],
        energy="joules",
    )


@pytest.fixture(scope="module")
def drowned():
    return designed(effect=2.0)


def test_a_drowned_effect_leads_the_table_and_the_marginal_test_stands_beside_it(drowned):
    table = effects(drowned)
    row = table.shown.set_index("factor").loc["relu"]
    assert row["p"] == "< 0.001"
    assert float(row["p, alone"]) > 0.2
    assert row["magnitude"] == "large"
    order = list(table.shown)
    assert order.index("p") < order.index("p, alone")
    raw = table.raw.set_index("factor").loc["relu"]
    assert raw[f"{FIXED}p"] < 0.001
    assert raw["p"] > 0.2
    assert "counts as noise" in table.note
    assert table.shown.set_index("factor").loc["size", "95 % interval"] == "levels do not overlap"


def test_findings_and_post_hoc_tests_agree_with_it(drowned):
    (said,) = training_findings(drowned)
    assert said.startswith("In layers, size explains most of")
    assert "with the other factors held fixed" in said
    only = experiment_of_table(
        drowned.runs[["relu", "size", "round", "joules", "accuracy"]].assign(
            size=drowned.runs["size"] % 2
        ),
        name="layers",
        kind="architecture",
        dataset="",
        factors=["relu"],
        energy="joules",
    )
    assert training_findings(only)[0].startswith("No factor of layers moves the energy")
    levels = factor_levels(drowned)
    row = levels.raw.set_index("factor").loc["relu"]
    assert row["p_adjusted"] < 0.001
    assert levels.note.startswith("11 of 11 pairs of levels differ")
    keys = [one.key for one in training_tables(drowned)]
    assert keys.index("posthoc-levels") == keys.index("posthoc") - 1


def test_latex_has_both_tests_by_name(drowned):
    table = next(one for one in paper_tables([drowned]) if one.key == "table-iv")
    named = {name[2:]: text for name, text in table.named if name[2] == "relu"}
    assert named["relu", "fixed p"] == "< 0.001"
    assert float(named["relu", "p"]) > 0.2
    text = latex.tables([table])
    assert text.index("other factors held fixed") < text.index("alone,")


def test_what_is_said_of_interactions_covers_all_columns():
    products = list(itertools.product((False, True), (1, 2, 3)))
    for seed in range(12):
        table = factor_interactions(designed(0.3, products, runs=5, seed=seed))
        row = table.raw.set_index("order").loc[2]
        found = [column for column in ("anova_p", "art_p", "log_p") if row[column] < 0.05]
        assert table.note.startswith("No interaction is significant") == (not found)
        assert (" only." in table.note) == (0 < len(found) < 3)


def test_so_many_pairs_or_bars_that_nobody_reads_them_are_left_out_with_their_number():
    many = designed(2.0, [(False, size) for size in range(1, 203)], runs=1)
    for made in (pairs(many), factor_levels(many), dominances(many)):
        assert isinstance(made, Omitted)
        assert "20,301 pairs of " in made.reason
    for made in (energy_picture(many), time_energy_picture(many)):
        assert isinstance(made, Omitted)
        assert made.reason.startswith("202 configurations are too many")
    assert factor_effects.SEPARATE not in set(effects(many).shown["95 % interval"])
