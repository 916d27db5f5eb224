"""CodeCarbon as a meter: its offline tracker's energy of processor, GPUs and memory.

::

    codecarbon      E0 ------ 1 s ------ E1 ------ 1 s ------ E2         totals, when it measures
    sample()                             E0 .. interpolated .. E1 an interval later

Its totals change only when it measures. A sample is therefore the total of one interval ago,
interpolated linearly: read directly, a window within an interval would have 0 J, and the power
would consist of spikes. An edge of a window is uncertain by that interval.

codecarbon counts a sensor that it cannot read as 0 W. A total that stands still is therefore
unreadable. So is, from then on, one that falls, or that jumps because codecarbon took a reset of
RAPL for a wrap (`joulelab.energy.counter`): the lost energy is unknown.

codecarbon adds up all sockets and all GPUs:

========== ==========================================================================
``cpu:0``  the processor, of a machine with one socket; else ``cpus``
``gpu:N``  the only GPU that it reads; where there are several, ``gpus``
``dram:0`` memory: never measured, on a personal computer or server a guess by its size
========== ==========================================================================

A sum excludes ``cpus`` and ``gpus`` if another meter reads one of them, to avoid double counting.
To read several GPUs use the meter ``nvml``.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pynvml

from joulelab.energy import nvidia_cards
from joulelab.energy.counter import PACKAGE_LIMIT_W, Counter
from joulelab.energy.meter import Channel, Detector, Meter, Missing, OpenMeter, Sample
from joulelab.energy.meters import rapl
from joulelab.energy.meters.codecarbon_tracker import Component, Totals, Tracker
from joulelab.energy.meters.estimate import RELATIVE_ERROR, VIRTUAL_RELATIVE_ERROR
from joulelab.energy.meters.processor import Processor
from joulelab.energy.meters.settings import checked_number
from joulelab.energy.reading import Status
from joulelab.errors import MeterError, MissingDependencyError, SettingsError

SHORTEST_INTERVAL_S = 0.1
LONGEST_INTERVAL_S = 60.0
STILL_S = 1.0
MOST_GPUS = 16
SILENT_INTERVALS = 3
START_S = 30.0
_KEPT = 8
SOURCE = "codecarbon"
_RAPL_MODES = {
    "intel_rapl": "RAPL",
    "windows_emi": "RAPL by Windows' energy meter interface",
    "intel_power_gadget": "RAPL by Intel Power Gadget",
}


class CodeCarbonMeter(OpenMeter):
    """Processor, GPU and memory energy from codecarbon.

    Opening takes a few seconds: codecarbon looks for its tools, and then measures once.

    Args:
        country: three-letter ISO 3166 code, required by codecarbon; it does not affect energy.
        measure_power_secs: how often codecarbon measures, in seconds.

    Raises:
        MissingDependencyError: codecarbon is not installed.
        SettingsError: codecarbon does not know the country, or the interval is out of bounds.
        MeterError: codecarbon does not start, or does not measure.
    """

    name = SOURCE
    library = "codecarbon"

    def __init__(self, country: str = "USA", measure_power_secs: float = 1.0) -> None:
        self._tick_s = _known_interval(measure_power_secs)
        self.interval_s = self._tick_s / 2
        self._record = _Record(self._tick_s)
        self._tracker = Tracker(_known_country(country), self._tick_s, self._record.take)
        try:
            if not self._record.ready.wait(self._tick_s + START_S):
                why = self._tracker.complaint or "no reason given"
                raise MeterError(f"codecarbon does not measure: {why}")
            self._record.wait_for_line()
            self._read = readable(self._tracker.components)
            super().__init__([channel_of(one, self._tick_s) for one in self._read])
        except BaseException:
            self._tracker.stop()
            raise

    def read(self) -> Sequence[Sample]:
        """The totals of one interval ago; returns at once, without calling codecarbon."""
        now_s = time.monotonic()
        return [self._record.at(one.name, now_s) for one in self._read]

    def describe(self) -> Mapping[str, str]:
        """Version, interval, and how each component is measured."""
        about = {"codecarbon": self._tracker.version, "measure_power_secs": f"{self._tick_s:g}"}
        for component, channel in zip(self._read, self._channels, strict=True):
            about[f"{channel.domain} mode"] = component.mode
            if component.model:
                about[f"{channel.domain} model"] = component.model
        return about

    def release(self) -> None:
        """End codecarbon and its threads."""
        self._tracker.stop()


@dataclass
class CodeCarbonDetector(Detector):
    """Opens codecarbon; used only by name, because other meters read the same sensors.

    Args:
        country: as for `CodeCarbonMeter`.
        measure_power_secs: as for `CodeCarbonMeter`.

    Raises:
        SettingsError: one of them is not valid.
    """

    automatic: ClassVar[bool] = False

    country: str = "USA"
    measure_power_secs: float = 1.0

    def __post_init__(self) -> None:
        _known_country(self.country)
        _known_interval(self.measure_power_secs)

    def detect(self) -> tuple[Sequence[Meter], Sequence[Missing]]:
        """One meter; GPUs that codecarbon does not see are missing."""
        if importlib.util.find_spec("codecarbon") is None:
            return [], [Missing("cpu", "codecarbon is not installed", "pip install codecarbon")]
        try:
            meter = CodeCarbonMeter(self.country, self.measure_power_secs)
        except (MeterError, MissingDependencyError) as error:
            return [], [Missing("cpu", error.message, error.hint)]
        seen = any(channel.domain.startswith("gpu") for channel in meter.channels)
        return [meter], [] if seen else _unseen_gpus()


class _Record:
    """The latest totals, and which of them are no longer valid.

    Args:
        interval_s: update interval in seconds.
    """

    def __init__(self, interval_s: float) -> None:
        self.ready = threading.Event()  # there are two totals
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._last: deque[Totals] = deque(maxlen=_KEPT)
        self._limits_w = {
            "cpu": Processor.here().sockets * PACKAGE_LIMIT_W,
            "gpu": MOST_GPUS * PACKAGE_LIMIT_W,
        }
        self._guards: dict[str, Counter] = {}
        self._moved_s: dict[str, float] = {}
        self._broken: dict[str, str] = {}

    def take(self, totals: Totals) -> None:
        """Take a measurement of codecarbon.

        Called from threads of codecarbon, which overlap on a busy machine, so totals may arrive out
        of order. A total counts as the highest so far, and has fallen only if it stays lower.
        """
        with self._lock:
            before = self._last[-1] if self._last else None
            if before is not None and totals.at_s <= before.at_s:
                return
            believed_j = {}
            for name, energy_j in totals.energy_j.items():
                highest_j = before.energy_j[name] if before else energy_j
                believed_j[name] = self._believed_j(name, energy_j, totals.at_s, highest_j)
            self._last.append(Totals(totals.at_s, believed_j))
            if before is not None:
                self.ready.set()

    def wait_for_line(self) -> None:
        """Wait until the time one interval ago is between the first two totals."""
        time.sleep(max(0.0, self._last[0].at_s + self._interval_s - time.monotonic()))

    def at(self, name: str, now_s: float) -> Sample:
        """The total of one interval ago.

        Args:
            name: of the component.
            now_s: time on the monotonic clock.
        """
        if name in self._broken:
            return Sample(None, self._broken[name])
        with self._lock:
            known = list(self._last)
        silent_s = now_s - known[-1].at_s
        if silent_s > SILENT_INTERVALS * self._interval_s + STILL_S:
            return Sample(None, f"codecarbon has not measured for {silent_s:.1f} s")
        wanted_s = now_s - self._interval_s
        after = bisect_right([totals.at_s for totals in known], wanted_s)
        if after == 0 or after == len(known):
            return Sample(known[max(0, after - 1)].energy_j[name])
        left, right = known[after - 1], known[after]
        share = (wanted_s - left.at_s) / (right.at_s - left.at_s)
        step_j = right.energy_j[name] - left.energy_j[name]
        return Sample(left.energy_j[name] + share * step_j)

    def _believed_j(self, name: str, energy_j: float, at_s: float, highest_j: float) -> float:
        """A total; the highest so far if it arrived out of order or is invalid."""
        if energy_j > highest_j or name not in self._moved_s:
            self._moved_s[name] = at_s
        still_s = at_s - self._moved_s[name]
        still = still_s >= max(STILL_S, self._interval_s / 2)
        if energy_j < highest_j and not still:
            return highest_j
        sample = self._guard(name).take(energy_j, at_s)
        if sample.value is None:
            self._broken.setdefault(name, sample.reason)
        elif still:
            why = f"stood still for {still_s:.1f} s: it counts a sensor that it cannot read as 0 W"
            self._broken.setdefault(name, f"codecarbon's total for {name} {why} there")
        return highest_j if sample.value is None else sample.value

    def _guard(self, name: str) -> Counter:
        if name not in self._guards:
            self._guards[name] = Counter(
                f"codecarbon's total for {name}",
                limit_w=self._limits_w.get(name, PACKAGE_LIMIT_W),
                tick_s=self._interval_s,
            )
        return self._guards[name]


def _known_country(country: object) -> str:
    if not isinstance(country, str) or not re.fullmatch("[A-Za-z]{3}", country):
        raise SettingsError(
            f"codecarbon: country = {country!r} is not an ISO code of three letters",
            "as in USA, NLD",
        )
    return country.upper()


def _known_interval(seconds: object) -> float:
    return checked_number(
        "codecarbon: measure_power_secs",
        seconds,
        SHORTEST_INTERVAL_S,
        LONGEST_INTERVAL_S,
        what="a number of seconds",
    )


def _unseen_gpus() -> list[Missing]:
    """NVIDIA GPUs of this machine; codecarbon reads them only if it finds nvidia-smi."""
    try:
        pynvml.nvmlInit()
        try:
            count = int(pynvml.nvmlDeviceGetCount())
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return []
    if not count:
        return []
    if shutil.which("nvidia-smi") is None:
        why = "codecarbon reads GPUs only where the command nvidia-smi is, and it is not in PATH"
        return [Missing("gpu", why, "add it to PATH, or use the meter nvml")]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    why = f"codecarbon reads none of {count} GPUs (CUDA_VISIBLE_DEVICES={visible!r})"
    return [Missing("gpu", why, "list GPUs there, or use the meter nvml")]


def readable(components: Iterable[Component]) -> list[Component]:
    """Existing components: processor, GPUs, memory.

    Args:
        components: the components that codecarbon reports.
    """
    there = [one for one in components if one.name in ("cpu", "ram") or one.indices]
    return sorted(there, key=lambda one: one.name)


def channel_of(component: Component, tick_s: float) -> Channel:
    """The channel of a component.

    Args:
        component: what codecarbon measures.
        tick_s: how often, in seconds.
    """
    processor = Processor.here()
    domain, within = _domain(component, processor.sockets)
    measured, relative_error, remark = _quality(component, processor.virtual)
    return Channel(
        domain=domain,
        source=SOURCE,
        kind="counter",
        status=Status.MEASURED if measured else Status.ESTIMATED,
        relative_error=relative_error,
        tick_s=tick_s,
        within=within,
        remark=f"{remark}; the total of {tick_s:g} s ago",
    )


def _domain(component: Component, sockets: int) -> tuple[str, tuple[str, ...]]:
    """The domain of a component, and domains that contain it or that it contains."""
    if component.name == "ram":
        return "dram:0", ("psys:0", "wall")
    outer = ("psys:0", "wall") if component.name == "cpu" else ("wall",)
    numbers = range(sockets) if component.name == "cpu" else component.indices
    parts = [f"{component.name}:{number}" for number in numbers]
    if len(parts) == 1:
        return parts[0], outer
    return f"{component.name}s", (*dict.fromkeys(parts), *outer)


def _quality(component: Component, virtual: bool) -> tuple[bool, float, str]:
    """Whether a component is measured, its error bound, and a description."""
    if component.mode in _RAPL_MODES:
        return True, rapl.RELATIVE_ERROR, f"{_RAPL_MODES[component.mode]}; {rapl.REMARK}"
    if component.name == "gpu" and component.indices:
        sensor = {"nvml": "NVML", "amdsmi": "AMD SMI"}[component.mode]
        number = len(component.indices)
        return (
            True,
            nvidia_cards.RELATIVE_ERROR,
            f"{sensor}, energy counter of {number} GPU{'s' if number > 1 else ''}, or power once a "
            "second where it has none; 13 % is the worst card of arXiv 2312.02741",
        )
    bound = VIRTUAL_RELATIVE_ERROR if virtual else RELATIVE_ERROR
    why = "a virtual machine" if virtual else "arXiv 2509.22092"
    return False, bound, f"{_estimate(component)}; {bound * 100:g} %: {why}"


def _estimate(component: Component) -> str:
    """A description of how an estimate is made."""
    watts = "an unknown power" if component.tdp_w is None else f"{component.tdp_w:g} W"
    tdp = f"design power {watts} that codecarbon takes for {component.model or 'the processor'}"
    words = {
        ("ram", "model"): "a number of memory modules guessed from the memory's size, 5 W each",
        ("ram", "constant"): f"a constant of {watts} from codecarbon's settings",
        ("cpu", "cpu_load"): f"load of the whole machine, {tdp}",
        ("cpu", "constant"): f"a constant, half of the {tdp}",
    }
    by_mode = {
        "Raspberry": "currents and voltages of the power chip of a Raspberry Pi",
        "AppleSiliconChip": "powermetrics, which Apple calls an estimate",
    }
    otherwise = by_mode.get(component.mode, f"codecarbon's mode {component.mode}")
    return words.get((component.name, component.mode), otherwise)
