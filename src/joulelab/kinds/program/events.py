"""What a program tells joulelab while it runs: metrics and phases.

::

    import joulelab

    with joulelab.phase("loading"):
        images = load()
    for epoch in range(10):
        with joulelab.phase("training"):
            loss = train(images)
        joulelab.report_metric("loss", loss, step=epoch)

Each call appends a line to the file in ``JOULELAB_EVENTS``, which joulelab sets for the programs
and functions that it runs; without it the calls do nothing. Times are of the monotonic clock, which
all processes of a machine share, so that joulelab knows the energy of each phase. Programs in other
languages may write the lines themselves::

    {"t": 81.25, "metric": "loss", "value": 0.31, "step": 4}
    {"t": 81.25, "phase": "training", "edge": "begin"}
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VARIABLE = "JOULELAB_EVENTS"

Marks = list[tuple[str, float, float]]
"""Name, begin and end of each occurrence of a phase, on the monotonic clock."""

_heard: list[Marks] = []
open_phases: list[tuple[str, float]] = []
"""Name and begin of each phase that has not ended, in any thread of this process."""


@contextmanager
def marked_phases() -> Iterator[Marks]:
    """The phases that end in this process meanwhile, in any thread."""
    marks: Marks = []
    _heard.append(marks)
    try:
        yield marks
    finally:
        # By identity: two lists of equal phases are equal.
        _heard[:] = [one for one in _heard if one is not marks]


class _File:
    """The file of events of this run, open for appending."""

    def __init__(self) -> None:
        self._path = ""
        self._number: int | None = None

    def write(self, event: dict[str, Any]) -> None:
        path = os.environ.get(VARIABLE, "")
        if path != self._path:
            if self._number is not None:
                os.close(self._number)
                self._number = None
            self._path = path
            if path:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                self._number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        if self._number is not None:
            # One call a line: lines of several processes do not mix.
            os.write(self._number, f"{json.dumps(event)}\n".encode())


_file = _File()


def report_metric(name: str, value: float, step: int | None = None) -> None:
    """Tell joulelab the value of a metric; the last one counts as the result of the run.

    Does nothing in a program that joulelab does not run.

    Args:
        name: of the metric.
        value: a number; arrays and tensors of one element are numbers too.
        step: of an epoch or a batch, for the curve; the count of calls if not given.

    Raises:
        TypeError: the value is not a number.
    """
    plain = value.item() if hasattr(value, "item") else value
    if not isinstance(plain, int | float):
        raise TypeError(f"the metric {name!r} is of type {type(value).__name__}, not a number")
    event = {"t": time.monotonic(), "metric": str(name), "value": plain}
    _file.write(event if step is None else event | {"step": int(step)})


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Mark what runs inside as a phase, such as ``"loading"``; phases may nest and recur.

    Counts in a loop of `joulelab.track`, in a profile, and in a program that joulelab runs. Work on
    a GPU that has only been queued counts for the phase in which it is done: synchronise before the
    end of a phase.

    Args:
        name: of the phase.
    """
    begin_s = time.monotonic()
    is_open = (str(name), begin_s)
    open_phases.append(is_open)
    _file.write({"t": begin_s, "phase": str(name), "edge": "begin"})
    try:
        yield
    finally:
        end_s = time.monotonic()
        for marks in _heard:
            marks.append((str(name), begin_s, end_s))
        open_phases.remove(is_open)
        _file.write({"t": end_s, "phase": str(name), "edge": "end"})
