"""Energy in XGBoost: ``xgboost.train(..., callbacks=[EnergyCallback()])``."""

from __future__ import annotations

from typing import Any

import numpy as np

from joulelab.callbacks import Followed
from joulelab.optional import optional

_callback: Any = optional("xgboost.callback", "joulelab.callbacks.xgboost")
_collective: Any = optional("xgboost.collective", "joulelab.callbacks.xgboost")


class EnergyCallback(Followed, _callback.TrainingCallback):  # type: ignore[misc]  # no types
    """Measures the rounds, and stops at a budget; the energy is among the evaluation results.

    The arguments are those of `Followed`. A step is a round.
    """

    _shares = False

    def before_training(self, model: Any) -> Any:  # noqa: ANN401
        """Begin; of several workers the first measures."""
        self._shares = _collective.get_world_size() > 1  # asking takes longer than a short round
        self.begin(None, here=not _collective.get_rank())
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: dict[str, Any]) -> bool:  # noqa: ANN401
        """Whether to stop."""
        if self.epoch_done(epoch):
            self.tell(lambda values: _append(evals_log.setdefault("joulelab", {}), values))
        return self.over_anywhere if self._shares else self.over

    @property
    def over_anywhere(self) -> bool:
        """Whether another round would overshoot the budget, as any worker sees it."""
        if self._asked[0] is None:
            return self.over
        return bool(_collective.allreduce(np.array([int(self.over)]), _collective.Op.MAX)[0])

    def after_training(self, model: Any) -> Any:  # noqa: ANN401
        """End."""
        self.end()
        return model


def _append(lists: dict[str, list[float]], values: dict[str, float]) -> None:
    for name, value in values.items():
        lists.setdefault(name, []).append(value)
