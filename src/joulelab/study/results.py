"""The results of a study so far, as data frames. Can be read while another process writes."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from joulelab.errors import StoreError
from joulelab.study.manifest import MACHINE, machine_of
from joulelab.study.predicted_runs import predicted_runs
from joulelab.study.run_frames import RunFrames, read_frames
from joulelab.study.run_tables import SUFFIX, read_run_table
from joulelab.study.schema import COLUMNS
from joulelab.study.store_reading import (
    CURVES,
    REQUESTS,
    TICK_NS,
    data_sets,
    last_written,
    read_manifest,
    read_rows,
    read_study,
    reader,
    refuse,
)

SECONDS = ("due_s", "sent_s", "started_s", "answered_s")


@dataclass(frozen=True)
class Results:
    """The results folder of a study.

    Everything is checked when read; damage or invalid content raises a `StoreCorruptError` with the
    location.

    Attributes:
        folder: a folder written by ``joulelab run``.
        salvage: whether to skip damaged rows instead.
    """

    folder: Path
    salvage: bool = False

    @classmethod
    def open(cls, folder: str | Path, *, salvage: bool = False) -> Results:
        """Open a results folder.

        Args:
            folder: a folder written by ``joulelab run``.
            salvage: whether to skip damaged rows, listed in `left_out`.

        Raises:
            StoreError: it has no study, or cannot be read.
        """
        results = cls(Path(folder), salvage)
        with reader(results.folder):
            pass
        return results

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The resolved study file."""
        return read_study(self.folder)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Conditions of the first session, and a list of all sessions."""
        return read_manifest(self.folder)

    @property
    def data_sets(self) -> list[dict[str, Any]]:
        """The data sets: name, source, numbers of images, shape, classes, checksum."""
        return data_sets(self.manifest)

    def factors(self, experiment: str) -> list[str]:
        """Names of the factors of an experiment."""
        return list(self._frames().factors.get(experiment, ()))

    @property
    def left_out(self) -> tuple[str, ...]:
        """Skipped rows so far, with reasons; always empty without `salvage`."""
        return tuple(self._damage)

    def to_frame(self) -> pd.DataFrame:
        """One row per run, in the order of the plan.

        Columns: identity, the factors, the five hyperparameters as proposed (missing if not
        searched), seed, state, accuracy (0 to 1), FLOPs, energies in joules, mean and quantiles of
        the device's utilisation (0 to 1), duration in seconds, other measurements of the workload,
        the node, machine, driver and power limit in watts of its latest attempt,
        and for every domain its gross energy (``gpu:0 gross_j``) and status. ``joulelab help
        results`` explains each.
        """
        runs = self._frames().runs.copy()
        sessions = self.manifest.get("sessions", ())
        machines = {one["session"]: machine_of(one) for one in sessions}
        for name in MACHINE:
            known = {session: one[name] for session, one in machines.items()}
            runs[name] = runs["last_session"].map(known).astype(object)
        return runs.rename(columns={"last_session": "session"})

    def energy_frame(self) -> pd.DataFrame:
        """One row per finished or failed run, domain and instrument: source, status, energies in J.

        If several instruments read a domain, one reading counts; ``beside`` is true for the others.
        """
        return self._frames().readings.copy()

    def rounds_frame(self) -> pd.DataFrame:
        """One row per proposed round: its hyperparameters, and its score once all runs are done."""
        rows = self._rows("rounds")
        for row in rows:
            row.update(row.pop("hyperparameters"))
        empty = ["experiment", "configuration", "round", "score"]
        return pd.DataFrame(rows, columns=None if rows else empty)

    def ledger_frame(self) -> pd.DataFrame:
        """One row per booked interval: every attempt, and everything in between.

        ``too_short`` is true where sensors have read it, and its energy is estimated only because
        it was too short for them; missing where unknown, as in folders of older versions.
        """
        rows = [{**row, "runs": json.dumps(row["runs"])} for row in self._rows("ledger")]
        frame = pd.DataFrame(rows, columns=None if rows else list(COLUMNS["ledger"]))
        return frame.astype({"too_short": "boolean"})

    def predictions_frame(self) -> pd.DataFrame:
        """One row per run that ended in a session with a prediction: predicted and actual.

        Columns: ``run_id``, ``session``, ``experiment``, ``configuration``, ``state``; time of the
        run with overhead and its net energy, as predicted for one run with the 95 % range
        (``predicted_s``, ``predicted_low_s``, ``predicted_high_s``, ``predicted_j`` ...) and actual
        (``took_s``, of which ``waited_s`` for the device; ``used_j``).
        """
        return predicted_runs(self.manifest, self._frames().runs, self.ledger_frame())

    def requests_frame(self) -> pd.DataFrame:
        """One row per request of every served window that is stored, in the order of the plan.

        Columns: ``run_id``; seconds from the start of the window at which the request was due, was
        sent (entered the queue), was taken from it, and was answered; the number of its batch; and
        why it was dropped, if it was.
        """
        return self._tables(REQUESTS, SECONDS)

    def curves_frame(self) -> pd.DataFrame:
        """One row per metric and step that a program has reported, in the order of the plan.

        Columns: ``run_id``, ``metric``, ``step``, ``value``, and ``t_s``, the time on the clock of
        the run.
        """
        return self._tables(CURVES, ("value", "t_s"))

    def _tables(self, folder: str, seconds: Sequence[str]) -> pd.DataFrame:
        """The tables of all runs in a folder as one."""
        runs = self._frames().runs
        places = dict(zip(runs["run_id"], runs["position"], strict=True))
        within = self.folder / folder
        paths = [*within.glob("*.parquet"), *within.glob(f"*{SUFFIX}")]
        # An attempt that was killed as it ended has left a table too; the last attempt counts.
        tables = {
            run_id: frame
            for path in sorted(paths, key=_entry)
            for run_id, frame in read_run_table(path, seconds, self._on_damage)
        }
        ordered = sorted(tables, key=lambda run_id: places.get(run_id, -1))
        frames = [tables[run_id].assign(run_id=run_id) for run_id in ordered]
        joined = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"run_id": []})
        return joined[["run_id", *(name for name in joined if name != "run_id")]]

    def failed(self) -> int:
        """Number of failed runs."""
        with reader(self.folder) as connection:
            query = "SELECT count(*) FROM runs WHERE state = 'failed'"
            return int(connection.execute(query).fetchone()[0])

    def _frames(self) -> RunFrames:
        """The frames of the runs, read again only after changes."""
        now_ns, written = time.time_ns(), last_written(self.folder)
        kept = self._kept.get(written)
        if kept is None:
            kept = read_frames(self.folder, self.spec, self._on_damage)
            self._kept.clear()
            # A file written twice within a clock tick has the same time.
            if all(now_ns - changed_ns > TICK_NS for _, changed_ns in written):
                self._kept[written] = kept
        return kept

    @cached_property
    def _kept(self) -> dict[tuple[tuple[int, int], ...], RunFrames]:
        return {}

    @cached_property
    def _damage(self) -> dict[str, None]:
        return {}

    def _on_damage(self, damage: StoreError) -> None:
        if not self.salvage:
            refuse(damage)
        self._damage[damage.message] = None

    def _rows(self, table: str) -> list[dict[str, Any]]:
        return [row for rows in read_rows(self.folder, table, self._on_damage) for row in rows]


def _entry(path: Path) -> tuple[int, str]:
    """The order of the entries in the ledger: their numbers have no leading zeros."""
    number = path.name.partition(".")[0]
    return len(number), number
