"""Energy in XGBoost: ``xgboost.train(..., callbacks=[EnergyCallback()])``."""

from __future__ import annotations

from typing import Any

from joulelab.callbacks import Followed
from joulelab.optional import optional

_callback: Any = optional("xgboost.callback", "joulelab.callbacks.xgboost")


class EnergyCallback(Followed, _callback.TrainingCallback):  # type: ignore[misc]  # no types
    """Measures the rounds, and stops at a budget; the energy is among the evaluation results.

    The arguments are those of `Followed`. A step is a round.
    """

    def before_training(self, model: Any) -> Any:  # noqa: ANN401
        """Begin."""
        self.begin(None)
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: dict[str, Any]) -> bool:  # noqa: ANN401
        """Whether to stop."""
        if self.epoch_done(epoch):
            self.tell(lambda values: _append(evals_log.setdefault("joulelab", {}), values))
        return self.over

    def after_training(self, model: Any) -> Any:  # noqa: ANN401
        """End."""
        self.end()
        return model


def _append(lists: dict[str, list[float]], values: dict[str, float]) -> None:
    for name, value in values.items():
        lists.setdefault(name, []).append(value)
