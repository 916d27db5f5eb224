"""``joulelab watch``: live power by domain."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from joulelab import formats
from joulelab.cli.recording import laps
from joulelab.cli.signals import end_on_sigterm
from joulelab.energy.measurement import Measurement
from joulelab.energy.monitor import Monitor, Options
from joulelab.energy.reading import Reading, Status

HISTORY = 40
BLOCKS = "▁▂▃▄▅▆▇█"


def watch_power(options: Options, every_s: float, seconds: float | None) -> None:
    """Show power until stopped: a table in a terminal, else a line for each view.

    Args:
        options: of the monitor.
        every_s: time between two views.
        seconds: how long; until Ctrl-C or SIGTERM where ``None``.
    """
    end_on_sigterm()
    console = Console(highlight=False)
    with Monitor(**options) as monitor, suppress(KeyboardInterrupt):
        view = _View()
        window = monitor.recorder.open("watch")
        with Live(console=console, auto_refresh=False, transient=False) as live:
            for _ in laps(seconds, every_s):
                done, window = window, window.lap()
                view.add(done.close())
                if console.is_terminal:
                    live.update(view.table(), refresh=True)
                else:
                    console.print(view.line(), soft_wrap=True, markup=False)
        window.close()


class _View:
    """What has been seen so far, by domain."""

    def __init__(self) -> None:
        self._history: dict[str, deque[float]] = {}
        self._energy_j: dict[str, float] = {}
        self._last: Measurement
        self._duration_s = 0.0

    def add(self, measurement: Measurement) -> None:
        """One more lap."""
        self._last = measurement
        self._duration_s += measurement.duration_s
        for reading in measurement.readings:
            if reading.mean_power_w is None or reading.gross_j is None:
                continue
            history = self._history.setdefault(reading.domain, deque(maxlen=HISTORY))
            history.append(reading.mean_power_w)
            so_far_j = self._energy_j.get(reading.domain, 0.0)
            self._energy_j[reading.domain] = so_far_j + reading.gross_j

    def table(self) -> Table:
        """For a terminal."""
        title = f"power for {formats.duration(self._duration_s)}, Ctrl-C ends it"
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("domain")
        for name in ("now", "mean", "energy"):
            table.add_column(name, justify="right", min_width=9)
        table.add_column("last views")
        table.add_column("status")
        for reading in self._last.readings:
            history = self._history.get(reading.domain, ())
            energy_j = self._energy_j.get(reading.domain)
            mean_w = None if energy_j is None else energy_j / self._duration_s
            table.add_row(
                reading.domain,
                formats.watts(reading.mean_power_w),
                formats.watts(mean_w),
                formats.joules(energy_j),
                sparkline(history),
                _status(reading),
            )
        return table

    def line(self) -> str:
        """For a file or a pipe."""
        shown = ", ".join(
            f"{one.domain} {formats.watts(one.mean_power_w)}"
            + ("" if one.status is Status.MEASURED else f" ({one.status})")
            for one in self._last.readings
        )
        return f"{self._duration_s:.1f} s: {shown}"


def sparkline(values: deque[float] | tuple[float, ...]) -> str:
    """Powers as blocks between nothing and the highest of them.

    Args:
        values: watts.
    """
    highest = max(values, default=0.0)
    if highest <= 0:
        return BLOCKS[0] * len(values)
    steps = len(BLOCKS) - 1
    return "".join(BLOCKS[round(steps * max(value, 0.0) / highest)] for value in values)


def _status(reading: Reading) -> str:
    if reading.status is Status.MISSING:
        return f"missing: {reading.reason}"
    return f"{reading.status}, {reading.source}"
