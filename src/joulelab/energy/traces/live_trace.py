"""A trace that is written while it is recorded.

::

    lap 1       lap 2       lap 3            windows that meet: no sample and no joule between them
    [  .  .  . ][  .  .  . ][  .  .  . ]
              write       write              each lap goes to the disk before the next is over

What has been written stays readable however the recording ends: the file is CSV, line by line, and
a Parquet file, which cannot be read without its end, is made of it when the recording is closed.
"""

from __future__ import annotations

import io
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from joulelab.energy.measurement import Measurement
from joulelab.energy.recorder import Recorder, Window
from joulelab.energy.sample_buffer import ChannelSamples, Floats
from joulelab.energy.summary import trace_columns
from joulelab.energy.traces.trace_file import (
    COLUMNS,
    PARQUET,
    CsvWriter,
    TraceAbout,
    check_suffix,
    parquet_from_csv,
)
from joulelab.errors import TraceError

Key = tuple[str, str]


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
        self.samples = 0
        self.duration_s = 0.0
        self._slept_s = 0.0
        self._first_j: dict[Key, float] = {}
        self._lines = io.StringIO(newline="")
        self._file = self._opened(force=force)
        try:
            self._window = recorder.open(label)
            self._began_s = self._window.started_s
            about = TraceAbout.of(recorder, label, self._window.started_at)
            self._writer = CsvWriter(self._lines, about)
            self._append()
        except BaseException:
            self._file.close()
            self._journal.unlink()
            raise

    def lap(self) -> Measurement:
        """Write what was sampled since the last lap, and give what was used in that time.

        Raises:
            TraceError: the disk is full, or the file has gone; what was written stays.
        """
        done, self._window = self._window, self._window.lap()
        return self._keep(done)

    def close(self) -> None:
        """Write the rest, and finish the file. A second call does nothing.

        Raises:
            TraceError: as for `lap`.
        """
        if self._file.closed:
            return
        try:
            self._window.close()
            self._keep(self._window)
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

    def _opened(self, *, force: bool) -> io.FileIO:
        named = self._journal == self._path
        try:
            if force and not named:
                self._journal.unlink(missing_ok=True)  # not written through, if it is a link
            # Nothing is held back: what could not be written is not tried again at the end.
            return io.FileIO(self._journal, "w" if force and named else "x")
        except OSError as error:
            raise TraceError(
                f"{self._journal} cannot be written: {error.strerror}", "name another file"
            ) from error

    def _keep(self, done: Window) -> Measurement:
        """Write the samples of a closed window that the one before has not."""
        measurement = done.close()
        self._writer.write(self._continued(done))
        self._append()
        later_s = done.started_s - self._began_s
        self.samples += measurement.samples - (1 if later_s else 0)
        self.duration_s = later_s + measurement.duration_s
        return measurement

    def _append(self) -> None:
        """Put the lines that were written into the file, all of them or none."""
        lines = memoryview(self._lines.getvalue().encode("utf-8"))
        self._lines.seek(0)
        self._lines.truncate()
        end = self._file.tell()
        try:
            while lines:
                lines = lines[self._file.write(lines) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.seek(end)
                self._file.truncate()
            raise TraceError(
                f"{self._journal} cannot be written: {error.strerror}",
                "what was recorded until then is in it",
            ) from error

    def _continued(self, done: Window) -> dict[str, Any]:
        """A lap's columns in the order of time, less the samples that the lap before has.

        Counters go on from lap to lap: joules since the first value of all.
        """
        columns = trace_columns(done.channel_samples, self._began_s - self._slept_s)
        slept_s = [sum(asleep_s for _, asleep_s in one.sleeps) for one in done.channel_samples]
        self._slept_s += max(slept_s, default=0.0)
        energy_j = [np.empty(0)]
        keep = [np.empty(0, bool)]
        for samples in done.channel_samples:
            energy_j.append(self._since_opening(samples))
            fresh = np.ones(len(samples.times_s), bool)
            fresh[:1] = done.started_s == self._began_s
            keep.append(fresh)
        columns["energy_j"] = np.concatenate(energy_j)
        rows = np.flatnonzero(np.concatenate(keep))
        # In the order of time, a file that is cut off loses the end of all channels alike.
        rows = rows[np.argsort(columns["t_s"][rows], kind="stable")]
        return {name: np.asarray(columns[name])[rows] for name in COLUMNS}

    def _since_opening(self, samples: ChannelSamples) -> Floats:
        """Joules of a counter since its first value in the recording; NaN for power."""
        channel = samples.channel
        if channel.kind != "counter":
            return np.full(len(samples.values), math.nan)
        key = (channel.domain, channel.source)
        known = samples.values[~np.isnan(samples.values)]
        if len(known):
            self._first_j.setdefault(key, float(known[0]))
        return samples.values - self._first_j.get(key, 0.0)
