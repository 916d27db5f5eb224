"""Add up what the nodes of a job took; each device counts once.

::

    node a   gpu:0 gpu:1 cpu:0        a/gpu:0 a/gpu:1 a/cpu:0
    node b   gpu:0 gpu:1 cpu:0        b/gpu:0 b/gpu:1 b/cpu:0     = the sum over nodes

Two nodes may be on one machine, such as two launchers on one host. What an earlier node has counted
of it is left out of a later one; GPUs are told apart by their UUIDs, because a container may number
them differently.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from joulelab import formats
from joulelab.energy.carbon.footprint import Footprint
from joulelab.energy.job import Job, Node
from joulelab.energy.measurement import Measurement
from joulelab.energy.ranks import Rank
from joulelab.energy.reading import Reading, Status, total

UNLIKE, LEAST_UNLIKE_S = 0.1, 1.0
"""Durations of nodes that differ by more than this share, and this time, are mentioned."""


@dataclass(frozen=True)
class Share:
    """What one node has sent.

    Attributes:
        node: its number.
        name: of the machine.
        machine: tells it from others.
        ranks: on it, or ``None``.
        measurement: of the window; ``None`` if it was not heard of.
        devices: UUIDs of GPUs, by domain.
        reason: why there is no measurement.
    """

    node: int
    name: str
    machine: str = ""
    ranks: int | None = None
    measurement: Measurement | None = None
    devices: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        measured = self.measurement.to_dict() if self.measurement else None
        return {**vars(self), "measurement": measured, "devices": dict(self.devices)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Share:
        """The inverse of `to_dict`."""
        measured = data["measurement"]
        return cls(**{**data, "measurement": measured and Measurement.from_dict(measured)})

    def device(self, reading: Reading) -> str:
        """What tells the device of a reading from all others."""
        if reading.source == "estimate":  # of the processes of this node, and not of the machine
            return f"node {self.node} {reading.domain}"
        return f"{self.machine} {self.devices.get(reading.domain, reading.domain)}"


def node_of(share: Share) -> Node:
    """One node's row.

    Args:
        share: of the node.
    """
    if share.measurement is None:
        return Node(share.name, share.ranks, None, None, None, Status.MISSING, share.reason)
    found = share.measurement.total
    return Node(
        share.name,
        share.ranks,
        share.measurement.duration_s,
        found.gross_j,
        found.error_j,
        found.status,
    )


def sum_over_nodes(rank: Rank, shares: Sequence[Share]) -> Measurement:
    """The measurement of a job: domains named by node, and their sum.

    Args:
        rank: of this process.
        shares: of all nodes, that of this process first.

    Returns:
        A measurement with a job. Its energy is unknown if that of one node is.
    """
    own = shares[0].measurement
    assert own is not None
    taken: set[str] = set()
    readings: list[Reading] = []
    others: list[Reading] = []
    left_out: set[str] = set()
    nodes: list[Node] = []
    unknown: list[str] = []
    counted: list[str] = []
    flags: list[str] = []
    measured: list[Measurement] = []
    names = _names(shares)
    for share, name in zip(shares, names, strict=True):
        one = share.measurement
        if one is None or one.energy_j is None:
            reason = share.reason or "no energy is known on it"
            unknown.append(name)
            readings.append(Reading(name, "node", Status.MISSING, None, None, None, 0.0, reason))
            nodes.append(replace(node_of(share), name=name, reason=reason))
            continue
        measured.append(one)
        twice = {reading.domain for reading in one.readings if share.device(reading) in taken}
        kept = [reading for reading in one.readings if reading.domain not in twice]
        taken |= {share.device(reading) for reading in kept if reading.domain not in one.left_out}
        readings += [_on(name, reading) for reading in kept]
        others += [_on(name, reading) for reading in one.others if reading.domain not in twice]
        left_out |= {f"{name}/{domain}" for domain in one.left_out}
        part = total(reading for reading in kept if reading.domain in one.total.domains)
        counted += [f"{name}/{domain}" for domain in part.domains]
        flags += [f"{name}: {flag}" for flag in one.flags]
        remark = "on the machine of an earlier node, counted there" if twice else ""
        nodes.append(
            replace(
                node_of(share),
                name=name,
                energy_j=part.gross_j if part.domains else 0.0,
                error_j=part.error_j if part.domains else 0.0,
                status=part.status if part.domains else one.total.status,
                reason=remark,
            )
        )
    flags += _unlike(measured, [node.name for node in nodes if node.duration_s is not None])
    return Measurement(
        label=own.label,
        started_at=own.started_at,
        duration_s=max(one.duration_s for one in (own, *measured)),
        readings=tuple(readings),
        samples=sum(one.samples for one in measured),
        longest_gap_s=max((one.longest_gap_s for one in measured), default=0.0),
        flags=tuple(flags),
        domains=(*counted, *unknown),
        footprint=_footprint([one.footprint for one in measured], unknown),
        others=tuple(others),
        left_out=tuple(sorted(left_out)),
        job=Job(rank.job, rank.ranks, tuple(nodes)),
    )


def _names(shares: Iterable[Share]) -> list[str]:
    """Names of nodes, with their number where two have the same."""
    listed = list(shares)
    names = [share.name for share in listed]
    return [
        share.name if names.count(share.name) == 1 else f"{share.name}:{share.node}"
        for share in listed
    ]


def _on(node: str, reading: Reading) -> Reading:
    within = tuple(f"{node}/{domain}" for domain in reading.within)
    return replace(reading, domain=f"{node}/{reading.domain}", within=within)


def _unlike(measured: Sequence[Measurement], names: Sequence[str]) -> list[str]:
    """A remark on nodes whose windows are not of one length."""
    lengths = {name: one.duration_s for name, one in zip(names, measured, strict=False)}
    if not lengths:
        return []
    longest, shortest = max(lengths, key=lengths.__getitem__), min(lengths, key=lengths.__getitem__)
    apart_s = lengths[longest] - lengths[shortest]
    if apart_s <= max(LEAST_UNLIKE_S, UNLIKE * lengths[longest]):
        return []
    said = [f"{name} measured {formats.duration(lengths[name])}" for name in (longest, shortest)]
    return [f"{said[0]} and {said[1]}: are these the same work?"]


def _footprint(found: Sequence[Footprint | None], unknown: Sequence[str]) -> Footprint | None:
    """The sum of CO2e; unknown if that of one node is."""
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found):
        return None
    first = known[0]
    if unknown:
        reason = f"the energy of {', '.join(unknown)} is unknown"
        return replace(first, grams=None, error_g=None, reason=reason)
    if any(one.grams is None for one in known):
        return next(one for one in known if one.grams is None)
    grams, errors = [one.grams or 0.0 for one in known], [one.error_g for one in known]
    error_g = None if None in errors else math.fsum(one or 0.0 for one in errors)
    return replace(first, grams=math.fsum(grams), error_g=error_g)
