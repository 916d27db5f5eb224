"""JSON logs as a table: one object per sample, in a list, one per line, or concatenated.

A path in the object is a column: ``sockets.0.consumption``. Known keys of programs are in `KNOWN`:
Scaphandre's JSON exporter (microwatts), the answers of Shelly plugs (Switch.GetStatus,
NotifyStatus, and the first generation's status) and Tasmota's (Status 8, tele/SENSOR). A time
written before each object is its time, if the object has none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from joulelab.errors import TraceError
from joulelab.tabular.reader import CUT
from joulelab.tabular.table import Heading, Table

LOGGED = "logged at"
WHOLE_HOST = "total power"
SCAPHANDRE, SHELLY, TASMOTA = "scaphandre", "shelly", "tasmota"
KNOWN: tuple[tuple[re.Pattern[str], str, str, str], ...] = tuple(
    (re.compile(pattern), name, unit, program)
    for pattern, name, unit, program in (
        (r"host\.timestamp", "timestamp", "", SCAPHANDRE),
        (r"host\.consumption", WHOLE_HOST, "uW", SCAPHANDRE),
        (r"sockets\.(\d+)\.consumption", r"cpu \1 power", "uW", SCAPHANDRE),
        (r"sockets\.(\d+)\.domains\.(\w+)\.consumption", r"\2 \1 power", "uW", SCAPHANDRE),
        (r"(?:.*\.)?(?:switch|pm1|cover):(\d+)\.apower", r"wall \1 power", "W", SHELLY),
        (r"(?:.*\.)?(?:switch|pm1|cover):(\d+)\.aenergy\.total", r"wall \1 energy", "Wh", SHELLY),
        (r"(?:.*\.)?apower", "wall power", "W", SHELLY),
        (r"(?:.*\.)?aenergy\.total", "wall energy", "Wh", SHELLY),
        (r"(?:.*\.)?e?meters\.(\d+)\.power", r"wall \1 power", "W", SHELLY),
        (r"(?:.*\.)?ENERGY\.Power", "wall power", "W", TASMOTA),
        (r"(?:.*\.)?ENERGY\.Power\.(\d+)", r"wall \1 power", "W", TASMOTA),
        (r"(?:.*\.)?ENERGY\.Total", "wall energy", "kWh", TASMOTA),
        (r"(?:.*\.)?ENERGY\.Total\.(\d+)", r"wall \1 energy", "kWh", TASMOTA),
        (r"(?:StatusSNS\.)?Time", "Time", "", ""),
        (r"(?:params\.|sys\.)?(?:ts|unixtime)", "ts", "", ""),
        (r"(?:.*\.)?minute_ts", "minute_ts", "", ""),
    )
)
_LEFT_OUT = frozenset({"consumers", "by_minute", "disks", "components"})
_STAMP = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:\s?(?:Z|UTC|[+-]\d\d:?\d\d))?"
    r"|\d{10,19}(?:\.\d+)?|\d\d:\d\d:\d\d(?:[.,]\d+)?"
)


def is_json(text: str) -> bool:
    """Whether a text is JSON, or lines with a time followed by JSON."""
    start = text.lstrip()
    if start.startswith(("{", "[{", "[\n", "[ ")):
        return True
    first = start.partition("\n")[0]
    return "{" in first and first.rstrip().endswith("}") and '":' in first


def read_json(path: Path, text: str) -> tuple[Table, str]:
    """The samples in a text, and the program that wrote them; empty if unknown.

    Raises:
        TraceError: it is not JSON, or has no objects.
    """
    import pandas as pd

    rows: list[dict[str, str]] = []
    lines: list[int] = []
    units: dict[str, str] = {}
    program = ""
    remarks: list[str] = []
    found = list(_objects(path, text))
    for line, said, prefix in _inner(found) if len(found) == 1 else found:
        if said is None:
            remarks.append(CUT)
            continue
        row: dict[str, str] = {}
        for key, value in _leaves(said):
            name, units[name], known = _name(key)
            program = known or program
            row.setdefault(name, value)
        if stamp := _STAMP.search(prefix):
            row[LOGGED] = stamp[0]
        if row.get(WHOLE_HOST) in ("0", "0.0"):
            row[WHOLE_HOST] = ""  # Scaphandre's first report has no data yet
        rows.append(row)
        lines.append(line)
    if not rows:
        raise TraceError(f"{path} has no sample", "a JSON log has one object for each sample")
    frame = pd.DataFrame.from_records(rows).fillna("")
    headings = {name: Heading(name, units.get(name, "")) for name in frame.columns}
    return Table(path, frame, headings, lines, tuple(remarks), TraceError), program


def _objects(path: Path, text: str) -> Iterator[tuple[int, Any, str]]:
    """Each object with its line and the text before it; ``None`` for a truncated one."""
    decoder = json.JSONDecoder()
    at = text.find("{")
    stripped = text.strip()
    if stripped.startswith("["):
        try:
            yield from ((1, one, "") for one in json.loads(stripped) if isinstance(one, dict))
            return
        except ValueError:
            pass  # a truncated list still has its objects
    after = 0
    while at >= 0:
        line = text.count("\n", 0, at) + 1
        prefix = text[max(after, text.rfind("\n", 0, at) + 1) : at]
        try:
            said, after = decoder.raw_decode(text, at)
        except ValueError as error:
            if not text[at:].rstrip().endswith("}"):
                yield line, None, prefix
                return
            reason = str(error).partition(":")[0]
            raise TraceError(
                f"{path}, line {line}: not JSON: {reason}", "fix or remove that line"
            ) from None
        yield line, said, prefix
        at = text.find("{", after)


def _inner(found: Sequence[tuple[int, Any, str]]) -> Sequence[tuple[int, Any, str]]:
    """The objects of the longest list in a single object, if it has one."""
    ((line, said, _),) = found
    lists = [one for one in (said or {}).values() if isinstance(one, list) and len(one) > 1]
    longest = max(lists, key=len, default=[])
    if not all(isinstance(one, dict) for one in longest):
        return found
    return [(line, one, "") for one in longest] or found


def _leaves(said: Any, path: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any JSON
    """Paths and values of an object; of a list, by the ids or names in it, else by their order."""
    if isinstance(said, dict):
        for key, value in said.items():
            if key not in _LEFT_OUT:
                yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(said, list):
        for number, value in enumerate(said):
            own = value.get("id", value.get("name", number)) if isinstance(value, dict) else number
            yield from _leaves(value, f"{path}.{own}")
    elif said is not None:
        yield path, str(said)


def _name(path: str) -> tuple[str, str, str]:
    """The column of a path, its unit and its program, if known."""
    for pattern, name, unit, program in KNOWN:
        if found := pattern.fullmatch(path):
            return found.expand(name), unit, program
    return path, "", ""
