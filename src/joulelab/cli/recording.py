"""``joulelab record`` and ``joulelab trace``: write a power trace, and say what is in one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from joulelab import formats
from joulelab.cli.measuring import check_picture, print_measurement
from joulelab.cli.output import data_console, print_json, progress_console
from joulelab.cli.signals import end_on_sigterm
from joulelab.energy.booking import Booking
from joulelab.energy.measurement import Measurement, measurement_data
from joulelab.energy.monitor import Monitor, Options
from joulelab.energy.summary import trace_columns
from joulelab.energy.traces.recording import ReadSettings, read_recording
from joulelab.energy.traces.trace_file import LiveTrace

LAP_S = 1.0


@dataclass(frozen=True)
class Part:
    """Which part of a recording is meant.

    Attributes:
        start_s: seconds since the opening; the first sample where ``None``.
        end_s: the last sample where ``None``.
    """

    start_s: float | None = None
    end_s: float | None = None


def record_trace(
    path: Path, options: Options, seconds: float | None, label: str, *, force: bool, as_json: bool
) -> None:
    """Write a live trace until stopped.

    Args:
        path: Parquet or CSV.
        options: of the monitor.
        seconds: how long; until Ctrl-C or SIGTERM where ``None``.
        label: of the trace.
        force: write over a file that is there.
        as_json: say what was recorded in JSON.
    """
    end_on_sigterm()
    console = progress_console()
    with (
        Monitor(**options) as monitor,
        LiveTrace(path, monitor.recorder, label, force=force) as trace,
        suppress(KeyboardInterrupt),
        console.status("recording ...") as status,
    ):
        for _ in laps(seconds):
            measurement = trace.lap()
            status.update(f"{formats.duration(trace.duration_s)}: {_power(measurement)}")
    if as_json:
        print_json({"file": str(path), "duration_s": trace.duration_s, "samples": trace.samples})
    else:
        samples = formats.count(trace.samples, "sample")
        data_console().print(
            f"{path}: {formats.duration(trace.duration_s)}, {samples}",
            soft_wrap=True,
            markup=False,
        )


def laps(seconds: float | None, every_s: float = LAP_S) -> Iterator[None]:
    """Come back every so often, without drift, until the time is up.

    Args:
        seconds: how long; for ever where ``None``.
        every_s: how often.
    """
    start_s, lap = time.monotonic(), 0
    while seconds is None or lap * every_s < seconds:
        lap += 1
        due_s = lap * every_s if seconds is None else min(lap * every_s, seconds)
        time.sleep(max(0.0, start_s + due_s - time.monotonic()))
        yield


def print_recording(
    path: Path,
    settings: ReadSettings,
    part: Part,
    place: str | None,
    pue: float | None,
    plot: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print what was used in a recorded trace.

    Args:
        path: of the trace.
        settings: how it is read.
        part: of it.
        place: as for `joulelab.energy.monitor.Options`.
        pue: the same.
        plot: file for a picture.
        as_json: JSON instead of a table.
    """
    check_picture(plot)
    recording = read_recording(path, **settings)
    booking = Booking.of(place, pue)
    measurement = recording.measure(part.start_s, part.end_s)
    if booking is not None:
        start_s = recording.start_s if part.start_s is None else part.start_s
        measurement = booking.book(measurement, recording.channel_samples, start_s)
    if plot is not None:
        from joulelab.report.power_trace import write_power_trace

        write_power_trace(plot, trace_columns(recording.channel_samples, 0.0), measurement.label)
    if as_json:
        print_json({"file": str(path), "measurement": measurement_data(measurement)})
    else:
        print_measurement(measurement, data_console())


def _power(measurement: Measurement) -> str:
    return ", ".join(
        f"{one.domain} {formats.watts(one.mean_power_w)}"
        for one in measurement.readings
        if one.mean_power_w is not None
    )
