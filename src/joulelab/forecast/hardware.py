"""What a training runs on, as far as its energy depends on it: runs of another machine say nothing.

A run on the CPU belongs to the processor and the number of threads, one on a GPU to the card's
model. Which domains count, and whether they are measured or estimated, belongs to it as well: the
energy of a card is no smaller machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CPU = "cpu"


@dataclass(frozen=True)
class Hardware:
    """A device that trains.

    Attributes:
        model: of the processor or of the card.
        threads: of torch, for a processor; 0 for a card.
        memory_gb: of the machine; no part of the identity.
    """

    model: str
    threads: int
    memory_gb: float | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What tells one from another."""
        return self.model, self.threads

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' * (self.threads != 1)}" if self.threads else ""
        return f"{self.model}{threads}"

    @classmethod
    def of(cls, conditions: Mapping[str, Any]) -> Hardware | None:
        """The one that the conditions of a session name; ``None`` where they do not.

        Args:
            conditions: as `joulelab.study.manifest.conditions` gives them.
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
        """This machine's.

        Args:
            device: ``"auto"``, ``"cpu"`` or ``"cuda:<index>"``.
            threads: of torch on the CPU; one for each core where ``None``.

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
    """Which domains count, without the numbers of devices: ``cpu and dram, estimated``.

    Args:
        domains: as the store keeps them, ``"cpu:0+dram:0"``.
        status: measured or estimated.
    """
    families = dict.fromkeys(one.partition(":")[0] for one in str(domains or "").split("+") if one)
    return f"{' and '.join(families) or 'nothing'}, {status}"
