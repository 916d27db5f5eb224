"""Tables I to V: the paper's numbers on the authors' data, several data sets, what is absent."""

from dataclasses import replace

import numpy as np
import pytest
from reported_study import FakeResults, drawn, ledger_of, readings_of

from joulelab import formats
from joulelab.analysis.kruskal import kruskal
from joulelab.analysis.trade_off import clusters
from joulelab.present import Figure, Omitted, Table, latex
from joulelab.present.style import drawn as drawn_as
from joulelab.report import paper_figures as numbered
from joulelab.report.experiment import experiments
from joulelab.report.paper_tables import (
    HYPERPARAMETERS,
    PAPER_TABLES,
    PaperStudies,
    unique_names,
)

NUMBERS = ["I", "II", "III", "IV", "V"]


def of(study, runs, **factors):
    return FakeResults(
        study.folder,
        runs,
        readings_of(runs),
        ledger_of(runs),
        factors or study.by_experiment,
    )


def paper_tables(experiments):
    """Tables I to V, or why one of them is left out."""
    studies = PaperStudies(tuple(experiments))
    return [one.shown(studies) for one in PAPER_TABLES]


def paper_figures(experiments):
    """Figures 3 to 9, or why one of them is left out."""
    return numbered.paper_figures(PaperStudies(tuple(experiments)))


def named(made):
    return {name[1:]: text for name, text in latex.named(made)}


def texts(made):
    return [[cell.text for cell in row] for row in made.cells()]


@pytest.fixture(scope="module")
def authors(published):
    """Tables I to V of the authors' own data on Fashion-MNIST."""
    found = [replace(one, dataset="fashion-mnist") for one in experiments(published)]
    return dict(zip(NUMBERS, paper_tables(found), strict=True))


def test_table_i_has_a_row_a_search(authors):
    made = authors["I"]
    assert len(made.cells()) == 18
    assert [column.heading for column in made.columns] == [
        "data set",
        "strategy",
        "network",
        "hyperparameters",
        "rounds",
        "repetitions",
        "trainings",
    ]
    searched = {row[3].text for row in made.cells()}
    letters = list(HYPERPARAMETERS.values())
    assert searched == {", ".join(letters[:3]), ", ".join(letters)}
    assert {row[4].text for row in made.cells()} == {"64"}


def test_table_ii_has_the_eight_configurations(authors):
    made = authors["II"]
    assert len(made.cells()) == 8
    assert texts(made)[0] == ["fashion-mnist", "3", "1", "off", *texts(made)[0][4:]]
    assert sum(made.frame["trainings"]) == 3072
    assert set(made.frame["rounds"]) == {16}


def test_table_iii_has_the_papers_optima(authors):
    cell = named(authors["III"])
    at = "fashion-mnist"
    assert cell[at, "SimpleCNN", "random", "5", "round"] == "29"
    assert cell[at, "SimpleCNN", "random", "5", "accuracy"] == "0.888"
    assert cell[at, "DensePolyNN", "bayesian", "3", "round"] == "46"
    assert cell[at, "SimpleCNN", "grid", "3", "round"] == "20"
    assert len(authors["III"].cells()) == 9
    assert [c.group for c in authors["III"].columns][2:] == [
        "fashion-mnist, 5 hyperparameters"
    ] * 2 + ["fashion-mnist, 3 hyperparameters"] * 2


def test_table_iii_sets_the_best_of_each_setting_bold(authors):
    made = authors["III"]
    for network in ("DenseLinearNN", "DensePolyNN", "SimpleCNN"):
        rows = [row for row in made.cells() if row[0].text == network]
        for accuracy, number in ((2, 3), (4, 5)):
            bold = [row for row in rows if row[accuracy].bold]
            assert len(bold) == 1
            assert bold[0][accuracy].text == max(row[accuracy].text for row in rows)
            fewest = min(int(row[number].text) for row in rows)
            assert all(row[number].bold == (int(row[number].text) == fewest) for row in rows)


def test_table_iv_has_both_etas(authors):
    cell = named(authors["IV"])
    expected = {
        "linear_layers": ("481.799", "0.157", "0.155"),
        "conv_layers": ("2,303.250", "0.750", "0.749"),
        "relu": ("176.545", "0.057", "0.055"),
    }
    for factor, (h, own, printed) in expected.items():
        at = ("fashion-mnist", factor)
        assert cell[*at, "H"] == h
        assert cell[*at, "p"] == "< 0.001"
        assert cell[*at, "eta squared"] == own
        assert cell[*at, "eta squared configurations"] == printed
    assert [row[-1].text for row in authors["IV"].cells()] == ["large", "large", "small"]


def test_table_v_has_the_papers_clusters(authors):
    assert texts(authors["V"]) == [
        ["Average energy", "1,674 J", "857 J"],
        ["Average accuracy", "0.872", "0.864"],
        ["Max accuracy", "0.889", "0.887"],
        ["Std accuracy", "0.011", "0.010"],
    ]
    assert [column.heading for column in authors["V"].columns] == ["", "E+", "E\N{MINUS SIGN}"]
    assert "conv_layers on fashion-mnist" in authors["V"].note


def test_a_row_has_as_many_cells_as_there_are_columns(authors):
    for made in authors.values():
        assert {len(row) for row in made.cells()} == {len(made.columns)}
        assert sum(width for _, width in made.groups()) == len(made.columns)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two studies on two data sets."""
    one = drawn(tmp_path_factory.mktemp("one"))
    other = drawn(tmp_path_factory.mktemp("other"), seed=6)
    return [
        *experiments(one),
        *(replace(each, dataset="cifar10") for each in experiments(other)),
    ]


def test_two_data_sets_stand_side_by_side_with_the_numbers_of_each_alone(pair):
    every = paper_tables(pair)
    together = dict(zip(NUMBERS, every, strict=True)) | {one.key: one for one in every}
    assert [c.group for c in together["III"].columns] == [
        "",
        "",
        *["cifar10, 3 hyperparameters"] * 2,
        *["digits, 3 hyperparameters"] * 2,
    ]
    assert [c.group for c in together["V"].columns] == ["", *["digits"] * 2, *["cifar10"] * 2]
    for alone in (pair[:2], pair[2:]):
        for made in paper_tables(alone):
            assert named(made).items() <= named(together[made.key]).items()
    assert len(together["III"].cells()) == 4
    assert len(together["I"].cells()) == 8
    assert len(together["II"].cells()) == 16
    assert len(together["IV"].cells()) == 6


def test_table_iv_and_v_are_those_of_the_analysis(pair):
    layers = pair[1]
    table_iv, table_v = paper_tables(pair[:2])[3:]
    h = kruskal(layers.runs, "conv_layers")["h"].iloc[0]
    assert named(table_iv)["digits", "conv_layers", "H"] == f"{h:,.3f}"
    low, high = clusters(layers.runs, "conv_layers").table["energy_mean_j"]
    assert named(table_v)["digits", "E+", "Average energy"] == formats.joules(high)
    assert named(table_v)["digits", "E-", "Average energy"] == formats.joules(low)


def test_a_study_without_a_search_says_so_in_i_and_iii(pair):
    made = paper_tables([pair[1]])
    assert [isinstance(one, Omitted) for one in made] == [True, False, True, False, False]
    assert made[0].reason == "no experiment with finished runs compares strategies."
    assert made[0].key == "table-i"


def test_a_study_of_searches_only_says_so_in_the_others(pair):
    made = paper_tables([pair[0]])
    assert [isinstance(one, Omitted) for one in made] == [False, True, False, True, True]
    assert made[3].reason == "no experiment with finished runs compares layers."


def test_a_study_without_a_finished_run_has_no_table(study):
    study.runs["state"] = "planned"
    made = paper_tables(experiments(study))
    assert all(isinstance(one, Omitted) for one in made)


def without_energy(study):
    columns = ["energy_gross_j", "energy_net_j", "energy_idle_j", "energy_error_j"]
    runs = study.runs.copy()
    runs[columns], runs["energy_status"] = np.nan, "missing"
    return of(study, runs)


def test_without_energy_the_tables_of_energy_say_why(study):
    made = dict(zip(NUMBERS, paper_tables(experiments(without_energy(study))), strict=True))
    assert isinstance(made["I"], Table)
    assert isinstance(made["III"], Table)
    assert made["IV"].reason.startswith("digits: No energy is known")
    assert made["V"].reason == made["IV"].reason


def test_one_of_two_data_sets_without_energy_is_named_in_the_note(study, pair):
    gone = [replace(one, dataset="mnist") for one in experiments(without_energy(study))]
    made = dict(zip(NUMBERS, paper_tables([*pair[:2], *gone]), strict=True))
    assert len(made["IV"].cells()) == 3
    assert "Left out: mnist: No energy is known" in made["IV"].note
    assert "Left out: mnist: No energy is known" in made["V"].note
    assert "(missing)" not in made["V"].note


def test_a_configuration_that_failed_is_not_in_the_tables(study):
    failed = (study.runs["conv_layers"] == 4) & (study.runs["linear_layers"] == 7)
    study.runs.loc[failed, "state"] = "failed"
    lost = (study.runs["strategy"] == "grid") & (study.runs["network"] == "SimpleCNN")
    study.runs.loc[lost, "state"] = "failed"
    made = dict(zip(NUMBERS, paper_tables(experiments(study)), strict=True))
    assert len(made["II"].cells()) == 6
    assert len(made["I"].cells()) == 3
    assert len(made["III"].cells()) == 3


def test_searches_with_other_factors_share_the_tables(pair):
    search = pair[2]
    fewer = replace(
        search, factors=("strategy", "network"), runs=search.runs.drop(columns="hyperparameters")
    )
    deeper = replace(
        search,
        factors=("strategy", "network", "depth"),
        runs=search.runs.assign(depth="deep"),
        dataset="mnist",
    )
    made = dict(zip(NUMBERS, paper_tables([pair[0], fewer, deeper]), strict=True))
    assert {column.group for column in made["III"].columns} == {
        "",
        "cifar10",
        "digits, 3 hyperparameters",
        "mnist",
    }
    depth = [column.heading for column in made["III"].columns].index("depth")
    assert {row[depth].text for row in made["III"].cells()} == {formats.DASH, "deep"}
    assert len(made["I"].cells()) == 12


def test_numbers_of_hyperparameters_may_be_words(pair):
    runs = pair[0].runs
    words = np.where(runs["network"] == "SimpleCNN", "many", "few")
    search = replace(pair[0], runs=runs.assign(hyperparameters=words))
    made = paper_tables([search])[2]
    assert [c.group for c in made.columns][2:] == [
        *["digits, few hyperparameters"] * 2,
        *["digits, many hyperparameters"] * 2,
    ]
    assert [row[2].text for row in made.cells()][-1] == formats.DASH
    keys = [one.key for one in paper_figures([search]) if isinstance(one, Figure)]
    assert keys[:2] == ["convergence-digits-few", "convergence-digits-many"]


def test_a_data_set_in_a_folder_makes_no_folders_of_a_figure(pair):
    search = replace(pair[0], dataset="folder:/some where/images")
    (key,) = [one.key for one in paper_figures([search]) if one.key.startswith("convergence")]
    assert key == "convergence-folder-some-where-images-3"


def test_experiments_on_one_data_set_are_unique_names(pair):
    first, second = pair[0], replace(pair[2], name="again", dataset="digits")
    made = paper_tables([first, second])
    assert {row[0].text for row in made[0].cells()} == {"digits (tuning)", "digits (again)"}
    assert len({name for name, _ in latex.named(made[2])}) == len(list(latex.named(made[2]))) == 16
    keys = [one.key for one in paper_figures([first, second])]
    assert len(keys) == len(set(keys))


def test_the_same_study_twice_is_numbered(pair):
    found = unique_names([pair[0], pair[1], pair[0]], lambda one: one.title)
    assert [one.dataset for one in found] == ["digits (1)", "digits", "digits (2)"]
    assert found[1] is pair[1]


def test_without_a_score_there_is_no_table_iii_but_table_i(study):
    study.runs["accuracy"] = np.nan
    made = paper_tables(experiments(study))
    assert isinstance(made[0], Table)
    assert made[2].reason == "no round is scored."


def test_the_key_of_a_table_is_its_number(authors):
    assert [one.key for one in authors.values()] == [f"table-{n.lower()}" for n in NUMBERS]


def test_the_clusters_of_the_paper_are_set_apart(published):
    found = next(one for one in paper_figures(experiments(published)) if one.key == "figure-8")
    drawing = found.draw("page")
    (axes,) = drawing.axes
    lines = {line.get_label(): line.get_xdata() for line in axes.lines}
    assert max(lines["conv layers = 1"]) < min(lines["conv layers = 4"])
    assert len(lines["conv layers = 1"]) == len(lines["conv layers = 4"]) == 1536
    assert len(drawn_as(drawing, "svg")) < 500_000
