"""Weights & Biases: values in the run of this program, or an offline run of its own.

``wandb sync DIR/wandb/offline-run-...`` uploads it; joulelab never does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joulelab
from joulelab.errors import UsageError
from joulelab.optional import optional, require
from joulelab.sinks.sink import JOINED, Seen, Sink

PROJECT = "joulelab"


class WandbSink(Sink):
    """A run of Weights & Biases.

    Args:
        address: folder of an offline run; default: the run that this program has begun, else
            the working directory.

    Raises:
        MissingDependencyError: wandb is not installed.
    """

    every_s = 10.0

    def __init__(self, address: str = "") -> None:
        self._folder = Path(address).expanduser() if address else None
        self.name = f"wandb {address}".rstrip()
        require("wandb", user=self.name)
        self._run: Any = None
        self._own = True
        self._looks = 0

    def open(self, label: str) -> None:
        """Begin an offline run, where the program has none.

        Raises:
            UsageError: the folder cannot be written.
        """
        wandb = optional("wandb", self.name)
        self._own = self._folder is not None or wandb.run is None
        self._looks = 0
        if not self._own:
            self._run = wandb.run
            return
        folder = self._folder or Path()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{folder} cannot be written: {error.strerror}", "give another folder"
            ) from error
        self._run = wandb.init(
            mode="offline",
            dir=folder,
            project=PROJECT,
            name=label or None,
            reinit="create_new",
            settings=wandb.Settings(
                silent=True, console="off", x_disable_stats=True, x_disable_meta=True
            ),
        )

    def put(self, seen: Seen) -> None:
        """Log all numbers; in the program's own run they join what it logs next."""
        if self._own:
            step = self._looks if seen.step is None else seen.step
            self._run.log(seen.numbers(), step=step)
        else:
            self._run.log(seen.numbers(JOINED), commit=False)
        self._looks += 1
        summary = {"joulelab/status": str(seen.status), "joulelab/state": seen.state}
        self._run.summary.update({**summary, "joulelab/version": joulelab.__version__})

    def close(self) -> None:
        """End the run, if it is our own."""
        if self._own and self._run is not None:
            self._run.finish()
        self._run = None
