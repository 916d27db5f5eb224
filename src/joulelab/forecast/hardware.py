"""The hardware of a training: runs of other hardware are not comparable.

A run on the CPU belongs to the processor and the number of threads, one on a GPU to the card's
model. The domains that count, and whether they are measured or estimated, also matter: the energy
of a card alone is not the energy of a smaller machine.

The specified power is for predictions without other data. For a processor it is from codecarbon's
table, for the threads that train; for a card it is the power limit reported by the driver. Both are
known only for this machine: for another one the power must be given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joulelab.energy.meters.processor import Processor
from joulelab.errors import UsageError

CPU = "cpu"
MILLIWATTS = 1e3


@dataclass(frozen=True)
class Hardware:
    """A device that trains.

    Attributes:
        model: model of the processor or the card.
        threads: torch's CPU threads; 0 for a card.
        memory_gb: memory of the machine; not part of the identity.
    """

    model: str
    threads: int
    memory_gb: float | None = None

    @property
    def key(self) -> tuple[str, int]:
        """The identity of the hardware."""
        return self.model, self.threads

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' * (self.threads != 1)}" if self.threads else ""
        return f"{self.model}{threads}"

    @classmethod
    def of(cls, conditions: Mapping[str, Any]) -> Hardware | None:
        """The hardware in the conditions of a session; ``None`` if not given.

        Args:
            conditions: from `joulelab.study.manifest.conditions`.
        """
        device = conditions.get("device") or {}
        if not device.get("name"):
            return None
        memory_gb = conditions.get("memory_gb")
        if device["name"] == CPU:
            processor = conditions.get("processor") or "unknown processor"
            return cls(str(processor), int(conditions.get("threads") or 0), memory_gb)
        return cls(str(device["model"]), 0, memory_gb)

    @classmethod
    def here(cls, device: str = "auto", threads: int | None = None) -> Hardware:
        """The hardware of this machine.

        Args:
            device: ``"auto"``, ``"cpu"`` or ``"cuda:<index>"``.
            threads: torch's CPU threads; ``None`` for one per core.

        Raises:
            SpecError: torch has no such device.
        """
        import psutil

        from joulelab.study.device import available_threads, find_device
        from joulelab.study.manifest import processor_model

        found = find_device(device)
        memory_gb = psutil.virtual_memory().total / 1e9
        if found.name == CPU:
            return cls(processor_model(), threads or available_threads(), memory_gb)
        return cls(found.model, 0, memory_gb)


def counted_domains(domains: object, status: object) -> str:
    """The domains that count, without device numbers: ``cpu and dram, estimated``.

    Args:
        domains: as in the store, ``"cpu:0+dram:0"``.
        status: measured or estimated.
    """
    families = dict.fromkeys(one.partition(":")[0] for one in str(domains or "").split("+") if one)
    return f"{' and '.join(families) or 'nothing'}, {status}"


@dataclass(frozen=True)
class DesignPower:
    """Thermal design power, or a power limit.

    Attributes:
        power_w: watts.
        source: its origin, in words.
    """

    power_w: float
    source: str


def design_power(hardware: Hardware, tdp_w: float | None = None) -> DesignPower | None:
    """The design power of hardware; ``None`` if unknown.

    Args:
        hardware: the hardware.
        tdp_w: the power given by the user, if any.

    Raises:
        UsageError: a design power that is not above 0.
    """
    if tdp_w is not None:
        if not 0 < tdp_w < float("inf"):
            raise UsageError(f"a TDP of {tdp_w:g} W is impossible", "write it in watts: --tdp 65")
        return DesignPower(tdp_w, "given")
    if hardware.threads:
        processor = Processor.here()
        if processor.model != hardware.model:
            return None
        per_processor_w, source = processor.power(None)
        threads = min(hardware.threads, processor.logical)
        of = "1 thread" if threads == 1 else f"{threads} threads"
        return DesignPower(per_processor_w * threads, f"{of}; {source}")
    limit_w = _power_limit_w(hardware.model)
    return None if limit_w is None else DesignPower(limit_w, "the card's power limit")


def _power_limit_w(model: str) -> float | None:
    """The power limit of the first card of a model in this machine."""
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            for index in range(pynvml.nvmlDeviceGetCount()):
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                name = pynvml.nvmlDeviceGetName(handle)
                if (name.decode() if isinstance(name, bytes) else str(name)) == model:
                    limit_mw = pynvml.nvmlDeviceGetEnforcedPowerLimit(handle)
                    return float(limit_mw) / MILLIWATTS
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
    return None
