"""Every instrument of some runs against one of them, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from joulelab import formats
from joulelab.analysis.agreement import Agreement, agreement
from joulelab.analysis.negative_energy import in_words, negative_energy
from joulelab.errors import UsageError
from joulelab.report.instruments.instrument import Instrument, chosen_reference, not_alike
from joulelab.report.instruments.readings import RUN, RunsRead, part_columns, read_runs
from joulelab.study.results import Results

MOST_NAMED = 3


@dataclass(frozen=True, eq=False)
class Compared:
    """How the instruments of some runs agree with one of them.

    Attributes:
        read: what they have read.
        reference: what the others are held against.
        why: why this one.
        agreements: by instrument, in their order; without those that cannot be compared.
        impossible: energies at or below zero: ``run``, ``column``, ``value``.
        remarks: what to know before reading, in sentences; the gravest first.
    """

    read: RunsRead
    reference: Instrument
    why: str
    agreements: Mapping[str, Agreement]
    impossible: pd.DataFrame
    remarks: tuple[str, ...]


def compare_instruments(
    studies: Sequence[Results],
    *,
    reference: str | None = None,
    sums: Mapping[str, Sequence[str]] | None = None,
    domains: Sequence[str] | None = None,
    only: Sequence[str] = (),
) -> Compared:
    """Hold every instrument against one.

    Args:
        studies: at least one.
        reference: name of that one; the one that sees most where not given.
        sums: sources by the name of their sum.
        domains: only these; ``None`` for all.
        only: compare these instruments alone, with the reference; all where empty.

    Raises:
        UnknownNameError: there is no such instrument, or no such source.
        UsageError: fewer than two instruments have read the runs, or a sum would count twice.
    """
    return compare_read(read_runs(studies, sums, domains), reference, only)


def compare_read(
    read: RunsRead, reference: str | None = None, only: Sequence[str] = ()
) -> Compared:
    """Hold every instrument against one, once their readings are a table.

    Args:
        read: what they have read.
        reference: as for `compare_instruments`.
        only: as for `compare_instruments`.

    Raises:
        UnknownNameError: the instrument does not exist.
        UsageError: fewer than two instruments have read the runs.
    """
    if len(read.instruments) < 2:  # noqa: PLR2004 - it takes two to compare
        there = formats.listing([one.name for one in read.instruments]) if read.instruments else ""
        raise UsageError(
            f"only {there} has read these runs" if there else "no meter has read these runs",
            'run the study with several: energy.meters = ["nvml", "codecarbon", "shelly:ADDRESS"]',
        )
    against, why = chosen_reference(read.instruments, reference)
    for name in only:
        chosen_reference(read.instruments, name)
    those = [
        one
        for one in read.instruments
        if one.name != against.name and (not only or one.name in only)
    ]
    agreements: dict[str, Agreement] = {}
    failed = []
    for one in those:
        parts = [*part_columns(one), *part_columns(against)]
        try:
            agreements[one.name] = agreement(read.energies, one.name, against.name, RUN, parts)
        except UsageError as error:
            failed.append(f"{one.name} is not compared: {error.message}.")
    columns = [name for one in (against, *those) for name in (one.name, *part_columns(one))]
    wrong = negative_energy(read.energies, columns, RUN)
    remarks = [*_impossible(wrong), *failed, *_unread(read, (against, *those))]
    remarks += [*_said(against, those), *read.remarks, *_few(agreements)]
    return Compared(read, against, why, agreements, wrong, tuple(remarks))


def _impossible(wrong: pd.DataFrame) -> tuple[str, ...]:
    if not len(wrong):
        return ()
    runs = formats.count(wrong["run"].nunique(), "run")
    return (f"{in_words(wrong, formats.joules)}. Left out, with the whole of {runs}.",)


def _unread(read: RunsRead, instruments: Sequence[Instrument]) -> list[str]:
    """Runs that an instrument has not read: how many, and why."""
    said = []
    for one in instruments:
        gone = read.unread[one.name]
        if not gone:
            continue
        reasons = list(dict.fromkeys(gone.values()))
        more = f"; and {len(reasons) - MOST_NAMED} more" if len(reasons) > MOST_NAMED else ""
        named = ", ".join(list(gone)[:MOST_NAMED])
        named += " ..." if len(gone) > MOST_NAMED else ""
        said.append(
            f"{one.name} has no reading of {formats.count(len(gone), 'run')} ({named}), left out: "
            f"{'; '.join(reasons[:MOST_NAMED])}{more}."
        )
    return said


def _said(reference: Instrument, those: Sequence[Instrument]) -> list[str]:
    """Where instruments read different parts of the machine, or are calibrated already."""
    unlike = [one for one in those if one.covers != reference.covers]
    said = [not_alike(unlike, reference)] if unlike else []
    for one in (reference, *those):
        if one.calibration:
            factors = ", ".join(f"{domain} by {f:g}" for domain, f in one.calibration.items())
            said.append(
                f"{one.name} is calibrated already ({factors}): a new factor is multiplied on top."
            )
    return said


def _few(agreements: Mapping[str, Agreement]) -> tuple[str, ...]:
    """That one run has no statistics, once."""
    return tuple(f"{name}: {found.reason}." for name, found in agreements.items() if found.reason)
