"""What Zeus reads of a GPU: its energy counter in millijoules, and its power in milliwatts.

How far the sensors are off belongs to their makers. NVIDIA's: 13 %, the worst card of arXiv
2312.02741. AMD states no bound, and Zeus itself passes over only counters that are off from power
by a factor of ten; NVIDIA's bound is taken. Power stands beside the counter as a check.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from joulelab.energy import nvidia_cards
from joulelab.energy.counter import Counter
from joulelab.energy.meter import Channel, Sample
from joulelab.energy.reading import Status
from joulelab.errors import MeterError

COUNTER = "zeus-counter"
POWER = "zeus-power"
TICK_S = 0.1
"""How often a sensor is new. NVIDIA's are; of the others nobody says, and this is taken."""
STEP_J = 0.001


class _ZeusGpu(Protocol):
    """A GPU of Zeus, as far as it is used."""

    gpu_index: int

    def get_name(self) -> str: ...

    def supports_get_total_energy_consumption(self) -> bool: ...

    def get_total_energy_consumption(self) -> int: ...

    def get_instant_power_usage(self) -> int: ...

    def get_average_power_usage(self) -> int: ...


@dataclass(frozen=True)
class Maker:
    """Whose GPU it is: how far its sensors are off, and in words why."""

    name: str
    relative_error: float
    remark: str


NVIDIA = Maker("NVIDIA", nvidia_cards.RELATIVE_ERROR, "13 % is the worst card of arXiv 2312.02741")
AMD = Maker(
    "AMD", nvidia_cards.RELATIVE_ERROR, "AMD states no bound; 13 % is that of NVIDIA's cards"
)


class Device(ABC):
    """Something that Zeus reads.

    Attributes:
        channels: what it reads of it.
        about: names and sensors, in words.
    """

    channels: tuple[Channel, ...]
    about: Mapping[str, str]

    @abstractmethod
    def sample(self) -> list[Sample]:
        """Read each channel once."""


class GpuDevice(Device):
    """A GPU, by the sensors that it has.

    Args:
        gpu: of Zeus.
        domain: what it is called here.
        maker: whose it is.
        owner: what has opened its library, and closes it when nobody holds it any more.

    Raises:
        MeterError: it reports neither energy nor power.
    """

    def __init__(self, gpu: _ZeusGpu, domain: str, maker: Maker, owner: object = None) -> None:
        self._owner = owner
        self._gpu = gpu
        self._domain = domain
        self._counter = counter(domain)
        faults: list[str] = []
        self._counts = _counts(gpu, faults)
        field, self._power_mw = _power(gpu, faults)
        if not self._counts and self._power_mw is None:
            raise MeterError(f"{domain}: Zeus reads neither energy nor power: {faults[-1]}")
        channels = []
        if self._counts:
            remark = f"energy counter by Zeus; {maker.remark}"
            channels.append(_channel(domain, "counter", maker.relative_error, TICK_S, remark))
        if self._power_mw is not None:
            tick_s = TICK_S if field == "instant" else nvidia_cards.AVERAGE_FIELD_S
            remark = f"{field} power by Zeus; {maker.remark}"
            channels.append(_channel(domain, "power", maker.relative_error, tick_s, remark))
        self.channels = tuple(channels)
        self.about = {
            f"{domain} name": f"{maker.name} {gpu.get_name()}",
            f"{domain} energy_counter": "yes" if self._counts else "no",
            f"{domain} power": field,
        }

    def sample(self) -> list[Sample]:
        """Energy, then power."""
        samples = []
        if self._counts:
            read_mj = self._gpu.get_total_energy_consumption
            samples.append(energy_sample(self._domain, self._counter, read_mj))
        if self._power_mw is not None:
            samples.append(power_sample(self._domain, self._power_mw))
        return samples


def counter(domain: str) -> Counter:
    """The guard of a counter of Zeus.

    Args:
        domain: of which it is.
    """
    return Counter(f"{domain}: the energy counter", tick_s=TICK_S)


def energy_sample(domain: str, counter: Counter, read_mj: Callable[[], float | None]) -> Sample:
    """Joules.

    Args:
        domain: of which they are, for the reason.
        counter: its guard.
        read_mj: reads it in millijoules.
    """
    try:
        value_mj = read_mj()
    except Exception as error:  # of Zeus, or of a library or driver below it
        return Sample(None, f"{domain}: Zeus: {first_line(error)}")
    if value_mj is None:
        return Sample(None, f"{domain}: Zeus has no value")
    return counter.take(value_mj / 1e3, time.monotonic())


def power_sample(domain: str, read_mw: Callable[[], float]) -> Sample:
    """Watts.

    Args:
        domain: of which it is, for the reason.
        read_mw: reads it in milliwatts.
    """
    try:
        value_mw = read_mw()
    except Exception as error:  # of Zeus, or of a library or driver below it
        return Sample(None, f"{domain}: Zeus: {first_line(error)}")
    if not math.isfinite(value_mw) or value_mw < 0:
        return Sample(None, f"{domain}: Zeus says {value_mw:g} mW, which cannot be")
    return Sample(value_mw / 1e3)


def first_line(error: Exception) -> str:
    """What an error says, without the explanations that Zeus adds."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _counts(gpu: _ZeusGpu, faults: list[str]) -> bool:
    """Whether a GPU has an energy counter; adds to `faults` why it has not."""
    try:
        if gpu.supports_get_total_energy_consumption():
            gpu.get_total_energy_consumption()
            return True
        faults.append("it has no energy counter that Zeus trusts")
    except Exception as error:  # of Zeus, or of a library or driver below it
        faults.append(first_line(error))
    return False


def _power(gpu: _ZeusGpu, faults: list[str]) -> tuple[str, Callable[[], int] | None]:
    """The better one of the powers that a GPU reports; adds to `faults` why there is none.

    One of 0 is taken last: some drivers answer 0 where there is no such sensor.
    """
    answers: list[tuple[str, Callable[[], int]]] = []
    for field, read in (
        ("instant", gpu.get_instant_power_usage),
        ("average", gpu.get_average_power_usage),
    ):
        try:
            if read() > 0:
                return field, read
            answers.append((field, read))
        except Exception as error:  # of Zeus, or of a library or driver below it
            faults.append(first_line(error))
    return answers[0] if answers else ("none", None)


def _channel(
    domain: str,
    kind: Literal["counter", "power"],
    relative_error: float,
    tick_s: float,
    remark: str,
) -> Channel:
    return Channel(
        domain=domain,
        source=COUNTER if kind == "counter" else POWER,
        kind=kind,
        status=Status.MEASURED,
        relative_error=relative_error,
        tick_s=tick_s,
        within=("wall",),
        remark=remark,
        resolution_j=STEP_J if kind == "counter" else 0.0,
    )
