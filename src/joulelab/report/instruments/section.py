"""The section of a study's report on its instruments, where two or more have read its runs."""

from __future__ import annotations

from joulelab.errors import UsageError
from joulelab.present import Figure, Table, Unavailable, cached_per_subject, figure, table
from joulelab.report.instruments.comparison import Compared, compare_read
from joulelab.report.instruments.picture import bland_altman
from joulelab.report.instruments.readings import read_runs
from joulelab.report.instruments.tables import agreement_table, read_table
from joulelab.report.ledger import ReportedStudy


@cached_per_subject
def study_instruments(study: ReportedStudy) -> Compared:
    """The comparison of the instruments.

    Raises:
        Unavailable: fewer than two have read the runs, of which nobody is told.
    """
    try:
        return compare_read(read_runs([study.results]))
    except UsageError:
        raise Unavailable("") from None


@figure("bland-altman", "Differences of the instruments (Bland and Altman)")
def instrument_differences(study: ReportedStudy) -> Figure:
    """Bland-Altman plots of a study's instruments."""
    compared = study_instruments(study)
    if not compared.agreements:
        raise Unavailable("")
    return bland_altman(compared)


@table("instruments", "What each instrument reads")
def instruments_read(study: ReportedStudy) -> Table:
    """Which domains each instrument adds up, and its mean energy of a run."""
    return read_table(study_instruments(study))


@table("agreement", "Agreement of the instruments")
def instruments_agree(study: ReportedStudy) -> Table:
    """How the instruments agree with the reference."""
    return agreement_table(study_instruments(study))


INSTRUMENTS = (instruments_read, instruments_agree, instrument_differences)
"""What a report shows of them, in order."""
