"""The runs of a study in MLflow: ``joulelab run --to`` and ``joulelab log``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from joulelab import formats
from joulelab.cli.output import show
from joulelab.errors import UsageError
from joulelab.present import View
from joulelab.sinks.named import split
from joulelab.sinks.study_log import StudyLog, log_study

if TYPE_CHECKING:
    from joulelab.cli.study_commands import Log

ATTEMPTS = "2"


def study_log(folder: Path, to: str) -> StudyLog:
    """What logs the runs of a study.

    Args:
        folder: the results folder.
        to: as the user wrote it.

    Raises:
        MissingDependencyError: mlflow is not installed.
        UsageError: it is not one of MLflow, or cannot be used.
    """
    return StudyLog(folder, _mlflow(to))


def run_log(asked: Log) -> None:
    """Log the runs of a results folder.

    Args:
        asked: what the user has written.

    Raises:
        JoulelabError: the server does not answer.
        MissingDependencyError: mlflow is not installed.
        StoreError: there is no study in the folder.
        UsageError: it is not one of MLflow, or cannot be used.
    """
    # Somebody waits for the answer: mlflow's own seven attempts take minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", ATTEMPTS)
    count = log_study(asked.folder, _mlflow(asked.to))
    said = f"{formats.count(count, 'run')} logged to {asked.to}"
    show(View([said], {"folder": str(asked.folder), "logged": count}), as_json=asked.json)


def _mlflow(to: str) -> str:
    """The URI in ``mlflow:URI``; empty for that of the environment."""
    name, uri = split(to)
    if name != "mlflow":
        raise UsageError(f"--to {to}: the runs of a study go to MLflow only", "write mlflow:URI")
    return uri
