"""The estimate: what a process tree uses, from processor time and memory, where no sensor is.

::

    E_cpu  = processor time of the process tree (s) * TDP * sockets / logical processors
    E_dram = integral of resident memory of the tree (GB) * 0.3725 W/GB

TDP comes from codecarbon's table of processors, and only for a model that stands in it by name:
the data sheet of another model is no estimate. Otherwise 4 W a logical processor are taken,
codecarbon's own default. The memory figure is that of Green Algorithms (Lannelongue et al.,
Advanced Science 2021). Software estimates are off by up to 40 % (arXiv 2509.22092); on a virtual
machine, which does not know its share of the processor, the bound is the figure itself.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from joulelab.energy.meter import Channel, Detector, Meter, Missing, Sample
from joulelab.energy.process_tree import ProcessTree
from joulelab.energy.processor import Processor
from joulelab.energy.reading import Status

MEMORY_W_PER_GB = 0.3725
RELATIVE_ERROR = 0.4
VIRTUAL_RELATIVE_ERROR = 1.0


class EstimateMeter(Meter):
    """Processor and memory energy of this process and all its descendants.

    Args:
        tdp_w: thermal design power of one socket in watts; looked up where ``None``.
        measured: families of domains (``"cpu"``, ``"dram"``) that a sensor reads already.
    """

    name = "estimate"
    interval_s = 0.5

    def __init__(self, tdp_w: float | None = None, measured: Collection[str] = ()) -> None:
        processor = Processor.here()
        self._w_per_processor, source = processor.power(tdp_w)
        cpu_error = VIRTUAL_RELATIVE_ERROR if processor.virtual else RELATIVE_ERROR
        channels = (
            Channel(
                "cpu:0",
                "estimate",
                "counter",
                Status.ESTIMATED,
                cpu_error,
                0.0,
                ("wall",),
                f"processor time of this process tree x {self._w_per_processor:.3g} W a logical "
                f"processor ({source})",
            ),
            Channel(
                "dram:0",
                "estimate",
                "counter",
                Status.ESTIMATED,
                RELATIVE_ERROR,
                0.0,
                ("wall",),
                f"resident memory of this process tree x {MEMORY_W_PER_GB} W/GB "
                "(Green Algorithms, 2021)",
            ),
        )
        self._channels = tuple(c for c in channels if c.domain.partition(":")[0] not in measured)
        self._tree = ProcessTree()
        self._memory_j = 0.0
        self._memory_w = 0.0
        self._last_s: float | None = None
        self._closed = False

    @property
    def channels(self) -> Sequence[Channel]:
        """Processor and memory, both cumulative and estimated."""
        return self._channels

    def sample(self) -> Sequence[Sample]:
        """Read processor time and memory of the process tree."""
        if self._closed:
            return [Sample(None, "closed") for _ in self._channels]
        seconds, resident_bytes = self._tree.usage()
        now_s = time.monotonic()
        if self._last_s is not None:
            self._memory_j += self._memory_w * (now_s - self._last_s)
        self._last_s = now_s
        self._memory_w = resident_bytes / 1e9 * MEMORY_W_PER_GB
        joules = {"cpu:0": seconds * self._w_per_processor, "dram:0": self._memory_j}
        return [Sample(joules[channel.domain]) for channel in self._channels]

    def describe(self) -> Mapping[str, str]:
        """The processor and what is assumed of it."""
        return {channel.domain: channel.remark for channel in self._channels}

    def close(self) -> None:
        """Stop; nothing is held."""
        self._closed = True


class EstimateDetector(Detector):
    """An estimate can be had everywhere.

    Args:
        tdp_w: as for `EstimateMeter`.
        measured: domains that a sensor reads; what they cover is not estimated.
    """

    def __init__(self, tdp_w: float | None = None, measured: Collection[str] = ()) -> None:
        self._tdp_w = tdp_w
        self._measured = {domain.partition(":")[0] for domain in measured}

    def detect(self) -> tuple[Sequence[Meter], Sequence[Missing]]:
        """The meter, or none where sensors cover everything that it could estimate."""
        if self._measured & {"wall", "psys"} or self._measured >= {"cpu", "dram"}:
            return [], []
        return [EstimateMeter(self._tdp_w, self._measured)], []
