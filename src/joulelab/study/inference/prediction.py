"""What inference runs will cost: a few batches of every model are timed, and the rest simulated.

Of each model, batches of one image and of a few are timed; between and beyond them, time and energy
of a batch are taken to be linear in its size. A window of requests is then simulated with the
policy that will serve it (`joulelab.serving.planning`), so that it is known how long a server takes
that cannot keep up. A window of batches lasts as long as it is asked to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from joulelab.energy.reading import Status, Total
from joulelab.serving.arrivals import parse_arrivals
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.planning.simulation import simulate
from joulelab.serving.policies import parse_policy
from joulelab.serving.results import Batches
from joulelab.serving.tasks import BatchTask, ServingTask
from joulelab.study.executor import Outcome
from joulelab.study.inference.configuration import (
    BatchConfiguration,
    InferenceConfiguration,
    WindowConfiguration,
)
from joulelab.study.inference.executor import LocalServingExecutor, ServingJob
from joulelab.study.inference.profiling import SizeProfile, batch_costs, joint_status
from joulelab.study.prediction import ASSUMED_SCATTER, LEAST_DRIFT, Estimate, Prediction
from joulelab.study.work import Calibrator

FEW = 4
"""Images in the larger of the two batches that are timed."""
TIMED_S = 0.3
LEAST_BATCHES = 2


@dataclass(frozen=True)
class ModelProfile:
    """What is known of a model before its runs.

    Attributes:
        load_s: time to build it and bring it to the device.
        sizes: what was timed; empty where the model fails.
    """

    load_s: float
    sizes: tuple[SizeProfile, ...]

    def costs(self, largest: int) -> BatchCosts | None:
        """Costs of batches up to a size; ``None`` where nothing is known."""
        if not self.sizes:
            return None
        known = batch_costs(self.sizes)
        if known.largest >= largest:
            return known
        return BatchCosts(
            (*known.sizes, largest),
            (*known.seconds, _beyond(known.sizes, known.seconds, largest)),
            None
            if known.joules is None
            else (*known.joules, _beyond(known.sizes, known.joules, largest)),
            known.idle_w,
        )


def profile_model(
    job: ServingJob,
    executor: LocalServingExecutor,
    calibrator: Calibrator,
    total: Callable[[Outcome[Any]], Total],
) -> ModelProfile:
    """Time a few batches of a model.

    Args:
        job: with any task of the model.
        executor: has it served.
        calibrator: books what is timed.
        total: what of an outcome counts as its energy.
    """
    load_s, sizes = 0.0, []
    for size in (1, FEW):
        task = _calibration(job.task, size)
        part = replace(job, task=task, label="calibration")
        prepared = calibrator.prepare(executor, part)
        if prepared.error is not None or executor.loaded is None:
            break
        load_s = max(load_s, executor.loaded.load_s)
        outcome = calibrator.calibrate(executor, part)
        if not isinstance(outcome.result, Batches):
            break
        sizes.append(SizeProfile.of(outcome.result, outcome.measurement.duration_s, total(outcome)))
    # One that did not fit in memory says nothing of its size.
    fitting = {one.size: one for one in sizes}
    return ModelProfile(load_s, tuple(fitting.values()))


def predict(
    configurations: Sequence[InferenceConfiguration],
    profile: Callable[[InferenceConfiguration], ModelProfile],
    job_of: Callable[[InferenceConfiguration, int], ServingJob],
) -> Prediction:
    """Predict every configuration from the profile of its model.

    Args:
        configurations: what is to be predicted.
        profile: of the model of a configuration.
        job_of: the job of a configuration, with a seed.
    """
    keys, estimates = {}, {}
    for one in configurations:
        name = f"{one.experiment}: {one.name}"
        keys[one.key] = name
        estimates[name] = _estimate(one, profile(one), job_of(one, 0))
    return Prediction(keys, estimates, LEAST_DRIFT)


def _estimate(one: InferenceConfiguration, known: ModelProfile, job: ServingJob) -> Estimate:
    if isinstance(one, BatchConfiguration):
        return _of_batches(one, known)
    if isinstance(one, WindowConfiguration) and isinstance(job.task, ServingTask):
        return _of_window(one, known, job.task)
    raise TypeError(f"no prediction is known for {type(one).__name__}")


def _of_batches(one: BatchConfiguration, known: ModelProfile) -> Estimate:
    costs = known.costs(one.batch_size)
    if costs is None:
        return _unknown(one.seconds)
    batch_s, joules = costs.seconds_of(one.batch_size), costs.joules_of(one.batch_size)
    batches = max(one.seconds / batch_s, 3)
    around_s = known.load_s + one.warm_up_batches * batch_s
    energy_j = None if joules is None else batches * joules
    return _known(known, batches * batch_s, around_s, energy_j)


def _of_window(one: WindowConfiguration, known: ModelProfile, task: ServingTask) -> Estimate:
    policy = parse_policy(one.policy)
    costs = known.costs(max(policy.largest, one.warm_up_size))
    if costs is None:
        return _unknown(one.requests / parse_arrivals(one.arrivals).rate_per_s)
    window = simulate(task.due_s(), policy, costs, capacity=one.capacity)
    around_s = known.load_s + one.warm_up_batches * costs.seconds_of(one.warm_up_size)
    return _known(known, window.duration_s, around_s, window.net_j)


def _known(
    profile: ModelProfile, duration_s: float, around_s: float, energy_j: float | None
) -> Estimate:
    status = joint_status(profile.sizes) if energy_j is not None else Status.MISSING
    errors = [(one.energy.error_j, one.duration_s) for one in profile.sizes]
    known = [(error, seconds) for error, seconds in errors if error is not None and seconds > 0]
    return Estimate(
        duration_s=duration_s + around_s,
        duration_variance=(ASSUMED_SCATTER * (duration_s + around_s)) ** 2,
        freedom=math.inf,
        power_w=None if energy_j is None else energy_j / duration_s,
        powered_s=duration_s,
        power_variance=ASSUMED_SCATTER**2,
        power_freedom=math.inf,
        error_w=max(error / s for error, s in known) if len(known) == len(errors) else None,
        status=status,
    )


def _unknown(duration_s: float) -> Estimate:
    """Where the model cannot be served: only the time that is asked for."""
    variance = duration_s**2
    return Estimate(duration_s, variance, math.inf, None, 0.0, 1.0, math.inf, None, Status.MISSING)


def _calibration(task: ServingTask | BatchTask, size: int) -> BatchTask:
    with_images = not isinstance(task, BatchTask) or task.with_images
    return BatchTask(
        model=task.model,
        images=task.images,
        size=size,
        seconds=TIMED_S,
        least_batches=LEAST_BATCHES,
        with_images=with_images,
        warm_up_batches=1,
    )


def _beyond(sizes: Sequence[int], values: Sequence[float], size: int) -> float:
    """The line through the first and the last value, at a size beyond; in proportion to one."""
    if len(sizes) == 1:
        return values[0] * size / sizes[0]
    slope = max((values[-1] - values[0]) / (sizes[-1] - sizes[0]), 0.0)
    return float(np.maximum(values[-1] + slope * (size - sizes[-1]), 1e-9))
