"""Predict trainings: time a few steps of every network, and extrapolate.

The timed unit is a whole part of a group, as large as in the study: its members share its cost as
they will share its energy. Net power is from the longer trainings. Hyperparameters hardly affect
either (Yarally et al., CAIN 2023, section VI-A), so one calibration serves all rounds.

A calibration times trainings of a few optimiser steps several times.

::

    short (warms up, not counted) ─ short ─ long ─ short ─ long ─ short ─ long

A training of n steps takes fixed + n * step seconds; the fixed part builds the network and
evaluates it. With s the mean time of the short trainings, of a steps, and l that of the long ones,
of b steps, the line through both gives for N steps

    T = (1 - w) s + w l,  w = (N - a) / (b - a),  var T = (1 - w)^2 var s + w^2 var l.

Short and long alternate, so that a slowing machine affects both equally.

A calibration evaluates at most 500 test images, and at most four batches; otherwise evaluation
would take longer than its steps. The remaining test images cost a share of a training image each,
the forward pass, and count as additional steps in N.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from joulelab.energy.reading import Status, Total
from joulelab.kinds.training.executor import Trained, TrainingJob
from joulelab.kinds.training.spec import TrainingConfiguration
from joulelab.learning.engine import TrainingTask
from joulelab.learning.flops import FlopCount
from joulelab.study.executor import Outcome
from joulelab.study.prediction import (
    ASSUMED_SCATTER,
    BUDGET_S,
    LEAST_DRIFT,
    Estimate,
    Prediction,
    combined,
)

SHORT_STEPS = 2
LEAST_MORE_STEPS = 2
MOST_STEPS = 200
REPETITIONS = 3
ENOUGH_MORE, MOST_GROWTH = 1.5, 12
"""Minimum and maximum ratio of steps between long and short trainings."""

TEST_IMAGES, TEST_BATCHES = 500, 4
FORWARD_AND_BACKWARD = 3
"""Ratio of the products of a step to those of a forward pass."""
PLAN_LONG_S = 0.3
RUN_LONG_S = 0.04
COSTLY = (
    "protocol",
    "epochs",
    "batch_size",
    "precision",
    "optimiser",
    "augmentation",
    "threads",
)
"""Settings that change the cost of a training; schedules and hyperparameters hardly do."""
"""Duration of long trainings, larger when predicting is the purpose."""


@dataclass(frozen=True)
class Timing:
    """One training of a few steps.

    Attributes:
        duration_s: of the training.
        around_s: overhead: cool-down, closing windows; excludes waits for others.
        energy: over the domains that count.
    """

    duration_s: float
    around_s: float
    energy: Total


@dataclass(frozen=True)
class Calibration:
    """The timings of one part of a group, and the prediction of a whole training.

    Attributes:
        steps: optimiser steps N of a whole training, including the equivalent of the rest of the
            evaluation.
        members: trainings that the part trains together.
        short_steps: of a short training, a.
        long_steps: of a long one, b.
        short: timings of the short trainings, at least one.
        long: of the long ones; none if a whole training is that short.
    """

    steps: float
    members: int
    short_steps: int
    long_steps: int
    short: tuple[Timing, ...]
    long: tuple[Timing, ...]

    @property
    def longest(self) -> tuple[Timing, ...]:
        """The timings that determine power: the long ones, if any."""
        return self.long or self.short

    @property
    def weight(self) -> float:
        """w: weight of the long trainings in the extrapolation."""
        if not self.long:
            return 0.0
        return (self.steps - self.short_steps) / (self.long_steps - self.short_steps)

    @property
    def duration_s(self) -> float:
        """T: predicted time of the part, all its members together."""
        short = statistics.fmean(one.duration_s for one in self.short)
        if not self.long:
            return short
        long = statistics.fmean(one.duration_s for one in self.long)
        # If long trainings took no longer than short ones, the slope is 0.
        return short + self.weight * max(long - short, 0.0)

    @property
    def around_s(self) -> float:
        """Overhead of the part; the samples may be few."""
        return statistics.median(one.around_s for one in (*self.short, *self.long))

    def variance(self, scatter: float) -> tuple[float, float]:
        """Variance of the predicted time in s^2, and its degrees of freedom (infinite if assumed).

        Args:
            scatter: assumed relative standard deviation of a single timing.
        """
        parts = [_of_mean(self.short, 1 - self.weight, scatter)]
        if self.long:
            parts.append(_of_mean(self.long, self.weight, scatter))
        return combined(parts)


def calibrate(
    job: TrainingJob,
    run: Callable[[TrainingJob], Outcome[Trained]],
    counted: Callable[[Outcome[Trained]], Total],
    steps: float,
    long_s: float,
    budget_s: float,
) -> Calibration:
    """Time short and long trainings in turn, until there are three of each or time is up.

    Args:
        job: one part of a group.
        run: carries out a job.
        counted: the energy of an outcome.
        steps: optimiser steps of a whole training, plus equivalents.
        long_s: extra duration of a long training over a short one.
        budget_s: time budget: no further pair is started that would exceed it, and no warm-up is
            done only for that; at least one of each is timed.
    """
    began_s = time.monotonic()

    def timed(count: int) -> Timing:
        task = replace(job.task, max_steps=count)
        start_s = time.monotonic()
        outcome = run(replace(job, task=task, label="calibration"))
        took_s = time.monotonic() - start_s
        duration_s = outcome.measurement.duration_s
        around_s = took_s - duration_s - outcome.locked_out_s
        return Timing(duration_s, max(around_s, 0.0), counted(outcome))

    def elapsed_s() -> float:
        return time.monotonic() - began_s

    most = math.floor(steps)
    few = min(SHORT_STEPS, most)
    short = [timed(few)]
    if elapsed_s() < budget_s:
        short = [timed(few)]
    # Longer, so that the difference exceeds the common part.
    longer_s = max(long_s, short[0].duration_s)
    many = _long_steps(few, short[0].duration_s / few, most, longer_s)
    long = [timed(many)] if many > few else []
    if long and elapsed_s() < budget_s:
        # Now the fixed part is known, which may dominate a short training.
        step_s = (long[0].duration_s - short[0].duration_s) / (many - few)
        # By chance the difference may be near 0: limit the ratio of steps.
        more = min(_long_steps(few, step_s, most, longer_s), MOST_GROWTH * many)
        if more > ENOUGH_MORE * many:
            many, long = more, [timed(more)]
    pair_s = math.fsum(one.duration_s + one.around_s for one in (*short, *long))
    while len(short) < REPETITIONS and elapsed_s() + pair_s < budget_s:
        short.append(timed(few))
        if long:
            long.append(timed(many))
    return Calibration(steps, len(job.task.members), few, many, tuple(short), tuple(long))


def images_evaluated(test_images: int, batch_size: int) -> int:
    """Number of test images that a calibration evaluates."""
    return min(test_images, TEST_IMAGES, TEST_BATCHES * batch_size)


def evaluation_in_steps(test_images: int, batch_size: int, flops: FlopCount) -> float:
    """Optimiser steps equivalent to the test images that a calibration skips.

    Args:
        test_images: all of them.
        batch_size: of a step.
        flops: of one image in a training. Of f operations, z are in frozen layers, which have only
            a forward pass; for the rest it is a third.
    """
    share = 1 / FORWARD_AND_BACKWARD
    if flops.per_image and flops.frozen is not None:
        frozen = flops.frozen / flops.per_image
        share = frozen + (1 - frozen) / FORWARD_AND_BACKWARD
    return (test_images - images_evaluated(test_images, batch_size)) * share / batch_size


def _long_steps(few: int, step_s: float, most: int, long_s: float) -> int:
    """Steps of a long training: those of a short one plus as many as take `long_s`."""
    more = max(LEAST_MORE_STEPS, round(long_s / max(step_s, long_s / MOST_STEPS)))
    return min(few + more, most)


def relative_scatter(calibrations: Sequence[Calibration]) -> float | None:
    """Relative standard deviation of the longest timings; median over networks.

    The median, because a single disturbed timing is not representative of hours; it still counts in
    its own network's mean.

    Returns:
        ``None`` if nothing was timed twice.
    """
    scatters = []
    for one in calibrations:
        times = [timing.duration_s for timing in one.longest]
        mean = statistics.fmean(times)
        if len(times) > 1 and mean > 0:
            scatters.append(statistics.stdev(times) / mean)
    return statistics.median(scatters) if scatters else None


def status_of(timings: Sequence[Timing]) -> Status:
    """The common status of energies; measured if there are none."""
    return Status.of_sum([Status.MEASURED, *(timing.energy.status for timing in timings)])


def _of_mean(timings: Sequence[Timing], weight: float, scatter: float) -> tuple[float, float]:
    """Variance of a weighted mean of timings, and its degrees of freedom."""
    times = [timing.duration_s for timing in timings]
    if len(times) > 1:
        return weight**2 * statistics.variance(times) / len(times), len(times) - 1
    return (weight * scatter * times[0]) ** 2, math.inf


def predict(
    configurations: Sequence[TrainingConfiguration],
    job_of: Callable[[TrainingConfiguration], TrainingJob],
    parts: Callable[[TrainingJob], Sequence[TrainingTask]],
    run: Callable[[TrainingJob], Outcome[Trained]],
    images: Callable[[TrainingConfiguration], tuple[int, int]],
    flops: Callable[[TrainingJob], FlopCount],
    energy: Callable[[Outcome[Trained]], Total],
    long_s: float,
) -> Prediction:
    """Train a few steps of every network and setting, several times, and extrapolate.

    Args:
        configurations: configurations to predict.
        job_of: a job as large as the groups of a configuration.
        parts: the parts of such a job; the largest is timed.
        run: carries out and books a job.
        images: number of training and of test images that a configuration has.
        flops: of one image in a training.
        energy: the energy of an outcome.
        long_s: extra duration of a long training over a short one.
    """
    jobs: dict[str, tuple[TrainingJob, tuple[int, int]]] = {}
    keys: dict[tuple[str, str], str] = {}
    requested = [(one, job_of(one)) for one in configurations]
    differing = _differing([job for _, job in requested])
    for configuration, job in requested:
        options = sorted(job.task.network_options.items())
        members = len(job.task.members)
        key = f"{job.engine} {job.task.network} {options} {members} {job.images.name}"
        key += "".join(f" {name}={_setting(job, name)}" for name in differing)
        jobs.setdefault(key, (job, images(configuration)))
        keys[configuration.key] = key

    calibrations = {}
    for key, (job, (train_images, test_images)) in jobs.items():
        largest = max(parts(job), key=lambda task: len(task.members))
        steps = largest.epochs * math.ceil(train_images / largest.batch_size)
        left_out = evaluation_in_steps(test_images, largest.batch_size, flops(job))
        evaluated = images_evaluated(test_images, largest.batch_size)
        few = replace(job.images, test_images=evaluated)
        part = replace(job, task=largest, images=few)
        calibrations[key] = calibrate(
            part, run, energy, steps + left_out, long_s, BUDGET_S / len(jobs)
        )
    scatter = relative_scatter(list(calibrations.values()))
    assumed = ASSUMED_SCATTER if scatter is None else scatter
    estimates = {key: estimate(one, assumed) for key, one in calibrations.items()}
    return Prediction(keys, estimates, max(assumed, LEAST_DRIFT))


def _differing(jobs: Sequence[TrainingJob]) -> list[str]:
    """Settings that cost time or energy and that differ between jobs."""
    return [name for name in COSTLY if len({_setting(job, name) for job in jobs}) > 1]


def _setting(job: TrainingJob, name: str) -> Any:  # noqa: ANN401 - of several types
    return getattr(job if name == "threads" else job.task, name)


def estimate(calibration: Calibration, scatter: float) -> Estimate:
    """The estimate for one member from the timings of a part of a group.

    Args:
        calibration: the timings.
        scatter: assumed relative standard deviation of a single timing.
    """
    members, trained_s = calibration.members, calibration.duration_s
    variance, freedom = calibration.variance(scatter)
    timings = calibration.longest
    seconds = math.fsum(one.duration_s for one in timings)
    status = status_of(timings)
    if seconds <= 0:
        status = Status.MISSING
    powers = [] if status is Status.MISSING else [_watts(one) for one in timings]
    power_w = max(math.fsum(powers) / len(powers), 0.0) if powers else None
    errors = [one.energy.error_j for one in timings]
    known = [error for error in errors if error is not None]
    several = len(powers) > 1 and bool(power_w)
    return Estimate(
        duration_s=(trained_s + calibration.around_s) / members,
        duration_variance=variance / members**2,
        freedom=freedom,
        power_w=power_w,
        powered_s=trained_s / members,
        power_variance=(
            statistics.variance(powers) / len(powers) / power_w**2
            if several and power_w
            else scatter**2
        ),
        power_freedom=len(powers) - 1 if several else math.inf,
        error_w=math.fsum(known) / seconds if len(known) == len(errors) and seconds > 0 else None,
        status=status,
    )


def _watts(timing: Timing) -> float:
    """Net power of one timing; gross power if idle power is unknown."""
    energy = timing.energy
    joules = energy.net_j if energy.net_j is not None else energy.gross_j
    return (joules or 0.0) / timing.duration_s if timing.duration_s > 0 else 0.0
