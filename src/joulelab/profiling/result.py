"""The result of a profile: energy by function, by chain of calls and by phase.

::

    self     in the function itself, and in what it calls that is not Python
    total    with the Python functions that it calls
    own      for functions of the user's program: with the libraries that they call

The sum of `self` over all functions is the energy of the measurement. No sensor sees a function:
its energy is a share of a measured one and so an estimate.
"""

from __future__ import annotations

import math
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import joulelab
from joulelab.energy.measurement import Measurement
from joulelab.energy.phases import SHORT, PhaseEnergy
from joulelab.energy.reading import Status, family
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.profiling.sampler import PhaseTime
from joulelab.profiling.stacks import Node

FEW = 100
"""Fewer samples than this are coarse."""
IMPORTING = "<frozen importlib"
MODULE = "<module>"
UNSEEN = "(not sampled)"
PACKAGE = Path(joulelab.__file__).parent
_LIBRARIES = ("stdlib", "platstdlib", "purelib", "platlib")


@dataclass(frozen=True)
class Function:
    """A Python function: its name and where it begins.

    Attributes:
        name: qualified: ``"Trainer.step"``; ``"<module>"`` for the top level of a file.
        file: path; empty for what no sample has seen.
        line: of its definition.
    """

    name: str
    file: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """``train.py:12``."""
        return f"{Path(self.file).name}:{self.line}" if self.file else ""

    def __str__(self) -> str:
        """``step (train.py:12)``."""
        if self.name == MODULE:
            return f"the top level of {Path(self.file).name}"
        return f"{self.name} ({self.place})" if self.file else self.name

    @property
    def is_own(self) -> bool:
        """Whether it is part of the user's program, and not of Python or of a library."""
        return bool(self.file) and not _in_library(self.file)


@dataclass(frozen=True)
class FunctionEnergy:
    """What a function took.

    Attributes:
        function: the function.
        self_j: in itself, in joules; None where unknown.
        total_j: with the Python functions that it calls.
        own_j: for a function of the user's program: with the libraries that it calls.
        self_share: of `self_j` in the energy of all; where that is unknown, of time.
        total_share: likewise.
        own_share: likewise.
        time_s: time for which it was seen to run itself, or to wait, of all threads together.
        gpu_j: energy of GPUs in `self_j`.
        status: estimated, or missing.
    """

    function: Function
    self_j: float | None
    total_j: float | None
    own_j: float | None
    self_share: float
    total_share: float
    own_share: float
    time_s: float
    gpu_j: float | None
    status: Status


@dataclass
class Call:
    """A chain of calls.

    Attributes:
        function: at its end.
        size: joules in that function itself; where energy is unknown, seconds.
        total: with the functions that it calls.
        calls: the chains that go on from here.
        domains_j: `size` by domain.
        time_s: time for which the function itself was seen to run, or to wait.
    """

    function: Function
    size: float = 0.0
    total: float = 0.0
    calls: list[Call] = field(default_factory=list)
    domains_j: dict[str, float] = field(default_factory=dict)
    time_s: float = 0.0

    def chains(self) -> Iterator[tuple[tuple[Function, ...], Call]]:
        """This chain and all that go on from it, with the functions in each from here on."""
        rest: list[tuple[tuple[Function, ...], Call]] = [((), self)]
        while rest:
            path, call = rest.pop()
            yield path, call
            rest += [((*path, one.function), one) for one in call.calls]


@dataclass(frozen=True)
class Profile:
    """The energy of a program and its parts.

    Attributes:
        measurement: of the whole.
        functions: those with most energy in themselves first.
        phases: what each `joulelab.phase` took.
        calls: the whole, with the chains of calls in it.
        samples: number of sampled stacks.
        rate_hz: samples in a second that were asked for.
    """

    measurement: Measurement
    functions: tuple[FunctionEnergy, ...]
    phases: Mapping[str, PhaseEnergy]
    calls: Call
    samples: int
    rate_hz: float

    @property
    def energy_j(self) -> float | None:
        """Energy of the whole in joules; None where unknown."""
        return self.measurement.energy_j

    @property
    def top(self) -> FunctionEnergy | None:
        """The function that costs most: of the user's program, with the libraries that it calls."""
        seen = [one for one in self.functions if one.function.file]
        own = [one for one in seen if one.function.is_own]
        return max(own or seen, key=lambda one: one.own_share, default=None)

    @property
    def devices(self) -> tuple[str, ...]:
        """The GPUs whose energy is divided."""
        domains = self.measurement.total.domains
        return tuple(domain for domain in domains if family(domain) == "gpu")


@dataclass(frozen=True)
class Divided:
    """What a profile has gathered, before it is scaled to the measurement.

    Attributes:
        root: of the tree of calls.
        phases_j: energy of each channel in each phase.
        phase_times: how often each phase occurred, and how long.
        samples: number of sampled stacks.
        rate_hz: samples in a second.
    """

    root: Node
    phases_j: Mapping[str, Sequence[float]]
    phase_times: Mapping[str, PhaseTime]
    samples: int
    rate_hz: float

    def profile(self, measurement: Measurement, samples: Sequence[ChannelSamples]) -> Profile:
        """The result.

        Args:
            measurement: of the whole.
            samples: of each channel.
        """
        scales = self._scales(measurement, samples)
        calls = _calls(self.root, scales, known=measurement.energy_j is not None)
        functions = _functions(calls, measurement)
        phases = self._phases(measurement, scales, samples)
        return Profile(measurement, functions, phases, calls, self.samples, self.rate_hz)

    def _scales(
        self, measurement: Measurement, samples: Sequence[ChannelSamples]
    ) -> list[tuple[int | None, str, float]]:
        """For each domain that counts: its channel, its name, and its joules for each divided one.

        A domain of which no channel was divided, or no energy, is divided by time.
        """
        counted = measurement.total.domains
        found: list[tuple[int | None, str, float]] = []
        all_s = math.fsum(node.time_s for node in self.root.walk())
        for reading in measurement.readings:
            if reading.domain not in counted or reading.gross_j is None:
                continue
            of = [
                number
                for number, one in enumerate(samples)
                if (one.channel.domain, one.channel.source) == (reading.domain, reading.source)
            ]
            divided_j = math.fsum(node.energy_j[n] for node in self.root.walk() for n in of[:1])
            if of and divided_j > 0:
                found.append((of[0], reading.domain, reading.gross_j / divided_j))
            elif all_s > 0:
                found.append((None, reading.domain, reading.gross_j / all_s))
            else:
                self.root.time_s = all_s = 1.0
                found.append((None, reading.domain, reading.gross_j))
        return found

    def _phases(
        self,
        measurement: Measurement,
        scales: Sequence[tuple[int | None, str, float]],
        samples: Sequence[ChannelSamples],
    ) -> dict[str, PhaseEnergy]:
        whole = measurement.total.status
        tick_s = max((max(one.interval_s, one.channel.tick_s) for one in samples), default=0.0)
        found = {}
        for name, time in self.phase_times.items():
            divided = self.phases_j.get(name)
            energy_j = None
            if divided is not None and measurement.energy_j is not None:
                share = time.duration_s / measurement.duration_s
                energy_j = math.fsum(
                    reading_j * share if number is None else divided[number] * scale
                    for number, domain, scale in scales
                    if (reading_j := measurement[domain].gross_j) is not None
                )
            short = time.duration_s < SHORT * tick_s * time.times
            statuses = [whole, Status.ESTIMATED] if short else [whole]
            status = Status.MISSING if energy_j is None else Status.of_sum(statuses)
            found[name] = PhaseEnergy(time.duration_s, energy_j, status, time.times)
        return found


def _calls(root: Node, scales: Sequence[tuple[int | None, str, float]], *, known: bool) -> Call:
    """The chains of calls, scaled; functions with the same name and place are one.

    Python's own code for an import counts for the code that imports.
    """
    made: dict[int, Call] = {}
    places: dict[tuple[int, Function], Call] = {}
    order: list[tuple[Call, Call | None]] = []
    for node in root.walk():
        above = made[id(node.parent)] if node.parent is not None else None
        function = _function(node)
        call = places.get((id(above), function))
        if above is not None and function.file.startswith(IMPORTING):
            call = above
        if call is None:
            call = places[id(above), function] = Call(function)
            order.append((call, above))
            if above is not None:
                above.calls.append(call)
        made[id(node)] = call
        for number, domain, scale in scales:
            part_j = scale * (node.time_s if number is None else node.energy_j[number])
            call.domains_j[domain] = call.domains_j.get(domain, 0.0) + part_j
        call.time_s += node.time_s
        call.size = math.fsum(call.domains_j.values()) if known else call.time_s
    for call, above in reversed(order):
        call.total += call.size
        if above is not None:
            above.total += call.total
    for call, _ in order:
        call.calls.sort(key=lambda one: -one.total)
    return made[id(root)]


def _functions(calls: Call, measurement: Measurement) -> tuple[FunctionEnergy, ...]:
    known = measurement.energy_j is not None
    status = Status.of_sum([measurement.total.status, Status.ESTIMATED])
    sizes: dict[str, dict[Function, float]] = {
        kind: {} for kind in ("self", "total", "own", "gpu", "time")
    }

    def add(kind: str, function: Function, size: float) -> None:
        sizes[kind][function] = sizes[kind].get(function, 0.0) + size

    for path, call in calls.chains():
        here = call.function
        if here == calls.function and not call.size:
            continue  # there is a stack for everything
        add("self", here, call.size)
        for function in set(path) or {here}:
            add("total", function, call.size)
        add("own", next((one for one in reversed(path) if one.is_own), here), call.size)
        gpu_j = math.fsum(j for domain, j in call.domains_j.items() if family(domain) == "gpu")
        add("gpu", here, gpu_j)
        add("time", here, call.time_s)
    whole = calls.total or 1.0

    def joules(kind: str, function: Function) -> float | None:
        return sizes[kind].get(function, 0.0) if known else None

    found = [
        FunctionEnergy(
            function,
            joules("self", function),
            joules("total", function),
            joules("own", function),
            sizes["self"][function] / whole,
            sizes["total"][function] / whole,
            sizes["own"].get(function, 0.0) / whole,
            sizes["time"][function],
            joules("gpu", function),
            status if known else Status.MISSING,
        )
        for function in sizes["self"]
    ]
    return tuple(sorted(found, key=lambda one: -one.self_share))


def _function(node: Node) -> Function:
    if node.code is None:
        return Function(UNSEEN)
    return _named(node.code.co_qualname, node.code.co_filename, node.code.co_firstlineno)


@cache
def _named(name: str, file: str, line: int) -> Function:
    # The first line of a module may be 0.
    return Function(name, file, max(1, line))


@cache
def _in_library(file: str) -> bool:
    if file.startswith(("<frozen ", "<string>", "<__")):
        return True
    path = Path(file).absolute()
    folders = {Path(sysconfig.get_path(name)) for name in _LIBRARIES} | {PACKAGE}
    return any(path.is_relative_to(one) for one in folders) or "site-packages" in path.parts
