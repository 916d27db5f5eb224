import io

import numpy as np
from reported_study import ledger_of
from rich.console import Console

from joulelab import formats
from joulelab.report.text import print_summary


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
