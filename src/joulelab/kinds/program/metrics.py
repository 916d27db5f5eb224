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
import io
import json
import math
import os
import re
import stat
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from joulelab.errors import JoulelabError, quoted
from joulelab.plain import storable
from joulelab.study.call_workload import ACCURACY, LARGEST, Number
from joulelab.study.column_names import COLUMNS, VALUES

Better = Literal["max", "min"]
MOST_EVENTS = 1_000_000
"""More than this is a program that reports every batch of everything; the last ones are kept."""
MOST_BYTES = 100_000_000
"""A file with a result that is larger is something else."""
LONGEST_LINE = 190_000
"""Of the output, in characters: less than the end of it that is kept."""
LINE_END = re.compile("\r\n?|\n")
"""Others, such as U+2028, may be within a text in JSON."""
BLANK = " \t\r\n\ufeff"


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
        diverged: whether a value was NaN or infinite.
    """

    values: dict[str, Number] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    diverged: bool = False

    def add(self, found: Mapping[Any, Any]) -> None:
        """Take values that are not known yet; tables within are named with dots.

        Raises:
            ResultError: an accuracy that is impossible.
        """
        for name, value in _flat(found):
            plain = value.item() if hasattr(value, "item") else value
            if name in COLUMNS - VALUES:
                self.remarks[name] = f"{name} is a column of the results: rename it in the program"
            elif name in self.values:
                continue
            elif plain is not None and not isinstance(plain, str | int | float):
                self.remarks[name] = f"{name} is of type {type(value).__name__}, not a number"
            elif name in VALUES and isinstance(plain, str):
                self._take_number(name, plain)
            else:
                self.values[name] = self._checked(name, plain)

    def check(self, wanted: Iterable[str], where: str) -> None:
        """Note declared metrics without a value.

        Args:
            wanted: the declared metrics.
            where: where the result was looked for, for the message.

        Raises:
            ResultError: none of them has been found.
        """
        names = list(wanted)
        for name in names:
            if isinstance(text := self.values.get(name), str):
                del self.values[name]
                self._take_number(name, text)
            elif name in self.values and self.values[name] is None:
                self.remarks.setdefault(name, f"{name} is empty in the result of this run")
        missing = [name for name in names if name not in self.values]
        if names and len(missing) == len(names):
            reasons = [self.remarks[name] for name in names if name in self.remarks]
            raise ResultError(
                f"no metric was found: {'; '.join(reasons) or where}",
                f'let the program print {{"{names[0]}": 0.5}} as its last line, or give a pattern '
                "or metrics_file",
            )
        for name in missing:
            self.values[name] = None
            self.remarks.setdefault(name, f"{name} is not in the result of this run")

    def _take_number(self, name: str, text: str) -> None:
        """Take a text where only a number can be analysed or stored."""
        number = _number(text)
        if isinstance(number, float):
            self.values[name] = self._checked(name, number)
        else:
            self.remarks[name] = f"{name} is the text {quoted(text)}, not a number"

    def _checked(self, name: str, plain: str | float | None) -> Number:
        if isinstance(plain, bool | str) or plain is None:
            return storable(plain) if isinstance(plain, str) else plain
        if not math.isfinite(_float(plain)):
            self.remarks[name] = f"{name} was {_float(plain)}"
            self.diverged = True
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
        full = storable(f"{before}{name}")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{full}.")
        elif full:
            yield full, value


def _float(number: float) -> float:
    """A number as a float; infinite where a whole number is larger than any."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


Version = tuple[int, int, int, int] | None


def version(file: Path) -> Version:
    """What changes when a file is written; ``None`` if there is none."""
    try:
        about = file.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_ctime_ns, about.st_size, about.st_ino


def read_result(
    result: Result, output: str, file: Path | None = None, before: Version = None
) -> str:
    """Take the result of a program, from its file or from the end of its output.

    Args:
        result: takes the values.
        output: the end of its standard output.
        file: ``metrics_file``; ``None`` for the output.
        before: version of the file when the program was started; if it is still the same, it is
            of another run.

    Returns:
        Where it was looked for, in words.

    Raises:
        ResultError: the file is missing, old, or not readable, or holds a value that cannot be.
    """
    if file is None:
        lines = [line for line in LINE_END.split(output) if line.strip()]
        for line in reversed(lines):
            if (found := _object(line)) is not None:
                result.add(found)
                return "the last JSON object of its output has none of them"
        if len(lines) == 1 and len(output) > LONGEST_LINE:
            return "its last line is too long to be read"
        return f"its last line is {quoted(lines[-1])}" if lines else "it has printed nothing"
    result.add(_of_file(file, before))
    return f"{file.name} has none of them"


def _object(line: str) -> dict[str, Any] | None:
    """The JSON object that a line is; ``None`` if it is something else."""
    line = line.strip(BLANK)
    if not (line.startswith("{") and line.endswith("}")):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _of_file(file: Path, before: Version) -> Mapping[str, Any]:
    try:
        about = file.stat()
        if not stat.S_ISREG(about.st_mode):  # reading a pipe would wait for ever
            raise ResultError(f"{file} is not a file", "check metrics_file")
        if version(file) == before:
            raise ResultError(
                f"the program has not written {file}, which is of an earlier run",
                "write it in every run, or put it into {out}",
            )
        if about.st_size > MOST_BYTES:
            raise ResultError(f"{file} is too large for a result", "write one line or row a run")
        text = file.read_text("utf-8-sig", errors="replace")
    except OSError as error:
        raise ResultError(
            f"{file} cannot be read: {error.strerror}", "check metrics_file and what is written"
        ) from error
    if file.suffix.lower() == ".csv":
        try:
            last = deque(csv.DictReader(io.StringIO(text)), maxlen=1)
        except csv.Error as error:
            raise ResultError(
                f"{file} is not a CSV file: {error}", "check what is written"
            ) from error
        if not last:
            raise ResultError(f"{file} has no row", "write a heading and a row a step")
        return {str(name).strip(): _number(value) for name, value in last[0].items() if name}
    try:
        whole = json.loads(text)
        if isinstance(whole, dict):
            return whole
    except (ValueError, RecursionError):
        pass
    for line in reversed(LINE_END.split(text)):
        if (found := _object(line)) is not None:
            return found
    raise ResultError(f"{file} has no JSON object", 'write for instance {"accuracy": 0.9}')


def _number(text: str | None) -> float | str | None:
    """A number that is written as text, such as a cell of a CSV file; other text as it is."""
    word = (text or "").strip()
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
        """Search a line of the output, in which a progress bar may have written several times."""
        for name, pattern in self._patterns.items():
            for part in line.split("\r"):
                for match in pattern.finditer(part):
                    if match[1] is not None:
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
    if not file.is_file():  # reading a pipe would wait for ever
        return events
    try:
        with file.open("rb") as lines:
            lines.seek(max(0, os.fstat(lines.fileno()).st_size - MOST_BYTES))
            kept = deque(lines, maxlen=MOST_EVENTS)
    except OSError:
        return events
    for line in kept:
        event = _object(line.decode("utf-8", "replace")) or {}
        time_s, value = _finite(event.get("t")), event.get("value")
        if time_s is None:
            continue
        if isinstance(name := event.get("metric"), str) and isinstance(value, int | float):
            name = storable(name)
            counts[name] = counts.get(name, -1) + 1
            step = _finite(event.get("step"))
            number = counts[name] if step is None or abs(step) >= LARGEST else int(step)
            events.curves.append((name, number, _float(value), time_s))
        elif isinstance(name := event.get("phase"), str):
            name = storable(name)
            if event.get("edge") == "begin":
                begun.setdefault(name, []).append(time_s)
            elif begun.get(name) and time_s >= begun[name][-1]:
                events.phases.append((name, begun[name].pop(), time_s))
    return events


def _finite(value: object) -> float | None:
    """A finite number; ``None`` for anything else."""
    number = _float(value) if isinstance(value, int | float) else math.nan
    return number if math.isfinite(number) else None
