"""Logs of programs that measure power, converted to tables.

::

    perf stat -I          one line per interval and event, in joules
    powermetrics          a text, or a property list, per interval
    Scaphandre, Shelly,   JSON, one object per sample: `joulelab.energy.traces.json_logs`
      Tasmota
    turbostat, powerstat  a table with rows of single cores, or averages, in between
    anything else         a table

Formats: perf-stat(1), powermetrics(1), turbostat(8), powerstat(8), and their sources.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulelab.energy.traces import json_logs
from joulelab.energy.traces.power_columns import with_units
from joulelab.errors import TraceError
from joulelab.tabular.reader import CUT, decode, parse_table
from joulelab.tabular.table import Heading, Table

if TYPE_CHECKING:
    import pandas as pd

NVIDIA_SMI = "power.draw"
LOOKED_AT = 100_000
"""Number of characters at the beginning of a log that contain its header."""
DMON_S = 1.0
"""Default interval between rows of nvidia-smi dmon."""
ELAPSED = "elapsed [s]"
HEADLESS = (
    "it has no header: record without noheader, or add one: timestamp, power.draw [W]; columns "
    "without a name are 1, 2, ... (--time 1 --power 2)"
)


@dataclass(frozen=True)
class Log:
    """A log as a table, and its program's conventions.

    Attributes:
        table: one row per sample.
        program: the program that wrote it.
        apart: whether each row has all devices in separate columns.
        domain: domain of power whose heading names no part of the machine; empty for the default.
        joules: whether energies are per interval rather than cumulative.
        elapsed: column with the duration in seconds that a row covers, ending at the row.
        begins_s: start of the first row's interval, if there is no `elapsed`.
        interval_s: the program's default interval, for rows without times.
        relative_error: error bound of its sensors; ``None`` if unknown.
    """

    table: Table
    program: str = "recorded"
    apart: bool = False
    domain: str = ""
    joules: bool = False
    elapsed: str = ""
    begins_s: float | None = None
    interval_s: float | None = None
    relative_error: float | None = None


def _whole_machine(names: Sequence[str], cells: Sequence[str]) -> bool:
    """Turbostat's summary row: without package, core and processor."""
    own = [
        cell
        for name, cell in zip(names, cells, strict=False)
        if name in ("Package", "Node", "Die", "Core", "CPU")
    ]
    return len(cells) >= len(names) and all(cell == "-" for cell in own)


def _timed(_: Sequence[str], cells: Sequence[str]) -> bool:
    return bool(re.fullmatch(r"\d\d:\d\d:\d\d", cells[0]))


def read_log(path: Path, content: bytes) -> Log:
    """The log in the bytes of a file.

    Args:
        path: path of the file, for messages.
        content: of the file, other than Parquet.

    Raises:
        TraceError: it is not a readable table.
    """
    if b"<plist" in content[:1000]:
        return _property_lists(path, content)
    text, _ = decode(path, content, TraceError)
    if "*** Sampled system activity" in text:
        return _powermetrics(path, text)
    if "power/energy-" in text:
        return _perf(path, text)
    if json_logs.is_json(text):
        table, program = json_logs.read_json(path, text)
        return replace(of_table(table), program=program or "recorded", apart=bool(program))
    beginning = text[:LOOKED_AT].split("\n")
    for one in PROGRAMS:
        header = next((line for line in beginning if one.header and one.header.search(line)), None)
        if header is not None:
            content = _only(text, header, one).encode()
            break
    table = parse_table(path, content, TraceError, ends_lines=NVIDIA_SMI, messages=True)
    return of_table(table)


def of_table(table: Table) -> Log:
    """A table as the log of a program, by its headings."""
    table = with_units(_headed(table))
    texts = [heading.text.casefold() for heading in table.headings.values()]
    headings = " ".join(text.replace(" ", "_") for text in texts)
    program = next((one for one in PROGRAMS if one.sign.search(headings)), None)
    if program is None:
        return Log(table)
    table = replace(table, headings=program.headings(table.headings))
    return Log(table, program.name, **program.conventions)


def _only(text: str, header: str, program: Program) -> str:
    """The text with non-table lines blanked, so that line numbers stay."""
    names = header.split()
    kept = []
    for line in text.split("\n"):
        cells = line.split()
        wanted = cells and (cells == names or program.is_row(names, cells))
        kept.append(line if wanted else "")
    return "\n".join(kept)


def _headed(table: Table) -> Table:
    """Add a header to a table without one if it has the format of Zeus's power monitor.

    Seconds since 1970 with a fraction, then the watts of each GPU.
    """
    if table.has_header:
        return table
    frame = table.frame
    first, *others = (frame[name].astype(str) for name in frame.columns)
    stamped = first.str.fullmatch(r"1\d{9}\.\d+").all()
    floats = others and all(one.str.fullmatch(r"\d{1,4}\.\d+").all() for one in others)
    if not stamped or not floats:
        return table
    names = ["timestamp", *(f"power{gpu} (W)" for gpu in range(len(others)))]
    headings = {name: Heading.of(name) for name in names}
    remark = "it has no header: read as Zeus writes it, seconds and then the watts of each GPU"
    return replace(
        table, frame=frame.set_axis(names, axis=1), headings=headings, has_header=True
    ).remarked(remark)


def _powerstat(headings: Mapping[str, Heading]) -> dict[str, Heading]:
    """Powerstat's domains follow the total watts, without units."""
    domains = [name for name in headings if re.fullmatch(r"pkg-\d+|dram|core|uncore|psys", name)]
    total = {"Watts": Heading("total Watts", "W")} if domains else {}
    return {**headings, **{name: Heading(name, "W") for name in domains}, **total}


def _shelly_em(headings: Mapping[str, Heading]) -> dict[str, Heading]:
    """Watt-hours of each interval and phase of a Shelly energy meter.

    EMData of the second generation, ``em_data.csv`` of the first.
    """
    phases = {f"{letter}_total_act_energy": phase for phase, letter in enumerate("abc")}
    return {
        name: Heading(f"wall {phases[name]} energy", "Wh") if name in phases else heading
        for name, heading in headings.items()
    }


@dataclass(frozen=True)
class Program:
    """A program that writes a table.

    Attributes:
        name: of the program.
        sign: pattern of its headings, in lower case, words joined by underscores.
        conventions: attributes of its `Log`.
        headings: gives its headings with their units.
        header: pattern of the header line, if there are other lines before and between the rows.
        is_row: whether a line is a row, from the header and its own cells.
    """

    name: str
    sign: re.Pattern[str]
    conventions: Mapping[str, Any] = field(default_factory=dict)
    headings: Callable[[Mapping[str, Heading]], dict[str, Heading]] = dict
    header: re.Pattern[str] | None = None
    is_row: Callable[[Sequence[str], Sequence[str]], bool] = _timed


PROGRAMS = (
    Program("nvidia-smi", re.compile(r"power\.draw")),
    Program("nvidia-smi-dmon", re.compile(r"(?=.*\bgpu\b)(?=.*\bpwr\b)"), {"interval_s": DMON_S}),
    Program("nvitop", re.compile(r"power_usage_\(")),
    Program(
        "turbostat",
        re.compile(r"\b(pkg|cor|gfx|ram|sys)(watt|_j)\b"),
        {"joules": True},
        header=re.compile(r"^(?=.*\b(Busy%|Avg_MHz|usec|Core|CPU)\s).*\w+(Watt|_J)\b"),
        is_row=_whole_machine,
    ),
    Program(
        "powerstat",
        re.compile(r"\bctxt/s\b.*\bwatts\b"),
        {"domain": "wall"},
        _powerstat,
        header=re.compile(r"^\s*Time\s+User\s+Nice\s.*Watts"),
        is_row=_timed,
    ),
    Program("powerjoular", re.compile(r"\bcpu_utilization\b.*\bcpu_power\b")),
    Program(
        "shelly-em",
        re.compile(r"\b\w_total_act_energy\b|active_energy_wh"),
        {"domain": "wall", "apart": True, "joules": True},
        _shelly_em,
    ),
    Program("energibridge", re.compile(r"^delta time ")),
)
"""In this order: the first whose sign is found."""


def _perf(path: Path, text: str) -> Log:
    """Joules per interval, in columns or with a delimiter (-x), by event and socket (S0)."""
    rows: dict[float, dict[str, str]] = {}
    lines: dict[float, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        event = re.search(r"power/energy-(\w+)/", line)
        if event is None or line.lstrip().startswith("#"):
            continue
        said = _PERF_JSON.search(line) or _PERF.search(line)
        if said is None:
            raise TraceError(
                f"{path}, line {number}: {line.strip()[:60]!r} has no time before its joules",
                "record intervals: perf stat -I 1000 -a -e power/energy-pkg/",
            )
        time_s = float(said["time"].replace(",", "."))
        socket = re.search(r"\b(?:S|CPU)(\d+)\b", line[: event.start()])
        part = {"gpu": "igpu"}.get(event[1], event[1])
        name = f"{part}{socket[1] if socket else ''} energy (J)"
        row = rows.setdefault(time_s, {})
        if name in row:
            raise TraceError(
                f"{path}, line {number}: {event[0]} at {time_s:g} s occurs twice",
                "if these are two recordings, split the file and read each part",
            )
        lines.setdefault(time_s, number)
        row[name] = _perf_number(said["joules"], said["time"])
    began = re.search(r"# started on (.+)", text)
    remarks = (f"started on {began[1].strip()}",) if began else ()
    table = _table(path, rows, list(lines.values()), "time (s)").remarked(*remarks)
    return Log(table, "perf", apart=True, joules=True, begins_s=0.0)


_PERF = re.compile(
    r"^\s*(?P<time>\d+[.,]\d+)[\s,;:|]\s*(?:S\d+(?:-D\d+)?[\s,;:|]+\d+[\s,;:|]+|CPU\d+[\s,;:|]+)?"
    r"(?P<joules><[^>]*>|[\d.,]+)[\s,;:|]"
)
_PERF_JSON = re.compile(
    r'"interval"\s*:\s*(?P<time>[\d.]+).*?"counter-value"\s*:\s*"(?P<joules>[^"]*)"'
)


def _perf_number(text: str, time: str) -> str:
    """A number with a decimal point; perf writes it like the time, by locale."""
    if text.startswith("<"):
        return ""
    return text.replace(".", "").replace(",", ".") if "," in time else text.replace(",", "")


def _powermetrics(path: Path, text: str) -> Log:
    """Each part covers the time before it; watts are means over that time."""
    parts = re.split(r"\*\*\* Sampled system activity \(", text)
    rows: dict[float, dict[str, str]] = {}
    lines, line, end_s = [], parts[0].count("\n") + 1, None
    for part in parts[1:]:
        said = _ACTIVITY.match(part)
        try:
            moment, elapsed = said.groups() if said else ("", "")
            stamp = datetime.strptime(" ".join(moment.split()), "%a %b %d %H:%M:%S %Y %z")
            elapsed_s = float(elapsed) / 1000
        except ValueError:
            raise TraceError(
                f"{path}, line {line}: a sample without a time", "remove that sample"
            ) from None
        end_s = _end_s(end_s, stamp.timestamp(), elapsed_s)
        row = {f"{name} (mW)": watts for name, watts in reversed(_LINE_OF_POWER.findall(part))}
        row |= {f"{name} (W)": watts for name, watts in _PACKAGE.findall(part)}
        if row:  # a truncated part has none
            rows[end_s] = row | {ELAPSED: f"{elapsed_s:.6f}"}
            lines.append(line)
        line += part.count("\n")
    return _of_samples(path, rows, lines)


_ACTIVITY = re.compile(r"([^)]+)\) \(([\d.]+)ms elapsed\)")
_LINE_OF_POWER = re.compile(
    r"^((?:CPU|GPU|ANE|DRAM|Package|Combined) Power)(?: \([^)]*\))?: ([\d.]+) mW", re.MULTILINE
)
_PACKAGE = re.compile(r"energy model derived (package power)[^:]*: ([\d.]+)W")


def _property_lists(path: Path, content: bytes) -> Log:
    import plistlib
    from xml.parsers.expat import ExpatError

    rows: dict[float, dict[str, str]] = {}
    lines, end_s, line, cut = [], None, 1, False
    for part in re.split(rb"(?<=</plist>)", content):
        body = part.strip(b"\0 \r\n\t")
        if not body:
            continue
        try:
            told: dict[str, Any] = plistlib.loads(body)
            processor, elapsed_s = told["processor"], told["elapsed_ns"] / 1e9
            moment = told["timestamp"].replace(tzinfo=UTC).timestamp()
        except (ExpatError, ValueError, LookupError, TypeError, AttributeError):
            cut = True  # the last one may be truncated
            continue
        end_s = _end_s(end_s, moment, elapsed_s)
        row = {
            f"{name.replace('_', ' ')} (mW)": str(processor[name])
            for name in ("cpu_power", "gpu_power", "ane_power", "dram_power", "combined_power")
            if name in processor
        }
        rows[end_s] = row | {ELAPSED: f"{elapsed_s:.6f}"}
        lines.append(line)
        line += part.count(b"\n")
    log = _of_samples(path, rows, lines)
    return replace(log, table=log.table.remarked(*([CUT] if cut else [])))


def _of_samples(path: Path, rows: dict[float, dict[str, str]], lines: Sequence[int]) -> Log:
    if not any(len(row) > 1 for row in rows.values()):
        raise TraceError(
            f"{path} has no power readings",
            "record it: sudo powermetrics --samplers cpu_power,gpu_power,ane_power -i 1000",
        )
    return Log(
        _table(path, rows, lines, "timestamp"),
        "powermetrics",
        apart=True,
        elapsed=ELAPSED,
        relative_error=APPLE_ERROR,
    )


APPLE_ERROR = 0.4
"""Its manual calls the numbers estimated without a bound; use the bound of an estimate."""
APART_S = 2.0


def _end_s(before_s: float | None, moment_s: float, elapsed_s: float) -> float:
    """End of a sample: its time is cut to a second, the elapsed time is not."""
    goes_on_s = moment_s if before_s is None else before_s + elapsed_s
    return goes_on_s if abs(goes_on_s - moment_s) < APART_S else moment_s


def _table(path: Path, rows: dict[float, dict[str, str]], lines: Sequence[int], time: str) -> Table:
    """A table of text from rows by time."""
    import pandas as pd

    frame: pd.DataFrame = pd.DataFrame.from_records(list(rows.values())).fillna("")
    frame.insert(0, time, [f"{moment:.9f}" for moment in rows])
    headings = {name: Heading.of(name) for name in frame.columns}
    return with_units(Table(path, frame, headings, lines, error_class=TraceError))
