"""Processors by RAPL: the energy counters of Intel and AMD, as Linux's powercap tree shows them.

The tree, and which domains its zones are: `joulelab.energy.meters.powercap`. The counters are
microjoules and wrap at ``max_energy_range_uj``, which is 2^32 units of the processor: 262 kJ on
Intel, 65 kJ on AMD; at 240 W that is once in 18 or 4.5 minutes. A wrap between two samples is
undone, and told from a reset, by `joulelab.energy.counter`. Two wraps between two samples look like
one or none and cannot be told from them: a window with a gap in which that may have happened is an
estimate (`joulelab.energy.standstill`).

The counters say nothing of the load. Beside the first package goes a utilisation: the share of the
logical processors that this process may use which it kept busy since the sample before, by its
processor time and that of its ended children. Its living children would cost a look into the
process table at every sample.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from joulelab.energy.counter import Counter, highest_possible_w
from joulelab.energy.meter import Channel, Detector, Meter, Missing, Sample
from joulelab.energy.meters.powercap import (
    ENERGY,
    RANGE,
    Zone,
    absent,
    closed_zones,
    find_zones,
    no_permission,
    powercap_root,
)
from joulelab.energy.meters.process_tree import Load, own_processor_time_s
from joulelab.energy.meters.processor import usable_processors
from joulelab.energy.reading import Status
from joulelab.errors import MeterError

TICK_S = 0.001
RELATIVE_ERROR = 0.05
REMARK = (
    "RAPL: 5 % is an assumption, its makers state no bound; it follows a wattmeter closely (Khan "
    "et al., ACM TOMPECS 2018)"
)
DRAM_RELATIVE_ERROR = 1.57
DRAM_REMARK = (
    "RAPL of memory: on servers 10 to 157 % off a reference on the rails at 1 kHz, most at little "
    "load (Broadwell, Ice Lake: An Experimental Setup to Evaluate RAPL Energy Counters for "
    "Heterogeneous Memory, ICPE 2024, doi:10.1145/3629526.3645052)"
)
MICRO = 1e-6

_LONGEST_COUNTER = 32


class RaplMeter(Meter):
    """The energy counters of the processors of this machine.

    Args:
        root: the powercap folder; that of `JOULELAB_POWERCAP`, or of the system, where ``None``.
        zones: only these of `find_zones`; all where ``None``.

    Raises:
        MeterError: there is no zone, or one cannot be read.
    """

    name = "rapl"

    def __init__(self, root: Path | None = None, zones: Sequence[Zone] | None = None) -> None:
        root = root or powercap_root()
        wanted = find_zones(root) if zones is None else zones
        if not wanted:
            raise MeterError(f"no RAPL zone in {root}", "the kernel module is intel_rapl_msr")
        self._readers: list[_Reader] = []
        try:
            for zone in wanted:
                self._readers.append(_Reader(zone))
        except PermissionError as error:
            self.close()
            raise MeterError(*no_permission(zone.folder)) from error
        except (OSError, ValueError) as error:
            self.close()
            raise MeterError(f"{zone.folder} cannot be read: {error}") from error
        self._channels = tuple(_channel(reader) for reader in self._readers)
        self._load = Load(usable_processors())
        packages = (n for n, zone in enumerate(wanted) if zone.domain.startswith("cpu:"))
        self._first_package = next(packages, None)

    @property
    def channels(self) -> Sequence[Channel]:
        """One counter for each zone."""
        return self._channels

    def sample(self) -> Sequence[Sample]:
        """Read every counter, and the load that goes with the first package."""
        samples = [reader.read() for reader in self._readers]
        if self._first_package is not None:
            load = self._load.since_last(own_processor_time_s(), time.monotonic())
            energy_j = samples[self._first_package].value
            if load is not None and energy_j is not None:
                samples[self._first_package] = Sample(energy_j, "", {"utilisation": load})
        return samples

    def describe(self) -> Mapping[str, str]:
        """Which zone each domain is, and where its counter wraps."""
        return {
            reader.zone.domain: f"{reader.zone.name}, {reader.zone.folder.name}, "
            f"wraps at {reader.range_uj / 1e6:.0f} J"
            for reader in self._readers
        }

    def close(self) -> None:
        """Close the counters' files."""
        for reader in self._readers:
            reader.close()


class RaplDetector(Detector):
    """Finds the zones that can be read.

    Args:
        root: as for `RaplMeter`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or powercap_root()

    def detect(self) -> tuple[Sequence[Meter], Sequence[Missing]]:
        """One meter for all readable zones, and why others, or all, cannot be read."""
        readable: list[Zone] = []
        missing = closed_zones(self._root)
        zones = find_zones(self._root)
        if not zones:
            return [], missing or [absent(self._root)]
        for zone in zones:
            try:
                _Reader(zone).close()
            except PermissionError:
                missing.append(Missing(zone.domain, *no_permission(zone.folder)))
            except (OSError, ValueError) as error:
                missing.append(Missing(zone.domain, f"{zone.folder} cannot be read: {error}"))
            else:
                readable.append(zone)
        if not readable:
            return [], missing
        try:
            return [RaplMeter(self._root, readable)], missing
        except MeterError as error:
            gone = [Missing(zone.domain, error.message, error.hint) for zone in readable]
            return [], [*missing, *gone]


def _channel(reader: _Reader) -> Channel:
    zone = reader.zone
    memory = zone.domain.startswith("dram:")
    return Channel(
        domain=zone.domain,
        source="rapl",
        kind="counter",
        status=Status.MEASURED,
        relative_error=DRAM_RELATIVE_ERROR if memory else RELATIVE_ERROR,
        tick_s=TICK_S,
        within=zone.within,
        remark=DRAM_REMARK if memory else REMARK,
        range_j=reader.range_uj * MICRO,
        limit_w=zone.limit_w,
    )


class _Reader:
    """The open counter of one zone."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.range_uj = int((zone.folder / RANGE).read_text("utf-8"))
        if self.range_uj <= 0:
            raise ValueError(f"{RANGE} is {self.range_uj}")
        self._counter = Counter(
            zone.folder.name,
            limit_w=lambda: zone.limit_w or highest_possible_w(zone.domain),
            range_j=self.range_uj * MICRO,
            tick_s=TICK_S,
        )
        self._file: int | None = os.open(zone.folder / ENERGY, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._opened_j = self._now_j()
            self._counter.take(self._opened_j, time.monotonic())
        except BaseException:
            self.close()
            raise

    def read(self) -> Sample:
        """Joules since the meter was opened."""
        if self._file is None:
            return Sample(None, "closed")
        try:
            sample = self._counter.take(self._now_j(), time.monotonic())
        except (OSError, ValueError) as error:
            return Sample(None, f"{self.zone.folder.name} cannot be read: {error}")
        return sample if sample.value is None else Sample(sample.value - self._opened_j)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _now_j(self) -> float:
        if self._file is None:
            raise ValueError("closed")
        text = _read(self._file)
        if not text.strip():
            raise ValueError("the counter is empty")
        return int(text) * MICRO


def _read(file: int) -> bytes:
    """The first bytes of an open file, read without giving up the interpreter's lock.

    `os.pread` gives it up, and beside a busy thread it takes 5 ms to get it back: with a counter
    for each zone that is longer than a sample may be late. The kernel answers in microseconds.
    """
    if _pread is None:
        return os.pread(file, _LONGEST_COUNTER, 0)
    buffer = ctypes.create_string_buffer(_LONGEST_COUNTER)
    count = _pread(file, buffer, _LONGEST_COUNTER, 0)
    if count < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw[:count]


def _find_pread() -> Callable[..., int] | None:
    """The C library's pread with a 64-bit offset, called with the interpreter's lock held."""
    try:
        function = ctypes.PyDLL(None, use_errno=True).pread64
    except (AttributeError, OSError, TypeError):
        return None  # no glibc
    function.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64)
    function.restype = ctypes.c_ssize_t
    return cast("Callable[..., int]", function)


_pread = _find_pread()
