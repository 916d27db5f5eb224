"""Energy in Hugging Face's Trainer: ``trainer.add_callback(EnergyCallback(trainer))``."""

from __future__ import annotations

from typing import Any, Unpack

from joulelab.callbacks import Followed
from joulelab.energy.monitor import Options
from joulelab.optional import optional
from joulelab.sinks.named import Named

_transformers: Any = optional("transformers", "joulelab.callbacks.transformers")


class EnergyCallback(Followed, _transformers.TrainerCallback):  # type: ignore[misc]  # no types
    """Logs energy, power and forecast after each epoch, and stops at a budget.

    Args:
        trainer: logs; None for ``state.log_history`` alone.
        budget: as for `joulelab.track`.
        label: what is measured.
        to: as for `joulelab.track`.
        options: see `joulelab.energy.monitor.Options`.
    """

    def __init__(
        self,
        trainer: Any = None,  # noqa: ANN401
        budget: str | None = None,
        label: str = "training",
        to: Named | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(budget, label, to, **options)
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Begin."""
        self.begin(state.num_train_epochs or None)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Log, and stop where another epoch would overshoot."""
        if self.epoch_done(state.global_step):
            step = {"step": state.global_step}
            trainer, history = self._trainer, state.log_history
            self.tell(trainer.log if trainer else lambda values: history.append({**values, **step}))
        control.should_training_stop |= self.over_anywhere

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """End."""
        self.end()
