"""The power of a device by its data sheet, for predictions that know nothing else.

A processor's is that of codecarbon's table, for the threads that train; a card's is its power
limit, as the driver says it. Only of this machine: another one's has to be given.
"""

from __future__ import annotations

from dataclasses import dataclass

from joulelab.energy.meters.processor import Processor
from joulelab.errors import UsageError
from joulelab.forecast.hardware import Hardware

MILLIWATTS = 1e3


@dataclass(frozen=True)
class DesignPower:
    """Thermal design power, or a power limit.

    Attributes:
        power_w: watts.
        source: where it is from, in words.
    """

    power_w: float
    source: str


def design_power(hardware: Hardware, tdp_w: float | None = None) -> DesignPower | None:
    """The design power of some hardware; ``None`` where it is not known here.

    Args:
        hardware: what trains.
        tdp_w: where the user knows it.

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
