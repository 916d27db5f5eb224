"""Files beside the database of a results folder: traces, tables of single runs, the manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulelab.energy.traces.trace_file import TraceAbout, write_trace
from joulelab.errors import StoreWriteError, TraceError
from joulelab.files import write_whole
from joulelab.study.database import explained
from joulelab.study.run_tables import SUFFIX, write_run_table
from joulelab.study.store_reading import read_manifest

TRACES = "traces"
"""Folder with one file per attempt."""


class StoredFiles:
    """Writes the files of a results folder."""

    folder: Path

    def write_trace(self, entry: int, columns: Mapping[str, Any], about: TraceAbout) -> None:
        """Store the power trace of an attempt as ``traces/<entry>.csv.gz``."""
        path = self.folder / TRACES / f"{entry}{SUFFIX}"
        with explained(self.folder):
            path.parent.mkdir(exist_ok=True)
        try:
            write_trace(path, columns, about)
        except TraceError as error:
            raise StoreWriteError(error.message, "free disk space and run it again") from error

    def write_table(self, folder: str, entry: int, run_id: str, columns: Mapping[str, Any]) -> None:
        """Store a table of a run as ``<folder>/<entry>.csv.gz``.

        Args:
            folder: `REQUESTS` or `CURVES`.
            entry: of the attempt.
            run_id: of the run.
            columns: one value per row each.
        """
        path = self.folder / folder / f"{entry}{SUFFIX}"
        with explained(self.folder):
            path.parent.mkdir(exist_ok=True)
            write_run_table(path, run_id, columns)

    def write_file(self, folder: str, entry: int, content: bytes) -> None:
        """Store a trace or a table that was written elsewhere.

        Args:
            folder: `TRACES`, `REQUESTS` or `CURVES`.
            entry: of the attempt.
            content: of the file.
        """
        with explained(self.folder):
            (self.folder / folder).mkdir(exist_ok=True)
            write_whole(self.folder / folder / f"{entry}{SUFFIX}", content)

    def manifest(self) -> dict[str, Any]:
        """The conditions so far."""
        return read_manifest(self.folder)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest in one step."""
        with explained(self.folder):
            text = json.dumps(manifest, indent=2, sort_keys=True)
            write_whole(self.folder / "manifest.json", f"{text}\n")
