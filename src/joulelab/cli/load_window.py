"""The window of a load: due times, warm-up, idle power and the measurement around the sending.

::

    probe | warm-up | cool down, idle power | window: first sending ... last answer | idle power
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulelab import formats
from joulelab.cli.output import check_file, progress_console, say, write_frame
from joulelab.cli.serving_commands import Load
from joulelab.energy.command import cool_down, idle_duration_s
from joulelab.energy.measured_block import Measuring
from joulelab.energy.measurement import Measurement
from joulelab.energy.monitor import Monitor
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.errors import ServingError, UsageError
from joulelab.optional import require
from joulelab.serving.arrivals import ArrivalProcess
from joulelab.serving.http_load import Bodies, HttpLoad
from joulelab.serving.http_results import Exchanges
from joulelab.serving.http_target import Target

HEAVY_PER_S, HEAVY_REQUESTS = 200.0, 10_000
"""Largest load on another machine without ``--yes``."""
MOST_REQUESTS = 10_000_000
COOL_DOWN_S = 30.0


@dataclass(frozen=True)
class Schedule:
    """Due times in seconds and the request due at each, (n,); fixed before sending."""

    due_s: NDArray[np.float64]
    which: NDArray[np.int64]

    @classmethod
    def of(
        cls, asked: Load, arrivals: ArrivalProcess, requests: int, *, warm_up: bool = False
    ) -> Schedule:
        """The times and requests of the load, or of the warm-up before it."""
        count = asked.warm_up if warm_up else asked.requests
        due_s = arrivals.times_s(count, np.random.default_rng((asked.seed, 2 * warm_up)))
        which = np.random.default_rng((asked.seed, 2 * warm_up + 1)).integers(requests, size=count)
        return cls(due_s, which)

    @property
    def busiest(self) -> int:
        """The largest number of requests due within a second."""
        if not len(self.due_s):
            return 0
        ends = np.searchsorted(self.due_s, self.due_s + 1.0, side="left")
        return int((ends - np.arange(len(ends))).max())


@dataclass(frozen=True)
class MeasuredLoad:
    """A load that has ended, and what was used meanwhile.

    Attributes:
        exchanges: what came of each request that was due.
        measurement: from the first sending to the last answer, with idle power.
        samples: of every channel in this time.
        busy_s: processor time of the generator and the meters in it.
    """

    exchanges: Exchanges
    measurement: Measurement
    samples: Sequence[ChannelSamples]
    busy_s: float


def measured(
    http: HttpLoad,
    asked: Load,
    schedule: Schedule,
    monitor: Monitor,
    bodies: Bodies | None = None,
) -> MeasuredLoad:
    """Measure idle power, send the load, and measure meanwhile.

    Args:
        http: with its requests.
        asked: the options of the command.
        schedule: of the load.
        monitor: open.
        bodies: as for `HttpLoad.send`.
    """
    console, recorder = progress_console(), monitor.recorder
    idle_s = idle_duration_s(monitor) if asked.idle is None else max(asked.idle, 0.0)
    if idle_s:
        say(f"measuring idle power for {formats.duration(idle_s)} ...", "dim")
        recorder.measure_idle(idle_s)
    before_w, after_w = dict(recorder.idle_w), {}
    errors_w = [recorder.idle_error_w]
    http.connect()
    began_s = time.process_time()
    # What serves is another program: the GPUs that are hidden from this one may well be its own.
    measuring = Measuring(lambda: monitor, asked.url, [{}])
    with console.status("sending ...", refresh_per_second=1) as status, measuring:

        def tell(begun: int, under_way: int) -> None:
            status.update(f"{begun:,} of {asked.requests:,} due, {under_way:,} under way")

        exchanges = http.send(schedule.due_s, schedule.which, tell, bodies)
    busy_s = time.process_time() - began_s
    if idle_s and len(exchanges) == asked.requests:
        with suppress(KeyboardInterrupt):
            cool_down(monitor, COOL_DOWN_S)
            after_w = dict(recorder.measure_idle(idle_s))
            errors_w.append(recorder.idle_error_w)
    whole = measuring.result.with_idle(before_w, after_w, *errors_w)
    label = "this machine" if asked.energy_url is None else asked.energy_url
    samples = measuring.window.channel_samples
    return MeasuredLoad(exchanges, replace(whole, label=label), samples, busy_s)


def warm_up(http: HttpLoad, asked: Load, schedule: Schedule, bodies: Bodies | None = None) -> None:
    """Send the warm-up, at the same rate.

    Raises:
        ServingError: none of it was answered.
        KeyboardInterrupt: Ctrl-C.
    """
    if not asked.warm_up:
        return
    exchanges = http.send(schedule.due_s, schedule.which, bodies=bodies)
    if len(exchanges) < asked.warm_up:
        raise KeyboardInterrupt
    if not exchanges.answered.any():
        reasons = [f"{reason}: {count}" for reason, count in exchanges.reasons.items()]
        raise ServingError(
            f"{asked.url} answered no request of the warm-up ({'; '.join(reasons)})",
            "try one request by hand first, for instance with curl",
        )


def check_count(asked: Load, arrivals: ArrivalProcess) -> None:
    """Refuse more requests than can be kept, or than arrive.

    Raises:
        UsageError: there are too many.
    """
    most = max(asked.requests, asked.warm_up)
    if most > MOST_REQUESTS:
        raise UsageError(
            f"{most:,} requests are too many to keep in memory", f"at most {MOST_REQUESTS:,}"
        )
    if arrivals.most is not None and asked.requests > arrivals.most:
        raise UsageError(
            f"{arrivals} has {formats.count(arrivals.most, 'arrival')}",
            f"ask for --requests {arrivals.most} at most",
        )


def check_weight(schedules: Sequence[Schedule], target: Target) -> None:
    """Refuse a heavy load on another machine without ``--yes``: a typing error is not an attack.

    The busiest second counts: the mean of a trace hides its bursts.
    """
    count = sum(len(one.due_s) for one in schedules)
    busiest = max(one.busiest for one in schedules)
    if busiest > HEAVY_PER_S or count > HEAVY_REQUESTS:
        raise UsageError(
            f"{target.host} is another machine, and {formats.count(count, 'request')}, up to "
            f"{busiest:,} of them within a second, are a heavy load (above {HEAVY_PER_S:g}/s or "
            f"{HEAVY_REQUESTS:,})",
            "if it is yours, and this is meant, say so with --yes",
        )


def check_table(path: Path | None) -> None:
    """Refuse a table of requests that cannot be written, before sending."""
    if path is None:
        return
    if path.suffix.lower() not in (".parquet", ".csv"):
        raise UsageError(f"{path}: a table of requests is Parquet or CSV", "end it in .parquet")
    if path.suffix.lower() == ".parquet":
        require("pyarrow", user="writing Parquet")
    check_file(path)


def write_rows(columns: Mapping[str, Any], path: Path | None) -> None:
    """Write the table of requests, if one was asked for.

    Args:
        columns: of equal length.
        path: of the file; ``None`` for none.
    """
    if path is not None:
        import pandas as pd

        write_frame(pd.DataFrame(columns), path, path.suffix.lower().removeprefix("."))
