"""TensorBoard: an event file beside those of the training.

Each series says in its description which status the energy had at first; where that changes, the
series goes on under a name with the new status.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from joulelab.errors import UsageError
from joulelab.optional import optional, require
from joulelab.sinks.sink import Seen, Sink


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
        for name, value in seen.numbers().items():
            about = f"gross; {seen.status}" if name.startswith("energy") else None
            self._writer.add_scalar(
                f"joulelab/{name}", value, step, wall_time=seen.at, description=about
            )
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
