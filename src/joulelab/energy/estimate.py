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

import csv
import importlib.util
import os
import re
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from joulelab.energy.meter import Channel, Detector, Meter, Missing, Sample
from joulelab.energy.process_tree import ProcessTree
from joulelab.energy.reading import Status

DEFAULT_W_PER_PROCESSOR = 4.0
MEMORY_W_PER_GB = 0.3725
RELATIVE_ERROR = 0.4
VIRTUAL_RELATIVE_ERROR = 1.0
_NOISE = re.compile(
    r"\((?:r|tm)\)|\bcpu\b|\bprocessor\b|@.*$|\b\d+th gen\b|\b\w+-core\b|\bwith radeon.*$", re.I
)


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


class Processor:
    """The processor of this machine, as far as software can tell.

    Args:
        model: its name.
        sockets: how many there are.
        logical: logical processors of the machine.
        virtual: whether this is a virtual machine.
    """

    def __init__(self, model: str, sockets: int, logical: int, *, virtual: bool) -> None:
        self.model = model
        self.sockets = sockets
        self.logical = logical
        self.virtual = virtual

    @classmethod
    def here(cls) -> Processor:
        """This machine's."""
        cpuinfo = Path("/proc/cpuinfo")
        text = cpuinfo.read_text("utf-8", errors="replace") if cpuinfo.is_file() else ""
        fields = re.findall(r"^(model name|physical id|flags)\s*:\s*(.*)$", text, re.M)
        models = [value for key, value in fields if key == "model name"]
        sockets = {value for key, value in fields if key == "physical id"}
        virtual = any("hypervisor" in value.split() for key, value in fields if key == "flags")
        model = models[0] if models else "unknown processor"
        return cls(model, max(1, len(sockets)), os.cpu_count() or 1, virtual=virtual)

    def power(self, tdp_w: float | None) -> tuple[float, str]:
        """Watts of one busy logical processor, and in words where that is from.

        Args:
            tdp_w: of one socket, where the user knows it.
        """
        source = "TDP given by the user"
        if tdp_w is None:
            tdp_w, source = table_tdp_w(self.model), "TDP from codecarbon's table"
        guest = "; a virtual machine, its share of the processor is unknown" if self.virtual else ""
        if tdp_w is None:
            known = f"codecarbon's default; its table has no {self.model}"
            return DEFAULT_W_PER_PROCESSOR, known + guest
        return tdp_w * self.sockets / self.logical, f"{tdp_w:g} W {source}, {self.model}{guest}"


def table_tdp_w(model: str) -> float | None:
    """Thermal design power in watts from codecarbon's table, for exactly this model.

    Args:
        model: as the system writes it: ``Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz``.
    """
    package = importlib.util.find_spec("codecarbon")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "data" / "hardware" / "cpu_power.csv"
    wanted = _plain(model)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if _plain(row["Name"]) == wanted:
                return float(row["TDP"])
    return None


def _plain(model: str) -> str:
    return " ".join(_NOISE.sub(" ", model).casefold().split())
