"""Recorded trials as a table on which searches run.

A table has a row for each training, or for each epoch of each training: the values of some
variables, a score, and, where they were recorded, joules (``energy_j``) and seconds (``seconds``).
Rows with the same values are repetitions.

A *grid* has every combination of its values: the variables are ordered choices, and a proposal is
found as it is. Of *scattered* trials the nearest to a proposal is trained, each variable scaled to
its bounds (log where they are positive and two decades apart); see `joulelab.tuning.replaying`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from joulelab import formats
from joulelab.errors import UsageError, quoted
from joulelab.tuning.search import Step
from joulelab.tuning.space import Choice, Float, Int, SearchSpace, Value, Variable

Array = NDArray[np.float64]

ENERGY, SECONDS, EPOCHS = "energy_j", "seconds", "epochs"
UNITS = (ENERGY, SECONDS, EPOCHS)
"""Columns of what an epoch costs, the best first; ``epochs`` counts each as 1."""
REPETITION, EPOCH, STATUS = "repetition", "epoch", "energy_status"
OPTIONAL = (REPETITION, EPOCH, STATUS)
UNKNOWN_STATUS = "of unknown source"
DECADES = 100.0
"""Bounds so far apart are seen on a logarithmic axis."""


class RecordedTrials:
    """A table of recorded trials.

    Args:
        frame: see above; ``repetition``, ``epoch`` (from 1) and ``energy_status`` may be columns.
        variables: columns with the values.
        score: column that a search sees; higher is better.
        judged: column by which the choice of a search is judged; default: the same.
        name: of the table, for errors.

    Attributes:
        space: the variables.
        exact: whether the table is a grid.
        epochs: of a full training; 1 where only final scores are recorded.
        repetitions: recorded for a trial, at most.
        units: of the costs that are recorded, the best first.
        status: of the energies: ``"measured"``, ``"estimated"`` ...; empty where there are none.
        notes: what was left out.
        judged: of each trial the mean of `judged` after the last epoch.

    Raises:
        UsageError: a column is missing, a value is missing or not a number, a variable is constant,
            or there are fewer than two trials.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        variables: Sequence[str],
        score: str = "validation_accuracy",
        judged: str | None = None,
        name: str = "the table",
    ) -> None:
        self.name = name
        self.score = score
        self.judged_by = judged or score
        costs = [unit for unit in UNITS if unit in frame.columns and unit != EPOCHS]
        self.units = (*costs, EPOCHS)
        numbers = [*dict.fromkeys([score, self.judged_by, *costs])]
        rows = self._checked(frame, variables, numbers)
        self.epochs = int(rows[EPOCH].max())
        rows, self.notes = self._whole(rows, variables)
        self._values: list[dict[str, Value]]
        numbered = rows.groupby(list(variables), sort=True).ngroup()
        firsts = rows.loc[~numbered.duplicated(), list(variables)].assign(at=numbered)
        firsts = firsts.sort_values("at").drop(columns="at")
        self._values = [_plain(row) for row in firsts.to_dict("records")]
        if len(self._values) < 2:  # noqa: PLR2004 - a search needs a choice
            raise UsageError(
                f"{name} has {formats.count(len(self._values), 'trial')}: there is nothing to "
                "search",
                "give a table with two different trials at least",
            )
        self.exact, self.space = self._space(firsts)
        self._places = {self._key(one): at for at, one in enumerate(self._values)}
        if not self.exact:
            self._scaled = np.stack([self._scale(one) for one in self._values])
        self._fill(rows, numbered.to_numpy(), numbers)
        self.status = _status(rows) if ENERGY in costs else ""

    @property
    def unit(self) -> str:
        """What a step costs: the best that is recorded."""
        return self.units[0]

    @property
    def best(self) -> float:
        """The highest mean of ``judged`` after the last epoch."""
        return float(self.judged.max())

    @property
    def words(self) -> str:
        """What was recorded: ``256 trials x 2 repetitions x 25 epochs, a grid``."""
        parts = [formats.count(len(self), "trial")]
        if self.repetitions > 1:
            most = "" if (self._counts == self.repetitions).all() else "up to "
            parts.append(f"{most}{formats.count(self.repetitions, 'repetition')}")
        if self.epochs > 1:
            parts.append(formats.count(self.epochs, "epoch"))
        return f"{' x '.join(parts)}, {'a grid' if self.exact else 'scattered'}"

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest score, judged ones included."""
        both = [self._columns[name] for name in ("score", "judged")]
        return float(np.nanmin(both)), float(np.nanmax(both))

    @property
    def checksum(self) -> str:
        """SHA-256 of values, scores and costs."""
        found = hashlib.sha256(repr(self._values).encode())
        for name in sorted(self._columns):
            found.update(name.encode())
            found.update(self._columns[name].tobytes())
        return found.hexdigest()

    def __len__(self) -> int:
        return len(self._values)

    def nearest(self, values: Mapping[str, Value], taken: Sequence[int] = ()) -> int | None:
        """The number of the recorded trial for a proposal; None if all are taken.

        Args:
            values: proposed.
            taken: trials that are not available; ignored for a grid.
        """
        if self.exact:
            return self._places[self._key(values)]
        distances = np.square(self._scaled - self._scale(values)).sum(axis=1)
        distances[list(taken)] = math.inf
        at = int(np.argmin(distances))
        return at if math.isfinite(distances[at]) else None

    def values(self, number: int) -> dict[str, Value]:
        """The values of a recorded trial."""
        return dict(self._values[number])

    def mean(self, values: Mapping[str, Value]) -> float:
        """The mean of ``judged`` after the last epoch, over all repetitions of a recorded trial."""
        return float(self.judged[self._places[self._key(values)]])

    def scores(self, values: Mapping[str, Value]) -> list[float]:
        """``judged`` after the last epoch, of every repetition of a recorded trial."""
        at = self._places[self._key(values)]
        found: list[float] = self._columns["judged"][at, : self._counts[at], -1].tolist()
        return found

    def run(self, step: Step, draw: int) -> tuple[list[float], dict[str, float]]:
        """The scores after each epoch of a step, and its cost in each of `units`.

        Args:
            step: with the values of a recorded trial.
            draw: a seed, of the order of its repetitions.
        """
        at = self._places[self._key(step.values)]
        count = int(self._counts[at])
        order = np.random.default_rng(draw).permutation(self.repetitions)
        order = order[order < count]
        place = (at, int(order[step.repetition % count]), slice(step.start, step.end))
        scores: list[float] = self._columns["score"][place].tolist()
        costs = {unit: float(self._columns[unit][place].sum()) for unit in self.units[:-1]}
        return scores, {**costs, EPOCHS: float(step.end - step.start)}

    # Reading

    def _checked(
        self, frame: pd.DataFrame, variables: Sequence[str], numbers: Sequence[str]
    ) -> pd.DataFrame:
        """The columns that count, with ``epoch`` and ``repetition``."""
        if not variables:
            raise UsageError(f"{self.name} has no variable", 'give them: variables = ["..."]')
        for column in (*variables, *numbers):
            if column not in frame.columns:
                raise UsageError(
                    f"{self.name} has no column {quoted(column)}",
                    f"columns: {', '.join(map(str, frame.columns))}",
                )
        kept = [one for one in (*variables, *numbers, *OPTIONAL) if one in frame.columns]
        rows = frame[[*dict.fromkeys(kept)]].reset_index(drop=True)
        if not len(rows):
            raise UsageError(f"{self.name} has no rows", "select other rows")
        for column in rows.columns[[isinstance(one, pd.CategoricalDtype) for one in rows.dtypes]]:
            rows[column] = rows[column].astype(object)
        for column in numbers:
            rows[column] = _numbers(rows[column])
            self._refuse(rows, ~np.isfinite(rows[column]), column)
            self._refuse_impossible(rows, column)
        for column in variables:
            if not _is_text(rows[column]):
                self._refuse_mixed(rows, column)
                rows[column] = _numbers(rows[column])
                self._refuse(rows, ~np.isfinite(rows[column]), column)
            self._refuse(rows, rows[column].isna(), column)
            if rows[column].nunique() < 2:  # noqa: PLR2004 - else it does not vary
                raise UsageError(
                    f"{self.name}: {column} is {quoted(_item(rows[column].iloc[0]))} in every row",
                    "leave it out of variables, or select other rows",
                )
        if EPOCH not in rows:
            rows[EPOCH] = 1
        rows[EPOCH] = _numbers(rows[EPOCH])
        self._refuse(rows, ~(rows[EPOCH] == rows[EPOCH].round()), EPOCH)
        if REPETITION not in rows:
            rows[REPETITION] = rows.groupby([*variables, EPOCH]).cumcount()
        twice = rows.duplicated([*variables, REPETITION, EPOCH])
        if twice.any():
            raise UsageError(
                f"{self.name}, row {_first(twice)}, has the values, repetition and epoch "
                "of another row",
                "number the repetitions, or leave the column repetition out",
            )
        return rows

    def _refuse(self, rows: pd.DataFrame, wrong: pd.Series[Any], column: str) -> None:
        if wrong.any():
            count = int(wrong.sum())
            raise UsageError(
                f"{self.name}: {column} is missing or not a finite number in "
                f"{formats.count(count, 'row')} of {len(rows):,}, the first of them "
                f"row {_first(wrong)}",
                "fill these cells or remove the rows; select the rows of one problem with where; "
                "give a failed training the score of a guess",
            )

    def _refuse_impossible(self, rows: pd.DataFrame, column: str) -> None:
        if column in UNITS and (negative := rows[column] < 0).any():
            raise UsageError(
                f"{self.name}, row {_first(negative)}: {column} is below 0",
                "correct the cell or remove the row",
            )
        if column == ENERGY and (rows[column] == 0).all():
            raise UsageError(
                f"{self.name}: {column} is 0 in every row, which no training takes",
                "leave the column out: steps then cost seconds, or epochs",
            )

    def _refuse_mixed(self, rows: pd.DataFrame, column: str) -> None:
        if text := _texts(rows[column]):
            raise UsageError(
                f"{self.name}: {column} has numbers, and text such as {quoted(text[0])}",
                "name all its levels by text (such as w64), or make all of them numbers",
            )

    def _whole(
        self, rows: pd.DataFrame, variables: Sequence[str]
    ) -> tuple[pd.DataFrame, tuple[str, ...]]:
        """The trainings with every epoch, their repetitions numbered anew."""
        training = [*variables, REPETITION]
        per = rows.groupby(training)[EPOCH]
        whole = (per.transform("size") == self.epochs) & (per.transform("min") == 1)
        notes: tuple[str, ...] = ()
        if not whole.all():
            count = int(rows[~whole].groupby(training).ngroups)
            said = formats.count(count, "training")
            notes = (f"{said} without a score after each of {self.epochs} epochs left out",)
            rows = rows[whole]
        if not len(rows):
            raise UsageError(
                f"{self.name} has no training with a score after each of {self.epochs} epochs",
                "epochs count from 1; leave the column epoch out where a row is a whole training",
            )
        rows = rows.sort_values([*training, EPOCH]).reset_index(drop=True)
        return rows.assign(**{REPETITION: _dense(rows, variables)}), notes

    def _space(self, points: pd.DataFrame) -> tuple[bool, SearchSpace]:
        """Whether the points are a grid, and the space that they span."""
        levels = {name: sorted(points[name].unique()) for name in points}
        size = math.prod(len(found) for found in levels.values())
        exact = len(levels) > 1 and size == len(points)
        variables: dict[str, Variable] = {}
        for name, found in levels.items():
            plain = tuple(_item(level) for level in found)
            text = _is_text(points[name])
            if exact or text:
                variables[str(name)] = Choice(plain, ordered=not text)
            else:
                low, high = plain[0], plain[-1]
                log = low > 0 and high / low >= DECADES
                kind = Int if all(isinstance(one, int) for one in plain) else Float
                variables[str(name)] = kind(low, high, log)
        return exact, SearchSpace(variables)

    def _scale(self, values: Mapping[str, Value]) -> Array:
        """Coordinates from 0 to 1; of a choice without order one per level, at distance 1."""
        found: list[float] = []
        for name, variable in self.space.variables.items():
            if isinstance(variable, Choice):
                code = variable.encode(values[name])
                found += [math.sqrt(0.5) * (code == at) for at in range(len(variable.levels))]
            else:
                low, high, value = variable.low, variable.high, float(values[name])
                if variable.log:
                    low, high, value = math.log(low), math.log(high), math.log(value)
                found.append((value - low) / (high - low))
        return np.array(found)

    def _key(self, values: Mapping[str, Value]) -> tuple[Value, ...]:
        return tuple(values[name] for name in self.space.variables)

    def _fill(self, rows: pd.DataFrame, number: NDArray[Any], numbers: Sequence[str]) -> None:
        self.repetitions = int(rows[REPETITION].max()) + 1
        shape = (len(self._values), self.repetitions, self.epochs)
        place = (number, rows[REPETITION].to_numpy(), rows[EPOCH].to_numpy() - 1)
        self._columns: dict[str, Array] = {}
        for key, column in (
            ("score", self.score),
            ("judged", self.judged_by),
            *((unit, unit) for unit in self.units[:-1]),
        ):
            filled = np.full(shape, math.nan)
            filled[place] = rows[column]
            self._columns[key] = filled
        self._counts = np.isfinite(self._columns["score"][..., -1]).sum(axis=1)
        self.judged: Array = np.nanmean(self._columns["judged"][..., -1], axis=1)


def _numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers; whole ones as int. What is not a number becomes NaN."""
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    whole = np.isfinite(numbers).all() and (numbers == numbers.round()).all()
    return numbers.astype(np.int64) if whole and numbers.abs().max() < 2**53 else numbers


def _first(wrong: pd.Series[Any]) -> int:
    """The first row that is wrong, counted from 1."""
    return int(np.argmax(wrong.to_numpy())) + 1


def _is_text(column: pd.Series[Any]) -> bool:
    """Whether a column holds names or truth values, not numbers."""
    if pd.api.types.is_bool_dtype(column):
        return True
    return not pd.api.types.is_numeric_dtype(column) and (
        bool(column.notna().any()) and bool(pd.to_numeric(column, errors="coerce").isna().all())
    )


def _texts(column: pd.Series[Any]) -> list[str]:
    """The cells of a column that are neither numbers nor empty."""
    if pd.api.types.is_numeric_dtype(column):
        return []
    text = pd.to_numeric(column, errors="coerce").isna() & column.notna()
    return [str(one) for one in column[text]]


def _dense(rows: pd.DataFrame, variables: Sequence[str]) -> pd.Series[Any]:
    """Repetitions of each trial, numbered from 0."""
    return rows.groupby(list(variables))[REPETITION].rank(method="dense").astype(int) - 1


def _plain(row: Mapping[Any, Any]) -> dict[str, Value]:
    return {str(name): _item(value) for name, value in row.items()}


def _item(value: Any) -> Any:  # noqa: ANN401 - a scalar of numpy or Python
    return value.item() if isinstance(value, np.generic) else value


def _status(rows: pd.DataFrame) -> str:
    """How the recorded energies came about."""
    stated = sorted(set(rows[STATUS].dropna().astype(str))) if STATUS in rows else []
    return {0: UNKNOWN_STATUS, 1: "".join(stated)}.get(len(stated), "partly estimated")
