"""The estimate: energy of a process tree from processor time and memory, without sensors.

::

    E_cpu  = processor time of the process tree (s) * TDP * sockets / logical processors
    E_dram = integral of the memory of the process tree (GB) * 0.3725 W/GB

or of the whole machine instead of a process tree, if joulelab runs no program.

Domains of other meters are not estimated, unless the estimate is named along with that meter: then
it is for comparison only and not part of any sum.

TDP comes from codecarbon's table of processors, only for models listed by name: the data sheet of
another model is not an estimate. Otherwise 4 W per logical processor are used, codecarbon's
default. The memory factor is from Green Algorithms (Lannelongue et al., Advanced Science 2021).
Software estimates are off by up to 40 % (arXiv 2509.22092); on a virtual machine, which does not
know its share of the processor, the bound is the figure itself.

The processor's channel also gives utilisation: the share of the logical processors available to
this process that the process tree kept busy since the last sample. It excludes the load of other
programs. For the whole machine it is the total load of all logical processors.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from joulelab.energy.meter import Channel, Detector, Meter, Missing, OpenMeter, Sample
from joulelab.energy.meters.processor import (
    Load,
    Machine,
    Processor,
    ProcessTree,
    usable_processors,
)
from joulelab.energy.meters.settings import checked_number
from joulelab.energy.reading import Status, family
from joulelab.errors import SettingsError, quoted

MEMORY_W_PER_GB = 0.3725
SCOPES = {"tree": "this process tree", "machine": "the whole machine"}
RELATIVE_ERROR = 0.4
VIRTUAL_RELATIVE_ERROR = 1.0


class EstimateMeter(OpenMeter):
    """Processor and memory energy of this process and all its descendants, or of the machine.

    Args:
        tdp_w: thermal design power of one socket in watts; looked up where ``None``.
        measured: families of domains (``"cpu"``, ``"dram"``) that other meters read.
        scope: whose processor time and memory: ``"tree"`` for those of this process and its
            descendants, ``"machine"`` for everything that runs.
        beside: also estimate domains of other meters, for comparison only: not part of any sum.

    Raises:
        SettingsError: no such scope, or a TDP that is not positive.
    """

    name = "estimate"
    interval_s = 0.5

    def __init__(
        self,
        tdp_w: float | None = None,
        measured: Collection[str] = (),
        scope: str = "tree",
        beside: bool = False,
    ) -> None:
        check_estimate(tdp_w, scope)
        whose = SCOPES[scope]
        processor = Processor.here()
        self._w_per_processor, source = processor.power(tdp_w)
        cpu_error = VIRTUAL_RELATIVE_ERROR if processor.virtual else RELATIVE_ERROR
        remarks = {
            "cpu:0": f"processor time of {whose} x {self._w_per_processor:.3g} W a logical "
            f"processor ({source})",
            "dram:0": f"memory of {whose} x {MEMORY_W_PER_GB} W/GB (Green Algorithms, 2021)",
        }
        super().__init__(
            [
                Channel(
                    domain,
                    "estimate",
                    "counter",
                    Status.ESTIMATED,
                    cpu_error if domain == "cpu:0" else RELATIVE_ERROR,
                    tick_s=0.0,
                    within=("wall",),
                    remark=remark,
                    comparison=family(domain) in measured,
                )
                for domain, remark in remarks.items()
                if beside or family(domain) not in measured
            ]
        )
        self._usage = ProcessTree() if scope == "tree" else Machine()
        self._load = Load(usable_processors() if scope == "tree" else processor.logical)
        self._memory_j = 0.0
        self._memory_w = 0.0
        self._last_s: float | None = None

    def read(self) -> Sequence[Sample]:
        """Read processor time and memory, and derive the load."""
        seconds, resident_bytes = self._usage.usage()
        now_s = time.monotonic()
        if self._last_s is not None:
            self._memory_j += self._memory_w * (now_s - self._last_s)
        self._last_s = now_s
        self._memory_w = resident_bytes / 1e9 * MEMORY_W_PER_GB
        joules = {"cpu:0": seconds * self._w_per_processor, "dram:0": self._memory_j}
        load = self._load.since_last(seconds, now_s)
        states = {"cpu:0": {} if load is None else {"utilisation": load}}
        return [
            Sample(joules[channel.domain], state=states.get(channel.domain, {}))
            for channel in self.channels
        ]

    def approach_edge(self) -> None:
        """Look for new descendants, so that their earlier time is not counted in the window."""
        self._usage.look_soon()

    def describe(self) -> Mapping[str, str]:
        """The processor and the assumptions about it."""
        return {channel.domain: channel.remark for channel in self.channels}


def check_estimate(tdp_w: float | None, scope: str) -> None:
    """Refuse settings that an estimate cannot have.

    Raises:
        SettingsError: no such scope, or a TDP that is not positive.
    """
    if scope not in SCOPES:
        raise SettingsError(
            f"an estimate has no scope {quoted(scope)}", f"one of {', '.join(SCOPES)}"
        )
    if tdp_w is not None:
        checked_number("estimate: tdp_w", tdp_w, what="the design power of a socket in watts,")


@dataclass
class EstimateDetector(Detector):
    """Offers an estimate; it works everywhere.

    Args:
        tdp_w: as for `EstimateMeter`.
        measured: domains that other meters read; these are not estimated.
        scope: as for `EstimateMeter`.
        beside: as for `EstimateMeter`.

    Raises:
        SettingsError: as for `EstimateMeter`.
    """

    tdp_w: float | None = None
    measured: Collection[str] = ()
    scope: str = "tree"
    beside: bool = False

    def __post_init__(self) -> None:
        check_estimate(self.tdp_w, self.scope)

    def detect(self) -> tuple[Sequence[Meter], Sequence[Missing]]:
        """The meter, or none if other meters read everything that it could estimate."""
        families = {family(domain) for domain in self.measured}
        # ``cpus`` is the sum of all sockets; a plug and the platform's counter see both.
        families |= {"cpu"} if "cpus" in families else set()
        families |= {"cpu", "dram"} if families & {"wall", "psys"} else set()
        if not self.beside and families >= {"cpu", "dram"}:
            return [], []
        return [EstimateMeter(self.tdp_w, families, self.scope, self.beside)], []
