"""What a study will cost: time and energy of each run, from a few optimiser steps of each network.

What is timed is a whole part of a group, as large as those of the study: its members share its cost
as they will share its energy. A training of n steps takes fixed + n * step seconds. Two short
trainings of different length give both unknowns; the longer one also gives the net power. This is a
guide for the reader of a plan, not a measurement: caches, clocks and temperature are those of the
first seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from joulelab.energy.reading import Measurement, Status
from joulelab.learning.engine import TrainingTask
from joulelab.study.accounting import counted
from joulelab.study.design import Configuration
from joulelab.study.executor import Job, Outcome
from joulelab.study.store import PlannedRun

SHORT_STEPS = 2
LONG_S = 0.3
MOST_STEPS = 50


@dataclass(frozen=True)
class Cost:
    """Predicted for one run: seconds, and net joules or ``None`` where power is unknown."""

    duration_s: float
    energy_j: float | None
    status: Status


@dataclass(frozen=True)
class Prediction:
    """Predicted costs by experiment and configuration."""

    by_configuration: Mapping[tuple[str, str], Cost]

    def of(self, run: PlannedRun) -> Cost:
        """The cost of one run."""
        return self.by_configuration[run.experiment, run.configuration]

    def total(self, runs: list[PlannedRun]) -> Cost:
        """The cost of several runs."""
        costs = [self.of(run) for run in runs]
        energies = [cost.energy_j for cost in costs]
        known = [energy for energy in energies if energy is not None]
        statuses = {cost.status for cost in costs}
        return Cost(
            math.fsum(cost.duration_s for cost in costs),
            math.fsum(known) if len(known) == len(energies) else None,
            Status.MEASURED if statuses == {Status.MEASURED} else Status.ESTIMATED,
        )


def predict(
    configurations: Sequence[Configuration],
    job_of: Callable[[Configuration], Job],
    parts: Callable[[Job], Sequence[TrainingTask]],
    run: Callable[[Job], Outcome],
    train_images: int,
    domains: list[str] | None,
    training: str,
) -> Prediction:
    """Train a few steps of every network and extrapolate.

    Args:
        configurations: what is to be predicted.
        job_of: a job as large as the groups of a configuration.
        parts: what such a job is split into; the largest is timed.
        run: carries a job out, and books it.
        train_images: number of training images.
        domains: which energy domains count; ``None`` for the automatic choice.
        training: domain of the device that trains.
    """
    by_network: dict[str, Cost] = {}
    costs: dict[tuple[str, str], Cost] = {}
    for configuration in configurations:
        job = job_of(configuration)
        options = sorted(job.task.network_options.items())
        key = f"{job.engine} {job.task.network} {options} {len(job.task.members)}"
        if key not in by_network:
            largest = max(parts(job), key=lambda task: len(task.members))
            job = replace(job, task=largest)
            by_network[key] = _cost(job, run, train_images, domains, training)
        costs[configuration.experiment, configuration.name] = by_network[key]
    return Prediction(costs)


def _cost(
    job: Job,
    run: Callable[[Job], Outcome],
    train_images: int,
    domains: list[str] | None,
    training: str,
) -> Cost:
    """Cost of one member of the job."""
    steps = job.task.epochs * math.ceil(train_images / job.task.batch_size)
    short = _timed(job, run, SHORT_STEPS)
    per_step_s = short.duration_s / SHORT_STEPS
    longer = min(MOST_STEPS, SHORT_STEPS + max(3, round(LONG_S / per_step_s)))
    long = _timed(job, run, longer)
    step_s = max(long.duration_s - short.duration_s, 0.0) / (longer - SHORT_STEPS)
    fixed_s = max(long.duration_s - longer * step_s, 0.0)
    duration_s = (fixed_s + steps * step_s) / len(job.task.members)
    used = counted(long, domains, training)
    joules = used.net_j if used.net_j is not None else used.gross_j
    if joules is None or long.duration_s <= 0:
        return Cost(duration_s, None, Status.MISSING)
    return Cost(duration_s, max(joules, 0.0) / long.duration_s * duration_s, used.status)


def _timed(job: Job, run: Callable[[Job], Outcome], steps: int) -> Measurement:
    task = replace(job.task, max_steps=steps)
    return run(replace(job, task=task, label="calibration")).measurement
