"""The section of a study's report on its instruments, where two or more have read its runs."""

from __future__ import annotations

from joulelab.errors import UsageError
from joulelab.report.instruments.comparison import Compared, compare_read
from joulelab.report.instruments.readings import read_runs
from joulelab.report.instruments.tables import agreement_table, read_table
from joulelab.report.tables import Omitted, Table
from joulelab.study.results import Results

_KEPT: list[Compared] = []


def instrument_tables(results: Results) -> list[Table | Omitted]:
    """What each instrument reads, and how they agree; none where one alone has read the runs."""
    compared = study_instruments(results)
    return [] if compared is None else [read_table(compared), agreement_table(compared)]


def study_instruments(results: Results) -> Compared | None:
    """The comparison; ``None`` where fewer than two instruments have read the runs.

    The last one is kept: tables, figure and JSON of a report ask for the same, and of thousands of
    runs all pairs are looked at.
    """
    read = read_runs([results])
    if _KEPT and _KEPT[0].read.same(read):
        return _KEPT[0]
    try:
        compared = compare_read(read)
    except UsageError:
        return None
    _KEPT[:] = [compared]
    return compared
