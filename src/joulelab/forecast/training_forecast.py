"""Predict the energy of a training while it runs, epoch by epoch.

::

    with joulelab.TrainingForecast(epochs=50) as forecast:
        for epoch in range(50):
            train_one_epoch()
            print(forecast.epoch_done())     # energy of the whole, interval, so far, time left
    print(forecast.result)                   # predicted against measured

    enter | epoch 1 | epoch 2 | ... | leave      windows without a gap, each closed by epoch_done()

The training only has to call this at the end of each epoch, so it fits into a callback of any
framework. A prediction never raises: it must not stop a training.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from joulelab.analysis.prediction.step import FINE_TUNING
from joulelab.energy.booking import energy_profile
from joulelab.energy.measured_block import Measuring
from joulelab.energy.measurement import Measurement
from joulelab.energy.open_meters import OpenMeters
from joulelab.energy.options import Options, picklable
from joulelab.energy.order import Block, already_ended, already_started, no_result, not_started
from joulelab.energy.other_rank import OtherRank, UnmeasuredWindow
from joulelab.energy.ranks import here
from joulelab.energy.reading import Status, Total
from joulelab.energy.shared_meters import shared_meters
from joulelab.errors import MeterError
from joulelab.forecast.outcome import ForecastResult, TrainingPrediction
from joulelab.forecast.progress import Progress, counted_epochs

if TYPE_CHECKING:
    from joulelab.energy.recorder import Window

ANOTHER = "create a new TrainingForecast for another training"


class TrainingForecast(Block):
    """Measures a training, and predicts its energy after each epoch.

    Of several ranks on a node the first one measures; the others have times, and no energy.

    Args:
        epochs: announced epochs of the whole training.
        device: the training device in torch's notation: ``"cpu"`` or ``"cuda:0"``. Then the same
            domains count as in a study: measured ones except other GPUs, and estimated ones only if
            nothing is measured on this device. Default: all known domains, as in
            `joulelab.measure`.
        fine_tuning: whether it starts with a frozen base that is unfrozen later, which usually
            raises power: the interval is wide until then.
        label: what is trained, for the result.
        options: see `joulelab.energy.options.Options`.

    Attributes:
        predictions: one per call of `epoch_done` so far.

    Raises:
        UsageError: an impossible number of epochs.
        SpecError: torch has no such device.
        MeterError: on entry, if meters cannot be opened.
    """

    def __init__(
        self,
        epochs: int,
        device: str | None = None,
        *,
        fine_tuning: bool = False,
        label: str = "training",
        **options: Unpack[Options],
    ) -> None:
        self.label = label
        self.predictions: list[TrainingPrediction] = []
        self._progress = Progress(counted_epochs(epochs), FINE_TUNING if fine_tuning else None)
        self._options = options
        self._training = _domain_of(device)
        self._meters: OpenMeters | None = None
        self._whole: Measuring | None = None
        self._epoch: Window | UnmeasuredWindow | None = None
        self._result: ForecastResult | None = None

    def start(self) -> None:
        """Start measuring, for use without ``with``.

        Raises:
            MeterError: it has already started, or the meters cannot be opened.
        """
        if self._epoch is not None:
            raise already_started(self.label)
        if self._result is not None:
            raise already_ended(self.label, ANOTHER)
        rank = here()
        if not rank.records:
            elsewhere = functools.partial(shared_meters, **self._options)
            self._whole = OtherRank(elsewhere, self.label, rank)
            self._whole.start()
            self._epoch = UnmeasuredWindow(rank, self.label)
            return
        meters = shared_meters(**self._options)
        _predict_once()
        # The outer measurement synchronises the device at both ends and takes the locks.
        whole = Measuring(lambda: meters, self.label)
        whole.start()
        self._meters, self._whole = meters, whole
        self._epoch = meters.recorder.open("epoch")

    def epoch_done(self, epochs: int = 1) -> TrainingPrediction:
        """Mark the end of an epoch; returns the current prediction for the whole training.

        Args:
            epochs: how many have ended since the last call, where they are too short to mark each.

        Raises:
            MeterError: the training is not being measured.
        """
        if self._epoch is None:
            raise self._not_running()
        ended, self._epoch = self._epoch, self._epoch.lap()
        measurement = ended.close()
        total = self._counted(measurement)
        moments_s, seen_j = energy_profile(ended.channel_samples, total, ended.started_s) or (
            [],
            [],
        )
        self._progress.add(
            measurement.duration_s, total.gross_j, moments_s, seen_j, _why(measurement), epochs
        )
        self.predictions.append(self._progress.predict())
        return self.predictions[-1]

    def stop(self) -> ForecastResult:
        """Stop measuring; a second call gives the same result.

        Raises:
            MeterError: it was never started.
        """
        if self._epoch is None or self._whole is None:
            return self.result
        whole, epoch = self._whole, self._epoch
        self._epoch = None
        try:
            measurement = epoch.close()
        finally:
            whole.stop()
        rest_j = self._counted(measurement).gross_j
        progress, why = self._progress, _why(measurement)
        energy_j = progress.add_rest(measurement.duration_s, rest_j, why)
        self._result = ForecastResult(
            self.label,
            progress.epochs,
            progress.done,
            energy_j,
            progress.elapsed_s + measurement.duration_s,
            tuple(self.predictions),
            progress.reason,
        )
        return self._result

    @property
    def result(self) -> ForecastResult:
        """The result of the training and its predictions.

        Raises:
            MeterError: it has not ended.
        """
        if self._result is None:
            raise self._not_over()
        return self._result

    def so_far(self) -> Measurement:
        """The measurement until now; the whole after the end.

        Raises:
            MeterError: it was never started.
        """
        return self.measuring.so_far()

    @property
    def epochs(self) -> int:
        """Announced epochs of the whole training."""
        return self._progress.epochs

    @property
    def left(self) -> int:
        """Announced epochs that are still to come."""
        return max(self._progress.epochs - self._progress.done, 0)

    @property
    def measuring(self) -> Measuring:
        """What measures the whole training, running or ended.

        Raises:
            MeterError: it was never started.
        """
        if self._whole is None:
            raise not_started(self.label)
        return self._whole

    @property
    def measurement(self) -> Measurement:
        """The measurement of the whole training, as from `joulelab.measure`.

        Raises:
            MeterError: it has not ended.
        """
        if self._whole is None or self._result is None:
            raise self._not_over()
        return self._whole.result

    def _not_over(self) -> MeterError:
        return no_result(self.label, started=self._whole is not None)

    def _not_running(self) -> MeterError:
        if self._result is not None:
            return already_ended(self.label, ANOTHER)
        return not_started(self.label)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the meters.

        Raises:
            MeterError: the training is still being measured.
        """
        if self._epoch is not None:
            raise MeterError(
                f"the training {self.label!r} is still being measured and cannot be pickled or "
                "copied",
                "leave the block first, or use `predictions`, which can be",
            )
        return {**vars(self), "_meters": None, "_options": picklable(self._options)}

    def __repr__(self) -> str:
        progress = self._progress
        return (
            f"<joulelab.TrainingForecast({self.label!r}): {progress.done} of {progress.epochs} "
            "epochs>"
        )

    def _counted(self, measurement: Measurement) -> Total:
        domains = self._meters.domains if self._meters else None
        if self._training is None or domains is not None:
            return replace(measurement, domains=domains).total
        from joulelab.study.accounting import counted

        return counted(measurement, None, self._training)


def _predict_once() -> None:
    """Import modules that a prediction needs (0.1 s) before measuring starts."""
    first = Progress(2)
    first.add(1.0, 1.0, [0.0, 0.5, 1.0], [0.0, 0.5, 1.0])
    first.predict()


def _domain_of(device: str | None) -> str | None:
    if device is None:
        return None
    import joulelab.study.accounting  # noqa: F401 - takes a second: not within the first epoch
    from joulelab.study.device import find_device

    return find_device(device).domain


def _why(measurement: Measurement) -> str:
    """Why the energy of a part is unknown, if it is."""
    lost = [
        one
        for one in measurement.readings
        if (one.status is Status.MISSING or one.lost_s) and one.reason
    ]
    return "; ".join(f"{one.domain}: {one.reason}" for one in lost)
