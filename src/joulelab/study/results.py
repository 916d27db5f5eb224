"""What a study has found so far, as data frames. Reads while another process writes."""

from __future__ import annotations

import json
import time
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from joulelab.errors import StoreCorruptError
from joulelab.study.predicted_runs import predicted_runs
from joulelab.study.run_frames import read_frames
from joulelab.study.store_reading import REQUESTS, data_sets, last_written, read_manifest, reader

_PLACES = "SELECT run_id, position FROM runs"
TICK_NS = 100_000_000
"""Longer than the clock of a file system ticks, in nanoseconds."""


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

    @property
    def data_sets(self) -> list[dict[str, Any]]:
        """What was trained on: name, source, numbers of images, shape, classes, checksum."""
        return data_sets(self.manifest)

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
        were not searched), seed, state, accuracy (0 to 1), FLOPs, energies in joules, mean and
        quantiles of the device's utilisation (0 to 1), duration in seconds, what else a kind of
        work has measured, and for every domain its gross energy (``gpu:0 gross_j``) and status.
        ``docs/results.md`` explains each.
        """
        return self._frames()[0].copy()

    def energy_frame(self) -> pd.DataFrame:
        """A row a finished or failed run, domain and instrument: source, status, energies in J.

        Where several instruments read a domain, one reading is what counts; ``beside`` is true of
        the others.
        """
        return self._frames()[1].copy()

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

    def predictions_frame(self) -> pd.DataFrame:
        """A row a run that ended in a session that had predicted it: predicted, and as it was.

        Columns: ``run_id``, ``session``, ``experiment``, ``configuration``, ``state``; time with
        what surrounds the run and net energy of the run, as predicted for one run with its range
        of 95 % (``predicted_s``, ``predicted_low_s``, ``predicted_high_s``, ``predicted_j`` ...)
        and as they were (``took_s``, of it ``waited_s`` for the device; ``used_j``).
        """
        return predicted_runs(self.manifest, self._frames()[0], self.ledger_frame())

    def requests_frame(self) -> pd.DataFrame:
        """A row a request of every served window that is stored, in the order of the plan.

        Columns: ``run_id``; seconds from the start of the window at which the request was due, was
        sent (entered the queue), was taken from it, and was answered; the number of its batch; and
        why it was dropped, empty where it was not.
        """
        import pyarrow.parquet as pq

        places = {row["run_id"]: row["position"] for row in self._rows(_PLACES)}
        tables = []
        for path in (self.folder / REQUESTS).glob("*.parquet"):
            table = pq.read_table(path)
            run_id = (table.schema.metadata or {}).get(b"run_id", b"").decode()
            tables.append((places.get(run_id, -1), path.name, run_id, table.to_pandas()))
        tables.sort(key=lambda one: one[:2])
        frames = [frame.assign(run_id=run_id) for _, _, run_id, frame in tables]
        joined = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"run_id": []})
        return joined[["run_id", *(name for name in joined if name != "run_id")]]

    def failed(self) -> int:
        """Number of failed runs."""
        with reader(self.folder) as connection:
            query = "SELECT count(*) FROM runs WHERE state = 'failed'"
            return int(connection.execute(query).fetchone()[0])

    def _frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Both frames that are made of the runs, read again only after somebody has written."""
        now_ns, written = time.time_ns(), last_written(self.folder)
        kept = self._kept.get(written)
        if kept is None:
            kept = read_frames(self.folder)
            self._kept.clear()
            # A file that is written twice within a tick of the clock bears the same time.
            if all(now_ns - changed_ns > TICK_NS for _, changed_ns in written):
                self._kept[written] = kept
        return kept

    @cached_property
    def _kept(self) -> dict[tuple[tuple[int, int], ...], tuple[pd.DataFrame, pd.DataFrame]]:
        return {}

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        with reader(self.folder) as connection:
            cursor = connection.execute(sql)
            columns = [column[0] for column in cursor.description]
            return [dict(zip(columns, row, strict=True)) for row in cursor]
