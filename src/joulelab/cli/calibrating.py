"""``joulelab instruments``: do the meters of a study agree, and what factor is to be kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from joulelab.cli.output import say
from joulelab.errors import UsageError
from joulelab.present import Remark, View
from joulelab.present.data import rows_data
from joulelab.settings import save_calibration, settings_path
from joulelab.study.results import Results

if TYPE_CHECKING:
    from joulelab.report.instruments.comparison import Compared
    from joulelab.report.instruments.saving import NewFactor

RESERVED = ("run",)


@dataclass(frozen=True)
class Asked:
    """What of the instruments was asked for.

    Attributes:
        reference: what the others are held against; ``None`` for what sees most.
        instruments: names, or sums as ``NAME=SOURCE+SOURCE``; all where empty.
        domains: only these; all where empty.
        plot: file for the Bland-Altman plots.
        save: whether the factors are kept in the settings file.
    """

    reference: str | None = None
    instruments: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    plot: Path | None = None
    save: bool = False

    def sums(self) -> dict[str, tuple[str, ...]]:
        """Sources by the name of their sum.

        Raises:
            UsageError: one of them is no sum of named sources.
        """
        sums = {}
        for text in self.instruments:
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

    def names(self) -> list[str]:
        """The instruments that are compared; none for all."""
        return [text.partition("=")[0].strip() for text in self.instruments]


def instruments(folders: Sequence[Path], asked: Asked) -> View:
    """What each instrument reads, and how it agrees with the reference.

    Args:
        folders: results folders of studies.
        asked: of what.

    Raises:
        StoreError: a folder has no study in it, or it cannot be read.
        UsageError: fewer than two instruments have read the runs, or a name is wrong.
        SettingsError: the settings file cannot be read or written.
    """
    from joulelab.present.style import figure_format
    from joulelab.report.instruments.comparison import compare_instruments
    from joulelab.report.instruments.saving import new_factors
    from joulelab.report.instruments.tables import agreement_table, read_table

    if asked.plot is not None:
        figure_format(asked.plot)
    sums = asked.sums()
    studies = [Results.open(folder) for folder in dict.fromkeys(folders)]
    compared = compare_instruments(
        studies,
        reference=asked.reference,
        sums=sums,
        domains=asked.domains or None,
        only=asked.names(),
    )
    factors: list[NewFactor] = []
    doubts: list[str] = []
    if asked.save:
        factors, doubts = new_factors(compared, studies, time.strftime("%Y-%m-%d"), asked.names())
    read = read_table(compared)
    agreed = [agreement_table(compared, remarked=False)] if compared.agreements else []
    if asked.plot is not None:
        _draw(compared, asked.plot)
    if asked.save:
        _save(factors, doubts, studies)
    return View(
        [read, *agreed, *map(Remark, compared.remarks)],
        {
            "folders": [str(folder) for folder in folders],
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


def _save(factors: Sequence[NewFactor], doubts: Sequence[str], studies: Sequence[Results]) -> None:
    """Show what will be written, then write it."""
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
