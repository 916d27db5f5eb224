"""``joulelab doctor``, ``record``, ``trace`` and ``watch``: what sensors read."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from joulelab import formats
from joulelab.cli.live_pages import asked_place, watched_page
from joulelab.cli.measuring import one_measurement
from joulelab.cli.options import check_seconds
from joulelab.cli.output import (
    check_figure,
    check_file,
    data_console,
    progress_console,
    say,
    show,
)
from joulelab.cli.signals import end_on_sigterm
from joulelab.energy.booking import Booking
from joulelab.energy.detection import Choice
from joulelab.energy.diagnosis import Diagnosis, diagnose
from joulelab.energy.measurement import Measurement, measurement_data
from joulelab.energy.monitor import Monitor
from joulelab.energy.options import Options
from joulelab.energy.reading import Reading, Status
from joulelab.energy.summary import trace_columns
from joulelab.energy.traces.recording import read_recording
from joulelab.energy.traces.trace_file import LiveTrace, check_suffix
from joulelab.present import Column, Facts, Part, Section, Table, View, words
from joulelab.settings import settings_path
from joulelab.sinks.feed import FIRST_S, Feed
from joulelab.sinks.named import named_sinks

if TYPE_CHECKING:
    from joulelab.cli.energy_commands import Doctor, Record, Trace, Watch

WHOLE_MACHINE: Options = {"settings": {"estimate": {"scope": "machine"}}}
"""Estimates cover the whole machine: this process does no work of its own."""
LAP_S = 1.0
HISTORY = 40
"""Number of views in a line of blocks."""
WIDE = 100
"""Terminal columns needed for the whole line; half of it fits into 80."""
LIVE_WIDTH = 9
BLOCKS = "▁▂▃▄▅▆▇█"


def run_doctor(asked: Doctor) -> None:
    """Show the verdict, what can be read, and what cannot.

    Args:
        asked: the options of the command.
    """
    for name in asked.meter or ():
        Choice.parse(name)
    say("measuring idle power for 2 s ...", "dim")
    found = diagnose(asked.meter or None)
    libraries = [f"{name} {version or '(none)'}" for name, version in found.libraries.items()]
    parts: list[Part] = [
        f"{found.verdict}: {found.reason}",
        Facts(
            [
                *found.machine.items(),
                ("libraries", ", ".join(libraries)),
                ("settings", _settings()),
            ]
        ),
        _readable(found),
    ]
    parts += [
        f"{meter}: {key}: {value}"
        for meter, described in found.meters.items()
        for key, value in described.items()
    ]
    if found.missing:
        rows = [vars(one) for one in found.missing]
        columns = [words("domain"), words("reason"), words("do", "remedy")]
        parts.append(Table(rows, columns, title="Not readable"))
    if found.unused:
        parts.append(Section("Used only by name (--meter)", [Facts([*found.unused.items()])]))
    show(View(parts, found.to_dict()), as_json=asked.json)


def _readable(found: Diagnosis) -> Table:
    rows = [
        {**vars(one.channel), "meter": one.meter, "power_w": one.power_w} for one in found.findings
    ]
    columns = [
        words("domain"),
        words("meter"),
        words("source"),
        words("kind"),
        words("status", form=str),
        Column("new value every", "tick_s", lambda s: formats.duration(s) if s else formats.DASH),
        Column("error", "relative_error", lambda share: f"± {formats.percent(share, 0)}"),
        Column("power now", "power_w", formats.watts),
    ]
    return Table(rows, columns, title="Readable")


def _settings() -> str:
    path = settings_path()
    return str(path) if path.is_file() else f"{path} (none)"


def run_record(asked: Record) -> int:
    """Write a live trace until stopped by Ctrl-C or SIGTERM, or until the time is up.

    Args:
        asked: the options of the command.
    """
    check_seconds(asked.for_, "--for")
    check_suffix(asked.out)
    check_file(asked.out)
    end_on_sigterm()
    label = asked.label or asked.out.stem
    with (
        Monitor(**_whole_machine(asked)) as monitor,
        LiveTrace(asked.out, monitor.recorder, label, force=asked.force) as trace,
        suppress(KeyboardInterrupt),
        progress_console().status("recording ...") as status,
    ):
        for _ in laps(asked.for_):
            measurement = trace.lap()
            power = ", ".join(
                f"{one.domain} {formats.watts(one.mean_power_w)}"
                for one in measurement.readings
                if one.mean_power_w is not None
            )
            status.update(f"{formats.duration(trace.duration_s)}: {power}")
    samples = formats.count(trace.samples, "sample")
    recorded = View(
        [f"{asked.out}: {formats.duration(trace.duration_s)}, {samples}"],
        {"file": str(asked.out), "duration_s": trace.duration_s, "samples": trace.samples},
    )
    show(recorded, as_json=asked.json)
    return 0


def _whole_machine(asked: Record | Watch) -> Options:
    return {"meters": asked.meter or None, "interval_s": asked.interval, **WHOLE_MACHINE}


def laps(
    seconds: float | None, every_s: float = LAP_S, first_s: float | None = None
) -> Iterator[None]:
    """Yield at a fixed rate, without drift, until the time is up.

    Args:
        seconds: how long; default: without end.
        every_s: time between two laps.
        first_s: time of one more before them.
    """
    start_s, lap = time.monotonic(), 0
    if first_s is not None and (seconds is None or first_s < seconds):
        time.sleep(first_s)
        yield
    while seconds is None or lap * every_s < seconds:
        lap += 1
        due_s = lap * every_s if seconds is None else min(lap * every_s, seconds)
        time.sleep(max(0.0, start_s + due_s - time.monotonic()))
        yield


def run_trace(asked: Trace) -> int:
    """Show the energy in a recorded trace.

    Args:
        asked: the options of the command.
    """
    check_figure(asked.plot)
    read = read_recording(asked.file, **asked.settings)
    booking = Booking.of(asked.place, asked.pue)
    measurement = read.measure(asked.from_, asked.to)
    if booking is not None:
        begin_s = read.start_s if asked.from_ is None else asked.from_
        measurement = booking.book(measurement, read.channel_samples, begin_s)
    if asked.plot is not None:
        from joulelab.report.power_trace import write_power_trace

        columns = trace_columns(read.channel_samples, 0.0)
        write_power_trace(asked.plot, columns, measurement.label)
    used = View(
        one_measurement(measurement),
        lambda: {"file": str(asked.file), "measurement": measurement_data(measurement)},
    )
    show(used, as_json=asked.json)
    return 0


def run_watch(asked: Watch) -> int:
    """Show power until stopped: a table in a terminal, else a line for each view.

    Args:
        asked: the options of the command.
    """
    check_seconds(asked.for_, "--for")
    check_seconds(asked.every, "--every")
    page = [] if asked.prometheus is None else [f"prometheus:{asked.prometheus}"]
    feed = Feed(named_sinks([*page, *(asked.to or ())]), "watch")
    from rich.live import Live

    from joulelab.present.terminal import renderable

    place = asked_place(asked.host, asked.port, live=asked.live, user="joulelab watch --live")
    end_on_sigterm()
    console = data_console()
    options: Options = {**_whole_machine(asked), "place": asked.place, "pue": asked.pue}
    with (
        feed,
        Monitor(**options) as monitor,
        suppress(KeyboardInterrupt),
        watched_page(place) as tell,
    ):
        watched = _Watched()
        window = monitor.recorder.open("watch")
        with Live(console=console, auto_refresh=False, transient=False) as live:
            first_s = FIRST_S if feed.live and asked.every > FIRST_S else None
            for number, _ in enumerate(laps(asked.for_, asked.every, first_s)):
                done, window = window, window.lap()
                measurement = monitor.finish(done.close(), done)
                watched.add(measurement)
                feed.lap(measurement, first=first_s is not None and number == 0)
                tell(measurement)
                if console.is_terminal:
                    live.update(
                        renderable(watched.table(console.width), console.width), refresh=True
                    )
                else:
                    show(View([watched.line()]), as_json=False)
        window.close()
    return 0


@dataclass
class _Watched:
    """Power and energy so far.

    Attributes:
        history_w: power in the last views, by domain.
        energy_j: used so far, by domain.
        duration_s: time so far.
        readings: of the last view.
    """

    history_w: dict[str, deque[float]] = field(default_factory=dict)
    energy_j: dict[str, float] = field(default_factory=dict)
    duration_s: float = 0.0
    readings: Sequence[Reading] = ()

    def add(self, measurement: Measurement) -> None:
        """Add a view."""
        self.readings = measurement.readings
        self.duration_s += measurement.duration_s
        for reading in measurement.readings:
            if reading.mean_power_w is None or reading.gross_j is None:
                continue
            history_w = self.history_w.setdefault(reading.domain, deque(maxlen=HISTORY))
            history_w.append(reading.mean_power_w)
            so_far_j = self.energy_j.get(reading.domain, 0.0)
            self.energy_j[reading.domain] = so_far_j + reading.gross_j

    def table(self, width: int) -> Table:
        """For a terminal of that width."""
        rows = []
        views = HISTORY if width >= WIDE else HISTORY // 2
        for reading in self.readings:
            energy_j = self.energy_j.get(reading.domain)
            missing = reading.status is Status.MISSING
            history_w = list(self.history_w.get(reading.domain, ()))
            rows.append(
                {
                    "domain": reading.domain,
                    "now": reading.mean_power_w,
                    "mean": None if energy_j is None else energy_j / self.duration_s,
                    "energy": energy_j,
                    "last views": sparkline(history_w[-views:]),
                    "status": f"{reading.status}, {reading.source}"
                    if not missing
                    else f"missing: {reading.reason}",
                }
            )
        columns = [
            words("domain"),
            Column("now", form=_steady(formats.watts)),
            Column("mean", form=_steady(formats.watts)),
            Column("energy", form=_steady(formats.joules)),
            words("last views"),
            words("status"),
        ]
        title = f"power for {formats.duration(self.duration_s)}, Ctrl-C ends it"
        return Table(rows, columns, title=title)

    def line(self) -> str:
        """For a file or a pipe."""
        shown = ", ".join(
            f"{one.domain} {formats.watts(one.mean_power_w)}"
            + ("" if one.status is Status.MEASURED else f" ({one.status})")
            for one in self.readings
        )
        return f"{self.duration_s:.1f} s: {shown}"


def _steady(form: Callable[[float | None], str]) -> Callable[[float | None], str]:
    """A format of fixed width, so that a live table does not move."""
    return lambda value: f"{form(value):>{LIVE_WIDTH}}"


def sparkline(values: Sequence[float]) -> str:
    """Power values as blocks between 0 and their maximum.

    Args:
        values: watts.
    """
    highest = max(values, default=0.0)
    if highest <= 0:
        return BLOCKS[0] * len(values)
    steps = len(BLOCKS) - 1
    return "".join(BLOCKS[round(steps * max(value, 0.0) / highest)] for value in values)
