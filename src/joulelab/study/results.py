"""What a study has found so far, as data frames. Reads while another process writes."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from joulelab.energy.reading import Measurement
from joulelab.errors import StoreCorruptError
from joulelab.study.schema import RUN_COLUMNS
from joulelab.study.store import read_manifest, read_runs, reader

HYPERPARAMETERS = ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay")
_HIDDEN = ("factors", "measurement", "metrics")


@dataclass(frozen=True)
class Results:
    """The results folder of a study.

    Attributes:
        folder: as ``joulelab run`` wrote it.
    """

    folder: Path

    @classmethod
    def open(cls, folder: str | Path) -> Results:
        """Open a results folder.

        Raises:
            StoreError: there is no study in it, or it cannot be read.
        """
        results = cls(Path(folder))
        with reader(results.folder):
            pass
        return results

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The resolved study file."""
        path = self.folder / "study.toml"
        try:
            return tomllib.loads(path.read_text("utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise StoreCorruptError(f"{path} cannot be read: {error}", "restore it") from None

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Conditions of the first session, and a list of all sessions."""
        return read_manifest(self.folder)

    def factors(self, experiment: str) -> list[str]:
        """Names of the factors of an experiment."""
        with reader(self.folder) as connection:
            row = connection.execute(
                "SELECT factors FROM runs WHERE experiment = ? LIMIT 1", (experiment,)
            ).fetchone()
        return list(json.loads(row[0])) if row else []

    def to_frame(self) -> pd.DataFrame:
        """A row a run, in the order of the plan.

        Columns: identity, the factors, the five hyperparameters as proposed (missing where they
        were not searched), seed, state, accuracy (0 to 1), energies in joules, duration in
        seconds, and for every domain its gross energy (``gpu:0 gross_j``) and status.
        ``docs/results.md`` explains each.
        """
        rows = read_runs(self.folder, list(RUN_COLUMNS))
        for row in rows:
            # A factor of the tuning experiment has the same name as this column.
            proposed = json.loads(row.pop("hyperparameters") or "{}")
            row.update({**dict.fromkeys(HYPERPARAMETERS, math.nan), **proposed})
            row.update(json.loads(row["factors"]))
            row["diverged"] = bool(row["diverged"])
            row["energy_flags"] = "; ".join(_flags(row["measurement"]))
            for reading in _readings(row["measurement"]):
                row[f"{reading.domain} gross_j"] = reading.gross_j
                row[f"{reading.domain} status"] = str(reading.status)
        if not rows:
            return pd.DataFrame(
                columns=[name for name in RUN_COLUMNS if name not in {*_HIDDEN, "hyperparameters"}]
            )
        frame = pd.DataFrame(rows)
        numbers = [c for c in map(str, frame) if c.startswith("energy_") and c.endswith("_j")]
        for column in [*numbers, "accuracy", "train_loss", "duration_s", "started_at"]:
            frame[column] = frame[column].astype(float)
        return frame[_ordered(frame)]

    def energy_frame(self) -> pd.DataFrame:
        """A row a finished or failed run and domain: source, status, energies in joules."""
        rows = [
            {
                "run_id": row["run_id"],
                "experiment": row["experiment"],
                "configuration": row["configuration"],
                "domain": reading.domain,
                "source": reading.source,
                "status": str(reading.status),
                "gross_j": reading.gross_j,
                "idle_j": reading.idle_j,
                "net_j": reading.net_j,
                "error_j": reading.error_j,
                "check_j": reading.check_j,
                "mean_power_w": reading.mean_power_w,
                "peak_power_w": reading.peak_power_w,
                "reason": reading.reason,
            }
            for row in read_runs(
                self.folder,
                ["run_id", "experiment", "configuration", "measurement"],
                "measurement IS NOT NULL",
            )
            for reading in _readings(row["measurement"])
        ]
        return pd.DataFrame(
            rows, columns=None if rows else ["run_id", "domain", "status", "gross_j"]
        )

    def rounds_frame(self) -> pd.DataFrame:
        """A row a proposed round: its hyperparameters, and its score once all runs have ended."""
        rows = self._rows("SELECT * FROM rounds ORDER BY experiment, configuration, round")
        for row in rows:
            row.update(json.loads(row.pop("hyperparameters")))
        empty = ["experiment", "configuration", "round", "score"]
        return pd.DataFrame(rows, columns=None if rows else empty)

    def ledger_frame(self) -> pd.DataFrame:
        """A row a booked interval: every attempt, and all that lies between them."""
        columns = (
            "entry, session, kind, state, experiment, configuration, round, runs, started_at,"
            " duration_s, energy_gross_j, energy_error_j, energy_status, error"
        )
        rows = self._rows(f"SELECT {columns} FROM ledger ORDER BY entry")
        return pd.DataFrame(rows, columns=columns.split(", ") if not rows else None)

    def failed(self) -> int:
        """Number of failed runs."""
        with reader(self.folder) as connection:
            query = "SELECT count(*) FROM runs WHERE state = 'failed'"
            return int(connection.execute(query).fetchone()[0])

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        with reader(self.folder) as connection:
            cursor = connection.execute(sql)
            columns = [column[0] for column in cursor.description]
            return [dict(zip(columns, row, strict=True)) for row in cursor]


def _readings(measurement: str | None) -> Iterable[Any]:
    return Measurement.from_dict(json.loads(measurement)).readings if measurement else ()


def _flags(measurement: str | None) -> Iterable[str]:
    return json.loads(measurement)["flags"] if measurement else ()


def _ordered(frame: pd.DataFrame) -> list[str]:
    """Columns with the hidden ones left out and the factors behind the configuration."""
    first = ["run_id", "position", "block", "experiment", "kind", "configuration"]
    given = {*first, *HYPERPARAMETERS, "energy_flags"}
    last_of_schema = list(frame.columns).index("error")
    factors = [
        column
        for position, column in enumerate(frame.columns)
        if position > last_of_schema
        and column not in given
        and column not in _HIDDEN
        and not column.endswith((" gross_j", " status"))
    ]
    rest = [c for c in frame.columns if c not in {*first, *factors, *_HIDDEN}]
    return [*first, *factors, *rest]
