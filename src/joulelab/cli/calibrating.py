"""``joulelab instruments``: do the meters of a study agree, and what factor is to be kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from joulelab.cli.measuring import check_picture
from joulelab.cli.output import data_console, print_json, progress_console
from joulelab.errors import StoreWriteError, UsageError
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
                    f"--instrument {text!r} is no sum of sources", "as in sensors=nvml+rapl"
                )
            sums[name.strip()] = named
        return sums

    def names(self) -> list[str]:
        """The instruments that are compared; none for all."""
        return [text.partition("=")[0].strip() for text in self.instruments]


def print_instruments(folders: Sequence[Path], asked: Asked, *, as_json: bool) -> None:
    """Print what each instrument reads, and how it agrees with the reference.

    Args:
        folders: results folders of studies.
        asked: of what.
        as_json: JSON instead of tables on standard output.

    Raises:
        StoreError: a folder has no study in it, or it cannot be read.
        UsageError: fewer than two instruments have read the runs, or a name is wrong.
        SettingsError: the settings file cannot be read or written.
    """
    from joulelab.report.instruments.comparison import compare_instruments
    from joulelab.report.instruments.saving import new_factors

    check_picture(asked.plot)
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
    if not as_json:
        _print_tables(compared)
    if asked.plot is not None:
        _draw(compared, asked.plot)
    _save(factors, doubts, studies, asked=asked.save)
    if as_json:
        print_json(_data(folders, compared, factors, doubts))


def _print_tables(compared: Compared) -> None:
    from joulelab.report.instruments.tables import agreement_table, read_table
    from joulelab.report.tables import Table
    from joulelab.report.text import WIDTH, print_table

    console = data_console()
    print_table(read_table(compared), console)
    agreed = agreement_table(compared, remarked=False)
    if isinstance(agreed, Table):
        print_table(agreed, console)
    console.print()
    for remark in compared.remarks:
        console.print(Text(remark, style="yellow"), width=min(WIDTH, console.width))


def _save(
    factors: Sequence[NewFactor], doubts: Sequence[str], studies: Sequence[Results], *, asked: bool
) -> None:
    """Show what will be written, then write it."""
    from joulelab.report.instruments.saving import known_keys

    if not asked:
        return
    console = progress_console()
    for doubt in doubts:
        console.print(Text(doubt, style="yellow"), soft_wrap=True)
    if not factors:
        console.print("no factor to save", markup=False)
        return
    console.print(f"writing into {settings_path()}:", markup=False, soft_wrap=True)
    for factor in factors:
        console.print(f"  {factor}", markup=False, soft_wrap=True)
    known = known_keys(studies[0].manifest)
    save_calibration([factor.setting for factor in factors], known)


def _draw(compared: Compared, path: Path) -> None:
    from joulelab.present.style import drawn, figure_format
    from joulelab.report.instruments.picture import bland_altman_picture

    picture = bland_altman_picture(compared)
    if picture is None:
        raise UsageError("there is nothing to draw", "no two instruments could be compared")
    try:
        path.write_bytes(drawn(picture.figure, figure_format(path)))
    except OSError as error:
        raise StoreWriteError(
            f"{path} cannot be written: {error.strerror or error}", "name another file"
        ) from error


def _data(
    folders: Sequence[Path],
    compared: Compared,
    factors: Sequence[NewFactor],
    doubts: Sequence[str],
) -> dict[str, Any]:
    from joulelab.report.instruments.tables import agreement_table, read_table
    from joulelab.report.tables import Table

    agreed = agreement_table(compared)
    return {
        "folders": [str(folder) for folder in folders],
        "reference": compared.reference.name,
        "why": compared.why,
        "instruments": read_table(compared).raw.to_dict("records"),
        "agreement": agreed.raw.to_dict("records") if isinstance(agreed, Table) else [],
        "impossible": compared.impossible.to_dict("records"),
        "unread": {name: dict(runs) for name, runs in compared.read.unread.items() if runs},
        "remarks": list(compared.remarks),
        "saved": [asdict(factor) for factor in factors],
        "not_saved": list(doubts),
    }
