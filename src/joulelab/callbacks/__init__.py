"""Energy in the frameworks that people train with: one callback each.

============  =============================================================================
module        for
============  =============================================================================
lightning     ``Trainer(callbacks=[EnergyCallback(budget="20 kJ")])``
transformers  ``trainer.add_callback(EnergyCallback(trainer))``
keras         ``model.fit(..., callbacks=[EnergyCallback()])``
xgboost       ``xgboost.train(..., callbacks=[EnergyCallback()])``
sklearn       ``MeasuredEstimator(estimator)``, in pipelines and searches too
============  =============================================================================

Each follows the training as `joulelab.track` follows a loop: an epoch is a step. It logs
``energy_j``, ``power_w``, ``co2e_g`` and the forecast through the framework's own logger, and ends
the training where another epoch would overshoot the budget. Of several processes on a machine only
the first measures, so that every device counts once.
"""

from __future__ import annotations

import os
from typing import Unpack

from joulelab.energy.measurement import Measurement
from joulelab.energy.monitor import Options
from joulelab.forecast.following import Follower
from joulelab.sinks.named import Named

RANKS = ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK")
"""Variables with the number of a process on its machine, as launchers set them."""


class Followed:
    """What the callbacks have in common; one that is used again measures anew.

    Args:
        budget: as for `joulelab.track`.
        label: what is measured.
        to: as for `joulelab.track`, beside the framework's own logger.
        options: see `joulelab.energy.monitor.Options`.

    Attributes:
        follower: of the latest training; None before it, and in processes that do not measure.
    """

    follower: Follower | None = None

    def __init__(
        self,
        budget: str | None = None,
        label: str = "training",
        to: Named | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__()  # that of the framework
        self._asked = budget, label, options, to

    @property
    def measurement(self) -> Measurement | None:
        """Of the latest training; None where there is no follower."""
        return self.follower.stop() if self.follower is not None else None

    def begin(self, total: int | None) -> None:
        """Begin to measure a training of so many epochs; None where that is unknown."""
        self.end()
        if measures_here():
            self.follower = Follower(total, *self._asked)
            self.follower.start()

    def end(self) -> None:
        """End; a second call has no effect."""
        if self.follower is not None:
            self.follower.stop()


def measures_here() -> bool:
    """Whether this process measures: the first of its training on this machine."""
    given = [os.environ[name] for name in RANKS if os.environ.get(name)]
    return not given or given[0] == "0"
