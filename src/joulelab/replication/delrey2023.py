"""Predict the energy of a training from its first part, on the traces of del Rey et al.

::

    any .parquet or .csv with t_s and power_w       power traces
    runs.csv                                        epochs, power limits and memory; optional

The true energy is the integral of a whole trace. Each method gets a fraction of each run and the
run's duration. With ``runs.csv`` the authors' own predictions are also computed, from a window of
five epochs after the tenth, assuming equally long epochs::

    power window    E = P(window) T
    energy window   E = E(10 epochs) + E(window) (N - 10) / 5
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from joulelab import formats
from joulelab.analysis.prediction.scores import (
    Predicted,
    Score,
    green_algorithms_j,
    last_window_j,
    mean_so_far_j,
    random_window_j,
    score,
    tdp_j,
)
from joulelab.analysis.prediction.step import FINE_TUNING, predict_step
from joulelab.analysis.prediction.traces import PowerTrace
from joulelab.replication.delrey2023_data import (
    TableRow,
    TrainingRun,
    limit_w,
    memory_gb,
    read_runs_of_folder,
    read_table_of_runs,
    row_of,
)
from joulelab.replication.published import Comparison, Recomputed, Replication, printed

TITLE = (
    "del Rey et al., Do DL models and training environments have an impact on energy consumption?, "
    "SEAA 2023"
)
FRACTIONS = (0.1, 0.15, 0.2, 0.25, 0.5)
FIRST_EPOCHS, WINDOW_EPOCHS = 10, 5
SEED = 2023
OTHER_RUNS = (
    "the published figures are for other runs; the windows assume equally long epochs, which a "
    "frozen base does not have; tdp and green-algorithms are from the last table"
)


@dataclass(frozen=True)
class PredictionStudy(Replication):
    """The accuracy of each method, and published next to recomputed numbers.

    Attributes:
        scores: one row per method and fraction.
    """

    scores: tuple[Score, ...] = ()


@dataclass(frozen=True)
class Task:
    """The input of a method.

    Attributes:
        seen: the first part of a run.
        run: the whole run; of this, a method uses only the machine, the network, and what was
            recorded in the part seen.
        table: the rows of the table of runs.
    """

    seen: PowerTrace
    run: TrainingRun
    table: Sequence[TableRow]

    @property
    def duration_s(self) -> float:
        """Duration of the whole run, which is known."""
        return self.run.trace.duration_s


Method: TypeAlias = Callable[[Task], Predicted | None]


def step(task: Task) -> Predicted:
    """STEP from the stable part, with the prior of fine-tuning."""
    found = predict_step(task.seen, task.duration_s, FINE_TUNING)
    return Predicted(task.run.trace.energy_j, found.energy_j, found.low_j, found.high_j)


def random_window(task: Task) -> Predicted:
    """A window at a place seeded by the name of the run, so the order of runs does not matter."""
    draw = np.random.default_rng([SEED, zlib.crc32(task.run.name.encode())])
    return _plain(task, random_window_j(task.seen, task.duration_s, draw))


def mean_so_far(task: Task) -> Predicted:
    """The mean power of the part seen."""
    return _plain(task, mean_so_far_j(task.seen, task.duration_s))


def window(task: Task) -> Predicted:
    """The mean power of the last part of the trace seen."""
    return _plain(task, last_window_j(task.seen, task.duration_s))


def tdp(task: Task) -> Predicted | None:
    """Power limit times time; None if the limit is unknown."""
    limit = limit_w(task.run, task.table)
    return None if limit is None else _plain(task, tdp_j(limit, task.duration_s))


def green_algorithms(task: Task) -> Predicted | None:
    """Green Algorithms with the utilisation seen; None if limit, use or memory is unknown."""
    limit = limit_w(task.run, task.table)
    usage = task.run.mean_utilisation(task.seen.duration_s)
    memory = memory_gb(task.run, task.table)
    if limit is None or usage is None or memory is None:
        return None
    return _plain(task, green_algorithms_j(limit, usage, memory, task.duration_s))


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


def replicate(folder: Path) -> PredictionStudy:
    """Evaluate every method on every trace in a folder.

    Args:
        folder: contains the traces, and optionally ``runs.csv``.

    Raises:
        UsageError: the folder does not exist, or has no traces.
        DatasetError: a file cannot be read, or has different content.
    """
    runs, remarks = read_runs_of_folder(folder)
    table = read_table_of_runs(folder)
    remarks += _unknown_limits(runs, table)
    scores = [
        score(name, fraction, _predictions(method, fraction, runs, table))
        for fraction in FRACTIONS
        for name, method in METHODS.items()
    ]
    comparisons = _published(runs, table, {one.method: one for one in scores})
    return PredictionStudy(TITLE, tuple(comparisons), tuple(remarks), tuple(scores))


def _predictions(
    method: Method, fraction: float, runs: Sequence[TrainingRun], table: Sequence[TableRow]
) -> list[Predicted]:
    tasks = (
        Task(run.trace.between(0.0, fraction * run.trace.duration_s), run, table) for run in runs
    )
    return [predicted for task in tasks if (predicted := method(task)) is not None]


def _unknown_limits(runs: Sequence[TrainingRun], table: Sequence[TableRow]) -> list[str]:
    unknown = sorted({run.environment for run in runs if limit_w(run, table) is None})
    return [
        f"no power limit is known for the environment {environment!r}: its runs have no TDP x time "
        "and no Green Algorithms"
        for environment in unknown
    ]


def _published(
    runs: Sequence[TrainingRun], table: Sequence[TableRow], scores: dict[str, Score]
) -> list[Comparison]:
    """The RMSE printed in the paper beside the RMSE on these traces."""
    epochs = [(run, row.epochs) for run in runs if (row := row_of(run, table)) is not None]
    known = [
        (run, number)
        for run, number in epochs
        if number is not None and number >= FIRST_EPOCHS + WINDOW_EPOCHS
    ]
    windows = {"power-window": power_window_j, "energy-window": energy_window_j}
    own = {
        name: score(name, 1.0, [Predicted(run.trace.energy_j, predict(run, n)) for run, n in known])
        for name, predict in windows.items()
    }
    comparisons = []
    for number in printed("delrey2023"):
        found = {**scores, **own}[number.cell]
        note = (
            f"{formats.count(found.n, 'run')}: {OTHER_RUNS}"
            if found.n
            else "needs runs.csv with rows that match the traces"
        )
        comparisons.append(Comparison(number, Recomputed(found.rmse_kj, note)))
    return comparisons


def power_window_j(run: TrainingRun, epochs: float) -> float:
    """Mean power of the window of five epochs after the tenth, times the duration.

    Args:
        run: the run with its trace.
        epochs: number of epochs of the whole run, at least 15.
    """
    return run.trace.duration_s * _window_w(run, epochs)


def energy_window_j(run: TrainingRun, epochs: float) -> float:
    """Energy of ten epochs, plus the energy of the next five for each five remaining epochs.

    Args:
        run: the run with its trace.
        epochs: number of epochs of the whole run, at least 15.
    """
    epoch_s = run.trace.duration_s / epochs
    first_j = run.trace.between(0.0, FIRST_EPOCHS * epoch_s).energy_j
    return first_j + _window_w(run, epochs) * epoch_s * (epochs - FIRST_EPOCHS)


def _window_w(run: TrainingRun, epochs: float) -> float:
    epoch_s = run.trace.duration_s / epochs
    end = FIRST_EPOCHS + WINDOW_EPOCHS
    return run.trace.between(FIRST_EPOCHS * epoch_s, end * epoch_s).mean_w
