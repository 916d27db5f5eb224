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
``energy_j``, ``power_w``, ``co2e_g`` and the forecast through the framework's own logger whenever
it has looked at the meters, and ends the training where another epoch would overshoot the budget.
Of several processes on a machine only the first measures, so that every device counts once, and all
of them end together.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Unpack

from joulelab.energy import ranks
from joulelab.energy.measurement import Measurement
from joulelab.energy.options import Options, picklable
from joulelab.errors import JoulelabError
from joulelab.forecast.following import Follower
from joulelab.sinks.named import Named

log = logging.getLogger(__name__)


class Followed:
    """What the callbacks have in common; one that is used again measures anew.

    It can be pickled and copied: a copy has the measurement of a training that has ended, and of
    one that runs it has nothing. In a forked process it measures nothing of its parent's training.

    Args:
        budget: as for `joulelab.track`.
        label: what is measured.
        to: as for `joulelab.track`, beside the framework's own logger.
        options: see `joulelab.energy.options.Options`.

    Attributes:
        follower: of the latest training; None before it, and in processes that do not measure.
    """

    follower: Follower | None = None
    _process = 0
    _epoch: object = None
    _told = False
    _left: weakref.finalize[..., Any] | None = None

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
        """Of the latest training, until now where it runs; None where there is no follower."""
        return self.follower.so_far() if self.follower is not None else None

    @property
    def j_per_token(self) -> float | None:
        """Gross joules per token of the training; None where that is unknown: `why_no_tokens`."""
        if self.follower is None:
            return None
        return self.follower.j_per_token(self.follower.so_far())

    @property
    def why_no_tokens(self) -> str:
        """Why the number of tokens is unknown; empty where it is known."""
        return "" if self.follower is None else self.follower.why_no_tokens

    def begin(self, total: int | None, *, here: bool = True) -> None:
        """Begin to measure a training.

        Args:
            total: number of its epochs; None where that is unknown.
            here: whether this process measures, if no launcher says otherwise.
        """
        self.end(failed=True)  # of one that has not ended
        self._process, self._epoch, self._told, self.follower = os.getpid(), None, False, None
        if here and ranks.here().records:
            self.follower = Follower(total, *self._asked)
            self.follower.start()
            # Most frameworks do not tell their callbacks that a training has failed.
            self._left = weakref.finalize(self, _leave, self.follower, self._process)

    def epoch_done(self, epoch: object) -> bool:
        """An epoch has ended.

        Args:
            epoch: its number: a callback that a training has twice counts it once.

        Returns:
            Whether there is something new to log.

        Raises:
            MeterError: there is a budget, and what is spent is unknown.
        """
        if self.follower is None or self._process != os.getpid() or epoch == self._epoch:
            return False
        self._epoch = epoch
        return self.follower.step_done()

    def tell(self, logger: Callable[[dict[str, float]], object]) -> None:
        """Give the values to a logger; an error of it is said once and does not end the training.

        Args:
            logger: of the framework.
        """
        assert self.follower is not None
        began_s = time.monotonic()
        try:
            logger(self.follower.values())
        except Exception as error:
            if not self._told:
                log.warning("the logger refuses energy: %s: %s", type(error).__name__, error)
            self._told = True
        self.follower.pay(time.monotonic() - began_s)

    @property
    def over(self) -> bool:
        """Whether another epoch would overshoot the budget, as this process sees it."""
        return self.follower is not None and self.follower.over

    @property
    def over_anywhere(self) -> bool:
        """The same, as any process of ``torch.distributed`` sees it; all of them have to ask."""
        distributed = sys.modules.get("torch.distributed")
        if self._asked[0] is None or distributed is None or not distributed.is_available():
            return self.over
        if not distributed.is_initialized():
            return self.over
        found: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(found, self.over)
        return any(found)

    def end(self, *, failed: bool = False) -> None:
        """End; a second call has no effect.

        Args:
            failed: whether the training has not come to its end. One of which nobody says so ends
                thus when its callback is collected, or with the program.
        """
        if self.follower is not None and self._process == os.getpid():
            self.follower.stop(failed=failed)
        if self._left is not None:
            self._left.detach()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but a training that runs."""
        asked = (*self._asked[:2], picklable(self._asked[2]), *self._asked[3:])
        state = {**vars(self), "_asked": asked, "_left": None}
        if self.follower is not None and not self.follower.ended:
            state["follower"] = None
        return state


def _leave(follower: Follower, process: int) -> None:
    """End what was not ended, unless it is that of the process that has forked this one."""
    if process == os.getpid():
        with suppress(JoulelabError):
            follower.stop(failed=True)
