"""Predicting the energy of a training from its beginning, on the traces of del Rey et al.

::

    any .parquet or .csv with t_s and power_w       power traces
    runs.csv                                        epochs, power limits and memory; may be absent

The truth is the integral of a whole trace. Each method sees a fraction of each run and is told how
long the run takes. With ``runs.csv`` the authors' own predictions are made as well: a window of
five epochs after the tenth, epochs being equally long::

    power window    E = P(window) T
    energy window   E = E(10 epochs) + E(window) (N - 10) / 5
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from joulelab import formats
from joulelab.analysis.prediction.scores import Predicted, Score, score
from joulelab.replication.delrey2023_methods import METHODS, Task
from joulelab.replication.delrey2023_runs import (
    TableRow,
    limit_w,
    read_table_of_runs,
    row_of,
)
from joulelab.replication.delrey2023_traces import TrainingRun, read_runs_of_folder
from joulelab.replication.published import Comparison, Published, Recomputed

TITLE = (
    "del Rey et al., Do DL models and training environments have an impact on energy consumption?, "
    "SEAA 2023"
)
FRACTIONS = (0.1, 0.15, 0.2, 0.25, 0.5)
FIRST_EPOCHS, WINDOW_EPOCHS = 10, 5
RMSE = "RMSE, kJ"
PRINTED = {
    "power-window": "7.34",
    "energy-window": "7.85",
    "green-algorithms": "176.6",
    "tdp": "187.3",
}
OTHER_RUNS = (
    "the published figures are of other runs; for the windows, epochs are taken as equally long, "
    "which those with a frozen base are not; tdp and green-algorithms are those of the last table"
)


@dataclass(frozen=True)
class PredictionStudy:
    """How good each method was, and the published figures beside the recomputed ones.

    Attributes:
        title: of the study.
        scores: a row a method and fraction.
        comparisons: of the authors' own methods.
        remarks: what the reader of the files should know.
    """

    title: str
    scores: tuple[Score, ...]
    comparisons: tuple[Comparison, ...]
    remarks: tuple[str, ...] = ()


def replicate(folder: Path) -> PredictionStudy:
    """Hold every method against every trace in a folder.

    Args:
        folder: with traces, and with ``runs.csv`` where it is at hand.

    Raises:
        UsageError: there is no such folder, or no traces in it.
        DatasetError: a file cannot be read, or holds something else.
    """
    runs, remarks = read_runs_of_folder(folder)
    table = read_table_of_runs(folder)
    remarks += _unknown_limits(runs, table)
    scores = [
        score(name, fraction, list(_predictions(name, fraction, runs, table)))
        for fraction in FRACTIONS
        for name in METHODS
    ]
    comparisons = _published(runs, table, {one.method: one for one in scores})
    return PredictionStudy(TITLE, tuple(scores), tuple(comparisons), tuple(remarks))


def _predictions(
    name: str, fraction: float, runs: Sequence[TrainingRun], table: Sequence[TableRow]
) -> Iterator[Predicted]:
    for run in runs:
        seen = run.trace.between(0.0, fraction * run.trace.duration_s)
        predicted = METHODS[name](Task(seen, run, table))
        if predicted is not None:
            yield predicted


def _unknown_limits(runs: Sequence[TrainingRun], table: Sequence[TableRow]) -> list[str]:
    unknown = sorted({run.environment for run in runs if limit_w(run, table) is None})
    return [
        f"no power limit is known for the environment {environment!r}: its runs have no TDP x time "
        "and no Green Algorithms"
        for environment in unknown
    ]


def _published(
    runs: Sequence[TrainingRun], table: Sequence[TableRow], scores: dict[str, Score]
) -> Iterator[Comparison]:
    """The RMSE that the paper prints beside those of the traces at hand."""
    own: dict[str, Callable[[TrainingRun, float], float]] = {
        "power-window": power_window_j,
        "energy-window": energy_window_j,
    }
    epochs = [(run, row.epochs) for run in runs if (row := row_of(run, table)) is not None]
    known = [
        (run, number)
        for run, number in epochs
        if number is not None and number >= FIRST_EPOCHS + WINDOW_EPOCHS
    ]
    for method, text in PRINTED.items():
        found = scores.get(method)
        if method in own:
            predict = own[method]
            found = score(method, 1.0, [_own(predict, run, number) for run, number in known])
        value = found.rmse_kj if found else None
        note = (
            f"{formats.count(found.n, 'run')}: {OTHER_RUNS}"
            if found and found.n
            else "needs runs.csv with a row for the traces"
        )
        yield Comparison(Published("Prediction", RMSE, method, text), Recomputed(value, note))


def _own(
    predict: Callable[[TrainingRun, float], float], run: TrainingRun, epochs: float
) -> Predicted:
    return Predicted(run.trace.energy_j, predict(run, epochs))


def power_window_j(run: TrainingRun, epochs: float) -> float:
    """Mean power of the window of five epochs after the tenth, times the duration.

    Args:
        run: with its trace.
        epochs: of the whole run, at least 15.
    """
    return run.trace.duration_s * _window_w(run, epochs)


def energy_window_j(run: TrainingRun, epochs: float) -> float:
    """Energy of ten epochs, and of the five after them for each five that are left.

    Args:
        run: with its trace.
        epochs: of the whole run, at least 15.
    """
    epoch_s = run.trace.duration_s / epochs
    first_j = run.trace.between(0.0, FIRST_EPOCHS * epoch_s).energy_j
    return first_j + _window_w(run, epochs) * epoch_s * (epochs - FIRST_EPOCHS)


def _window_w(run: TrainingRun, epochs: float) -> float:
    epoch_s = run.trace.duration_s / epochs
    end = FIRST_EPOCHS + WINDOW_EPOCHS
    return run.trace.between(FIRST_EPOCHS * epoch_s, end * epoch_s).mean_w
