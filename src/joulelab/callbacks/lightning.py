"""Energy in Lightning: ``Trainer(callbacks=[EnergyCallback(budget="20 kJ")])``."""

from __future__ import annotations

from typing import Any

from joulelab.callbacks import Followed
from joulelab.optional import optional

_lightning: Any = optional("lightning.pytorch", "joulelab.callbacks.lightning")


class EnergyCallback(Followed, _lightning.Callback):  # type: ignore[misc]  # no types where it is missing
    """Logs energy, power and forecast after each epoch, and stops at a budget.

    The arguments are those of `Followed`.
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """Begin."""
        self.begin(trainer.max_epochs if (trainer.max_epochs or -1) > 0 else None)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """Log, and stop where another epoch would overshoot."""
        if self.epoch_done(trainer.current_epoch):
            self.tell(lambda values: pl_module.log_dict(values, rank_zero_only=True))
        if self._asked[0] is not None:
            over = trainer.strategy.reduce_boolean_decision(self.over, all=False)
            trainer.should_stop |= over

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """End."""
        self.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: ANN401
        """Keep what was measured until the failure."""
        self.end(failed=True)
