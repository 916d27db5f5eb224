"""The devices whose rows stand among each other in one table.

::

    timestamp   host   index   uuid     power.draw
    10:00:00    a      0       GPU-5e1  400          a/gpu:0
    10:00:00    a      1       GPU-07a   60          a/gpu:1
    10:00:00    b      0       GPU-9c2   61          b/gpu:0

Any column that can name a device divides the rows; several do so together. One that is called
``gpu`` or ``index`` may as well hold a share of load or count the rows: what names devices is the
same few values over and over, each once in a round.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from joulelab.energy.traces.power_columns import WORDS
from joulelab.errors import TraceError
from joulelab.tabular.table import Table, folded

Positions = NDArray[np.intp]

DOMAIN, HOST, NUMBER, PART, NAME = "domain", "host", "number", "part", "name"
_CALLED: Mapping[str, str] = {
    DOMAIN: "domain",
    HOST: """
        host hostname host_name node node_name nodename nodelist machine server instance computer
        src topic
    """,
    NUMBER: """
        index idx gpu gpu_id gpu_index gpu_idx gpu_number gpu_num gpuid device device_id
        device_index device_idx dev cuda cuda_device card card_id card_index minor_number
        gpu_minor_number accelerator local_rank rank entity id
    """,
    PART: "socket socket_id package package_id pkg die cpu",
    NAME: """
        uuid gpu_uuid serial gpu_serial pci pci.bus pci.bus_id gpu_bus_id pci_bus_id pci.device
        bus_id busid bus pci_bus pciid pci_id device_name gpu_name name product_name device_uuid
        mig_uuid outlet plug meter sensor channel rail component entity_id
    """,
}
_NAMES = {name: kind for kind, names in _CALLED.items() for name in names.split()}
_MODELS = frozenset({"name", "gpu_name", "product_name", "device_name"})
MOST_DEVICES = 64
"""More than any machine has: what has more values counts something else."""
LIKELY_DEVICES = 16
"""A single number below it is that of a device; above, more likely a share in percent."""
APART_S = 0.1
"""Rows of several devices in one round lie nearer to each other."""
ROUND = 0.75
"""A round has at least this part of all devices; some may drop out."""
_PERCENT = "%"
_DOMAIN = re.compile(r"([\w.-]+/)?[a-z]+(:\w+)?")


@dataclass(frozen=True)
class Device:
    """The rows of one device.

    Attributes:
        domain: its name; empty where the table has no column that names devices.
        rows: their positions (n,).
        host: the machine that it is in, where the table says so.
        sure: whether the column is of devices, and not of machines or models, of which one may
            have several.
    """

    domain: str
    rows: Positions
    host: str = ""
    sure: bool = False


def devices(table: Table, asked: str, times_s: NDArray[np.float64]) -> list[Device]:
    """The devices in a table, one without a name where nothing tells several apart.

    Args:
        table: a row a sample.
        asked: a column that names devices; empty for those that usually do.
        times_s: (n,) of its rows.

    Raises:
        TraceError: there is no such column.
    """
    columns = _columns(table, asked, times_s)
    if not columns:
        return [Device("", np.arange(len(table)))]
    frame = table.frame[list(columns)]
    grouped = frame.groupby(list(columns), sort=False, dropna=False).indices
    groups = [
        (key if isinstance(key, tuple) else (key,), np.sort(np.asarray(rows, np.intp)))
        for key, rows in grouped.items()
    ]
    groups = [(tuple(map(_text, key)), rows) for key, rows in groups]
    models = all(folded(name) in _MODELS or kind == HOST for name, kind in columns.items())
    return [replace(device, sure=not models) for device in _named(groups, list(columns.values()))]


def is_column(table: Table, asked: str) -> bool:
    """Whether ``--device`` names a column, and not the one device of a file."""
    return bool(asked) and table.column(asked) is not None


def check_name(table: Table, asked: str) -> None:
    """Refuse what is neither a column nor the name of a device.

    Raises:
        TraceError: with the columns that are there.
    """
    family = asked.rpartition("/")[2].partition(":")[0]
    if not _DOMAIN.fullmatch(asked) or (":" not in asked and family not in WORDS):
        raise TraceError(
            f"{table.path} has no column {asked!r}, and it is no name of a device",
            f"name a column, or one device as gpu:0 or wall; {table.known()}",
        )


def _columns(table: Table, asked: str, times_s: NDArray[np.float64]) -> dict[str, str]:
    """The columns that name devices, and how each does."""
    if asked:
        (name,) = table.require(asked)
        return {name: _NAMES.get(folded(asked), NUMBER)}
    found = {}
    for name, heading in table.headings.items():
        _check_instances(table, name)
        kind = _kind(folded(heading.name))
        if kind and name not in table.twice and heading.unit != _PERCENT:
            found[name] = kind
    return {name: kind for name, kind in found.items() if _names_devices(table, name, times_s)}


def _check_instances(table: Table, name: str) -> None:
    """Refuse several instances of a divided GPU (MIG): each says the power of the whole.

    Raises:
        TraceError: with how to name one of them.
    """
    if str(table.frame[name].iloc[0]).strip()[:4].upper() != "MIG-":
        return
    instances = [text for text in dict.fromkeys(table.texts(name)) if text]
    if len(instances) > 1:
        raise table.error(
            f"there are {len(instances)} MIG instances, and each says the power of its whole GPU",
            f"read one instance of each GPU: --where {name}={instances[0]} "
            f"(where={name}={instances[0]})",
            column=name,
        )


def _kind(name: str) -> str:
    if name in _NAMES:
        return _NAMES[name]
    return NAME if re.search(r"uuid$|bus_?id$|^pci", name) and "link" not in name else ""


def _names_devices(table: Table, name: str, times_s: NDArray[np.float64]) -> bool:
    import pandas as pd

    codes, found = pd.factorize(table.frame[name], use_na_sentinel=False)
    if len(found) > MOST_DEVICES:
        return False
    if len(found) == len(codes) > 1 and np.diff(times_s).max(initial=0.0) > APART_S:
        return False  # it numbers the rows
    values = np.array([_text(value) for value in found], object)
    if not any(values) or any(text.endswith(_PERCENT) for text in values):
        return False
    numbers = pd.to_numeric(pd.Series(values[values != ""]), errors="coerce")
    if numbers.isna().any():
        return True
    if len(values) == 1:
        return bool(numbers.max() < LIKELY_DEVICES)
    whole = bool((numbers % 1 == 0).all() and (numbers >= 0).all() and numbers.max() < MOST_DEVICES)
    return whole and _in_rounds(codes, len(values))


def _in_rounds(codes: NDArray[np.intp], many: int) -> bool:
    """Whether values come in rounds, each once; or all rows of each one after the other."""
    if int((np.diff(codes) != 0).sum()) == many - 1:
        return True
    rounds, seen = 1, set[int]()
    for code in codes.tolist():
        if code in seen:
            rounds += 1
            seen.clear()
        seen.add(code)
    return len(codes) / rounds >= ROUND * many or _dropped_out(codes, many)


def _dropped_out(codes: NDArray[np.intp], many: int) -> bool:
    """Whether the values go round as long as all of them are there."""
    lasts = [int(np.flatnonzero(codes == code)[-1]) for code in range(many)]
    until = codes[: min(lasts) + 1]
    return len(until) >= 2 * many and bool(
        (np.bincount(until, minlength=many) >= ROUND * len(until) / many).all()
    )


def _named(
    groups: Sequence[tuple[tuple[str, ...], Positions]], kinds: Sequence[str]
) -> Iterator[Device]:
    """Groups with the names of their devices: the number in the file, else in their order."""
    keys = [dict(zip(kinds, key, strict=True)) for key, _ in groups]
    hosts = ["/".join(_of(kinds, key, HOST)) for key, _ in groups]
    shown = hosts if len(set(hosts)) > 1 else [""] * len(groups)
    names = [_name(kinds, key) for key, _ in groups]
    full = list(zip(shown, names, strict=True))
    places: dict[str, int] = {}
    for (_, rows), host, name, key in zip(groups, shown, names, keys, strict=True):
        place = places.setdefault(host, 0)
        places[host] += 1
        sure = name and full.count((host, name)) == 1
        only_host = set(key) == {HOST}
        alone = only_host or (len(groups) == 1 and not name)
        own = name if sure else ("" if alone else f"gpu:{place}")
        yield Device(own, rows, host)


def _of(kinds: Sequence[str], key: Sequence[str], kind: str) -> list[str]:
    return [text for one, text in zip(kinds, key, strict=True) if one == kind and text]


def _name(kinds: Sequence[str], key: Sequence[str]) -> str:
    """What a row says of its device: ``gpu:3``, ``cpu:1``, ``wall``; empty where it is a name."""
    if own := _of(kinds, key, DOMAIN):
        return own[0]
    gpus, parts = _of(kinds, key, NUMBER), _of(kinds, key, PART)
    for text in gpus:
        if text.isdigit():
            return f"gpu:{text}"
        said = re.fullmatch(r"([a-z]+)\D*(\d*)", text.casefold())
        if said and (said[2] or said[1] in WORDS):
            family = WORDS.get(said[1], "gpu")
            return family if family == "wall" else f"{family}:{said[2] or 0}"
    if parts and not gpus:
        digits = re.findall(r"\d+", parts[0])
        return f"cpu:{digits[0]}" if digits else ""
    return ""


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.0f}"  # noqa: PLR0124 - not a number
    text = str(value).strip()
    return "" if text in ("-", "nan") else text
