"""The training device, and its energy domain."""

from __future__ import annotations

import os
from dataclasses import dataclass

from joulelab.errors import SpecError, quoted


@dataclass(frozen=True)
class Device:
    """A device with its torch name and its energy domain.

    Attributes:
        name: ``"cpu"`` or ``"cuda:<index>"``.
        domain: ``"cpu"`` or ``"gpu:<NVML index>"``.
        model: for people.
    """

    name: str
    domain: str
    model: str


CPU = Device("cpu", "cpu", "CPU")


def find_device(name: str) -> Device:
    """The device that a study requests.

    Args:
        name: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:<index>"``.

    Raises:
        SpecError: a GPU is requested, but torch has none of that index.
    """
    if name == "cpu":
        return CPU
    import torch

    if name == "auto" and not torch.cuda.is_available():
        return CPU
    index = int(name.partition(":")[2] or 0)
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        raise SpecError(
            f"device = {quoted(name)}: torch sees {torch.cuda.device_count()} CUDA devices here",
            'set device = "auto" to use what is available',
        )
    properties = torch.cuda.get_device_properties(index)
    from joulelab.energy.meters.nvml import gpu_index

    # CUDA_VISIBLE_DEVICES renumbers devices for torch; NVML counts all cards.
    nvml_index = gpu_index(str(properties.uuid))
    domain = f"gpu:{index if nvml_index is None else nvml_index}"
    return Device(f"cuda:{index}", domain, properties.name)


def available_threads() -> int:
    """Number of processor cores available to this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
