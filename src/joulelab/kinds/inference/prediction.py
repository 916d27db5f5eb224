"""Predict inference runs: time a few batches of every model, and simulate the rest.

For each model, batches of one image and of a few are timed; time and energy are assumed linear in
batch size. A window of requests is then simulated with its policy (`joulelab.serving.planning`),
which also gives the duration for a saturated server. A window of batches lasts as long as
requested.

Batches for a queue are timed with waits in between, as in a queue. A model is loaded if the
previous run had a different one: of C configurations in random order, c of them with the same
model, before a share of 1 - (c - 1) / (C - 1) of the runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Total
from joulelab.kinds.inference.batch_table import LOAD, SizeProfile, batch_costs, joint_status
from joulelab.kinds.inference.executor import ServingExecutor, ServingJob
from joulelab.kinds.inference.spec import (
    BatchConfiguration,
    InferenceConfiguration,
    WindowConfiguration,
)
from joulelab.serving.arrivals import parse_arrivals
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.planning.simulation import simulate
from joulelab.serving.policies import parse_policy
from joulelab.serving.results import Batches
from joulelab.serving.tasks import BatchTask, ServingTask
from joulelab.study.prediction import LEAST_DRIFT, Estimate, Prediction
from joulelab.study.runner import Calibrator

FEW = 4
"""Size of the larger of the two timed batches."""
TIMED_S = 0.3
LEAST_BATCHES = 2


@dataclass(frozen=True)
class ModelProfile:
    """The profile of a model before its runs.

    Attributes:
        load_s: time to build it and move it to the device; ``None`` for the first of its process,
            which includes imports.
        sizes: timed batches; empty if the model fails.
    """

    load_s: float | None
    sizes: tuple[SizeProfile, ...]

    def costs(self, largest: int) -> BatchCosts | None:
        """Costs of batches up to a size; ``None`` if unknown."""
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
    executor: ServingExecutor,
    calibrator: Calibrator,
    counted: Callable[[Measurement], Total],
) -> ModelProfile:
    """Time a few batches of a model.

    Args:
        job: with any task of the model.
        executor: serves it.
        calibrator: books the timings.
        counted: the energy of a measurement.
    """
    first, load_s, sizes = executor.loaded is None, 0.0, []
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
        measured = outcome.measurement
        sizes.append(SizeProfile.of(outcome.result, measured.duration_s, counted(measured)))
    # A batch that did not fit in memory gives no information on its size.
    fitting = {one.size: one for one in sizes}
    return ModelProfile(None if first else load_s, tuple(fitting.values()))


def predict(
    configurations: Sequence[InferenceConfiguration],
    profile: Callable[[InferenceConfiguration], ModelProfile],
    job_of: Callable[[InferenceConfiguration, int], ServingJob],
) -> Prediction:
    """Predict every configuration from the profile of its model.

    Args:
        configurations: configurations to predict.
        profile: of the model of a configuration.
        job_of: the job of a configuration, with a seed.
    """
    keys, estimates = {}, {}
    profiles = {one.key: profile(one) for one in configurations}
    loads_s = loading_s(configurations, profiles)
    for one in configurations:
        keys[one.key] = name = one.title
        job = job_of(one, 0)
        estimates[name] = _estimate(one, profiles[one.key], loads_s[one.key], job)
    return Prediction(keys, estimates, LEAST_DRIFT)


def loading_s(
    configurations: Sequence[InferenceConfiguration],
    profiles: Mapping[tuple[str, str], ModelProfile],
) -> dict[tuple[str, str], float]:
    """Mean model loading time before a run of each configuration.

    Args:
        configurations: configurations run in random order.
        profiles: of the model of each.
    """
    known = [one.load_s for one in profiles.values() if one.load_s is not None]
    slowest_s = max(known, default=0.0)
    sharing = Counter((one.model, one.weights) for one in configurations)
    others = max(len(configurations) - 1, 1)
    loads_s = {}
    for one in configurations:
        changes = 1 - (sharing[one.model, one.weights] - 1) / others if len(sharing) > 1 else 0.0
        load_s = profiles[one.key].load_s
        loads_s[one.key] = changes * (slowest_s if load_s is None else load_s)
    return loads_s


def _estimate(
    one: InferenceConfiguration, known: ModelProfile, load_s: float, job: ServingJob
) -> Estimate:
    if isinstance(one, BatchConfiguration):
        return _of_batches(one, known, load_s)
    if isinstance(one, WindowConfiguration) and isinstance(job.task, ServingTask):
        return _of_window(one, known, load_s, job.task)
    raise TypeError(f"no prediction for {type(one).__name__}")


def _of_batches(one: BatchConfiguration, known: ModelProfile, load_s: float) -> Estimate:
    costs = known.costs(one.batch_size)
    if costs is None:
        return Estimate.unknown(one.seconds)
    batch_s, joules = costs.seconds_of(one.batch_size), costs.joules_of(one.batch_size)
    batches = max(one.seconds / batch_s, 3)
    around_s = load_s + one.warm_up_batches * batch_s
    energy_j = None if joules is None else batches * joules
    return _known(known, batches * batch_s, around_s, energy_j)


def _of_window(
    one: WindowConfiguration, known: ModelProfile, load_s: float, task: ServingTask
) -> Estimate:
    policy = parse_policy(one.policy)
    costs = known.costs(max(policy.largest, one.warm_up_size))
    if costs is None:
        return Estimate.unknown(one.requests / parse_arrivals(one.arrivals).rate_per_s)
    window = simulate(task.due_s(), policy, costs, capacity=one.capacity)
    around_s = load_s + one.warm_up_batches * costs.seconds_of(one.warm_up_size)
    return _known(known, window.duration_s, around_s, window.net_j)


def _known(
    profile: ModelProfile, duration_s: float, around_s: float, energy_j: float | None
) -> Estimate:
    errors = [(one.energy.error_j, one.duration_s) for one in profile.sizes]
    known = [(error, seconds) for error, seconds in errors if error is not None and seconds > 0]
    error_w = max(error / s for error, s in known) if len(known) == len(errors) else None
    return Estimate.assumed(duration_s, around_s, energy_j, error_w, joint_status(profile.sizes))


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
        load=1.0 if isinstance(task, BatchTask) else LOAD,
    )


def _beyond(sizes: Sequence[int], values: Sequence[float], size: int) -> float:
    """Extrapolate by the line through the first and last value; proportional for one value."""
    if len(sizes) == 1:
        return values[0] * size / sizes[0]
    slope = max((values[-1] - values[0]) / (sizes[-1] - sizes[0]), 0.0)
    return float(np.maximum(values[-1] + slope * (size - sizes[-1]), 1e-9))
