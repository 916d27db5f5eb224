import io
from dataclasses import replace

import numpy as np
import pandas as pd
from joulelab.report.tables import Omitted, Table
from joulelab.report.text import LONG, print_summary, print_table
from joulelab.report.training_chapter import training_tables
from reported_study import ledger_of
from rich.console import Console

from joulelab import formats
from joulelab.report.experiment import experiments


def printed(study, width=80):
    buffer = io.StringIO()
    print_summary(study, Console(file=buffer, width=width, highlight=False))
    return buffer.getvalue()


def test_it_fits_80_columns_and_cuts_nothing_off(published):
    text = printed(published, width=200)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_it_has_the_tables_in_brief_and_the_total_with_its_status(published):
    text = printed(published)
    for words in ("Table III", "Table IV", "Table V", "1,674 J", "857 J", "0.750", "+95.3 %"):
        assert words in text
    assert "Dunn" not in text
    assert "gross (measured)" in " ".join(text.split())


def test_an_unfinished_study_says_so_first(study):
    study.runs.loc[study.runs.index[30:], "state"] = "planned"
    study.ledger = ledger_of(study.runs)
    assert "not finished: 30 of 72 runs" in printed(study).splitlines()[0]


def test_a_reason_that_holds_for_every_table_is_said_once(study):
    study.runs[["energy_gross_j", "energy_net_j"]] = np.nan
    text = " ".join(printed(study).split())
    assert text.count("No energy is known") == 2  # once for each experiment
    assert "0 J" not in text.replace("30.0 J", "")


def test_nothing_is_made_up_of_a_study_without_a_finished_run(study):
    study.runs["state"] = "planned"
    text = printed(study)
    assert text.count("no run has finished yet") == 2
    assert "No energy is known" not in text


def test_unknown_is_never_zero():
    assert formats.joules(None) == formats.joules(float("nan")) == "unknown"
    assert formats.duration(None) == "unknown"


def test_numbers_are_rounded_for_people():
    assert [formats.joules(v) for v in (0.0, 8.571, 85.71, 1674.2, 125_300, 3_420_000)] == [
        "0.00 J",
        "8.57 J",
        "85.7 J",
        "1,674 J",
        "125.3 kJ",
        "3.42 MJ",
    ]
    assert formats.duration(3900) == "1 h 05 min"
    assert formats.duration(245) == "4 min 05 s"
    assert formats.p_value(1e-9) == "< 0.001"
    assert formats.change(-0.0213) == "\N{MINUS SIGN}2.1 %"
    assert formats.listing(["a", "b", "c"]) == "a, b and c"


def shown(table, width=80):
    buffer = io.StringIO()
    print_table(table, Console(file=buffer, width=width, highlight=False))
    return buffer.getvalue()


def test_no_word_is_broken_in_any_table_of_a_search_and_all_fit(published):
    for experiment in experiments(published):
        for table in training_tables(experiment):
            if isinstance(table, Omitted) or (table.folded and len(table.shown) > LONG):
                continue
            text = shown(table, width=200)
            assert max(map(len, text.splitlines())) <= 80
            words = set(text.split())
            kept = table.shown.drop(columns=[name for name in table.wide if name in table.shown])
            for cell in kept.to_numpy().ravel():
                assert set(str(cell).split()) <= words, (table.key, cell)


def wide_table(name):
    frame = pd.DataFrame(
        {
            "configuration": [name],
            "acc. A": ["0.872"],
            "acc. B": ["0.871"],
            "B \N{MINUS SIGN} A": ["\N{MINUS SIGN}0.001"],
            "95 % interval": ["\N{MINUS SIGN}0.012 to 0.010"],
            "energy A": ["1,674 J"],
            "energy B": ["1,684 J"],
            "B / A": ["1.006"],
            "95 % interval of it": ["0.995 to 1.017"],
        }
    )
    text = ("configuration", "95 % interval", "95 % interval of it")
    return Table("k", "A title", "A note.", frame, frame, text, wide=("acc. A", "energy A"))


def test_columns_that_do_not_fit_are_left_out_and_the_widest_names_stay_whole():
    text = shown(wide_table("linear_layers=7, conv_layers=4, relu=off, hyperparameters=5"))
    assert max(map(len, text.splitlines())) <= 80
    for word in ("linear_layers=7,", "hyperparameters=5", "configuration", "1,684", "1.006"):
        assert word in text
    assert "1,674 J" not in text


def test_columns_that_fit_are_all_shown():
    text = shown(wide_table("CNN"), width=130)
    assert "1,674 J" not in text, "80 columns are the most, also of a wider terminal"
    narrow = wide_table("CNN")
    fewer = narrow.shown[["configuration", "acc. A", "acc. B"]]
    assert "0.872" in shown(replace(narrow, shown=fewer, raw=fewer, text=("configuration",)))


def test_a_name_that_is_longer_than_the_terminal_goes_on_in_the_next_line():
    name = "x" * 100
    text = shown(wide_table(name))
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("x") == 100
    assert "\N{MINUS SIGN}0.001" in text


def test_a_long_folded_table_is_only_named():
    frame = pd.DataFrame({"a": [f"cell {n}" for n in range(LONG + 1)]})
    table = Table("k", "A title", "A note.", frame, frame, ("a",), folded=True)
    text = shown(table)
    assert "21 rows; --json has them." in text
    assert "cell 0" not in text
    assert "A note." in text
    assert "cell 0" in shown(replace(table, folded=False))


def test_the_claims_stand_under_the_tables_with_their_verdicts(published):
    text = " ".join(printed(published).split())
    assert "claims, layers (architecture) on digits" in text
    assert "holds: A smaller network takes half the energy." in text
    assert "cannot be decided with n = 6 configurations: Bayesian search reaches" in text
