"""TensorBoard: an event file beside those of the training.

The description of a series of energies says how they were obtained, when the series began.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from joulelab.errors import UsageError
from joulelab.optional import optional, require
from joulelab.sinks.sink import JOINED, Seen, Sink


class TensorboardSink(Sink):
    """An event file of TensorBoard.

    Args:
        address: its folder.

    Raises:
        MissingDependencyError: tensorboard is not installed.
        UsageError: no folder is named.
    """

    def __init__(self, address: str = "") -> None:
        if not address:
            raise UsageError("tensorboard needs a folder", "tensorboard:DIR")
        self._folder = Path(address).expanduser()
        self.name = f"tensorboard {address}"
        require("tensorboard", user=self.name)
        self._writer: Any = None
        self._looks = 0

    def open(self, label: str) -> None:
        """Open the event file.

        Raises:
            UsageError: it cannot be written.
        """
        summary = optional("tensorboard.summary", self.name)
        try:
            self._writer = summary.Writer(str(self._folder))
        except OSError as error:
            raise UsageError(
                f"{self._folder} cannot be written: {error.strerror or error}",
                "give another folder",
            ) from error
        self._looks = 0

    def put(self, seen: Seen) -> None:
        """Write all numbers."""
        step = self._looks if seen.step is None else seen.step
        self._looks += 1
        for name, value in seen.numbers(JOINED).items():
            self._writer.add_scalar(
                name, value, step, wall_time=seen.at, description=_about(seen, name)
            )
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _about(seen: Seen, name: str) -> str | None:
    """The status of an energy, for the description of its series."""
    statuses = {f"{JOINED}{one.domain}/energy_j": one.status for one in seen.domains}
    statuses[f"{JOINED}energy_j"] = seen.status
    return f"gross; {statuses[name]}" if name in statuses else None
