"""Recorded learning curves: a search runs on them in seconds, and takes no energy.

A table has a row for each epoch of each training: the values of some variables, ``repetition``,
``epoch``, a score, and the joules and seconds of the epoch. A repetition that a search asks for is
one of the recorded ones, in an order drawn for every trial.

::

    table = RecordedCurves.shipped("DensePolyNN")
    search = make_search("green", table.space, seed=0, epochs=table.epochs)
    for event in replay(search, table, budget=2000.0, unit="energy_j"):
        print(event.spent, event.best_score)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from joulelab.errors import UsageError, quoted
from joulelab.tuning.search import Search, Step
from joulelab.tuning.space import Choice, SearchSpace, Value

Array = NDArray[np.float64]

SHIPPED = "fashion-mnist-10k.parquet"
EPOCH = "epochs"
UNITS = (EPOCH, "energy_j", "seconds")
"""Columns of the cost of an epoch; ``epochs`` counts each as 1."""


@dataclass(frozen=True)
class Event:
    """A step of a replayed search.

    Attributes:
        step: what was trained.
        spent: cost of all steps so far.
        best: number of the trial that the search takes for the best; None before any score.
        best_score: its mean over all recorded repetitions after the last epoch, of the column
            ``judged``: not known to the search.
    """

    step: Step
    spent: float
    best: int | None
    best_score: float | None


class RecordedCurves:
    """A table of learning curves.

    Args:
        frame: a row for each epoch, see above; every combination of the variables' values.
        variables: columns with the values.
        score: column that a search sees; higher is better.
        judged: column by which the choice of a search is judged.

    Attributes:
        space: the variables, as ordered choices of the values that occur.
        epochs: of a full training.
        repetitions: recorded for each combination.

    Raises:
        UsageError: a column is missing, or a combination has not every epoch of every repetition.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        variables: Sequence[str],
        score: str = "validation_accuracy",
        judged: str = "test_accuracy",
    ) -> None:
        for column in (*variables, "repetition", "epoch", score, judged, *UNITS[1:]):
            if column not in frame.columns:
                raise UsageError(
                    f"the table of learning curves has no column {quoted(column)}",
                    f"columns: {', '.join(map(str, frame.columns))}",
                )
        levels = {name: sorted(frame[name].unique()) for name in variables}
        self.space = SearchSpace(
            {
                name: Choice(tuple(level.item() for level in found), ordered=True)
                for name, found in levels.items()
            }
        )
        self.epochs = int(frame["epoch"].max())
        self.repetitions = int(frame["repetition"].nunique())
        rows = frame.sort_values([*variables, "repetition", "epoch"])
        shape = (*(len(found) for found in levels.values()), self.repetitions, self.epochs)
        if len(rows) != math.prod(shape):
            raise UsageError(
                f"the table of learning curves has {len(rows)} rows instead of {math.prod(shape)}",
                "record every combination of values, repetition and epoch once",
            )
        self._columns = {
            name: rows[column].to_numpy(dtype=np.float64).reshape(shape)
            for name, column in (("score", score), ("judged", judged), *((u, u) for u in UNITS[1:]))
        }
        self._columns[EPOCH] = np.ones(shape)
        self.judged: Array = self._columns["judged"][..., -1].mean(axis=-1)

    @classmethod
    def shipped(cls, network: str) -> RecordedCurves:
        """The table that comes with joulelab: Fashion-MNIST with 10,000 training images.

        Args:
            network: ``"DensePolyNN"`` or ``"SimpleCNN"``.

        Raises:
            UsageError: another network.
        """
        with resources.as_file(resources.files("joulelab.tuning") / "tables" / SHIPPED) as path:
            frame = pd.read_parquet(path)
        rows = frame[frame["network"] == network]
        if rows.empty:
            known = ", ".join(sorted(frame["network"].unique()))
            raise UsageError(f"no curves of {quoted(network)} are shipped", f"networks: {known}")
        layers = [name for name in ("linear_layers", "conv_layers") if rows[name].nunique() > 1]
        for name in layers:
            rows = rows.astype({name: int})
        return cls(rows, ["learning_rate", "batch_size", "beta1", *layers])

    @property
    def best(self) -> float:
        """The highest mean of ``judged`` after the last epoch."""
        return float(self.judged.max())

    def mean(self, values: Mapping[str, Value]) -> float:
        """The mean of ``judged`` after the last epoch, over all repetitions."""
        return float(self.judged[self._at(values)])

    def run(self, step: Step, repetition: int, unit: str) -> tuple[list[float], float]:
        """The scores after each epoch of a step, and its cost."""
        place, part = (*self._at(step.values), repetition), slice(step.start, step.end)
        scores: list[float] = self._columns["score"][place][part].tolist()
        return scores, float(self._columns[unit][place][part].sum())

    def _at(self, values: Mapping[str, Value]) -> tuple[int, ...]:
        return tuple(int(code) for code in self.space.encode(values))


def replay(
    search: Search, table: RecordedCurves, budget: float, unit: str = "energy_j", seed: int = 0
) -> Iterator[Event]:
    """Run a search on recorded curves until its budget is spent.

    Args:
        search: on the space of the table, with its epochs.
        table: the curves.
        budget: in `unit`; the last step may overshoot it by one epoch.
        unit: ``"epochs"``, ``"energy_j"`` or ``"seconds"``: what a step costs.
        seed: draws the order of repetitions.

    Yields:
        One event for each step.
    """
    spent = 0.0
    orders: dict[int, NDArray[np.intp]] = {}
    while spent < budget and (steps := search.next(1)):
        step = steps[0]
        generator = np.random.default_rng((seed, step.trial))
        order = orders.setdefault(step.trial, generator.permutation(table.repetitions))
        scores, cost = table.run(step, int(order[step.repetition % table.repetitions]), unit)
        spent += cost
        search.observe(step, scores, cost)
        best = search.best()
        number = None if best is None else best[0].number
        yield Event(step, spent, number, None if best is None else table.mean(best[0].values))
