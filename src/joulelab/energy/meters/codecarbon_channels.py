"""What the components of codecarbon are here: domain, status, bound, and in words how they come.

It adds up all sockets and all GPUs:

========== ==========================================================================
``cpu:0``  the processor, of a machine with one socket; else ``cpus``
``gpu:N``  the only GPU that it reads; where there are several, ``gpus``
``dram:0`` memory: never measured, on a personal computer or server a guess by its size
========== ==========================================================================

A sum leaves ``cpus`` and ``gpus`` out where another meter knows one of them by itself, so that no
joule counts twice. To read several GPUs take the meter ``nvml``.
"""

from __future__ import annotations

from collections.abc import Iterable

from joulelab.energy import nvidia_cards
from joulelab.energy.meter import Channel
from joulelab.energy.meters import rapl
from joulelab.energy.meters.codecarbon_tracker import Component
from joulelab.energy.meters.estimate import RELATIVE_ERROR, VIRTUAL_RELATIVE_ERROR
from joulelab.energy.meters.processor import Processor
from joulelab.energy.reading import Status

SOURCE = "codecarbon"
_RAPL_MODES = {
    "intel_rapl": "RAPL",
    "windows_emi": "RAPL by Windows' energy meter interface",
    "intel_power_gadget": "RAPL by Intel Power Gadget",
}


def readable(components: Iterable[Component]) -> list[Component]:
    """Those of which there is something: processor, GPUs, memory.

    Args:
        components: what codecarbon says that it measures.
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
    """The domain of a component, and those that contain it or that it is made of."""
    if component.name == "ram":
        return "dram:0", ("psys:0", "wall")
    outer = ("psys:0", "wall") if component.name == "cpu" else ("wall",)
    numbers = range(sockets) if component.name == "cpu" else component.indices
    parts = [f"{component.name}:{number}" for number in numbers]
    if len(parts) == 1:
        return parts[0], outer
    return f"{component.name}s", (*dict.fromkeys(parts), *outer)


def _quality(component: Component, virtual: bool) -> tuple[bool, float, str]:
    """Whether a component is measured, how far off it may be, and in words what it is."""
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
    """In words, what an estimate is made of."""
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
