"""A recorded power trace: read from a file, and measured like a live one.

Read are joulelab's own traces (`joulelab.energy.trace_file`), the CSV log of nvidia-smi
(``nvidia-smi --query-gpu=timestamp,index,power.draw,... --format=csv -l 1``), and any Parquet or
CSV file with a column of seconds and one of watts. One file may hold several recordings: name the
one that is meant, as ``where="run=7"``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from joulelab.energy.meter import Channel
from joulelab.energy.reading import Measurement, Status
from joulelab.energy.summary import STATE_COLUMNS, Conditions, summarise
from joulelab.energy.tape import Floats, Stretch
from joulelab.energy.trace_file import CSV, FIRST_LINE, METADATA, TraceAbout, check_suffix
from joulelab.errors import TraceError

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN_ERROR = 0.13
"""Bound of a sensor that nobody describes: the worst card of arXiv 2312.02741."""
TIMES = ("t_s", "time_s", "seconds", "timestamp", "time")
POWERS = ("power_w", "power.draw.instant", "power.draw", "power.draw.average", "watts", "power")
_STATE = {
    "utilization.gpu": ("utilisation", 0.01),
    "utilisation_pct": ("utilisation", 0.01),
    "temperature.gpu": ("temperature_c", 1.0),
    "clocks.current.sm": ("clock_mhz", 1.0),
    "clocks.sm": ("clock_mhz", 1.0),
    "power.limit": ("power_limit_w", 1.0),
    "enforced.power.limit": ("power_limit_w", 1.0),
    **{name: (name, 1.0) for name in STATE_COLUMNS},
}
_GPU_KEYS = ("index", "uuid", "gpu_uuid", "pci.bus_id", "gpu_bus_id")
_UNIT = re.compile(r"\s*\[.*\]\s*$")
_NUMBER = re.compile(r"\s*([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)")


@dataclass(frozen=True)
class Recording:
    """A recorded trace.

    Attributes:
        about: what belongs to it beside the samples.
        stretches: the samples by channel; times in seconds since the opening.
    """

    about: TraceAbout
    stretches: tuple[Stretch, ...]

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What was read."""
        return tuple(stretch.channel for stretch in self.stretches)

    @property
    def start_s(self) -> float:
        """The moment of the first sample, in seconds since the opening."""
        return min(float(stretch.times_s[0]) for stretch in self.stretches)

    @property
    def end_s(self) -> float:
        """The moment of the last sample."""
        return max(float(stretch.times_s[-1]) for stretch in self.stretches)

    def measure(self, start_s: float | None = None, end_s: float | None = None) -> Measurement:
        """What was used between two moments, by the same arithmetic as that of a live window.

        Args:
            start_s: seconds since the opening; the first sample where not given.
            end_s: the last sample where not given.

        Raises:
            TraceError: the moments are the wrong way round, or outside the recording.
        """
        start_s = self.start_s if start_s is None else start_s
        end_s = self.end_s if end_s is None else end_s
        if not self.start_s <= start_s < end_s <= self.end_s:
            raise TraceError(
                f"there is nothing between {start_s:g} s and {end_s:g} s",
                f"the recording goes from {self.start_s:g} s to {self.end_s:g} s",
            )
        cut = [_cut(stretch, start_s, end_s) for stretch in self.stretches]
        started_at = (self.about.started_at or 0.0) + start_s
        interval_s = min(stretch.interval_s for stretch in cut)
        window = Conditions(self.about.label, started_at, (start_s, end_s), (), {}, interval_s)
        return summarise(window, cut)


def read_recording(
    path: str | Path,
    *,
    where: str = "",
    domain: str = "gpu:0",
    time_column: str = "",
    power_column: str = "",
) -> Recording:
    """Read a recorded trace.

    Args:
        path: Parquet or CSV.
        where: ``"column=value"``, where one file holds several recordings.
        domain: of a file that does not name domains.
        time_column: of a file that is not joulelab's; a usual name is looked for where empty.
            Seconds, or moments as nvidia-smi and ISO 8601 write them.
        power_column: the same for watts.

    Raises:
        TraceError: the file cannot be read, or is no power trace.
    """
    path = Path(path).expanduser()
    frame, about = _frame(path)
    frame = _chosen(path, frame, where)
    if frame.empty:
        raise TraceError(f"{path} has no sample" + (f" with {where}" if where else ""))
    if {"t_s", "domain", "source", "power_w", "energy_j"} <= set(frame.columns):
        return Recording(about, tuple(_own(path, frame, about)))
    return _foreign(path, frame, about, domain, time_column, power_column)


def _frame(path: Path) -> tuple[pd.DataFrame, TraceAbout]:
    """The table in a file, and what joulelab wrote beside it."""
    import pandas as pd

    try:
        if check_suffix(path) == CSV:
            with path.open(encoding="utf-8-sig") as file:
                first = file.readline()
            own = first.startswith(FIRST_LINE)
            about = TraceAbout.from_json(first[len(FIRST_LINE) :]) if own else TraceAbout()
            skip = 1 if own else 0
            frame = pd.read_csv(path, skiprows=skip, skipinitialspace=True, encoding="utf-8-sig")
        else:
            from pyarrow import parquet

            table = parquet.read_table(path)
            text = (table.schema.metadata or {}).get(METADATA)
            about = TraceAbout.from_json(text.decode("utf-8")) if text else TraceAbout()
            frame = table.to_pandas()
    except FileNotFoundError:
        raise TraceError(f"{path} does not exist", "name a recorded trace") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        # pandas' and pyarrow's own errors are ValueErrors or OSErrors.
        reason = str(error).partition("\n")[0]
        raise TraceError(f"{path} cannot be read: {reason}", "a trace is Parquet or CSV") from error
    frame.columns = pd.Index([_UNIT.sub("", str(name)).strip() for name in frame.columns])
    return frame, about


def _chosen(path: Path, frame: pd.DataFrame, where: str) -> pd.DataFrame:
    if not where:
        return frame
    column, equals, value = where.partition("=")
    if not equals or column not in frame.columns:
        raise TraceError(
            f"{path} has no column {column!r}", f"write where=COLUMN=VALUE; {_columns(frame)}"
        )
    return frame[frame[column].astype(str) == value]


def _own(path: Path, frame: pd.DataFrame, about: TraceAbout) -> Iterator[Stretch]:
    """The channels of a trace that joulelab wrote."""
    described = {(one.domain, one.source): one for one in about.channels}
    keys = list(zip(frame["domain"].map(str), frame["source"].map(str), strict=True))
    for domain, source in dict.fromkeys(keys):
        rows = frame[[key == (domain, source) for key in keys]]
        counts = rows["energy_j"].notna().any()
        channel = described.get((domain, source)) or Channel(
            domain,
            source,
            "counter" if counts else "power",
            Status.MEASURED,
            UNKNOWN_ERROR,
            0.0,
            remark="not described in the file",
        )
        column = "energy_j" if channel.kind == "counter" else "power_w"
        times = _times(path, rows["t_s"])
        values = rows[column].to_numpy(float)
        yield _stretch(channel, times, values, _state(rows), about.interval_s)


def _foreign(
    path: Path,
    frame: pd.DataFrame,
    about: TraceAbout,
    domain: str,
    time_column: str,
    power_column: str,
) -> Recording:
    """The channels of somebody else's trace."""
    time_name = _column(path, frame, time_column, TIMES, "time", "time")
    power_name = _column(path, frame, power_column, POWERS, "watts", "power")
    key = next((name for name in ("domain", *_GPU_KEYS) if name in frame.columns), None)
    groups = [(domain, frame)]
    if key is not None:
        groups = [
            (_domain(key, str(name), number), rows)
            for number, (name, rows) in enumerate(frame.groupby(key, sort=False))
        ]
    elif any(name.startswith("power.draw") for name in frame.columns):
        groups = [("gpu:0", frame)]
    source = "nvidia-smi" if power_name.startswith("power.draw") else "recorded"
    began: float | None = None
    stretches = []
    for name, rows in groups:
        times = _times(path, rows[time_name])
        if times[0] > EPOCH_S:
            began = min(began or math.inf, float(times[0]))
        channel = Channel(
            domain=name,
            source=source,
            kind="power",
            status=Status.MEASURED,
            relative_error=UNKNOWN_ERROR,
            tick_s=0.0,
            within=() if name == "wall" else ("wall",),
            remark=f"column {power_name} of {path.name}; 13 % is an assumption",
        )
        stretches.append(
            _stretch(channel, times, _numbers(rows[power_name]), _state(rows), about.interval_s)
        )
    if began is not None:
        stretches = [replace(one, times_s=one.times_s - began) for one in stretches]
    return Recording(replace(about, label=path.stem, started_at=began), tuple(stretches))


def _domain(key: str, value: str, number: int) -> str:
    """nvidia-smi's index is the number of the GPU; other names are numbered as they come."""
    return value if key == "domain" else f"gpu:{value if key == 'index' else number}"


EPOCH_S = 1e8
"""Later than any recording is long: such a time is a moment, and not seconds since the opening."""


def _stretch(
    channel: Channel,
    times: Floats,
    values: Floats,
    state: Mapping[str, Floats],
    interval_s: float | None,
) -> Stretch:
    typical_s = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    unreadable = "" if np.isfinite(values).all() else "the recording has no value here"
    return Stretch(
        channel,
        times,
        np.where(np.isfinite(values), values, math.nan),
        max(interval_s or 0.0, typical_s),
        unreadable,
        state,
    )


def _cut(stretch: Stretch, start_s: float, end_s: float) -> Stretch:
    """The part of a stretch between two moments, with a sample at each of them."""
    times = stretch.times_s
    inside = (times > start_s) & (times < end_s)

    def cut(values: Floats, *, between: bool) -> Floats:
        if between:
            edges = np.interp([start_s, end_s], times, values)
        else:
            before = np.clip(np.searchsorted(times, [start_s, end_s], "right") - 1, 0, None)
            edges = values[before]
        return np.concatenate((edges[:1], values[inside], edges[1:]))

    # Power stands until the next sample; a counter has moved in between.
    values = cut(stretch.values, between=stretch.channel.kind == "counter")
    state = {name: cut(column, between=False) for name, column in stretch.state.items()}
    moments = np.concatenate(([start_s], times[inside], [end_s]))
    unreadable = stretch.unreadable if np.isnan(values).any() else ""
    return replace(stretch, times_s=moments, values=values, state=state, unreadable=unreadable)


def _times(path: Path, column: pd.Series[Any]) -> Floats:
    """Seconds; moments become seconds since the epoch."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        times = column.to_numpy(float)
    else:
        try:
            moments = pd.to_datetime(column, utc=True)
        except (ValueError, TypeError) as error:
            raise TraceError(
                f"{path}: {column.name} is neither seconds nor moments",
                "write seconds, or 2023/03/21 12:34:56.789",
            ) from error
        since = moments - pd.Timestamp(0, tz="UTC")
        times = since.dt.total_seconds().to_numpy(float)
    back = np.flatnonzero(~(np.diff(times) >= 0))
    if len(back) or not np.isfinite(times).all():
        row = int(back[0]) + 2 if len(back) else 1
        raise TraceError(
            f"{path}: time goes back, or is missing, at row {row}",
            "a file with several recordings needs where=COLUMN=VALUE",
        )
    return times


def _numbers(column: pd.Series[Any]) -> Floats:
    """Numbers with or without units; NaN for ``[N/A]`` and its like."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(float)
    matches = (_NUMBER.match(str(text)) for text in column)
    return np.array([float(match[1]) if match else math.nan for match in matches])


def _state(rows: pd.DataFrame) -> dict[str, Floats]:
    state = {}
    for name in rows.columns:
        if name in _STATE:
            known, factor = _STATE[name]
            values = _numbers(rows[name]) * factor
            if not np.isnan(values).all():
                state[known] = values
    return state


def _column(
    path: Path, frame: pd.DataFrame, asked: str, usual: tuple[str, ...], what: str, setting: str
) -> str:
    for name in (asked,) if asked else usual:
        if name in frame.columns:
            return name
    raise TraceError(
        f"{path} has no column {asked!r}" if asked else f"{path} has no column of {what}",
        f"name it by {setting}=COLUMN; {_columns(frame)}",
    )


def _columns(frame: pd.DataFrame) -> str:
    return f"there are {', '.join(map(str, frame.columns[:12]))}"
