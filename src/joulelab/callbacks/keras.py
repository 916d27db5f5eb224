"""Energy in Keras 3, on any backend: ``model.fit(..., callbacks=[EnergyCallback()])``."""

from __future__ import annotations

from typing import Any

from joulelab.callbacks import Followed
from joulelab.optional import optional

_keras: Any = optional("keras", "joulelab.callbacks.keras")


class EnergyCallback(Followed, _keras.callbacks.Callback):  # type: ignore[misc]  # no types
    """Adds energy, power and forecast to the logs of each epoch, and stops at a budget.

    The arguments are those of `Followed`.
    """

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begin."""
        self._values: dict[str, float] = {}
        self.begin(self.params.get("epochs"))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log, and stop where another epoch would overshoot."""
        if self.epoch_done(epoch) and self.follower is not None:
            self._values = self.follower.values()
        if logs is not None:
            logs.update(self._values)  # after each epoch: histories are equally long
        if self.over_anywhere:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """End."""
        self.end()
