"""The runs of a study in other tools: ``joulelab run --to`` and ``joulelab log``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from joulelab import formats
from joulelab.errors import UsageError
from joulelab.present import View
from joulelab.sinks.named import split

if TYPE_CHECKING:
    from joulelab.sinks.study_log import StudyLog


def study_log(folder: Path, to: str) -> StudyLog | None:
    """What logs the runs of a study; None where the user has not asked for it.

    Args:
        folder: the results folder.
        to: as the user wrote it; empty for none.

    Raises:
        MissingDependencyError: mlflow is not installed.
        UsageError: it is not one of MLflow, or cannot be used.
    """
    if not to:
        return None
    from joulelab.sinks.study_log import StudyLog

    return StudyLog(folder, _mlflow(to))


def log_runs(folder: Path, to: str) -> View:
    """Log the runs of a results folder.

    Args:
        folder: the results folder.
        to: as the user wrote it.

    Raises:
        JoulelabError: the server does not answer.
        MissingDependencyError: mlflow is not installed.
        StoreError: there is no study in the folder.
        UsageError: it is not one of MLflow, or cannot be used.
    """
    from joulelab.sinks.study_log import log_study

    count = log_study(folder, _mlflow(to))
    return View(
        [f"{formats.count(count, 'run')} logged to {to}"], {"folder": str(folder), "logged": count}
    )


def _mlflow(to: str) -> str:
    """The URI in ``mlflow:URI``; empty for that of the environment."""
    name, uri = split(to)
    if name != "mlflow":
        raise UsageError(f"--to {to}: the runs of a study go to MLflow only", "write mlflow:URI")
    return uri
