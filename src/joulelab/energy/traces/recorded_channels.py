"""The channels in a recorded table: joulelab's own, and somebody else's.

A foreign table has one column of time and one of power; a column that names domains or GPUs
(``index``, ``uuid``) divides it. What such a sensor's error is nobody says, so the worst known one
is assumed: of a GPU, that of the cards that its name may belong to.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulelab import formats
from joulelab.energy.meter import Channel
from joulelab.energy.nvidia_cards import RELATIVE_ERROR, highest_w, logged_sensor
from joulelab.energy.reading import Status
from joulelab.energy.tape import Floats, Stretch
from joulelab.energy.traces.recorded_columns import Numbers, check_order, seconds, states, watts
from joulelab.energy.traces.recorded_table import CUT, NVIDIA_SMI, RecordedTable
from joulelab.energy.traces.trace_file import TraceAbout
from joulelab.errors import TraceError

TIMES = ("t_s", "time_s", "seconds", "timestamp", "time", "t_ms", "time_ms", "datetime")
POWERS = (
    "power_w",
    "power.draw.instant",
    "power.draw",
    "power.draw.average",
    "watts",
    "power",
    "power_mw",
)
GPUS = ("index", "uuid", "gpu_uuid", "pci.bus_id", "gpu_bus_id")
DESCRIPTIONS = ("name", "gpu_name", "driver_version", "uuid", "gpu_uuid", "pci.bus_id")
SIMULTANEOUS = 0.1
"""Samples that lie nearer to each other than this part of an interval are of different GPUs."""

Positions = NDArray[np.intp]


def own_stretches(table: RecordedTable) -> tuple[Stretch, ...]:
    """The channels of a trace that joulelab wrote.

    Args:
        table: with the columns of `joulelab.energy.traces.trace_file`.

    Raises:
        TraceError: time goes back.
    """
    described = {(one.domain, one.source): one for one in table.about.channels}
    stretches = []
    for key, rows in table.frame.groupby(["domain", "source"], sort=False):
        domain, source = map(str, key)
        part = replace(table, frame=rows)
        counts = bool(rows["energy_j"].notna().any())
        channel = described.get((domain, source)) or Channel(
            domain,
            source,
            "counter" if counts else "power",
            Status.MEASURED,
            RELATIVE_ERROR,
            0.0,
            remark="not described in the file",
        )
        values = rows["energy_j" if channel.kind == "counter" else "power_w"].to_numpy(float)
        times = rows["t_s"].to_numpy(float)
        check_order(part, times)
        numbers = Numbers(values, "no value" if np.isnan(values).any() else "")
        if channel.kind == "power":
            numbers, _ = _without_negative(numbers)
        interval_s = table.about.interval_s or 0.0
        stretches.append(_stretch(channel, times, numbers, states(part), interval_s))
    return tuple(stretches)


def foreign_stretches(
    table: RecordedTable, domain: str, time_column: str, power_column: str
) -> tuple[TraceAbout, tuple[Stretch, ...], tuple[str, ...]]:
    """The channels of somebody else's trace, what belongs to it beside them, and remarks.

    Args:
        table: with a column of time and one of power.
        domain: where the table names none.
        time_column: a usual name is looked for where empty.
        power_column: the same.

    Raises:
        TraceError: it is no power trace.
    """
    time_name = _column(table, time_column, TIMES, "time")
    power_name = _power_column(table, power_column)
    times, began_at = seconds(table, time_name)
    power, state = watts(table, power_name), states(table)
    log = power_name.startswith(NVIDIA_SMI)
    channels, flags = [], list(table.flags)
    power, below = _without_negative(power)
    described: dict[str, str] = {}
    for name, rows in _groups(table, domain):
        cut = _is_cut(times[rows], power.values[rows])
        if cut:
            flags.append(CUT)
        whole = rows[:-1] if cut else rows
        part = replace(table, frame=table.frame.iloc[whole])
        check_order(part, times[whole])
        if log:
            described |= _described(part, name)
        flags += [f"{name}: {told}" for told in below(whole)]
        card = _card(part) if name.startswith("gpu") else None
        channel = Channel(
            domain=name,
            source="nvidia-smi" if log else "recorded",
            kind="power",
            status=Status.MEASURED,
            relative_error=RELATIVE_ERROR,
            tick_s=0.0,
            within=() if name == "wall" else ("wall",),
            remark=f"column {power_name} of {table.path.name}; 13 % is an assumption",
            sensor=None if card is None else logged_sensor(power_name, card),
            highest_w=None if card is None else highest_w(card),
        )
        own_state = {key: column[whole] for key, column in state.items()}
        numbers = Numbers(power.values[whole], power.unreadable)
        stretch = _stretch(channel, times[whole], numbers, own_state, 0.0)
        channels.append(_without_empty_rows(stretch))
    if log and len(channels) == 1:
        _check_alone(table, channels[0].times_s)
    meters = {channels[0].channel.source: described} if described else {}
    about = replace(table.about, started_at=began_at, meters=meters)
    return about, tuple(channels), tuple(dict.fromkeys(flags))


def _groups(table: RecordedTable, domain: str) -> Iterator[tuple[str, Positions]]:
    """The domains in a table, with the positions of their rows."""
    key = table.column("domain", *GPUS)
    if key is None:
        yield domain, np.arange(len(table.frame))
        return
    grouped = table.frame.groupby(key, sort=False).indices
    for number, (value, indices) in enumerate(grouped.items()):
        rows = np.asarray(indices, np.intp)
        text = f"{value:.0f}" if isinstance(value, float) else str(value).strip()
        if key.casefold() == "domain":
            yield text, rows
        else:
            # nvidia-smi's index is the number of the GPU; others are numbered as they come.
            yield f"gpu:{text if key.casefold() == 'index' else number}", rows


def _is_cut(times: Floats, power: Floats) -> bool:
    """Whether the last row is the rest of a line: without power, and its time is nonsense."""
    return len(times) > 1 and math.isnan(power[-1]) and not times[-1] >= times[-2]


def _described(part: RecordedTable, domain: str) -> dict[str, str]:
    """What a log says of a GPU beside its samples."""
    row = part.frame.iloc[0]
    told = {name: str(row[name]).strip() for name in DESCRIPTIONS if name in part.frame.columns}
    return {f"{domain} {name}": text for name, text in told.items()}


def _card(part: RecordedTable) -> str:
    """The name of the card, as far as a log has it."""
    column = part.column("name", "gpu_name")
    return "" if column is None else str(part.frame[column].iloc[0])


def _without_negative(power: Numbers) -> tuple[Numbers, Callable[[Positions], list[str]]]:
    """Powers without those below 0, which are no readings, and what is to be said of some rows."""
    below = power.values < 0

    def told(rows: Positions) -> list[str]:
        count = int(np.count_nonzero(below[rows]))
        if not count:
            return []
        least_w = power.values[rows][below[rows]].min()
        return [f"{formats.count(count, 'sample')} below 0 W ({least_w:g} W) is no reading"]

    if not below.any():
        return power, told
    values = np.where(below, math.nan, power.values)
    return Numbers(values, power.unreadable or "a power below 0"), told


def _check_alone(table: RecordedTable, times: Floats) -> None:
    """Refuse a log in which several GPUs stand without a column that tells them apart."""
    steps_s = np.diff(times)
    if len(steps_s) < 3 or not (times % 1).any():  # noqa: PLR2004 - whole seconds say nothing
        return
    usual_s = float(np.quantile(steps_s, 0.95))
    if float(np.mean(steps_s < SIMULTANEOUS * usual_s)) > 1 / 3:
        raise TraceError(
            f"{table.path} seems to have several GPUs, and no column that tells them apart",
            "record index too: nvidia-smi --query-gpu=timestamp,index,power.draw --format=csv",
        )


def _stretch(
    channel: Channel,
    times: Floats,
    numbers: Numbers,
    state: Mapping[str, Floats],
    interval_s: float,
) -> Stretch:
    steps_s = np.diff(times)
    # Moments in whole seconds repeat themselves where samples are more frequent.
    forward_s = steps_s[steps_s > 0]
    # Of two steps the shorter: the other may be a hole.
    typical_s = float(np.quantile(forward_s, 0.5, method="lower")) if len(forward_s) else 0.0
    lost = bool(np.isnan(numbers.values).any())
    return Stretch(
        channel,
        times,
        numbers.values,
        max(interval_s, typical_s),
        f"the file says {numbers.unreadable}" if lost else "",
        state,
    )


def _without_empty_rows(stretch: Stretch) -> Stretch:
    """A row without a reading says no more than a missing one; at the ends it says how long."""
    good = np.flatnonzero(~np.isnan(stretch.values))
    if not stretch.unreadable or not len(good):
        return stretch
    kept = np.concatenate((np.arange(good[0]), good, np.arange(good[-1] + 1, len(stretch.values))))
    at_ends = len(kept) > len(good)
    return replace(
        stretch,
        times_s=stretch.times_s[kept],
        values=stretch.values[kept],
        unreadable=stretch.unreadable if at_ends else "",
        state={name: column[kept] for name, column in stretch.state.items()},
    )


def _power_column(table: RecordedTable, asked: str) -> str:
    """The first column of power that has any number: older GPUs say [N/A] in newer columns."""
    if not asked:
        for usual in POWERS:
            name = table.column(usual)
            if name is not None and not np.isnan(watts(table, name).values).all():
                return name
    return _column(table, asked, POWERS, "power")


def _column(table: RecordedTable, asked: str, usual: tuple[str, ...], setting: str) -> str:
    name = table.column(asked.casefold()) if asked else table.column(*usual)
    if name is not None:
        return name
    hint = f"name it by {setting}=COLUMN; {table.columns()}"
    if not all(re.search("[A-Za-z]", str(one)) for one in table.frame.columns):
        hint = "it has no header: record without noheader, or write one: timestamp, power.draw [W]"
    missing: Any = repr(asked) if asked else f"of {setting}"
    raise TraceError(f"{table.path} has no column {missing}", hint)
