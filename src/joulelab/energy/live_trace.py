"""A trace that is written while it is recorded.

::

    lap 1       lap 2       lap 3            windows that meet: no sample and no joule between them
    [  .  .  . ][  .  .  . ][  .  .  . ]
              write       write              each lap goes to the disk before the next is over

What has been written stays readable however the recording ends: the file is CSV, line by line, and
a Parquet file, which cannot be read without its end, is made of it when the recording is closed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from joulelab.energy.reading import Measurement
from joulelab.energy.recorder import Recorder
from joulelab.energy.trace_file import (
    COLUMNS,
    PARQUET,
    CsvWriter,
    TraceAbout,
    check_suffix,
    parquet_from_csv,
)
from joulelab.errors import TraceError


class LiveTrace:
    """Records into a file, lap by lap.

    Args:
        path: Parquet or CSV.
        recorder: started.
        label: of the trace.
        force: write over a file that is there.

    Attributes:
        samples: how many each of the quickest channels has, until the last lap.
        duration_s: until the last lap, in seconds.

    Raises:
        TraceError: the file is there already, or cannot be written.
    """

    def __init__(self, path: Path, recorder: Recorder, label: str, *, force: bool = False) -> None:
        self._path = path
        self._journal = path
        if check_suffix(path) == PARQUET:
            self._journal = path.with_name(f"{path.name}.part.csv")
        self._check_free(force=force)
        try:
            self._file = self._journal.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise TraceError(
                f"{self._journal} cannot be written: {error.strerror}", "name another file"
            ) from error
        self.samples = 0
        self.duration_s = 0.0
        self._ended_j: dict[tuple[str, str], float] = {}
        self._window = recorder.open(label)
        self._began_s = self._window.started_s
        about = TraceAbout.of(recorder, label, self._window.started_at)
        self._writer = CsvWriter(self._file, about)

    def lap(self) -> Measurement:
        """Write what was sampled since the last lap, and give what was used in that time.

        Raises:
            TraceError: the disk is full, or the file has gone; what was written stays.
        """
        done, self._window = self._window, self._window.lap()
        measurement = done.close()
        self._keep(done.trace_columns(), done.started_s, measurement)
        return measurement

    def close(self) -> None:
        """Write the rest, and finish the file. A second call does nothing.

        Raises:
            TraceError: as for `lap`.
        """
        if self._file.closed:
            return
        try:
            measurement = self._window.close()
            self._keep(self._window.trace_columns(), self._window.started_s, measurement)
        finally:
            self._file.close()
        if self._journal != self._path:
            parquet_from_csv(self._journal, self._path)
            self._journal.unlink()

    def __enter__(self) -> LiveTrace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_free(self, *, force: bool) -> None:
        if force:
            return
        if self._path.exists():
            raise TraceError(
                f"{self._path} exists already", "name another file, or --force to write over it"
            )
        if self._journal.exists():
            raise TraceError(
                f"{self._journal} is a recording that was cut short",
                f"`joulelab trace {self._journal}` reads it; --force writes over it",
            )

    def _keep(self, columns: dict[str, Any], started_s: float, measurement: Measurement) -> None:
        later_s = started_s - self._began_s
        continued = self._continued(columns)
        try:
            self._writer.write(continued, later_s)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise TraceError(
                f"{self._journal} cannot be written: {error.strerror}",
                "what was recorded until then is in it",
            ) from error
        self.samples += measurement.samples - (1 if later_s else 0)
        self.duration_s = later_s + measurement.duration_s

    def _continued(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """A lap's columns less the samples that the lap before has; counters go on."""
        domains, sources = np.asarray(columns["domain"]), np.asarray(columns["source"])
        energy_j = np.array(columns["energy_j"], float)
        keep = np.ones(len(energy_j), bool)
        for key in dict.fromkeys(zip(columns["domain"], columns["source"], strict=True)):
            rows = np.flatnonzero((domains == key[0]) & (sources == key[1]))
            if key in self._ended_j:
                keep[rows[0]] = False
            energy_j[rows] += self._ended_j.get(key, 0.0)
            known = energy_j[rows][~np.isnan(energy_j[rows])]
            self._ended_j[key] = float(known[-1]) if len(known) else self._ended_j.get(key, 0.0)
        whole = {**columns, "domain": domains, "source": sources, "energy_j": energy_j}
        return {name: np.asarray(whole[name])[keep] for name in COLUMNS}
