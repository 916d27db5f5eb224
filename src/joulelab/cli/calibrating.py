"""``joulelab instruments``: how well the meters of a study agree, and calibration factors."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from joulelab.cli.output import check_figure, say, show
from joulelab.cli.study_commands import Instruments
from joulelab.errors import UsageError
from joulelab.present import Remark, View
from joulelab.present.data import rows_data
from joulelab.settings import save_calibration, settings_path
from joulelab.study.results import Results

if TYPE_CHECKING:
    from joulelab.report.instruments.comparison import Compared
    from joulelab.report.instruments.saving import NewFactor

RESERVED = ("run",)


def run_instruments(asked: Instruments) -> None:
    """Show what each instrument reads, and how it agrees with the reference.

    Args:
        asked: the options of the command.

    Raises:
        StoreError: a folder has no study in it, or it cannot be read.
        UsageError: fewer than two instruments have read the runs, or a name is wrong.
        SettingsError: the settings file cannot be read or written.
    """
    from joulelab.report.instruments.comparison import compare_instruments
    from joulelab.report.instruments.saving import new_factors
    from joulelab.report.instruments.tables import agreement_table, read_table

    check_figure(asked.plot)
    written = asked.instrument or ()
    sums = _sums(written)
    names = [text.partition("=")[0].strip() for text in written]
    studies = [Results.open(folder) for folder in dict.fromkeys(asked.folders)]
    compared = compare_instruments(
        studies,
        reference=asked.reference,
        sums=sums,
        domains=asked.domain or None,
        only=names,
    )
    factors: list[NewFactor] = []
    doubts: list[str] = []
    if asked.save:
        factors, doubts = new_factors(compared, studies, time.strftime("%Y-%m-%d"), names)
    read = read_table(compared)
    agreed = [agreement_table(compared, remarked=False)] if compared.agreements else []
    if asked.plot is not None:
        _draw(compared, asked.plot)
    if asked.save:
        _save(factors, doubts, studies)
    agreement = View(
        [read, *agreed, *map(Remark, compared.remarks)],
        {
            "folders": [str(folder) for folder in asked.folders],
            "reference": compared.reference.name,
            "why": compared.why,
            "instruments": rows_data(read),
            "agreement": [row for table in agreed for row in rows_data(table)],
            "impossible": compared.impossible.to_dict("records"),
            "unread": {name: dict(runs) for name, runs in compared.read.unread.items() if runs},
            "remarks": list(compared.remarks),
            "saved": [asdict(factor) for factor in factors],
            "not_saved": list(doubts),
        },
    )
    show(agreement, as_json=asked.json)


def _sums(instruments: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The sources of each instrument that is a sum.

    Raises:
        UsageError: a sum has an empty or reserved name, or an empty source.
    """
    sums = {}
    for text in instruments:
        name, equals, sources = text.partition("=")
        if not equals:
            continue
        named = tuple(source.strip() for source in sources.split("+"))
        if not name.strip() or not all(named) or name.strip() in RESERVED:
            raise UsageError(
                f"--instrument {text!r} is not a sum of sources", "as in sensors=nvml+rapl"
            )
        sums[name.strip()] = named
    return sums


def _save(factors: Sequence[NewFactor], doubts: Sequence[str], studies: Sequence[Results]) -> None:
    """Show the factors, then write them to the settings file."""
    from joulelab.report.instruments.saving import known_keys

    for doubt in doubts:
        say(doubt, "yellow")
    if not factors:
        say("no factor to save")
        return
    say(f"writing into {settings_path()}:")
    for factor in factors:
        say(f"  {factor}")
    known = known_keys(studies[0].manifest)
    save_calibration([factor.setting for factor in factors], known)


def _draw(compared: Compared, path: Path) -> None:
    from joulelab.present.style import write
    from joulelab.report.instruments.section import bland_altman

    if not compared.agreements:
        raise UsageError("there is nothing to draw", "no two instruments could be compared")
    write(bland_altman(compared).draw("screen"), path)
