"""Two data frames from the table of runs: one row per run, and one row per run and domain.

The table is read once, in chunks of a few hundred rows: tens of thousands of runs take seconds, and
little more memory than the frames.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from joulelab.energy.utilisation import QUANTILES
from joulelab.study.column_names import HYPERPARAMETERS, NUMBERS
from joulelab.study.schema import RUN_COLUMNS
from joulelab.study.store_reading import OnDamage, RowAgreement, read_rows, refuse

NOT_ASKED = "not recorded by the joulelab version that ran it"
NOT_FINISHED = "the run did not finish"
_IDENTITY = ("run_id", "position", "block", "experiment", "kind", "configuration")
_PARSED = ("factors", "hyperparameters", "metrics", "utilisation", "measurement")
_BUSY = (*QUANTILES, "source", "reason")
_ENERGIES = ("energy_gross_j", "energy_idle_j", "energy_net_j", "energy_error_j")
_NUMBERS = (
    *_ENERGIES,
    "accuracy",
    "train_loss",
    "duration_s",
    "started_at",
    "scale",
    "flops",
    "utilisation_mean",
    *(f"utilisation_{name}" for name in QUANTILES),
)
_WORDS = ("domain", "source", "status", "reason")
_AMOUNTS = ("gross_j", "idle_w", "duration_s", "error_j", "check_j", "peak_power_w", "lost_s")
_ENDED = ("finished", "failed")

Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class RunFrames:
    """The frames of the runs.

    Attributes:
        runs: one row per run, in the order of the plan.
        readings: one row per run and domain, of measured runs.
        factors: names of the factors of each experiment.
    """

    runs: pd.DataFrame
    readings: pd.DataFrame
    factors: Mapping[str, Sequence[str]]


def read_frames(folder: Path, study: Mapping[str, Any], on_damage: OnDamage = refuse) -> RunFrames:
    """All runs that are consistent with each other and the study file.

    Args:
        folder: with results.
        study: its study file.
        on_damage: called for each skipped run; may raise.

    Raises:
        StoreError: there is no study in it, or it cannot be read.
    """
    table, agreement = _RunTable(), RowAgreement(folder, study, on_damage)
    for rows in read_rows(folder, "runs", on_damage):
        table.add(agreement.kept(rows))
    return RunFrames(table.runs(), table.readings(), agreement.factors)


class _Sparse:
    """Sparse columns; missing values are NaN."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._rows = 0
        self._columns: Columns = {name: [] for name in names}

    def add(self, row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            column = self._columns.setdefault(name, [])
            self._fill(column)
            column.append(value)
        self._rows += 1

    def whole(self) -> Columns:
        """Every column in full length."""
        for column in self._columns.values():
            self._fill(column)
        return self._columns

    def _fill(self, column: list[Any]) -> None:
        if len(column) < self._rows:
            column.extend([math.nan] * (self._rows - len(column)))


class _RunTable:
    """What has been read so far, as columns."""

    def __init__(self) -> None:
        self._plain: Columns = {name: [] for name in RUN_COLUMNS if name not in _PARSED}
        self._proposed, self._factors = _Sparse(HYPERPARAMETERS), _Sparse()
        self._values = _Sparse()
        self._busy: Columns = {name: [] for name in _BUSY}
        self._flags: list[str] = []
        self._flops_reasons: list[str] = []
        self._runs_read = array("q")
        self._readings: Columns = {name: [] for name in (*_WORDS, *_AMOUNTS, "within", "beside")}
        self._words: dict[str, str] = {}

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The next rows, each with all of `RUN_COLUMNS`, parsed."""
        first = len(self._flags)
        for name, column in self._plain.items():
            column.extend([row[name] for row in rows])
        for row in rows:
            self._proposed.add(row["hyperparameters"] or {})
            self._factors.add(row["factors"])
            self._add_utilisation(row["state"], row["utilisation"])
            told = row["metrics"] or {}
            self._flops_reasons.append(_flops_reason(row["state"], row["flops"], told))
            self._values.add(told.get("values", {}))
        measurements = [row["measurement"] or {} for row in rows]
        self._flags += ["; ".join(one.get("flags", ())) for one in measurements]
        self._add_readings(
            {
                number: [*one.get("readings", ()), *one.get("others", ())]
                for number, one in enumerate(measurements, first)
                if one.get("readings") or one.get("others")
            }
        )
        self._readings["beside"] += (
            number >= len(one.get("readings", ()))
            for one in measurements
            for number in range(len(one.get("readings", ())) + len(one.get("others", ())))
        )

    def runs(self) -> pd.DataFrame:
        """One row per run."""
        factors = self._factors.whole()
        columns = {**self._plain, **self._proposed.whole()}
        own = [name for name in columns if name not in {*self._plain, *HYPERPARAMETERS}]
        own += [name for name in factors if name not in columns]
        for name, levels in factors.items():
            # A factor may have the name of a column: use its levels.
            plain = columns.get(name, levels)
            columns[name] = [p if _is_nan(f) else f for p, f in zip(plain, levels, strict=True)]
        values = self._values.whole()
        for name, column in values.items():
            if name not in columns:
                columns[name] = column
            elif name in factors or name in {*NUMBERS, *HYPERPARAMETERS}:
                columns[name] = _filled(columns[name], column, numbers=name not in factors)
        columns["flops_reason"] = [
            why if flops is None else ""
            for why, flops in zip(self._flops_reasons, columns["flops"], strict=True)
        ]
        columns |= {f"utilisation_{name}": column for name, column in self._busy.items()}
        columns["energy_flags"] = self._flags
        frame = pd.DataFrame(columns)
        for name in _NUMBERS:
            frame[name] = frame[name].astype(float)
        frame["diverged"] = [bool(diverged) for diverged in self._plain["diverged"]]
        domains = pd.DataFrame(self._domains(len(frame)), index=frame.index)
        return pd.concat([frame[_ordered(frame, own, list(values))], domains], axis=1)

    def readings(self) -> pd.DataFrame:
        """One row per run and domain."""
        runs = np.frombuffer(self._runs_read, np.int64)
        amounts = {name: _floats(self._readings[name]) for name in _AMOUNTS}
        gross_j, duration_s = amounts["gross_j"], amounts["duration_s"]
        idle_j = amounts["idle_w"] * duration_s
        power_w = np.full(len(gross_j), math.nan)
        np.divide(gross_j, duration_s, out=power_w, where=duration_s > 0)
        identity = {
            name: [self._plain[name][run] for run in runs]
            for name in ("run_id", "experiment", "configuration")
        }
        return pd.DataFrame(
            {
                **identity,
                **{name: self._readings[name] for name in ("domain", "source", "status")},
                "gross_j": gross_j,
                "idle_j": idle_j,
                "net_j": gross_j - idle_j,
                "error_j": amounts["error_j"],
                "check_j": amounts["check_j"],
                "mean_power_w": power_w,
                "peak_power_w": amounts["peak_power_w"],
                "reason": self._readings["reason"],
                "within": self._readings["within"],
                "lost_s": amounts["lost_s"],
                "beside": np.array(self._readings["beside"], bool),
            }
        )

    def _add_utilisation(self, state: str, busy: Mapping[str, Any] | None) -> None:
        told = busy or {"reason": NOT_ASKED if state in _ENDED else ""}
        for name, column in self._busy.items():
            column.append(told.get(name))

    def _add_readings(self, by_run: Mapping[int, Sequence[Mapping[str, Any]]]) -> None:
        self._runs_read.extend(run for run, readings in by_run.items() for _ in readings)
        added = [reading for readings in by_run.values() for reading in readings]
        for name in _WORDS:
            # The same few strings occur in every run: keep one copy of each.
            words = [reading[name] for reading in added]
            self._readings[name] += [self._words.setdefault(word, word) for word in words]
        containers = ["+".join(reading.get("within", ())) for reading in added]
        self._readings["within"] += [self._words.setdefault(word, word) for word in containers]
        for name in _AMOUNTS:
            self._readings[name] += [reading.get(name) for reading in added]

    def _domains(self, count: int) -> dict[str, Any]:
        """For every domain its gross energy and status, of all runs."""
        runs = np.frombuffer(self._runs_read, np.int64)
        domains = np.array(self._readings["domain"], object)
        status = np.array(self._readings["status"], object)
        gross_j = _floats(self._readings["gross_j"])
        counts = ~np.array(self._readings["beside"], bool)
        columns: dict[str, Any] = {}
        for domain in dict.fromkeys(domains[counts].tolist()):
            of_it = (domains == domain) & counts
            energies_j, states = np.full(count, math.nan), np.full(count, math.nan, object)
            energies_j[runs[of_it]] = gross_j[of_it]
            states[runs[of_it]] = status[of_it]
            columns[f"{domain} gross_j"] = energies_j
            columns[f"{domain} status"] = states.tolist()
        return columns


def _flops_reason(state: str, flops: float | None, metrics: Mapping[str, Any]) -> str:
    if flops is not None or state not in _ENDED:
        return ""
    if state == "failed":
        return NOT_FINISHED
    return str(metrics.get("flops_reason", NOT_ASKED))


def _filled(column: Sequence[Any], values: Sequence[Any], *, numbers: bool) -> list[Any]:
    """A column with the values of the workload where it is empty.

    Args:
        column: of all runs.
        values: of the same runs.
        numbers: leave out values that are not numbers.
    """
    return [
        value
        if (own is None or _is_nan(own))
        and not _is_nan(value)
        and (not numbers or isinstance(value, int | float))
        else own
        for own, value in zip(column, values, strict=True)
    ]


def _floats(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array(values, np.float64)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _ordered(frame: pd.DataFrame, factors: Sequence[str], values: Sequence[str]) -> list[str]:
    """Identity, factors, then the columns of the schema, each with related ones."""
    columns = [name for name in RUN_COLUMNS if name not in {*_PARSED, *_IDENTITY}]
    following = {
        "flops": ["flops_reason"],
        "utilisation_mean": [f"utilisation_{name}" for name in _BUSY],
        "error": [*HYPERPARAMETERS, "energy_flags"],
    }
    rest = [each for name in columns for each in (name, *following.get(name, ()))]
    known = [*_IDENTITY, *factors, *(name for name in rest if name in frame)]
    return [*known, *(name for name in values if name not in known)]
