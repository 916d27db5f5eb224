"""Published studies: printed numbers, numbers recomputed from raw data, and their agreement.

The printed numbers of a study are in a table of this package, ``printed/<study>.csv``: one row per
cell, one column per data set, empty if nothing is printed. The study's module has a function
`replicate`, which takes a folder with the authors' files and returns a `Replication`.

A number is stored as printed, because its digits give the precision. It agrees with a recomputed
number that rounds to it at the same number of decimals, half up or half to even::

    printed   0.749    1674    < .001      a little over 6    almost 12      large
    agrees    0.7494   1674.1  0.0000004   6 < x < 7          11 <= x < 12   large
    does not  0.7499   1674.6  0.0012      5.9, 7.1           10.9, 12.0     medium

A printed range, ``0.50 to 0.59``, agrees with a number that rounds to a value within it.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, InvalidOperation
from importlib import resources
from itertools import groupby
from pathlib import Path

from joulelab import formats
from joulelab.errors import UsageError
from joulelab.registry import Registry

Value = float | int | str
Key = tuple[str, ...]

ALL = "all"
"""The data set of numbers that a paper prints over all data sets together."""
BELOW, OVER, ALMOST, TO = "< ", "a little over ", "almost ", " to "
DIGITS = 12
"""Means of decimal accuracies are off by about 1e-17, which must not decide how a half rounds."""


@dataclass(frozen=True)
class Published:
    """One printed number, or the place of a missing one.

    Attributes:
        table: where it is printed: ``"Table IV"``, ``"Section VI-B"``.
        dataset: its data set; ``"all"`` for all data sets together.
        cell: its name.
        text: as printed, without a unit; empty if the paper prints none.
        may_be_cut: whether the paper truncates some numbers of this kind instead of rounding.
    """

    table: str
    dataset: str
    cell: str
    text: str
    may_be_cut: bool = False

    @property
    def value(self) -> Value | None:
        """The number; the text if it is not a number; None if nothing is printed.

        >>> Published("Table I", "all", "trainings", "18,432").value
        18432
        """
        number = _decimal(self.text)
        if number is None:
            return self.text or None
        return float(number) if decimals(self.text) else int(number)


@dataclass(frozen=True)
class Recomputed:
    """The recomputed value of a published number.

    Attributes:
        value: None if it cannot be computed; then the note says why.
        note: why paper and data differ, or how the number was computed; empty if plain.
    """

    value: Value | None
    note: str = ""


Cell = tuple[str, str]
Cells = dict[Cell, Recomputed]
"""Recomputed values by table and cell."""


@dataclass(frozen=True)
class Comparison:
    """A published number and the recomputed one."""

    published: Published
    recomputed: Recomputed

    @property
    def value(self) -> Value | None:
        """The recomputed value; None if undefined."""
        value = self.recomputed.value
        return None if isinstance(value, float) and not math.isfinite(value) else value

    @property
    def agrees(self) -> bool | None:
        """Whether they agree at the printed precision; None unless both are numbers."""
        if self.value is None or not self.published.text:
            return None
        text = self.published.text
        cut = self.published.may_be_cut and cut_off(text, self.value)
        return cut or agree(text, self.value)

    @property
    def note(self) -> str:
        """The note; an unexplained difference is given in figures."""
        own = self.recomputed.note
        if self.value is None:
            return own or "not defined for these data"
        return own or (difference(self.published.text, self.value) if self.agrees is False else "")

    def to_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return {
            "table": self.published.table,
            "dataset": self.published.dataset,
            "cell": self.published.cell,
            "published": self.published.value,
            "recomputed": self.value,
            "agrees": self.agrees,
            "note": self.note,
        }


@dataclass(frozen=True)
class Replication:
    """The recomputed values of all printed numbers of a study.

    Attributes:
        title: of the study.
        comparisons: in the order of the paper.
        remarks: notes on the files.
    """

    title: str
    comparisons: tuple[Comparison, ...]
    remarks: tuple[str, ...] = ()


published_studies: Registry[Callable[[Path], Replication]] = Registry(
    "published study",
    "joulelab.published_studies",
    {
        "yarally2023": (
            "joulelab.replication.yarally2023:replicate",
            "energy-efficient practices in deep learning training (CAIN 2023)",
        ),
        "xu2023": (
            "joulelab.replication.xu2023:replicate",
            "training cost of architectures, places and instruments (HICSS 2023)",
        ),
        "delrey2023": (
            "joulelab.replication.delrey2023:replicate",
            "the energy of a training predicted from its beginning (SEAA 2023)",
        ),
    },
)


def printed(study: str) -> list[Published]:
    """All printed numbers of a study, by table and data set.

    Args:
        study: the name of a table in the folder ``printed``.
    """
    table_file = resources.files("joulelab.replication") / "printed" / f"{study}.csv"
    rows = list(csv.DictReader(table_file.read_text("utf-8").splitlines()))
    datasets = [name for name in rows[0] if name not in ("table", "cell", "may_be_cut")]
    found: list[Published] = []
    for table, group in groupby(rows, lambda row: row["table"]):
        cells = list(group)
        found += [
            Published(table, dataset, row["cell"], row[dataset], bool(row.get("may_be_cut")))
            for dataset in datasets
            for row in cells
            if row[dataset]
        ]
    return found


def files_in(folder: Path, wanted: str) -> list[Path]:
    """The files in the folder of a study, by name.

    Args:
        folder: of the authors' files.
        wanted: which files it should have, for messages.

    Raises:
        UsageError: the folder does not exist.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(
            f"the folder {folder} cannot be read: {error.strerror}", f"give one with {wanted}"
        ) from error


def find_files(
    folder: Path, kinds: Sequence[str], key: Callable[[str, str], Key | None], wanted: str
) -> tuple[dict[Key, Path], list[str]]:
    """Find the files ``<kind>-<data set>.csv`` of a study in a folder, with remarks about others.

    Args:
        folder: folder with the authors' files.
        kinds: possible beginnings of file names.
        key: maps the kind, and the letters and digits after it in lower case, to the data set and
            its other parts; ``None`` if the study has no such data.
        wanted: the required files, for messages.

    Returns:
        Paths by kind and key.

    Raises:
        UsageError: the folder does not exist, has none of the files, or has one of them twice.
    """
    pattern = re.compile(rf"({'|'.join(kinds)})[-_](.+)\.csv", re.IGNORECASE)
    files: dict[Key, Path] = {}
    remarks = []
    for path in files_in(folder, wanted):
        match = pattern.fullmatch(path.name)
        if match is None:
            continue
        known = key(match[1].casefold(), letters(match[2]))
        if known is None:
            remarks.append(f"{path.name} is left out: the paper has no data set {match[2]!r}")
            continue
        named = (match[1].casefold(), *known)
        if named in files:
            raise UsageError(
                f"{files[named]} and {path.name} are the same table of {' in '.join(known)}",
                "keep only one of them in the folder",
            )
        files[named] = path
    if not files:
        raise UsageError(f"no data of this study in {folder}", f"looked for {wanted}")
    return files, remarks


def letters(text: str) -> str:
    """The letters and digits of a name, in lower case.

    >>> letters("Fashion-MNIST")
    'fashionmnist'
    """
    return re.sub("[^a-z0-9]", "", text.casefold())


def joined(*notes: str) -> str:
    """Join several notes; empty ones are skipped."""
    return "; ".join(note for note in notes if note)


def left_out(dropped: int, noun: str = "row") -> str:
    """A note on missing values; empty if nothing was left out.

    >>> left_out(2), left_out(0)
    ('2 rows without a value left out', '')
    """
    return f"{formats.count(dropped, noun)} without a value left out" if dropped else ""


def decimals(text: str) -> int:
    """Number of printed decimals.

    >>> decimals("0.8879"), decimals("1674"), decimals("< .001")
    (4, 0, 3)
    """
    return len(text.rpartition(".")[2]) if "." in text else 0


def agree(text: str, value: Value) -> bool:
    """Whether a value agrees with a printed text, at the printed precision.

    >>> agree("0.81", 0.805), agree("0.80", 0.805), agree("0.826", 0.8266)
    (True, True, False)
    >>> agree("< .001", 4e-107), agree("almost 12", 11.6), agree("large", "small")
    (True, True, False)
    """
    if isinstance(value, str):
        return value == text
    if text.startswith(BELOW):
        return value < float(text.removeprefix(BELOW))
    if text.startswith(OVER):
        return 0 < value - float(text.removeprefix(OVER)) < 1
    if text.startswith(ALMOST):
        return 0 < float(text.removeprefix(ALMOST)) - value <= 1
    if TO in text:
        low, high = text.split(TO)
        return float(low) <= round(value, decimals(low)) <= float(high)
    printed = _decimal(text)
    return printed is not None and printed in {
        _rounded(value, decimals(text), ROUND_HALF_UP),
        _rounded(value, decimals(text), ROUND_HALF_EVEN),
    }


def cut_off(text: str, value: Value) -> bool:
    """Whether the printed number is the value truncated instead of rounded.

    >>> cut_off("0.826", 0.82664), cut_off("0.827", 0.82664)
    (True, False)
    """
    if isinstance(value, str) or agree(text, value):
        return False
    return _decimal(text) == _rounded(value, decimals(text), ROUND_DOWN)


def difference(text: str, value: Value) -> str:
    """The difference between a recomputed value and the printed one, in words.

    >>> difference("1674", 1690.74)
    'the data give 1.0 % more'
    >>> difference("0.826", 0.82664)
    'printed truncated, not rounded'
    """
    printed = _decimal(text)
    if isinstance(value, str) or printed is None or not printed:
        return f"the data give {value}" if isinstance(value, str) else "outside the printed range"
    if cut_off(text, value):
        return "printed truncated, not rounded"
    share = value / float(printed) - 1
    return f"the data give {formats.percent(abs(share))} {'more' if share > 0 else 'less'}"


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text.replace(",", ""))
    except InvalidOperation:
        return None


def _rounded(value: float, places: int, rounding: str) -> Decimal:
    return Decimal(f"{value:.{DIGITS}g}").quantize(Decimal(1).scaleb(-places), rounding=rounding)
