"""Channels of one recording that overlap: each joule of them counts once.

::

    total 40 W    cpu:0 40 W    gpu:0 0 W throughout      gpu:0 is not there; cpu:0 is within total
    power 100 W   cpu 40 W      gpu 60 W                  power is the total of both: their sum says
    gpu:0 row     cpu 50 W      gpu:1 row  cpu 50 W       cpu:0 stands in all rows, and is read once
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.traces.power_columns import TOTAL, PowerColumn, contained_in
from joulelab.errors import TraceError
from joulelab.tabular.table import Table

SUMMING = 0.02
"""By what part a total may differ from the sum of its parts, and a repeated value from itself."""


@dataclass(frozen=True)
class Taken:
    """A channel, and the column that it was taken from."""

    samples: ChannelSamples
    column: PowerColumn

    @property
    def domain(self) -> str:
        """What it is of."""
        return self.samples.channel.domain

    def of(self, domain: str) -> Taken:
        """The same as another domain's."""
        channel = replace(self.samples.channel, domain=domain)
        return replace(self, samples=replace(self.samples, channel=channel))


def without_overlaps(
    table: Table, taken: Sequence[Taken], flags: list[str]
) -> tuple[ChannelSamples, ...]:
    """The channels, each once, and each with the domains that contain it.

    Args:
        table: that they are from.
        taken: with the columns of them.
        flags: for what is left out.

    Raises:
        TraceError: it cannot be told what contains what, or one domain has two powers.
    """
    kept = [one.samples for one in _without_zeros(_once(table, _totalled(table, taken)), flags)]
    domains = list(dict.fromkeys(one.channel.domain for one in kept))
    return tuple(
        replace(one, channel=replace(one.channel, within=contained_in(one.channel.domain, domains)))
        for one in kept
    )


def _totalled(table: Table, taken: Sequence[Taken]) -> list[Taken]:
    """The same; power of no part of the machine beside that of parts is their total.

    Raises:
        TraceError: it is not.
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
        f"{table.path} has several columns of power, and does not say what contains what: {names}",
        "name those that count by --power COLUMN (power=COLUMN), each as often as needed",
    )


def _once(table: Table, taken: Sequence[Taken]) -> list[Taken]:
    """Each channel once: what stands in the rows of every device is read from those of the first.

    Raises:
        TraceError: what stands there differs.
    """
    kept: dict[tuple[str, str], Taken] = {}
    for one in taken:
        first = kept.setdefault((one.domain, one.samples.channel.source), one)
        size = min(len(first.samples.values), len(one.samples.values))
        theirs, own = first.samples.values[:size], one.samples.values[:size]
        if not np.allclose(theirs, own, rtol=SUMMING, equal_nan=True):
            raise TraceError(
                f"{table.path} has {one.domain} twice, with different power",
                "name the column that tells them apart by --device COLUMN, or those that count by "
                "--power COLUMN (power=COLUMN)",
            )
    return list(kept.values())


def _without_zeros(taken: Sequence[Taken], flags: list[str]) -> list[Taken]:
    """Those that are not 0 throughout beside others that are not: such a device is not there."""
    zero = [bool((one.samples.values == 0).all()) for one in taken]
    if all(zero):
        return list(taken)
    for one in (one for one, nothing in zip(taken, zero, strict=True) if nothing):
        flags.append(
            f"{one.domain} is 0 W throughout, which nothing is that is switched on: left out"
        )
    return [one for one, nothing in zip(taken, zero, strict=True) if not nothing]
