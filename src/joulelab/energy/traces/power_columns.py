"""Find the columns of power or energy in a foreign table, and their domains.

A heading is split into words: ``cuda:1 (gpu:1)/power_usage (W)/mean``, ``GPU0_POWER (mWatts)``,
``PkgWatt``, ``power_w_0``, ``CPU Package Power [W]``. Some mean power, some name a part of the
machine (`WORDS`), a number selects one of several. The rest is a free label::

    quantity   power, watts, a unit of power; energy, a unit of energy
    part       gpu, pkg, ram ...            a domain:  gpu:0, cpu:0, dram:0 ...
    manner     instant, average, mean       ways to say the same: the first that has numbers counts
    label      node1                        columns with different labels are different things

Channels of one recording may overlap: each joule of them counts once (`without_overlaps`)::

    total 40 W    cpu:0 40 W    gpu:0 0 W throughout      gpu:0 is absent; cpu:0 is within total
    power 100 W   cpu 40 W      gpu 60 W                  power is the total of both, by its sum
    gpu:0 row     cpu 50 W      gpu:1 row  cpu 50 W       cpu:0 is in all rows, and is read once

Limits, maxima and shares are not power. Parts that contain others (package and cores, a total and
its parts) are marked so, and no sum has both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.errors import TraceError
from joulelab.tabular.table import Heading, Table

WATTS = {
    **dict.fromkeys(("w", "watt", "watts"), 1.0),
    **dict.fromkeys(("mw", "mwatt", "mwatts", "milliwatt", "milliwatts"), 1e-3),
    **dict.fromkeys(("uw", "µw", "μw", "microwatt", "microwatts"), 1e-6),
    **dict.fromkeys(("kw", "kwatt", "kilowatt", "kilowatts"), 1e3),
}
JOULES = {
    **dict.fromkeys(("j", "joule", "joules", "ws"), 1.0),
    **dict.fromkeys(("mj", "millijoule", "millijoules"), 1e-3),
    **dict.fromkeys(("uj", "µj", "μj", "microjoule", "microjoules"), 1e-6),
    **dict.fromkeys(("kj", "kilojoule", "kilojoules"), 1e3),
    **dict.fromkeys(("mwh",), 3.6),
    **dict.fromkeys(("wh", "watthours"), 3600.0),
    **dict.fromkeys(("kwh",), 3.6e6),
}
TOTAL = "total"
WORDS: Mapping[str, str] = {
    **dict.fromkeys(("gpu", "cuda", "dgpu"), "gpu"),
    **dict.fromkeys(("pkg", "package", "cpu", "processor", "socket"), "cpu"),
    **dict.fromkeys(("core", "cores", "cor", "pp0", "ia"), "core"),
    **dict.fromkeys(("uncore", "gfx", "igpu", "gt", "pp1"), "uncore"),
    **dict.fromkeys(("ram", "dram", "mem", "memory"), "dram"),
    **dict.fromkeys(("ane",), "ane"),
    **dict.fromkeys(("psys", "platform", "sys"), "psys"),
    **dict.fromkeys((TOTAL, "combined", "system", "sum"), TOTAL),
    **dict.fromkeys(("wall", "plug", "outlet", "mains", "apower", "aenergy"), "wall"),
}
_ORDER = ("core", "uncore", "dram", "ane", "gpu", "cpu", "psys", "wall")
"""If a heading names several parts, the first counts: ``CPU Core Power`` is of the cores."""
_CONTAINED: Mapping[str, tuple[str, ...]] = {
    "core": ("cpu", "psys", TOTAL, "wall"),
    "uncore": ("cpu", "psys", TOTAL, "wall"),
    "cpu": ("psys", TOTAL, "wall"),
    "dram": ("psys", TOTAL, "wall"),
    "gpu": (TOTAL, "wall"),
    "ane": ("psys", TOTAL, "wall"),
    "psys": (TOTAL, "wall"),
    TOTAL: ("wall",),
    "wall": (),
}
_POWER = {"power", "pwr", "watt", "watts", "apower"}
_ENERGY = {"energy", "joules", "aenergy"}
_MANNERS = ("instant", "instantaneous", "", "draw", "current", "average", "avg", "mean", "last")
_OF_NO_POWER = """
    limit limits cap max min maximum minimum peak tdp default enforced budget target state mode
    supply management apparent reactive percent percentage pct utilization utilisation util std
    stddev var variance factor ret return returned cost price saving brake slowdown throttle fund
    aprt violation temperature temp agent rail chip rest soc vrm slot pin pcie input output
"""
_NO_POWER = frozenset(_OF_NO_POWER.split())
_PACKAGES = frozenset({"package", "socket"})
_FILLING = {*_POWER, *_ENERGY, *_MANNERS, *WATTS, *JOULES, "usage", "value", "consumption", "now"}
_UNIT = re.compile(r"[\[(]\s*([^\])]*?)\s*[\])]")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WATTS_IN_CELL = re.compile(r"^[-+]?[\d.,]+\s?([mk]?W|Watts?)$")
_PARTS = re.compile(r"[a-zµμ]+|\d+")
_NUMBERED = re.compile(r"(pp[01])")


@dataclass(frozen=True)
class PowerColumn:
    """A column of power or energy.

    Attributes:
        name: of the column.
        kind: power or energy; whether energy is cumulative follows from the values.
        family: the part of the machine: ``gpu``, ``cpu`` ...; empty if the heading names none.
        number: number of the part; ``None`` if the heading has none.
        label: any other distinguishing text.
        manner: rank of its manner; the first counts.
    """

    name: str
    kind: Literal["power", "energy"]
    family: str = ""
    number: int | None = None
    label: str = ""
    manner: int = 0

    @property
    def what(self) -> tuple[str, int | None, str]:
        """The thing measured; two columns of the same thing are alternatives."""
        return self.family, self.number, self.label


def power_columns(table: Table) -> list[PowerColumn]:
    """The power columns, and energy columns of things without a power column.

    A plug's counter is used in addition to its power: both come in the same answer.

    Args:
        table: with units in its headings, see `with_units`.
    """
    found = [
        one
        for name, heading in table.headings.items()
        if (one := read_heading(name, heading)) is not None
    ]
    powers = {one.what[:2] for one in found if one.kind == "power"}
    if ("", None) in powers:
        powers.add((TOTAL, None))  # total_energy_consumption: cumulative, not the sum of all parts
    return [
        one
        for one in found
        if one.kind == "power" or one.family == "wall" or one.what[:2] not in powers
    ]


def read_heading(name: str, heading: Heading) -> PowerColumn | None:
    """The meaning of a heading; ``None`` if it is neither power nor energy."""
    words = _words(heading.text)
    if "graphics" in words:  # rocm-smi: Average Graphics Package Power
        words = ["gpu" if one == "graphics" else one for one in words if one not in _PACKAGES]
    kind = _kind(words, heading.unit.casefold())
    if kind is None or _NO_POWER.intersection(words):
        return None
    families = [WORDS[word] for word in words if word in WORDS]
    if {"cpu", "gpu"} <= set(families) and "+" not in heading.text and TOTAL not in families:
        return PowerColumn(name, kind, label="".join(words))  # a rail of both and more
    if "gpu" in families and {"core", "dram"}.intersection(families):
        return None  # a rail within a card
    places = [at for at, word in enumerate(words) if word.isdigit() and words[at - 1] in WORDS]
    if not places and len(words) > 1 and words[-1].isdigit():
        places = [len(words) - 1]
    number = int(words[places[-1]]) if places else None
    label = "".join(
        word
        for at, word in enumerate(words)
        if word not in WORDS and word not in _FILLING and at not in places
    )
    manners = [_MANNERS.index(word) for word in words if word in _MANNERS]
    manner = max(manners, default=_MANNERS.index(""))
    return PowerColumn(name, kind, _family(families), number, label, manner)


def with_units(table: Table) -> Table:
    """The same with units of power and energy found inside a heading, or only in cells."""
    headings = {}
    for name, heading in table.headings.items():
        units = [unit for unit in _UNIT.findall(heading.text) if _is_unit(unit)]
        if not units and not heading.unit:
            units = [word for word in _words(heading.text) if _is_unit(word)]
        if not units and not heading.unit:
            units = _WATTS_IN_CELL.findall(str(table.frame[name].iloc[0]))
        headings[name] = replace(heading, unit=units[-1]) if units else heading
    return replace(table, headings=headings)


def contained_in(domain: str, domains: Iterable[str]) -> tuple[str, ...]:
    """The domains of a recording that contain one of them, and the wall, which contains all.

    Args:
        domain: ``gpu:0``, ``node1/core:0``, ``total`` ...
        domains: all of the recording.
    """
    host, _, own = domain.rpartition("/")
    family, _, number = own.partition(":")
    around = _CONTAINED.get(family, (TOTAL, "wall"))
    found = []
    for other in dict.fromkeys(domains):
        other_host, _, name = other.rpartition("/")
        other_family, _, other_number = name.partition(":")
        if other == domain or other_host not in (host, ""):
            continue
        everything = other_number == "all" and other_family == family
        near = other_family in around and (
            other_family in ("psys", TOTAL, "wall")
            or other_number in (number, "all")
            or sum(one.startswith(f"{other_family}:") for one in domains) == 1
        )
        if everything or near:
            found.append(other)
    return tuple(dict.fromkeys((*found, *(("wall",) if own != "wall" else ()))))


def domain_of(column: PowerColumn, known: Sequence[PowerColumn]) -> str:
    """The domain of a column; empty if its heading names no part of the machine.

    Args:
        column: one of them.
        known: all of the table.
    """
    if not column.family and column.number is None:
        return ""
    numbered = [one for one in known if one.family == column.family and one.number is not None]
    if column.family in ("", TOTAL, "wall"):
        number = "" if column.number is None else f":{column.number}"
        return f"{column.family or 'gpu'}{number}"
    if column.number is None:
        return f"{column.family}:{'all' if numbered else 0}"
    return f"{column.family}:{column.number}"


def _words(text: str) -> list[str]:
    apart = _HUMP.sub(" ", _UNIT.sub(_kept, text))
    return [
        part
        for word in re.split(r"[^0-9A-Za-zµμ]+", apart.casefold())
        for part in ([word] if _NUMBERED.fullmatch(word) else _PARTS.findall(word))
    ]


def _kept(match: re.Match[str]) -> str:
    """Text in brackets belongs to the heading unless it is a unit."""
    return " " if _is_unit(match[1]) or not re.search(r"\d", match[1]) else f" {match[1]} "


def _is_unit(text: str) -> bool:
    return text.casefold() in WATTS or text.casefold() in JOULES


def _kind(words: Sequence[str], unit: str) -> Literal["power", "energy"] | None:
    last = next((word for word in reversed(words) if not word.isdigit()), "")
    if unit in WATTS or (not unit and (_POWER.intersection(words) or last in WATTS)):
        return "power" if not _ENERGY.intersection(words) or unit in WATTS else None
    if unit in JOULES or (not unit and last in JOULES):
        return "energy"
    return None


def _family(families: Sequence[str]) -> str:
    distinct = set(families)
    if {"cpu", "gpu"} <= distinct:
        return TOTAL
    if TOTAL in distinct and len(distinct) == 1:
        return TOTAL
    return next((one for one in _ORDER if one in distinct), "")


SUMMING = 0.02
"""Tolerance between a total and the sum of its parts, and between repeated values."""


@dataclass(frozen=True)
class Taken:
    """A channel and its column."""

    samples: ChannelSamples
    column: PowerColumn

    @property
    def domain(self) -> str:
        """Its domain."""
        return self.samples.channel.domain

    def of(self, domain: str) -> Taken:
        """The same for another domain."""
        channel = replace(self.samples.channel, domain=domain)
        return replace(self, samples=replace(self.samples, channel=channel))


def without_overlaps(
    table: Table, taken: Sequence[Taken], flags: list[str]
) -> tuple[ChannelSamples, ...]:
    """The channels without duplicates, each with the domains that contain it.

    Args:
        table: the table of the channels.
        taken: channels with their columns.
        flags: receives remarks on omitted channels.

    Raises:
        TraceError: it is unclear which contain which, or a domain has two different powers.
    """
    kept = [one.samples for one in _without_zeros(_once(table, _totalled(table, taken)), flags)]
    domains = list(dict.fromkeys(one.channel.domain for one in kept))
    return tuple(
        replace(one, channel=replace(one.channel, within=contained_in(one.channel.domain, domains)))
        for one in kept
    )


def _totalled(table: Table, taken: Sequence[Taken]) -> list[Taken]:
    """The same; power without a part, next to power of parts, is their total.

    Raises:
        TraceError: it is not their total.
    """
    bare = [not one.column.family and one.column.number is None for one in taken]
    if all(bare) or not any(bare):
        return list(taken)
    return [
        _as_total(table, one, taken) if whole else one
        for one, whole in zip(taken, bare, strict=True)
    ]


def _as_total(table: Table, whole: Taken, taken: Sequence[Taken]) -> Taken:
    host = whole.domain.rpartition("/")[0]
    size, values = len(whole.samples.values), whole.samples.values
    parts = [
        one.samples.power_w()
        for one in taken
        if one is not whole
        and one.domain.rpartition("/")[0] == host
        and len(one.samples.values) == size
    ]
    apart = np.abs(np.sum(parts, axis=0) - values) if parts else np.empty(0)
    known = np.isfinite(apart)
    if known.any() and np.median(apart[known]) <= SUMMING * float(np.median(values[known])):
        return whole.of(f"{host}/{TOTAL}" if host else TOTAL)
    names = ", ".join(dict.fromkeys(one.column.name for one in taken))
    raise TraceError(
        f"{table.path} has several power columns, and it is unclear which contain which: {names}",
        "select those that count with --power COLUMN (power=COLUMN), each as often as needed",
    )


def _once(table: Table, taken: Sequence[Taken]) -> list[Taken]:
    """Each channel once: values repeated in the rows of every device are read from the first.

    Raises:
        TraceError: the values differ.
    """
    kept: dict[tuple[str, str], Taken] = {}
    for one in taken:
        first = kept.setdefault((one.domain, one.samples.channel.source), one)
        size = min(len(first.samples.values), len(one.samples.values))
        theirs, own = first.samples.values[:size], one.samples.values[:size]
        if not np.allclose(theirs, own, rtol=SUMMING, equal_nan=True):
            raise TraceError(
                f"{table.path} has {one.domain} twice, with different power",
                "name the column that identifies the device with --device COLUMN, or the power "
                "columns that count with --power COLUMN (power=COLUMN)",
            )
    return list(kept.values())


def _without_zeros(taken: Sequence[Taken], flags: list[str]) -> list[Taken]:
    """Drop channels that are 0 throughout while others are not: such a device does not exist."""
    zero = [bool((one.samples.values == 0).all()) for one in taken]
    if all(zero):
        return list(taken)
    for one in (one for one, nothing in zip(taken, zero, strict=True) if nothing):
        flags.append(
            f"{one.domain} is 0 W throughout, which is impossible for a device that is on: left out"
        )
    return [one for one, nothing in zip(taken, zero, strict=True) if not nothing]
