"""What batches cost on this machine by their size, with everything that the figures depend on.

A table has a row a window; rows of one size are pooled (`BatchTable.sizes`), and the planner takes
the pooled ones (`BatchTable.costs`). `batch_table_file` writes a table and reads it back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from joulelab.energy.reading import Status
from joulelab.serving.planning.costs import BatchCosts
from joulelab.study.inference.profiling import SizeProfile, batch_costs, joint_status

TO_TELL = 2.8
"""Standard errors that a difference must have to be found four times in five, at p below .05."""
READY = "ready"
"""In place of the name of images: tensors lay ready on the device."""


@dataclass(frozen=True)
class BatchTable:
    """Measured batches of one model.

    Attributes:
        model: as the user calls it.
        weights: that it was built with.
        machine: processor or graphics card, in words.
        device: ``"cpu"`` or ``"cuda:<index>"``.
        threads: of torch on the CPU.
        images: name of the images, or `READY`.
        resize: shorter side to which they were scaled, in pixels.
        crop: side of what the model was given, in pixels.
        measured_at: when, ISO 8601.
        windows: in the order in which they were measured; batches of one image are among them.
        remarks: what happened on the way.
    """

    model: str
    weights: str
    machine: str
    device: str
    threads: int
    images: str
    resize: int
    crop: int
    measured_at: str
    windows: tuple[SizeProfile, ...]
    remarks: tuple[str, ...] = ()

    @cached_property
    def sizes(self) -> tuple[SizeProfile, ...]:
        """The windows of each size as one, the smallest size first."""
        sizes = sorted({one.size for one in self.windows})
        return tuple(
            SizeProfile.pooled([one for one in self.windows if one.size == size]) for size in sizes
        )

    @property
    def costs(self) -> BatchCosts:
        """What the planner takes."""
        return batch_costs(self.sizes)

    @property
    def largest(self) -> int:
        """The largest size that was measured."""
        return self.sizes[-1].size

    @property
    def status(self) -> Status:
        """Of all energies together."""
        return joint_status(self.windows)

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the energies come from, each once."""
        return tuple(dict.fromkeys(name for one in self.windows for name in one.energy.sources))

    @property
    def relative_error(self) -> float | None:
        """Bound of the sensors' error over the energy, of the worst size; ``None``: unknown.

        It is mostly one factor on all sizes alike.
        """
        shares = []
        for one in self.sizes:
            if one.energy.error_j is None or not one.energy.gross_j:
                return None
            shares.append(one.energy.error_j / one.energy.gross_j)
        return max(shares)

    @property
    def repeatability(self) -> float | None:
        """How far windows of one size lie from their mean at most, as a share of it.

        Of the gross energy of an image, or of the time where no energy is known; ``None`` where no
        size was measured twice.
        """
        return max((abs(one) for them in self._distances() for one in them), default=None)

    def times_to_tell(self, difference: float) -> float | None:
        """How many times as long to measure, so that costs which differ so much are told apart.

        The windows of each size are taken to scatter alike, and less by the root of their number.

        Args:
            difference: share by which two costs differ, above 0.

        Returns:
            ``None`` where no size was measured twice.
        """
        distances = self._distances()
        if not distances:
            return None
        free = sum(len(them) - 1 for them in distances)
        variance = math.fsum(one**2 for them in distances for one in them) / free
        fewest = min(map(len, distances))
        return max(1.0, 2 * TO_TELL**2 * variance / difference**2 / fewest)

    def _distances(self) -> list[list[float]]:
        """Of the windows of a size from their mean, as shares of it; of sizes with several."""
        energy_known = all(one.gross_j_per_image is not None for one in self.windows)
        distances = []
        for size in self.sizes:
            values = [
                one.gross_j_per_image if energy_known else one.seconds
                for one in self.windows
                if one.size == size.size
            ]
            known = [value for value in values if value is not None]
            mean = math.fsum(known) / len(known)
            if len(known) > 1 and mean > 0:
                distances.append([(value - mean) / mean for value in known])
        return distances
