"""What a finished block has of its measurement."""

from __future__ import annotations

from abc import ABC, abstractmethod

from joulelab.energy.job import Node
from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Status


class BlockResult(ABC):
    """The figures of `result`; each raises a `MeterError` before the block has finished."""

    @property
    @abstractmethod
    def result(self) -> Measurement:
        """The measurement of the finished block.

        Raises:
            MeterError: the block has not finished.
        """

    @property
    def energy_j(self) -> float | None:
        """Gross energy in joules over the domains that count; ``None`` where unknown."""
        return self.result.energy_j

    @property
    def net_j(self) -> float | None:
        """Gross less idle energy in joules; ``None`` where either is unknown."""
        return self.result.total.net_j

    @property
    def error_j(self) -> float | None:
        """Bound of the error of `energy_j` in joules."""
        return self.result.total.error_j

    @property
    def net_error_j(self) -> float | None:
        """Bound of the error of `net_j` in joules: of `energy_j` plus idle energy."""
        return self.result.total.net_error_j

    @property
    def status(self) -> Status:
        """Measured, partly estimated, estimated or missing."""
        return self.result.total.status

    @property
    def duration_s(self) -> float:
        """Length of the window in seconds."""
        return self.result.duration_s

    @property
    def co2e_g(self) -> float | None:
        """Carbon dioxide equivalent in grams; ``None`` where place or energy is unknown."""
        return self.result.co2e_g

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What each node took; empty for a program of one process."""
        return self.result.nodes
