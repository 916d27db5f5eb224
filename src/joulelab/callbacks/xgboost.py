"""Energy in XGBoost: ``xgboost.train(..., callbacks=[EnergyCallback()])``."""

from __future__ import annotations

import time
from typing import Any

from joulelab.callbacks import Followed
from joulelab.optional import optional

_callback: Any = optional("xgboost.callback", "joulelab.callbacks.xgboost")

LOOK_S = 0.5
"""Rounds are short: time between two looks at what was spent."""


class EnergyCallback(Followed, _callback.TrainingCallback):  # type: ignore[misc]  # no types
    """Measures the rounds, and stops at a budget; the energy is among the evaluation results.

    The arguments are those of `Followed`; a step is what runs between two looks.
    """

    _looked_s = 0.0

    def before_training(self, model: Any) -> Any:  # noqa: ANN401
        """Begin."""
        self.begin(None)
        self._looked_s = time.monotonic()
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: dict[str, Any]) -> bool:  # noqa: ANN401
        """Whether to stop."""
        if self.follower is not None and time.monotonic() - self._looked_s >= LOOK_S:
            self._looked_s = time.monotonic()
            self.follower.step_done()
            for name, value in self.follower.values().items():
                evals_log.setdefault("joulelab", {}).setdefault(name, []).append(value)
        return self.follower is not None and self.follower.over

    def after_training(self, model: Any) -> Any:  # noqa: ANN401
        """End."""
        self.end()
        return model
