"""Devices whose rows are mixed in one table.

::

    timestamp   host   index   uuid     power.draw
    10:00:00    a      0       GPU-5e1  400          a/gpu:0
    10:00:00    a      1       GPU-07a   60          a/gpu:1
    10:00:00    b      0       GPU-9c2   61          b/gpu:0

Any column that can name a device groups the rows, also several together. A column called ``gpu`` or
``index`` may instead hold a load or count rows: device names are the same few values repeated, each
once per round.

If no column names devices, `judge` decides whether the rows belong to one device or to several. Two
things indicate several devices. Rows much closer together than their rounds come from a loop over
devices. If times are cut to whole seconds, rows of one second may also come from one device that
was read several times; then their values decide::

    400  60  60  60 | 400  60  60  60 |     as much change from row to row, none from round to round
     60  61  61  63 |  64  66  67  67 |     a little change from row to row, anywhere: one device
    100 100 100 100 | 300 300 300 300 |     change at the beginning of a second only: several alike

Undecidable cases are refused, with two exceptions, which are read as one device but not as a
measurement. A number of rows per second that is a common sampling rate (`RATES`), but an unlikely
number of devices, may be one idle device, or one under a load of that rhythm. Evenly spaced rows
whose values alternate with a fixed period may be one device under a load in step with the logger,
or a loop that takes equally long for each device.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from joulelab.energy.sample_buffer import Floats
from joulelab.energy.traces.power_columns import WORDS
from joulelab.errors import TraceError
from joulelab.tabular.table import Table, folded

Positions = NDArray[np.intp]

DOMAIN, HOST, NUMBER, PART, NAME = "domain", "host", "number", "part", "name"
_CALLED: Mapping[str, str] = {
    DOMAIN: "domain",
    HOST: """
        host hostname host_name node node_name nodename nodelist machine server instance computer
        src topic
    """,
    NUMBER: """
        index idx gpu gpu_id gpu_index gpu_idx gpu_number gpu_num gpuid device device_id
        device_index device_idx dev cuda cuda_device card card_id card_index minor_number
        gpu_minor_number accelerator local_rank rank entity id
    """,
    PART: "socket socket_id package package_id pkg die cpu",
    NAME: """
        uuid gpu_uuid serial gpu_serial pci pci.bus pci.bus_id gpu_bus_id pci_bus_id pci.device
        bus_id busid bus pci_bus pciid pci_id device_name gpu_name name product_name device_uuid
        mig_uuid outlet plug meter sensor channel rail component entity_id
    """,
}
_NAMES = {name: kind for kind, names in _CALLED.items() for name in names.split()}
_MODELS = frozenset({"name", "gpu_name", "product_name", "device_name"})
MOST_DEVICES = 64
"""More than any machine has: a column with more values counts something else."""
LIKELY_DEVICES = 16
"""A single number below it is a device number; above, probably a share in percent."""
APART_S = 0.1
"""Rows of several devices in one round are closer together than this."""
ROUND = 0.75
"""A round has at least this share of all devices; some may drop out."""
_PERCENT = "%"
_DOMAIN = re.compile(r"([\w.-]+/)?[a-z]+(:\w+)?")
SIMULTANEOUS = 0.1
"""Samples closer together than this share of an interval belong to different devices."""
SHARE = 0.02
"""Share of steps that must be so short; fewer are accidents of the logger."""
RESOLUTIONS_S = (60.0, 1.0, 0.1, 0.01, 0.001)
RATES = frozenset({5, 10, 20, 25, 40, 50, 100, 200, 250, 500, 1000})
"""Common sampling rates per second, without 2 and 4, which are common numbers of devices."""
MOST_ROUND = 16
SMOOTH = 0.7
REPEATED = 0.6
FEW = 3
REGULAR = 0.8
FLICKER = 0.1
ONCE = 2.5
"""One rise and fall changes by twice the span; the rest is noise."""
LEAST_ROUNDS = 4
IN_STEP_ROUNDS = 100
"""Most rounds checked for a fixed order of values; a load drifts against the logger."""
IN_STEP = 0.9
"""Share of the variance within rounds that the position explains: for devices, all but noise; for
a load whose steps are 2 % longer or shorter, two thirds."""
TURNS_DIFFER = 0.05
"""As a share of the mean: the beat of a counter's ticks against the logger's is smaller."""
STEPS_DIFFER = 1.0
"""The same for time steps: those cut to whole seconds beat by two thirds."""


@dataclass(frozen=True)
class Device:
    """The rows of one device.

    Attributes:
        domain: its name; empty if no column of the table names devices.
        rows: their positions (n,).
        host: its machine, if the table gives it.
        sure: whether the column identifies devices, rather than machines or models with possibly
            several devices.
    """

    domain: str
    rows: Positions
    host: str = ""
    sure: bool = False


def devices(table: Table, asked: str, times_s: NDArray[np.float64]) -> list[Device]:
    """The devices in a table; one without a name if nothing distinguishes several.

    Args:
        table: one row per sample.
        asked: a column that names devices; empty for the usual ones.
        times_s: (n,) of its rows.

    Raises:
        TraceError: the column does not exist.
    """
    columns = _columns(table, asked, times_s)
    if not columns:
        return [Device("", np.arange(len(table)))]
    frame = table.frame[list(columns)]
    grouped = frame.groupby(list(columns), sort=False, dropna=False).indices
    groups = [
        (key if isinstance(key, tuple) else (key,), np.sort(np.asarray(rows, np.intp)))
        for key, rows in grouped.items()
    ]
    groups = [(tuple(map(_text, key)), rows) for key, rows in groups]
    models = all(folded(name) in _MODELS or kind == HOST for name, kind in columns.items())
    return [replace(device, sure=not models) for device in _named(groups, list(columns.values()))]


def is_column(table: Table, asked: str) -> bool:
    """Whether ``--device`` names a column, rather than the only device of a file."""
    return bool(asked) and table.column(asked) is not None


def check_name(table: Table, asked: str) -> None:
    """Refuse a name that is neither a column nor a device.

    Raises:
        TraceError: lists the columns.
    """
    family = asked.rpartition("/")[2].partition(":")[0]
    if not _DOMAIN.fullmatch(asked) or (":" not in asked and family not in WORDS):
        raise TraceError(
            f"{table.path} has no column {asked!r}, and no device of that name",
            f"name a column, or one device as gpu:0 or wall; {table.known()}",
        )


def _columns(table: Table, asked: str, times_s: NDArray[np.float64]) -> dict[str, str]:
    """The columns that name devices, and their kind."""
    if asked:
        (name,) = table.require(asked)
        return {name: _NAMES.get(folded(asked), NUMBER)}
    found = {}
    for name, heading in table.headings.items():
        _check_instances(table, name)
        kind = _kind(folded(heading.name))
        if kind and name not in table.twice and heading.unit != _PERCENT:
            found[name] = kind
    return {name: kind for name, kind in found.items() if _names_devices(table, name, times_s)}


def _check_instances(table: Table, name: str) -> None:
    """Refuse several MIG instances of a GPU: each reports the power of the whole GPU.

    Raises:
        TraceError: says how to select one of them.
    """
    if str(table.frame[name].iloc[0]).strip()[:4].upper() != "MIG-":
        return
    instances = [text for text in dict.fromkeys(table.texts(name)) if text]
    if len(instances) > 1:
        raise table.error(
            f"there are {len(instances)} MIG instances, and each reports the power of its whole "
            "GPU",
            f"read one instance of each GPU: --where {name}={instances[0]} "
            f"(where={name}={instances[0]})",
            column=name,
        )


def _kind(name: str) -> str:
    if name in _NAMES:
        return _NAMES[name]
    return NAME if re.search(r"uuid$|bus_?id$|^pci", name) and "link" not in name else ""


def _names_devices(table: Table, name: str, times_s: NDArray[np.float64]) -> bool:
    import pandas as pd

    codes, found = pd.factorize(table.frame[name], use_na_sentinel=False)
    if len(found) > MOST_DEVICES:
        return False
    if len(found) == len(codes) > 1 and np.diff(times_s).max(initial=0.0) > APART_S:
        return False  # it numbers the rows
    values = np.array([_text(value) for value in found], object)
    if not any(values) or any(text.endswith(_PERCENT) for text in values):
        return False
    numbers = pd.to_numeric(pd.Series(values[values != ""]), errors="coerce")
    if numbers.isna().any():
        return True
    if len(values) == 1:
        return bool(numbers.max() < LIKELY_DEVICES)
    whole = bool((numbers % 1 == 0).all() and (numbers >= 0).all() and numbers.max() < MOST_DEVICES)
    return whole and _in_rounds(codes, len(values))


def _in_rounds(codes: NDArray[np.intp], many: int) -> bool:
    """Whether values come in rounds, each once, or in consecutive blocks."""
    if int((np.diff(codes) != 0).sum()) == many - 1:
        return True
    rounds, seen = 1, set[int]()
    for code in codes.tolist():
        if code in seen:
            rounds += 1
            seen.clear()
        seen.add(code)
    return len(codes) / rounds >= ROUND * many or _dropped_out(codes, many)


def _dropped_out(codes: NDArray[np.intp], many: int) -> bool:
    """Whether the values come in rounds while all of them are present."""
    lasts = [int(np.flatnonzero(codes == code)[-1]) for code in range(many)]
    until = codes[: min(lasts) + 1]
    return len(until) >= 2 * many and bool(
        (np.bincount(until, minlength=many) >= ROUND * len(until) / many).all()
    )


def _named(
    groups: Sequence[tuple[tuple[str, ...], Positions]], kinds: Sequence[str]
) -> Iterator[Device]:
    """Groups with device names: the number in the file, else by order."""
    keys = [dict(zip(kinds, key, strict=True)) for key, _ in groups]
    hosts = ["/".join(_of(kinds, key, HOST)) for key, _ in groups]
    shown = hosts if len(set(hosts)) > 1 else [""] * len(groups)
    names = [_name(kinds, key) for key, _ in groups]
    full = list(zip(shown, names, strict=True))
    places: dict[str, int] = {}
    for (_, rows), host, name, key in zip(groups, shown, names, keys, strict=True):
        place = places.setdefault(host, 0)
        places[host] += 1
        sure = name and full.count((host, name)) == 1
        only_host = set(key) == {HOST}
        alone = only_host or (len(groups) == 1 and not name)
        own = name if sure else ("" if alone else f"gpu:{place}")
        yield Device(own, rows, host)


def _of(kinds: Sequence[str], key: Sequence[str], kind: str) -> list[str]:
    return [text for one, text in zip(kinds, key, strict=True) if one == kind and text]


def _name(kinds: Sequence[str], key: Sequence[str]) -> str:
    """The device given by a row: ``gpu:3``, ``cpu:1``, ``wall``; empty if it is a free name."""
    if own := _of(kinds, key, DOMAIN):
        return own[0]
    gpus, parts = _of(kinds, key, NUMBER), _of(kinds, key, PART)
    for text in gpus:
        if text.isdigit():
            return f"gpu:{text}"
        said = re.fullmatch(r"([a-z]+)\D*(\d*)", text.casefold())
        if said and (said[2] or said[1] in WORDS):
            family = WORDS.get(said[1], "gpu")
            return family if family == "wall" else f"{family}:{said[2] or 0}"
    if parts and not gpus:
        digits = re.findall(r"\d+", parts[0])
        return f"cpu:{digits[0]}" if digits else ""
    return ""


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.0f}"  # noqa: PLR0124 - not a number
    text = str(value).strip()
    return "" if text in ("-", "nan") else text


class Verdict(Enum):
    """Verdict on the rows."""

    ONE = auto()
    PERHAPS_ONE = auto()
    UNKNOWN = auto()
    SEVERAL = auto()


def judge(times_s: Floats, values: Floats) -> tuple[Verdict, int]:
    """Whether the rows of a log without device names belong to one device.

    Args:
        times_s: (n,), in order, as in the file: seconds since 1970 or since the start.
        values: (n,), watts; NaN if missing.

    Returns:
        The verdict, and the usual number of rows in a group.
    """
    steps_s = np.diff(times_s)
    if len(steps_s) < FEW:
        together = int((steps_s == 0).sum())
        return (Verdict.UNKNOWN if together else Verdict.ONE), together + 1
    near = _near(steps_s)
    if near.mean() < SHARE:
        turns = _turns(values, TURNS_DIFFER) or _turns(steps_s, STEPS_DIFFER)
        return (Verdict.PERHAPS_ONE, turns) if turns else (Verdict.ONE, 1)
    counts = np.diff(np.flatnonzero(np.concatenate(([True], ~near, [True]))))
    usual = int(np.median(counts[1:-1] if len(counts) > FEW else counts))
    if not _cut(times_s, float(np.median(steps_s[~near])) if not near.all() else 0.0):
        return Verdict.SEVERAL, usual
    return _by_values(values, np.flatnonzero(~near), counts, max(usual, 2)), usual


def _near(steps_s: Floats) -> NDArray[np.bool_]:
    """The steps that are short compared with those from round to round."""
    positive_s = steps_s[steps_s > 0]
    if not len(positive_s):
        return np.ones(len(steps_s), bool)
    usual_s = float(np.quantile(steps_s, 0.95)) or float(np.median(positive_s))
    near = steps_s < SIMULTANEOUS * usual_s
    if near.any():
        return near
    # With many devices only every thirtieth step is from round to round, but regularly.
    rounds = steps_s > float(np.median(positive_s)) / SIMULTANEOUS
    counts = np.diff(np.flatnonzero(rounds))
    regular = len(counts) >= FEW and float((counts == np.median(counts)).mean()) > REGULAR
    return ~rounds if regular else near


def _cut(times_s: Floats, round_s: float) -> bool:
    """Whether the times were cut to consecutive units.

    Args:
        times_s: (n,).
        round_s: usual time from round to round.
    """
    for unit_s in RESOLUTIONS_S:
        parts = times_s / unit_s
        if np.abs(parts - np.round(parts)).max() < 0.01:  # noqa: PLR2004
            return round_s < 1.5 * unit_s
    return False


def _by_values(
    values: Floats, boundaries: NDArray[np.intp], counts: NDArray[np.intp], usual: int
) -> Verdict:
    """The verdict on rows whose times were cut, from their values.

    Args:
        values: (n,).
        boundaries: the steps (of n - 1) at which a new second begins.
        counts: of the rows of each second.
        usual: rows of a second.
    """
    changes = np.nan_to_num(np.abs(np.diff(values)))
    natural = usual in RATES or usual > MOST_ROUND
    one = Verdict.PERHAPS_ONE if natural else Verdict.UNKNOWN
    if _flickers(counts[1:-1]):
        one = Verdict.ONE
    row, whole = float(changes.mean()), float(changes.sum())
    if not whole:
        return one
    after = _changes_after(values, max(MOST_ROUND, usual))
    repeats = min(after, key=lambda lag: after[lag], default=0)
    if repeats and after[repeats] < REPEATED * row:
        if repeats % usual == 0:
            wave = natural and _rises_once(values, boundaries, changes)
            return Verdict.PERHAPS_ONE if wave else Verdict.SEVERAL
        return Verdict.SEVERAL if usual % repeats == 0 else one
    # For one device, rows across the change of a second differ as much as rows within it.
    anywhere = changes[boundaries].sum() / whole < (1 + len(boundaries) / len(changes)) / 2
    if anywhere and row < SMOOTH * after.get(usual, row):
        return Verdict.ONE
    return one if anywhere or one is Verdict.UNKNOWN else Verdict.PERHAPS_ONE


def _changes_after(values: Floats, most: int) -> dict[int, float]:
    """The mean change from each row to the second, third ... next one, up to `most` rows."""
    return {
        lag: float(np.nan_to_num(np.abs(values[lag:] - values[:-lag])).mean())
        for lag in range(2, min(most + 1, len(values) // 2))
    }


def _turns(values: Floats, least: float) -> int:
    """The period in rows after which values repeat, as in a loop over devices.

    Args:
        values: (n,), NaN where there is none.
        least: smallest difference within a round, as a share of the mean.
    """
    known = values[np.isfinite(values)]
    if len(known) < 2 * LEAST_ROUNDS:
        return 0
    row = float(np.abs(np.diff(known)).mean())
    after = _changes_after(known, min(MOST_ROUND, len(known) // LEAST_ROUNDS))
    again = (lag for lag, change in after.items() if change < REPEATED * row)
    return next((lag for lag in again if _in_step(known, lag, least)), 0)


def _in_step(values: Floats, many: int, least: float) -> bool:
    """Whether the position in a round of this many rows explains the values."""
    rounds = values[: len(values) // many * many].reshape(-1, many)
    apart = rounds - rounds.mean(axis=1, keepdims=True)
    sizes = np.sqrt((apart**2).sum(axis=1))
    differ = float(np.median(np.ptp(rounds, axis=1))) > least * abs(float(values.mean()))
    if not differ:
        return False
    # Each round has the same weight, whatever its load.
    shapes = apart[sizes > 0] / sizes[sizes > 0, None]
    parts = np.array_split(shapes, -(-len(shapes) // IN_STEP_ROUNDS))
    kept = [float((part.mean(axis=0) ** 2).sum()) for part in parts]
    return float(np.median(kept)) > IN_STEP


def _rises_once(values: Floats, boundaries: NDArray[np.intp], changes: Floats) -> bool:
    """Whether the pattern of each second rises and falls once, like a load."""
    starts = np.concatenate(([0], boundaries + 1))
    spans = np.fmax.reduceat(values, starts) - np.fmin.reduceat(values, starts)
    return float(changes.sum()) < ONCE * float(np.nansum(spans))


def _flickers(counts: NDArray[np.intp]) -> bool:
    """Whether the number of rows per second varies by one, unlike a number of devices."""
    if len(counts) < FEW:
        return False
    return bool(np.ptp(counts) == 1 and (np.diff(counts) != 0).mean() > FLICKER)
