"""What trainings will cost: a few steps of every network are timed, and extrapolated.

What is timed is a whole part of a group, as large as those of the study: its members share its cost
as they will share its energy. Net power is that of the longer trainings. The hyperparameters hardly
matter to either (Yarally et al., CAIN 2023, section VI-A), so one calibration serves all rounds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from joulelab.energy.reading import Status, Total
from joulelab.learning.engine import TrainingTask
from joulelab.learning.flops import FlopCount
from joulelab.study.executor import Outcome
from joulelab.study.prediction import (
    ASSUMED_SCATTER,
    BUDGET_S,
    LEAST_DRIFT,
    Estimate,
    Prediction,
)
from joulelab.study.training.calibration import (
    Calibration,
    Timing,
    calibrate,
    evaluation_in_steps,
    images_evaluated,
    relative_scatter,
    status_of,
)
from joulelab.study.training.executor import Trained, TrainingJob
from joulelab.study.training.experiment import TrainingConfiguration

PLAN_LONG_S = 0.3
RUN_LONG_S = 0.04
"""Long trainings are longer where predicting is the purpose, and not the beginning of a run."""


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
    """Train a few steps of every network, several times, and extrapolate.

    Args:
        configurations: what is to be predicted.
        job_of: a job as large as the groups of a configuration.
        parts: what such a job is split into; the largest is timed.
        run: carries a job out, and books it.
        images: number of training and of test images that a configuration has.
        flops: of one image in a training.
        energy: what counts as the energy of an outcome.
        long_s: how much longer than a short training a long one is to take.
    """
    jobs: dict[str, tuple[TrainingJob, tuple[int, int]]] = {}
    keys: dict[tuple[str, str], str] = {}
    for configuration in configurations:
        job = job_of(configuration)
        options = sorted(job.task.network_options.items())
        members = len(job.task.members)
        key = f"{job.engine} {job.task.network} {options} {members} {job.images.name}"
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


def estimate(calibration: Calibration, scatter: float) -> Estimate:
    """What the timings of a part of a group say of one of its members.

    Args:
        calibration: the timings.
        scatter: relative standard deviation of a timing, where there is only one of a kind.
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
    """Net power of one timing; gross power where idle power is unknown."""
    energy = timing.energy
    joules = energy.net_j if energy.net_j is not None else energy.gross_j
    return (joules or 0.0) / timing.duration_s if timing.duration_s > 0 else 0.0
