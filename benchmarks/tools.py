"""The tools that are compared, each with one window on one GPU: ours, Zeus and CodeCarbon.

::

    load()       import the tool
    prepare()    open sensors; not timed
    begin()      open the window, as the tool's users do
    end()        close it: joules, and the tool's own edges on the monotonic clock
    release()    close sensors

A tool's own edges are those that its joules are said to be of: ours gives them; Zeus takes its time
when it is called; CodeCarbon keeps its start and says its duration.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

INTERVAL_S = 0.1


@dataclass(frozen=True)
class Span:
    """What a tool says of a window.

    Attributes:
        energy_j: of the GPU.
        start_s: the tool's own edge on the monotonic clock.
        end_s: the other one.
        longest_gap_s: between two samples, where the tool says it.
    """

    energy_j: float
    start_s: float
    end_s: float
    longest_gap_s: float | None = None


class Tool(Protocol):
    """One tool in one setting."""

    def load(self) -> None:
        """Import what it needs."""

    def prepare(self) -> None:
        """Open the sensors."""

    def begin(self) -> None:
        """Open the window."""

    def end(self) -> Span:
        """Close the window."""

    def release(self) -> None:
        """Close the sensors."""


class Joulelab:
    """Our recorder, ten samples a second.

    Args:
        power_field: of the meter.
        interval_s: between two samples.
    """

    def __init__(self, power_field: str = "instant", interval_s: float = INTERVAL_S) -> None:
        self._power_field = power_field
        self._interval_s = interval_s

    def load(self) -> None:
        """Import the recorder."""
        import joulelab.energy.meters.nvml
        import joulelab.energy.recorder  # noqa: F401 - for later

    def prepare(self) -> None:
        """Open the meter."""
        from joulelab.energy.meters.nvml import NvmlMeter
        from joulelab.energy.recorder import Recorder

        meter = NvmlMeter(power_field=self._power_field)
        self._recorder = Recorder([meter], interval_s=self._interval_s)
        self._recorder.start()

    def begin(self) -> None:
        """Open a window."""
        self._window = self._recorder.open("benchmark")

    def end(self) -> Span:
        """Close it."""
        measurement = self._window.close()
        energy_j = measurement["gpu:0"].gross_j
        if energy_j is None:
            raise RuntimeError(measurement["gpu:0"].reason)
        start_s = self._window.started_s
        gap_s = measurement.longest_gap_s
        return Span(energy_j, start_s, start_s + measurement.duration_s, gap_s)

    def release(self) -> None:
        """Close the meter."""
        self._recorder.close()


class ZeusCounter:
    """A window of Zeus on a GPU that has a counter.

    It would wait for torch's kernels at both edges; there are none, and torch is not imported.
    """

    def load(self) -> None:
        """Import the monitor."""
        import zeus.monitor  # noqa: F401 - for later

    def prepare(self) -> None:
        """Open the monitor."""
        from zeus.monitor import ZeusMonitor

        self._monitor = ZeusMonitor(gpu_indices=[0], cpu_indices=[])

    def begin(self) -> None:
        """Begin a window."""
        self._start_s = time.monotonic()
        self._monitor.begin_window("benchmark", sync_execution=False)

    def end(self) -> Span:
        """End it."""
        end_s = time.monotonic()
        measurement = self._monitor.end_window("benchmark", sync_execution=False)
        return Span(measurement.gpu_energy[0], self._start_s, end_s)

    def release(self) -> None:
        """Nothing is held."""


class ZeusPower:
    """The power monitor of Zeus, which its windows use on a GPU without a counter.

    Args:
        update_period_s: between two samples; ``None`` for what Zeus itself finds.
        domains: whose power; ``None`` for all that there are.
    """

    def __init__(
        self, update_period_s: float | None = INTERVAL_S, domains: tuple[str, ...] | None = None
    ) -> None:
        self._update_period_s = update_period_s
        self._domains = domains

    def load(self) -> None:
        """Import the monitor."""
        import zeus.monitor  # noqa: F401 - for later

    def prepare(self) -> None:
        """Start the processes that poll."""
        try:
            self._monitor = self._start()
        except RuntimeError:
            # Zeus gives its processes 10 s to import it, which is little on a busy machine.
            self._monitor = self._start()
        # They say that they are ready before they poll; it takes them a moment to have a sample.
        time.sleep(0.5)

    def begin(self) -> None:
        """Note the time, on the wall clock as Zeus wants it."""
        self._start_s, self._start_at = time.monotonic(), time.time()

    def end(self) -> Span:
        """Note it again, and ask for the energy in between."""
        end_s, end_at = time.monotonic(), time.time()
        # A sample is on its way from the other process for a moment.
        time.sleep(0.05)
        energy_j = self._monitor.get_energy(self._start_at, end_at) or {0: 0.0}
        return Span(energy_j[0], self._start_s, end_s)

    def release(self) -> None:
        """End the processes."""
        self._monitor.stop()

    def _start(self) -> Any:  # noqa: ANN401 - the library has no types
        from zeus.monitor.power import PowerMonitor

        domains: Any = None if self._domains is None else list(self._domains)
        return PowerMonitor(
            gpu_indices=[0], update_period=self._update_period_s, power_domains=domains
        )


class CodeCarbon:
    """An offline tracker of CodeCarbon, new for each window; it reads processor and memory as well.

    Args:
        measure_power_s: how often it measures.
    """

    def __init__(self, measure_power_s: float = 1.0) -> None:
        self._measure_power_s = measure_power_s

    def load(self) -> None:
        """Start and stop a tracker: the first of a process looks for the hardware."""
        # It warns of much, for instance of AMD's library, which Zeus installs.
        logging.disable(logging.CRITICAL)
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            import codecarbon  # noqa: F401 - for later
        first = tracker(self._measure_power_s)
        first.start()
        first.stop()

    def prepare(self) -> None:
        """Make a tracker."""
        self._tracker = tracker(self._measure_power_s)

    def begin(self) -> None:
        """Start it."""
        self._tracker.start()
        # Its own start, on the monotonic clock; only the duration is public.
        self._start_s = self._tracker._start_time

    def end(self) -> Span:
        """Stop it."""
        self._tracker.stop()
        said = self._tracker.final_emissions_data
        self.prepare()
        return Span(said.gpu_energy * 3.6e6, self._start_s, self._start_s + said.duration)

    def release(self) -> None:
        """Nothing is held."""


def tracker(measure_power_s: float) -> Any:  # noqa: ANN401 - the library has no types
    """An offline tracker that writes nothing.

    Args:
        measure_power_s: how often it measures.
    """
    from codecarbon import OfflineEmissionsTracker

    return OfflineEmissionsTracker(
        country_iso_code="DEU",
        measure_power_secs=measure_power_s,
        save_to_file=False,
        log_level="critical",
        allow_multiple_runs=True,
    )


@dataclass(frozen=True)
class Entry:
    """A tool in one setting.

    Attributes:
        package: that must be installed.
        counter: whether it reads the GPU's counter; the GPU of the others has none.
        make: makes it.
    """

    package: str
    counter: bool
    make: Callable[[], Tool]


ENTRIES = {
    "joulelab, counter": Entry("joulelab", True, Joulelab),
    "zeus, counter": Entry("zeus", True, ZeusCounter),
    "codecarbon, counter": Entry("codecarbon", True, CodeCarbon),
    "joulelab, power at 10 Hz": Entry("joulelab", False, Joulelab),
    "joulelab, average field at 10 Hz": Entry("joulelab", False, lambda: Joulelab("average")),
    "zeus, power at 10 Hz": Entry("zeus", False, lambda: ZeusPower(domains=("device_instant",))),
    "codecarbon, power, 0.1 s": Entry("codecarbon", False, lambda: CodeCarbon(0.1)),
    "codecarbon, power, 1 s": Entry("codecarbon", False, CodeCarbon),
}


def installed(peers: bool) -> dict[str, Entry]:
    """The tools that can be compared here.

    Args:
        peers: whether those beside ours are wanted.
    """
    found = {}
    for name, entry in ENTRIES.items():
        if entry.package == "joulelab" or (peers and find_spec(entry.package)):
            found[name] = entry
        elif peers:
            print(f"{name}: left out, {entry.package} is not installed", file=sys.stderr)
    return found
