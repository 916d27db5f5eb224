"""A program that runs as several processes, ranks, on one node or on several.

::

    node a    rank 0   rank 1   rank 2   rank 3        rank 0 reads the sensors of node a
    node b    rank 4   rank 5   rank 6   rank 7        rank 4 reads those of node b
                  |
                  the sum over nodes is on rank 0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joulelab.energy.reading import Status


@dataclass(frozen=True)
class Node:
    """What one node took.

    Attributes:
        name: of the machine.
        ranks: number of processes of the job on it, or ``None`` where unknown.
        duration_s: length of the window on its own clock, or ``None``.
        energy_j: joules of what counts on it, or ``None``.
        error_j: bound of their absolute error, or ``None``.
        status: of that energy.
        reason: why it is missing, or a remark.
    """

    name: str
    ranks: int | None
    duration_s: float | None
    energy_j: float | None
    error_j: float | None
    status: Status
    reason: str = ""


@dataclass(frozen=True)
class Job:
    """The job that a measurement is part of.

    Attributes:
        id: of the scheduler or the launcher; empty where it gives none.
        ranks: number of processes on all nodes.
        nodes: those of the measurement; one where other nodes are not in it.
    """

    id: str
    ranks: int
    nodes: tuple[Node, ...]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Job:
        """The inverse of `joulelab.energy.reading.plain_data`."""
        nodes = (Node(**{**node, "status": Status(node["status"])}) for node in data["nodes"])
        return cls(**{**data, "nodes": tuple(nodes)})
