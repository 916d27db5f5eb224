"""MLflow: a run for a measurement, or values in the run that the program has begun."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import joulelab
from joulelab.errors import UsageError
from joulelab.optional import optional, require
from joulelab.sinks.outlet import words
from joulelab.sinks.sink import JOINED, Seen, Sink

URI = "MLFLOW_TRACKING_URI"
EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
MOST_METRICS, MOST_WORDS = 1000, 100
"""Of a request."""
LONGEST_WORDS = 5000
Point = tuple[str, float, float, int]
"""A metric's name and value, seconds since the epoch, and the step."""
_QUIET = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"


class MlflowSink(Sink):
    """A run of MLflow.

    Args:
        address: URI of the server or folder; default: ``MLFLOW_TRACKING_URI``, and the run that
            the program has begun with ``mlflow.start_run``, if it has.

    Raises:
        MissingDependencyError: mlflow is not installed.
    """

    every_s = 10.0

    def __init__(self, address: str = "") -> None:
        self._uri = address
        self.name = f"mlflow {address or os.environ.get(URI, '')}".rstrip()
        require("mlflow", user=self.name)
        self._runs: Runs | None = None
        self._run_id, self._own, self._label = "", True, ""
        self._looks = 0

    def open(self, label: str) -> None:
        """Find the run of the program, if it has one; the server is asked later.

        Raises:
            UsageError: the URI cannot be used.
        """
        mlflow = optional("mlflow", self.name)
        active = None if self._uri else mlflow.active_run()
        self._own, self._run_id = active is None, active.info.run_id if active else ""
        self._runs = Runs(self._uri)
        self._label, self._looks = label, 0

    def put(self, seen: Seen) -> None:
        """Log all numbers; the last time also how they were measured, and the end of the run."""
        assert self._runs is not None
        if not self._run_id:
            began_at = seen.at - seen.duration_s
            experiment = self._runs.experiment(os.environ.get(EXPERIMENT, "Default"))
            self._run_id = self._runs.begin(experiment, began_at, self._label, {})
        step = self._looks if seen.step is None else seen.step
        self._looks += 1
        numbers = seen.numbers("" if self._own else JOINED)
        points = [(name, value, seen.at, step) for name, value in numbers.items()]
        self._runs.log(self._run_id, points, tags=_tags(seen))
        if seen.last and self._own:
            self._runs.end(self._run_id, seen.at, failed=seen.state == "failed")

    def close(self) -> None:
        """Forget the run."""
        self._runs, self._run_id = None, ""


class Runs:
    """The runs of an MLflow server.

    Args:
        uri: of the server; empty for that of the environment.

    Raises:
        MissingDependencyError: mlflow is not installed.
        UsageError: the URI cannot be used.
    """

    def __init__(self, uri: str) -> None:
        mlflow = optional("mlflow", f"mlflow {uri}".rstrip())
        try:
            self.client = mlflow.MlflowClient(tracking_uri=uri or None)
        except Exception as error:
            said = words(error).partition(". ")[0]
            hint = "give the URI of a server: mlflow:http://HOST:5000"
            if "filesystem" in said:
                hint = "start `mlflow server`, or set MLFLOW_ALLOW_FILE_STORE=true to use a folder"
            raise UsageError(f"mlflow {uri} cannot be used: {said}", hint) from error
        self._metric: Any = mlflow.entities.Metric
        self._param: Any = mlflow.entities.Param
        self._tag: Any = mlflow.entities.RunTag

    def experiment(self, name: str) -> str:
        """The id of an experiment, which is made where it does not exist."""
        found = self.client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self.client.create_experiment(name))

    def begin(self, experiment: str, at: float, name: str, tags: Mapping[str, str]) -> str:
        """Begin a run, and return its id.

        Args:
            experiment: id of the experiment.
            at: seconds since the epoch.
            name: of the run.
            tags: of the run.
        """
        run = self.client.create_run(experiment, round(at * 1000), dict(tags), name or None)
        return str(run.info.run_id)

    def log(
        self,
        run_id: str,
        points: Iterable[Point],
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log values of a run.

        Args:
            run_id: of the run.
            points: of its metrics.
            params: parameters; they cannot change.
            tags: replace those of the same name.
        """
        metrics = [self._metric(name, v, round(at * 1000), step) for name, v, at, step in points]
        said = [self._param(k, v[:LONGEST_WORDS]) for k, v in (params or {}).items()]
        known = [self._tag(k, v[:LONGEST_WORDS]) for k, v in (tags or {}).items() if v]
        while metrics or said or known:
            self.client.log_batch(
                run_id, metrics[:MOST_METRICS], said[:MOST_WORDS], known[:MOST_WORDS]
            )
            metrics, said, known = metrics[MOST_METRICS:], said[MOST_WORDS:], known[MOST_WORDS:]

    def end(self, run_id: str, at: float, *, failed: bool) -> None:
        """End a run.

        Args:
            run_id: of the run.
            at: seconds since the epoch.
            failed: whether what was measured has failed.
        """
        with _nothing_printed():
            status = "FAILED" if failed else "FINISHED"
            self.client.set_terminated(run_id, status, round(at * 1000))


@contextmanager
def _nothing_printed() -> Iterator[None]:
    """Standard output is for data: the client would print an address there."""
    before = os.environ.get(_QUIET)
    os.environ[_QUIET] = "true"
    try:
        yield
    finally:
        del os.environ[_QUIET]
        if before is not None:
            os.environ[_QUIET] = before


def _tags(seen: Seen) -> dict[str, str]:
    """How the numbers were obtained."""
    tags = {"joulelab.status": str(seen.status), "joulelab.version": joulelab.__version__}
    measurement = seen.measurement
    if measurement is not None:
        tags["joulelab.domains"] = " + ".join(measurement.total.domains)
        tags["joulelab.source"] = " + ".join(measurement.total.sources)
        tags["joulelab.flags"] = "; ".join(measurement.flags)
        if measurement.footprint is not None:
            tags["joulelab.co2e"] = str(measurement.footprint)
    return tags
