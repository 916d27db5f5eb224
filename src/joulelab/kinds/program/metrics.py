r"""The metrics of a run: where they are found, and which direction is better.

::

    metrics = { accuracy = "max", loss = "min" }                     of the result
    metrics = { loss = { better = "min", pattern = 'loss: (\S+)' } }   of the output, the last match

The result is the last line of the output that is a JSON object, or the file in ``metrics_file``:
a JSON object, or the last line of a file with JSON lines, or the last row of a CSV file. What a
program reports by `joulelab.report_metric` counts where the result does not have it.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from joulelab.errors import JoulelabError, quoted
from joulelab.study.call_workload import ACCURACY, LARGEST, Number
from joulelab.study.column_names import COLUMNS, VALUES

Better = Literal["max", "min"]
MOST_EVENTS = 1_000_000
"""More than this is a program that reports every batch of everything; the last ones are kept."""
MOST_BYTES = 100_000_000
"""A file with a result that is larger is something else."""


class Metric(BaseModel):
    """A metric in a study file.

    Attributes:
        better: which direction is better, ``"max"`` or ``"min"``.
        pattern: regular expression with one group, searched in each line of the output.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    better: Better
    pattern: str | None = None

    @field_validator("pattern")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"{quoted(pattern)} is not a regular expression: {error}") from None
        if groups != 1:
            raise ValueError(
                f"{quoted(pattern)} has {groups} groups; put the number into one: 'loss: (\\S+)'"
            )
        return pattern


class ResultError(JoulelabError):
    """The result of a run cannot be used."""


@dataclass
class Result:
    """The metrics of a run.

    Attributes:
        values: numbers and short texts by name.
        remarks: why a metric has no value, or a value is left out, by its name.
    """

    values: dict[str, Number] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)

    def add(self, found: Mapping[Any, Any]) -> None:
        """Take values that are not known yet; tables within are named with dots.

        Raises:
            ResultError: a value is neither a number nor a short text, or cannot be.
        """
        for name, value in _flat(found):
            if name in COLUMNS - VALUES:
                self.remarks[name] = f"{name} is a column of the results: rename it in the program"
            elif name not in self.values:
                self.values[name] = self._checked(name, value)

    def check(self, wanted: Iterable[str], where: str) -> None:
        """Note declared metrics without a value.

        Args:
            wanted: the declared metrics.
            where: where the result was looked for, for the message.

        Raises:
            ResultError: none of them has been found.
        """
        names = list(wanted)
        missing = [name for name in names if name not in self.values]
        if names and len(missing) == len(names):
            raise ResultError(
                f"no metric was found: {where}",
                f'let the program print {{"{names[0]}": 0.5}} as its last line, or give a pattern '
                "or metrics_file",
            )
        for name in missing:
            self.values[name] = None
            self.remarks[name] = f"{name} is not in the result of this run"

    def _checked(self, name: str, value: Any) -> Number:  # noqa: ANN401 - of a user's program
        plain = value.item() if hasattr(value, "item") else value
        if isinstance(plain, bool | str) or plain is None:
            return plain.replace("\0", "") if isinstance(plain, str) else plain
        if not isinstance(plain, int | float):
            raise ResultError(
                f"{quoted(name)} is of type {type(value).__name__}",
                "a result has numbers and short texts",
            )
        if not math.isfinite(plain):
            self.remarks[name] = f"{name} was {plain}"
            return None
        if name == ACCURACY and not 0 <= plain <= 1:
            raise ResultError(
                f"the accuracy {plain:g} is not between 0 and 1: give {plain / 100:g}, or call it "
                "accuracy_percent",
                "change the program",
            )
        return float(plain) if isinstance(plain, int) and abs(plain) > LARGEST else plain


def _flat(found: Mapping[Any, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in found.items():
        full = f"{before}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{full}.")
        elif full:
            yield full, value


def read_result(result: Result, output: str, file: Path | None, began_s: float) -> str:
    """Take the result of a program, from its file or from the end of its output.

    Args:
        result: takes the values.
        output: the end of its standard output.
        file: ``metrics_file``; ``None`` for the output.
        began_s: time of the epoch; an older file is of another run.

    Returns:
        Where it was looked for, in words.

    Raises:
        ResultError: the file is missing, old, or not readable, or holds a value that cannot be.
    """
    if file is None:
        for line in reversed(output.splitlines()):
            if (found := _object(line)) is not None:
                result.add(found)
                return "the last JSON object of its output has none of them"
        last = next((line for line in reversed(output.splitlines()) if line.strip()), "")
        return f"its last line is {quoted(last)}" if last else "it has printed nothing"
    result.add(_of_file(file, began_s))
    return f"{file.name} has none of them"


def _object(line: str) -> dict[str, Any] | None:
    """The JSON object that a line is; ``None`` if it is something else."""
    line = line.strip()
    if not (line.startswith("{") and line.endswith("}")):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _of_file(file: Path, began_s: float) -> Mapping[str, Any]:
    try:
        about = file.stat()
        if about.st_mtime < began_s - 1:  # file systems with a coarse clock
            raise ResultError(
                f"the program has not written {file}, which is of an earlier run",
                "write it in every run, or put it into {out}",
            )
        if about.st_size > MOST_BYTES:
            raise ResultError(f"{file} is too large for a result", "write one line or row a run")
        text = file.read_text("utf-8", errors="replace")
    except OSError as error:
        raise ResultError(
            f"{file} cannot be read: {error.strerror}", "check metrics_file and what is written"
        ) from error
    if file.suffix.lower() == ".csv":
        last = deque(csv.DictReader(text.splitlines()), maxlen=1)
        if not last:
            raise ResultError(f"{file} has no row", "write a heading and a row a step")
        return {str(name).strip(): _number(value) for name, value in last[0].items() if name}
    try:
        whole = json.loads(text)
        if isinstance(whole, dict):
            return whole
    except (ValueError, RecursionError):
        pass
    for line in reversed(text.splitlines()):
        if (found := _object(line)) is not None:
            return found
    raise ResultError(f"{file} has no JSON object", 'write for instance {"accuracy": 0.9}')


def _number(text: object) -> float | str | None:
    """A cell of a CSV file."""
    word = str(text).strip()
    try:
        return float(word)
    except ValueError:
        return word or None


class Patterns:
    """The last match of each pattern, line by line.

    Args:
        metrics: the declared metrics.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._patterns = {
            name: re.compile(one.pattern) for name, one in metrics.items() if one.pattern
        }
        self.found: dict[str, float | str | None] = {}

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def search(self, line: str) -> None:
        """Search a line of the output."""
        for name, pattern in self._patterns.items():
            if match := pattern.search(line):
                self.found[name] = _number(match[1])


@dataclass
class Events:
    """What a run has reported.

    Attributes:
        curves: metric, step, value and time on the monotonic clock, in order.
        phases: name, begin and end on the monotonic clock.
    """

    curves: list[tuple[str, int, float, float]] = field(default_factory=list)
    phases: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def last(self) -> dict[str, float]:
        """The last value of each metric."""
        return {name: value for name, _, value, _ in self.curves}


def read_events(file: Path) -> Events:
    """The events of a run; lines that are not events are left out.

    Args:
        file: ``JOULELAB_EVENTS`` of the run; missing if it has reported nothing.
    """
    events, counts = Events(), dict[str, int]()
    begun: dict[str, list[float]] = {}
    try:
        with file.open("rb") as lines:
            lines.seek(max(0, os.fstat(lines.fileno()).st_size - MOST_BYTES))
            kept = deque(lines, maxlen=MOST_EVENTS)
    except OSError:
        return events
    for line in kept:
        event = _object(line.decode("utf-8", "replace")) or {}
        time_s, value = event.get("t"), event.get("value")
        if not isinstance(time_s, int | float):
            continue
        if isinstance(name := event.get("metric"), str) and isinstance(value, int | float):
            counts[name] = counts.get(name, -1) + 1
            step = event.get("step", counts[name])
            events.curves.append((name, int(step), float(value), float(time_s)))
        elif isinstance(name := event.get("phase"), str):
            if event.get("edge") == "begin":
                begun.setdefault(name, []).append(float(time_s))
            elif begun.get(name):
                events.phases.append((name, begun[name].pop(), float(time_s)))
    return events
