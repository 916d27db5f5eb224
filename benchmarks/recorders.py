"""Recorders over four domains, in two settings, and what they may cost.

RAPL alone (package, core, dram, psys); and a GPU's counter and power beside RAPL (package, core)
and the estimate of memory.
"""

from __future__ import annotations

import threading
import time

from joulelab.energy.meter import Meter
from joulelab.energy.meters.estimate import EstimateMeter
from joulelab.energy.meters.nvml import NvmlMeter
from joulelab.energy.meters.rapl import RaplMeter, find_zones, powercap_root
from joulelab.energy.recorder import Recorder

TARGETS = {0.1: (0.003, 0.005), 0.01: (0.03, 0.03)}
"""By interval: share of one core, and share of a busy program's time."""


def rapl() -> list[Meter]:
    """RAPL alone."""
    return [RaplMeter()]


def gpu_and_rapl() -> list[Meter]:
    """A GPU, a part of RAPL, and the estimate for what is left."""
    zones = [zone for zone in find_zones(powercap_root()) if zone.name in ("package-0", "core")]
    return [NvmlMeter(), RaplMeter(zones=zones), EstimateMeter(measured=("cpu",))]


METERS = {"RAPL": rapl, "GPU, RAPL, estimate": gpu_and_rapl}


def recorder(name: str, interval_s: float) -> Recorder:
    """A started recorder over the meters of that name."""
    found = Recorder(METERS[name](), interval_s=interval_s)
    if len({channel.domain for channel in found.channels}) != 4:  # noqa: PLR2004 - four domains
        raise RuntimeError(f"{name} has not four domains")
    found.start()
    return found


def thread_time_s() -> float:
    """Processor time of the one recording thread of this process."""
    [thread] = [one for one in threading.enumerate() if one.name == "joulelab-recorder"]
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident or 0))
