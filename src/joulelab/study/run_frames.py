"""From the table of runs to two data frames: a row a run, and a row a run and domain.

The table is read once, some hundred rows at a time, and each JSON text is parsed once: tens of
thousands of runs take a second, and little more memory than the frames themselves.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from joulelab.energy.utilisation import QUANTILES
from joulelab.study.schema import RUN_COLUMNS
from joulelab.study.store_reading import read_runs

HYPERPARAMETERS = ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay")
NOT_ASKED = "the joulelab that ran it did not ask"
NOT_FINISHED = "the training did not finish"
_IDENTITY = ("run_id", "position", "block", "experiment", "kind", "configuration")
_ROWS_AT_ONCE = 500
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


def read_frames(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All runs in the order of the plan, and the readings of those that were measured.

    Args:
        folder: with results.

    Raises:
        StoreError: there is no study in it, or it cannot be read.
    """
    table = _RunTable()
    rows = read_runs(folder, list(RUN_COLUMNS))
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        table.add(some)
    return table.runs(), table.readings()


class _Sparse:
    """Columns of which each row has only some; what a row does not have is NaN."""

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
        self._parsed: dict[str, dict[str, Any]] = {}
        self._words: dict[str, str] = {}

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """The next rows, each with all of `RUN_COLUMNS`."""
        first = len(self._flags)
        columns = dict(zip(RUN_COLUMNS, zip(*rows, strict=True), strict=True))
        for name, column in self._plain.items():
            column.extend(columns[name])
        for proposed, factors in zip(columns["hyperparameters"], columns["factors"], strict=True):
            self._proposed.add(self._once(proposed or "{}"))
            self._factors.add(self._once(factors))
        for state, busy in zip(columns["state"], columns["utilisation"], strict=True):
            self._add_utilisation(state, busy)
        for state, flops, metrics in zip(
            columns["state"], columns["flops"], columns["metrics"], strict=True
        ):
            told = self._metrics(metrics)
            self._flops_reasons.append(_flops_reason(state, flops, told))
            self._values.add(told.get("values", {}))
        # Runs that were trained together have the same measurement, to the letter.
        told = {text: json.loads(text) if text else {} for text in set(columns["measurement"])}
        measurements = [told[text] for text in columns["measurement"]]
        self._flags += ["; ".join(one.get("flags", ())) for one in measurements]
        self._add_readings(
            {
                number: [*one["readings"], *one.get("others", ())]
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
        """A row a run."""
        factors = self._factors.whole()
        columns = {**self._plain, **self._proposed.whole()}
        own = [name for name in columns if name not in {*self._plain, *HYPERPARAMETERS}]
        own += [name for name in factors if name not in columns]
        for name, levels in factors.items():
            # A factor may have the name of a column: its levels are what is asked for.
            plain = columns.get(name, levels)
            columns[name] = [p if _is_nan(f) else f for p, f in zip(plain, levels, strict=True)]
        columns["flops_reason"] = self._flops_reasons
        values = self._values.whole()
        # What a kind of work has measured; a column of all runs is not given up for it.
        columns |= {name: column for name, column in values.items() if name not in columns}
        columns |= {f"utilisation_{name}": column for name, column in self._busy.items()}
        columns["energy_flags"] = self._flags
        frame = pd.DataFrame(columns)
        for name in _NUMBERS:
            frame[name] = frame[name].astype(float)
        frame["diverged"] = [bool(diverged) for diverged in self._plain["diverged"]]
        domains = pd.DataFrame(self._domains(len(frame)), index=frame.index)
        return pd.concat([frame[_ordered(frame, own, list(values))], domains], axis=1)

    def readings(self) -> pd.DataFrame:
        """A row a run and domain."""
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

    def _once(self, text: str) -> dict[str, Any]:
        """The value of a text that many rows share."""
        if text not in self._parsed:
            self._parsed[text] = json.loads(text)
        return self._parsed[text]

    def _metrics(self, text: str | None) -> dict[str, Any]:
        """The metrics of a row, parsed only where a column is made of them."""
        wanted = text is not None and ('"values"' in text or "flops_reason" in text)
        return json.loads(text) if wanted and text else {}

    def _add_utilisation(self, state: str, text: str | None) -> None:
        unasked = {"reason": NOT_ASKED if state in _ENDED else ""}
        told = self._once(text) if text else unasked
        for name, column in self._busy.items():
            column.append(told.get(name))

    def _add_readings(self, by_run: Mapping[int, Sequence[Mapping[str, Any]]]) -> None:
        self._runs_read.extend(run for run, readings in by_run.items() for _ in readings)
        added = [reading for readings in by_run.values() for reading in readings]
        for name in _WORDS:
            # The same few words come with every run: one copy of each is kept.
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


def _floats(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array(values, np.float64)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _ordered(frame: pd.DataFrame, factors: Sequence[str], values: Sequence[str]) -> list[str]:
    """Identity, factors, then the columns of the schema, each with what belongs to it."""
    columns = [name for name in RUN_COLUMNS if name not in {*_PARSED, *_IDENTITY}]
    following = {
        "flops": ["flops_reason"],
        "utilisation_mean": [f"utilisation_{name}" for name in _BUSY],
        "error": [*HYPERPARAMETERS, "energy_flags"],
    }
    rest = [each for name in columns for each in (name, *following.get(name, ()))]
    known = [*_IDENTITY, *factors, *(name for name in rest if name in frame)]
    return [*known, *(name for name in values if name not in known)]
