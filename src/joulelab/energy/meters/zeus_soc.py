"""What Zeus reads of chips that hold processor and GPU in one: Apple silicon and Jetson boards.

::

    Apple    counters of the chip, in millijoules
               cpu:0     all cores; ecluster:N and pcluster:N are its parts
               gpu:0     gpusram:0 is taken to be a part of it
               dram:0, ane:0 (the neural engine)

    Jetson   power of rails, in milliwatts
               psys:0    what the module takes in; contains the others
               cpu:0, gpu:0, or soc:0 where one rail feeds both

A Jetson is read rail by rail, with the code of Zeus that its own process would run. That process is
not started: it would run the user's program a second time, and each reading would wait for an
answer from it.

Apple states no bound, and calls what its own powermetrics shows estimated: 40 %, as of other
estimates (arXiv 2509.22092). The 5 % of a Jetson are an assumption: its shunts are good to 1 %, and
the offset of the sensor behind them, an INA3221, weighs at idle.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from joulelab.energy.meter import Channel, Sample
from joulelab.energy.meters import estimate
from joulelab.energy.meters.zeus_devices import (
    COUNTER,
    POWER,
    STEP_J,
    TICK_S,
    Device,
    counter,
    energy_sample,
    first_line,
    power_sample,
)
from joulelab.energy.reading import Status
from joulelab.errors import MeterError

JETSON_RELATIVE_ERROR = 0.05
# Field of Zeus, what it is here, what contains it.
_APPLE = (
    ("cpu_total_mj", "cpu", ()),
    ("efficiency_cluster_mj", "ecluster", ("cpu:0",)),
    ("performance_cluster_mj", "pcluster", ("cpu:0",)),
    ("gpu_mj", "gpu", ()),
    ("gpu_sram_mj", "gpusram", ("gpu:0",)),
    ("dram_mj", "dram", ()),
    ("ane_mj", "ane", ()),
)
_RAILS = {"cpu_power_mw": "cpu:0", "gpu_power_mw": "gpu:0", "total_power_mw": "psys:0"}
_MODULE = "psys:0"


class _ZeusSoc(Protocol):
    """A chip of Zeus, as far as it is used."""

    def get_total_energy_consumption(self) -> object: ...


class _ZeusRail(Protocol):
    """A rail of a Jetson, as Zeus reads it."""

    def measure_power(self) -> float: ...


class AppleDevice(Device):
    """The energy counters of Apple silicon.

    Args:
        soc: of Zeus.

    Raises:
        MeterError: it has none of the fields that are known here.
    """

    def __init__(self, soc: _ZeusSoc) -> None:
        self._soc = soc
        values = _apple_values(soc.get_total_energy_consumption())
        if not values:
            raise MeterError("Zeus reads no energy of this Apple chip", "it reads M1 and later")
        self._counters = {domain: counter(domain) for domain in values}
        contained = {family: within for _, family, within in _APPLE}
        self.channels = tuple(
            Channel(
                domain=domain,
                source=COUNTER,
                kind="counter",
                status=Status.MEASURED,
                relative_error=estimate.RELATIVE_ERROR,
                tick_s=TICK_S,
                within=(*contained[domain.partition(":")[0]], "wall"),
                remark="Apple's own counter by Zeus; Apple states no bound, 40 % as of estimates",
                resolution_j=STEP_J,
            )
            for domain in values
        )
        self.about = {}

    def sample(self) -> list[Sample]:
        """All counters, of one reading of the chip."""
        try:
            values = _apple_values(self._soc.get_total_energy_consumption())
        except Exception as error:  # of Zeus, or of the library below it
            reason = f"Zeus: {first_line(error)}"
            return [Sample(None, f"{domain}: {reason}") for domain in self._counters]
        return [
            energy_sample(domain, guard, functools.partial(values.get, domain))
            for domain, guard in self._counters.items()
        ]


class JetsonDevice(Device):
    """The power rails of a Jetson.

    Args:
        rails: of Zeus, by its names ``cpu_power_mw``, ``gpu_power_mw``, ``total_power_mw``.

    Raises:
        MeterError: there is none of them.
    """

    def __init__(self, rails: Mapping[str, _ZeusRail]) -> None:
        self._rails: dict[str, _ZeusRail] = {}
        channels = []
        self.about = {}
        for key, rail in rails.items():
            if key not in _RAILS:
                continue
            label = _rail_label(rail)
            domain = "soc:0" if _feeds_both(label) else _RAILS[key]
            self._rails[domain] = rail
            self.about[f"{domain} rail"] = label or "unknown"
            channels.append(_rail_channel(domain, label))
        if not channels:
            raise MeterError(
                "Zeus finds no rail of an INA3221 on this Jetson",
                "`tegrastats` must show power; the kernel module is ina3221",
            )
        self.channels = tuple(channels)

    def sample(self) -> list[Sample]:
        """The power of each rail."""
        return [power_sample(domain, rail.measure_power) for domain, rail in self._rails.items()]


def _apple_values(measured: object) -> dict[str, float]:
    """Millijoules by domain, as far as the chip says them."""
    values: dict[str, float] = {}
    for field, family, _ in _APPLE:
        value = getattr(measured, field, None)
        several = value if isinstance(value, list) else [value]
        values |= {f"{family}:{n}": one for n, one in enumerate(several) if one is not None}
    return values


def _rail_channel(domain: str, label: str) -> Channel:
    return Channel(
        domain=domain,
        source=POWER,
        kind="power",
        status=Status.MEASURED,
        relative_error=JETSON_RELATIVE_ERROR,
        tick_s=TICK_S,
        within=("wall",) if domain == _MODULE else (_MODULE, "wall"),
        remark=f"rail {label or 'without a name'}, an INA3221 by Zeus; 5 % is an assumption",
    )


def _feeds_both(label: str) -> bool:
    """Whether a rail feeds processor and GPU, which Zeus takes for the processor's."""
    return "CPU" in label.upper() and "GPU" in label.upper()


def _rail_label(rail: _ZeusRail) -> str:
    """The name of a rail, which the kernel keeps beside its values; empty where it is not found."""
    path = getattr(rail, "power_path", None) or getattr(rail, "voltage_path", None)
    if not isinstance(path, Path):
        return ""
    number = re.search(r"(\d+)_input$", path.name)
    for name in (f"in{number[1]}_label", f"rail_name_{number[1]}") if number else ():
        with suppress(OSError):
            return path.with_name(name).read_text("utf-8").strip()
    return ""
