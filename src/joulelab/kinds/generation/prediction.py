"""Predict generation runs: time a few tokens of each model, and compute the rest.

Of each model and precision, a prefill and a few steps are timed of the configurations with the
fewest and with the most prompt tokens in a batch. Between them a prefill is taken as linear in the
tokens of its batch, and a step in its sequences. A window lasts as long as is asked for, and until
its last generation ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Status, Total
from joulelab.kinds.generation.executor import GenerationExecutor, GenerationJob
from joulelab.kinds.generation.spec import GenerationConfiguration
from joulelab.serving.generation.tasks import GENERATION, GenerationTask, Part
from joulelab.study.prediction import LEAST_DRIFT, Estimate, Prediction
from joulelab.study.runner import Calibrator

FEW = 5
"""Output tokens of a timed generation."""
TIMED_S = 0.2


@dataclass(frozen=True)
class Timed:
    """A timed generation of few tokens.

    Attributes:
        task: the task.
        load_s: time to build the model; 0 if it was kept.
        prefill_s: of the prompts.
        step_s: of a token.
        duration_s: of the window.
        energy: of the window.
    """

    task: GenerationTask
    load_s: float
    prefill_s: float
    step_s: float
    duration_s: float
    energy: Total


def time_generation(
    job: GenerationJob,
    executor: GenerationExecutor,
    calibrator: Calibrator,
    counted: Callable[[Measurement], Total],
) -> Timed | None:
    """Time a few tokens of a configuration; ``None`` if it fails.

    Args:
        job: of the configuration.
        executor: generates.
        calibrator: books the timing.
        counted: the energy of a measurement.
    """
    few = min(job.task.output_tokens, FEW)
    task = replace(job.task, output_tokens=few, parts=(Part(GENERATION, TIMED_S, 2),), warm_up=1)
    part = replace(job, task=task, label="calibration")
    prepared = calibrator.prepare(executor, part)
    if prepared.error is not None or executor.loaded is None:
        return None
    outcome = calibrator.calibrate(executor, part)
    if outcome.result is None:
        return None
    times = outcome.result.part(GENERATION)
    return Timed(
        task,
        executor.loaded.load_s,
        float(times.prefill_s.mean()),
        float(times.step_s.mean()),
        outcome.measurement.duration_s,
        counted(outcome.measurement),
    )


def predict(
    configurations: Sequence[GenerationConfiguration],
    timed_of: Callable[[GenerationConfiguration], Timed | None],
) -> Prediction:
    """Predict every configuration from two of its model and precision.

    Args:
        configurations: to predict.
        timed_of: times a configuration.
    """
    by_model: dict[tuple[str, str], list[GenerationConfiguration]] = {}
    for one in configurations:
        by_model.setdefault((one.model, one.precision), []).append(one)
    timed = {
        key: [found for one in _ends(several) if (found := timed_of(one)) is not None]
        for key, several in by_model.items()
    }
    load_s = _loading_s(timed, len(configurations))
    keys = {one.key: one.title for one in configurations}
    estimates = {
        one.title: _estimate(one, timed[one.model, one.precision], load_s) for one in configurations
    }
    return Prediction(keys, estimates, LEAST_DRIFT)


def _ends(several: Sequence[GenerationConfiguration]) -> list[GenerationConfiguration]:
    """The configurations with the fewest and with the most prompt tokens in a batch."""
    ordered = sorted(several, key=lambda one: (one.batch_size * one.prompt_tokens, one.batch_size))
    return ordered if len(ordered) == 1 else [ordered[0], ordered[-1]]


def _loading_s(timed: Mapping[tuple[str, str], Sequence[Timed]], configurations: int) -> float:
    """Mean time to load a model before a run: runs are in random order.

    Args:
        timed: by model and precision.
        configurations: how many there are.
    """
    loads = [one.load_s for several in timed.values() for one in several if one.load_s > 0]
    if len(timed) == 1 or not loads:
        return 0.0
    share = configurations / len(timed)
    # The first load of a process imports libraries.
    return min(loads) * (1 - (share - 1) / max(configurations - 1, 1))


def _estimate(one: GenerationConfiguration, timed: Sequence[Timed], load_s: float) -> Estimate:
    if not timed:
        return Estimate.unknown(one.seconds + one.prefill_seconds)
    tokens = [float(each.task.batch_size * each.task.prompt_tokens) for each in timed]
    batches = [float(each.task.batch_size) for each in timed]
    prefill_s = _line(tokens, [t.prefill_s for t in timed], one.batch_size * one.prompt_tokens)
    step_s = _line(batches, [t.step_s for t in timed], one.batch_size)
    whole_s = prefill_s + (one.output_tokens - 1) * step_s
    duration_s = sum(
        max(seconds + each_s / 2, least * each_s)
        for seconds, each_s, least in (
            (one.prefill_seconds, prefill_s, 3),
            (one.seconds, whole_s, 2),
        )
    )
    longest = max(timed, key=lambda each: each.duration_s)
    net_j = longest.energy.net_j
    energy_j = None if net_j is None else max(net_j, 0.0) / longest.duration_s * duration_s
    error_j = longest.energy.error_j
    return Estimate.assumed(
        duration_s,
        load_s + one.warm_up * whole_s,
        energy_j,
        None if error_j is None else error_j / longest.duration_s,
        Status.of_sum([each.energy.status for each in timed]),
    )


def _line(places: Sequence[float], values: Sequence[float], at: float) -> float:
    """The value between two places; the nearest beyond them."""
    order = np.argsort(places, kind="stable")
    return float(np.interp(at, np.array(places)[order], np.array(values)[order]))
