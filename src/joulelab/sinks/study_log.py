"""Runs of a study as runs of MLflow: factors and hyperparameters are parameters.

::

    run of the study ── stored ── logged, up to BETWEEN_S ── next run of the study
                                  or later, where that takes longer

An MLflow run is marked with the results folder and with the run of the study. So a study that is
resumed, or logged again, has each run once, and what could not be logged is logged then.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joulelab
from joulelab import formats
from joulelab.errors import JoulelabError
from joulelab.optional import require
from joulelab.sinks.mlflow import Point, Runs
from joulelab.sinks.outlet import Outlet, words
from joulelab.study.database import DATABASE
from joulelab.study.listener import Listener
from joulelab.study.run_tables import SUFFIX, read_run_table
from joulelab.study.store_reading import (
    CURVES,
    read_manifest,
    read_rows,
    read_study,
    reader,
    refuse,
)

BETWEEN_S = 1.0
"""How long a study waits for the log between two runs, so that it is not in their energy."""
ENDING_S = 5.0
PAGE = 1000
ENDED = {"finished": False, "failed": True}
"""States of runs that are logged, and whether they have failed."""
PARAMS = ("round", "repetition", "seed", "dataset", "protocol", "engine", "precision")
METRICS = {
    "energy_gross_j": "energy_j",
    **{name: name for name in ("energy_net_j", "energy_idle_j", "energy_error_j", "duration_s")},
    **{name: name for name in ("accuracy", "train_loss", "steps", "parameters", "flops")},
    "utilisation_mean": "utilisation_mean",
    "group_size": "group_size",
}
TAGS = (
    *("experiment", "kind", "configuration", "state", "energy_status", "energy_source"),
    *("energy_domains", "device", "error"),
)
_NOT_ALLOWED = re.compile(r"[^\w\-. :/]")


@dataclass(frozen=True)
class Ended:
    """Runs that have ended.

    Attributes:
        runs: their ids.
        last: whether the session has ended.
        empty: never; even without runs, those that could not be logged are tried again.
    """

    runs: tuple[str, ...]
    last: bool = False
    empty: bool = False


class StudyLog(Listener):
    """Logs the runs of a study to MLflow while it runs: a listener, and a context manager.

    A server that is down costs the study nothing: the runs are logged later, or by `log_study`.

    Args:
        folder: the results folder of the study.
        uri: of the server; default: ``MLFLOW_TRACKING_URI``.

    Raises:
        MissingDependencyError: mlflow is not installed.
        UsageError: the URI cannot be used.
    """

    def __init__(self, folder: str | Path, uri: str = "") -> None:
        self.name = f"mlflow {uri}".rstrip()
        require("mlflow", user=self.name)
        self._folder, self._uri = Path(folder).expanduser(), uri
        self._logged = _Logged(self._folder, Runs(uri))
        self._pending: dict[str, None] = {}
        self._outlet: Outlet[Ended]

    def __enter__(self) -> StudyLog:
        self._outlet = Outlet(self, sys.maxsize)
        return self

    def __exit__(self, *_: object) -> None:
        self._outlet.offer(Ended((), last=True))
        self._outlet.end(time.monotonic() + ENDING_S)
        if left := len(self._pending):
            print(
                f"{self.name}: {formats.count(left, 'run')} not logged; later: "
                f"joulelab log {shlex.quote(str(self._folder))} --to mlflow:{self._uri}",
                file=sys.stderr,
            )

    def finished(self, rows: Sequence[Mapping[str, Any]], total: Any) -> None:  # noqa: ANN401
        """Log runs that have ended."""
        ended = tuple(row["run_id"] for row in rows if row["state"] in ENDED)
        self._pending |= dict.fromkeys(ended)
        waits = self._outlet.settled
        self._outlet.offer(Ended(ended))
        if waits:
            self._outlet.settle(BETWEEN_S)

    def put(self, ended: Ended, /) -> None:
        """Log what has not been logged; the first time also runs of earlier sessions."""
        if not (self._folder / DATABASE).exists():
            return  # the study could not begin
        done = self._logged.log(list(self._pending) if self._logged.begun else None)
        for run_id in done:
            self._pending.pop(run_id, None)

    def close(self) -> None:
        """Nothing is open."""


def log_study(folder: str | Path, uri: str = "") -> int:
    """Log all runs of a study that have ended and are not logged yet.

    Args:
        folder: the results folder of the study.
        uri: of the server; default: ``MLFLOW_TRACKING_URI``.

    Returns:
        Number of runs that were logged.

    Raises:
        JoulelabError: the server does not answer.
        MissingDependencyError: mlflow is not installed.
        StoreError: there is no study in the folder.
        UsageError: the URI cannot be used.
    """
    name = f"mlflow {uri}".rstrip()
    require("mlflow", user=name)
    path = Path(folder).expanduser()
    with reader(path):
        pass
    logged = _Logged(path, Runs(uri))
    try:
        logged.log(None)
    except JoulelabError:
        raise
    except Exception as error:
        raise JoulelabError(
            f"{name}: {words(error)}", "start the server, or give its URI"
        ) from error
    return logged.count


class _Logged:
    """The runs of a results folder in MLflow.

    Attributes:
        begun: whether the server has answered.
        count: of runs that were logged here.
    """

    def __init__(self, folder: Path, runs: Runs) -> None:
        self._folder = folder
        self._runs = runs
        self._study: dict[str, str] = {}
        self._experiment = ""
        self._known: dict[str, tuple[str, bool]] = {}
        self.begun = False
        self.count = 0

    def log(self, run_ids: Sequence[str] | None) -> list[str]:
        """Log some runs, or all that have ended; returns those that are logged now."""
        if not self.begun:
            self._begin()
        done = []
        where, values = _condition(run_ids)
        for rows in read_rows(self._folder, "runs", where=where, values=values):
            for row in rows:
                self._log(row)
                done.append(row["run_id"])
        self.begun = True
        return done

    def _begin(self) -> None:
        name = read_study(self._folder)["name"]
        sessions: list[dict[str, Any]] = read_manifest(self._folder).get("sessions", [])
        first = sessions[0] if sessions else {}
        identity = " ".join(str(first.get(key, "")) for key in ("host", "pid", "started_at"))
        self._study = {
            "joulelab.study": name,
            "joulelab.folder": re.sub(r"[^\w.:+ -]", "_", identity).strip() or name,
            "joulelab.version": joulelab.__version__,
        }
        self._experiment = self._runs.experiment(name)
        self._known = dict(self._stored())

    def _stored(self) -> Iterator[tuple[str, tuple[str, bool]]]:
        """The id of each run of this folder with its id in MLflow, and whether it is complete."""
        wanted, token = f"tags.`joulelab.folder` = '{self._study['joulelab.folder']}'", None
        while True:
            page = self._runs.client.search_runs(
                [self._experiment], wanted, max_results=PAGE, page_token=token
            )
            for run in page:
                complete = run.info.status in ("FINISHED", "FAILED")
                yield run.data.tags.get("joulelab.run", ""), (run.info.run_id, complete)
            token = page.token
            if not token:
                return

    def _log(self, row: Mapping[str, Any]) -> None:
        number, complete = self._known.get(row["run_id"], ("", False))
        if complete:
            return
        began_at = row["started_at"] or time.time()
        if not number:
            tags = {**self._study, "joulelab.run": row["run_id"]}
            number = self._runs.begin(self._experiment, began_at, row["run_id"], tags)
            self._known[row["run_id"]] = (number, False)
        ended_at = began_at + (row["duration_s"] or 0.0)
        points = [(name, value, ended_at, 0) for name, value in _metrics(row).items()]
        curves = self._curves(row["run_id"], began_at, ended_at)
        stepped = {name for name, *_ in curves}
        points = [one for one in points if one[0] not in stepped]
        self._runs.log(number, [*points, *curves], _params(row), _tags(row))
        self._runs.end(number, ended_at, failed=ENDED[row["state"]])
        self._known[row["run_id"]] = (number, True)
        self.count += 1

    def _curves(self, run_id: str, began_at: float, ended_at: float) -> list[Point]:
        """What a run has reported step by step; of several attempts, the last."""
        folder = self._folder / CURVES
        if not folder.is_dir():
            return []
        of_it = "EXISTS (SELECT 1 FROM json_each(runs) WHERE value = ?)"
        attempts = read_rows(self._folder, "ledger", where=of_it, values=[run_id])
        entries = [row["entry"] for rows in attempts for row in rows]
        paths = [folder / f"{one}{suffix}" for one in entries for suffix in (SUFFIX, ".parquet")]
        for path in reversed([one for one in paths if one.exists()]):
            for _, frame in read_run_table(path, ("value", "t_s"), refuse):
                columns = (frame[name] for name in ("metric", "value", "t_s", "step"))
                return [
                    # A program in another language may have another clock.
                    (
                        _name(str(metric)),
                        float(value),
                        min(began_at + max(0.0, float(t_s)), ended_at),
                        int(step),
                    )
                    for metric, value, t_s, step in zip(*columns, strict=True)
                    if math.isfinite(value)
                ]
        return []


def _condition(run_ids: Sequence[str] | None) -> tuple[str, Sequence[str]]:
    """SQL of the runs that have ended, all or some."""
    ended = "state IN ('finished', 'failed')"
    if run_ids is None:
        return ended, ()
    return f"{ended} AND run_id IN (SELECT value FROM json_each(?))", [json.dumps(run_ids)]


def _params(row: Mapping[str, Any]) -> dict[str, str]:
    """Factors and hyperparameters, then what else tells runs apart."""
    told = {**row["factors"], **(row["hyperparameters"] or {})}
    told = {**{name: row[name] for name in PARAMS if row[name] is not None}, **told}
    return {_name(name): str(value) for name, value in told.items()}


def _metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """Every finite number of a run."""
    told = {name: row[column] for column, name in METRICS.items()}
    for reading in (row["measurement"] or {}).get("readings", ()):
        told[f"{reading['domain']}/energy_j"] = reading["gross_j"]
    for name, value in (row["metrics"] or {}).get("values", {}).items():
        if isinstance(value, dict):
            told |= {f"{name}/{key}": one for key, one in value.items()}
        else:
            told.setdefault(name, value)
    return {
        _name(name): float(value)
        for name, value in told.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _tags(row: Mapping[str, Any]) -> dict[str, str]:
    told = {f"joulelab.{name}": str(row[name]) for name in TAGS if row[name] is not None}
    flags = "; ".join((row["measurement"] or {}).get("flags", ()))
    return told | {"joulelab.flags": flags}


def _name(name: str) -> str:
    """A name that MLflow takes."""
    return _NOT_ALLOWED.sub("_", name).strip("/. ") or "_"
