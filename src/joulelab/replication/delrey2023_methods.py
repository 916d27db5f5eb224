"""The methods that are compared on the traces of del Rey et al., by name.

A method sees the first part of a run and is told how long the whole takes. It predicts an energy,
with an interval if it has one, or None where it lacks something.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from joulelab.analysis.prediction import baselines
from joulelab.analysis.prediction.scores import Predicted
from joulelab.analysis.prediction.step import FINE_TUNING, predict_step
from joulelab.analysis.prediction.traces import PowerTrace
from joulelab.replication.delrey2023_runs import TableRow, limit_w, memory_gb
from joulelab.replication.delrey2023_traces import TrainingRun

SEED = 2023


@dataclass(frozen=True)
class Task:
    """What a method is given.

    Attributes:
        seen: the first part of a run.
        run: the run it is of; of this, a method takes the machine and the network, and what else
            was recorded in the part that it has seen.
        table: the rows of the table of runs.
    """

    seen: PowerTrace
    run: TrainingRun
    table: Sequence[TableRow]

    @property
    def duration_s(self) -> float:
        """Of the whole run, which is known."""
        return self.run.trace.duration_s


Method: TypeAlias = Callable[[Task], Predicted | None]


def step(task: Task) -> Predicted:
    """STEP from the stable part, with what is known of fine-tuning."""
    found = predict_step(task.seen, task.duration_s, FINE_TUNING)
    return Predicted(task.run.trace.energy_j, found.energy_j, found.low_j, found.high_j)


def random_window(task: Task) -> Predicted:
    """A window at a place that the name of the run draws: the same in every order of the runs."""
    draw = np.random.default_rng([SEED, zlib.crc32(task.run.name.encode())])
    return _plain(task, baselines.random_window_j(task.seen, task.duration_s, draw))


def mean_so_far(task: Task) -> Predicted:
    """The mean power of everything seen."""
    return _plain(task, baselines.mean_so_far_j(task.seen, task.duration_s))


def window(task: Task) -> Predicted:
    """The mean power of the last part of what was seen."""
    return _plain(task, baselines.last_window_j(task.seen, task.duration_s))


def tdp(task: Task) -> Predicted | None:
    """Power limit times time; None where the limit is not known."""
    limit = limit_w(task.run, task.table)
    return None if limit is None else _plain(task, baselines.tdp_j(limit, task.duration_s))


def green_algorithms(task: Task) -> Predicted | None:
    """Green Algorithms with the utilisation seen; None where limit, use or memory is not known."""
    limit = limit_w(task.run, task.table)
    usage = task.run.mean_utilisation(task.seen.duration_s)
    memory = memory_gb(task.run, task.table)
    if limit is None or usage is None or memory is None:
        return None
    return _plain(task, baselines.green_algorithms_j(limit, usage, memory, task.duration_s))


METHODS: dict[str, Method] = {
    "step": step,
    "window": window,
    "mean-so-far": mean_so_far,
    "random-window": random_window,
    "tdp": tdp,
    "green-algorithms": green_algorithms,
}


def _plain(task: Task, predicted_j: float) -> Predicted:
    return Predicted(task.run.trace.energy_j, predicted_j)
