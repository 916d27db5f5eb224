"""Counters of joules on pages for Prometheus: which exporters are known, and what their names mean.

=========  ==============================================  ====================================
exporter   counter                                         unit, and how often it is new
=========  ==============================================  ====================================
joulelab   ``joulelab_energy_joules_total``                J, 1 s (`joulelab.sinks.prometheus`)
dcgm       ``DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION``        mJ, 30 s (``--collect-interval``)
triton     ``nv_energy_consumption``                       J, 2 s (``--metrics-interval-ms``)
kepler     ``kepler_node_cpu_joules_total``                J, 5 s (``monitor.interval``)
kepler     ``kepler_node_package_joules_total`` and more   J, 3 s, releases before 0.10
scaphandre ``scaph_host_energy_microjoules``               uJ, 2 s
=========  ==============================================  ====================================

Sources: dcgm-exporter ``etc/default-counters.csv`` and its command-line reference; Triton Inference
Server, ``docs/user_guide/metrics.md``; Kepler, ``docs/user/metrics.md``; Scaphandre,
``docs_src/references/metrics.md`` and ``explanations/host_metrics.md``.

An energy counts once. Rows of one GPU that differ in the pod or the MIG instance are the same
counter. Zones of a processor lie within each other, as RAPL's: ``core`` within ``cpu``, both within
``psys``. Kepler's idle and active parts (``kepler_node_cpu_idle_joules_total``), and energies of
containers, pods and processes, are shares of what is read, and are not read. Scaphandre's host is
psys where the machine has that, else processors and memory.

A page with other counters of joules (names that end in ``_joules_total``) needs to be told which
one counts, because nothing says what it covers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from joulelab.energy.reading import Status

Labels = Mapping[str, str]
UNITS_J = {"_microjoules": 1e-6, "_millijoules": 1e-3, "_joules": 1.0}
_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_SAMPLE = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*(\{.*\})?[ \t]+[-+0-9.eEinfNaI]+([ \t]+\d+)?[ \t]*")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Row:
    """One sample of a page."""

    name: str
    labels: Labels
    value: float


@dataclass(frozen=True)
class Device:
    """One counter of a page, as a domain.

    Attributes:
        domain: its domain on that machine.
        within: the domains there that contain it.
        status: measured, or estimated where the exporter says so.
    """

    domain: str
    within: tuple[str, ...] = ()
    status: Status = Status.MEASURED


@dataclass(frozen=True)
class Exporter:
    """What the counters of an exporter mean.

    Attributes:
        name: of the exporter; the sources of the channels begin with it.
        metrics: names of its counters.
        unit_j: their unit in joules.
        update_s: time between two values, as it is shipped.
        device: from a row, and how many devices were before it, to its device; ``None`` for a row
            that does not count.
        same: from a row to what identifies its device.
        adds: whether rows of one device add up; else they are the same counter.
    """

    name: str
    metrics: tuple[str, ...]
    unit_j: float
    update_s: float
    device: Callable[[Row, int], Device | None]
    same: Callable[[Row], str]
    adds: bool = False


def _gpu(row: Row, before: int) -> Device:
    return Device(f"gpu:{_safe(row.labels.get('gpu', str(before)))}")


def _zone(row: Row, before: int) -> Device | None:
    zone, path = row.labels.get("zone", ""), row.labels.get("path", "")
    number = re.search(r"rapl(?:-mmio)?:(\d+)", path)
    return _rapl(zone.partition("-")[0], number[1] if number else "0")


def _old_zone(row: Row, before: int) -> Device | None:
    zone = row.name.removeprefix("kepler_node_").removesuffix("_joules_total")
    modelled = re.search("model|estimat", row.labels.get("source", ""), re.I)
    status = Status.ESTIMATED if modelled else Status.MEASURED
    if zone == "gpu":
        return Device(f"gpu:{_safe(row.labels.get('index', '0'))}", ("wall",), status)
    if zone == "platform":
        return Device("wall", (), status)
    found = _rapl(zone, _safe(row.labels.get("package", "0")))
    return found and Device(found.domain, found.within, status)


def _rapl(zone: str, number: str) -> Device | None:
    """A zone of RAPL, named as `joulelab.energy.meters.rapl` does."""
    around = (f"psys:{number}", "psys:0", "wall")
    domain, within = {
        "package": (f"cpu:{number}", around),
        "core": (f"core:{number}", (f"cpu:{number}", *around)),
        "uncore": (f"uncore:{number}", (f"cpu:{number}", *around)),
        "dram": (f"dram:{number}", around),
        "psys": ("psys:0", ("wall",)),
    }.get(zone, ("", ()))
    return Device(domain, tuple(dict.fromkeys(within))) if domain else None


def _own(row: Row, before: int) -> Device:
    status = Status.MEASURED if row.labels.get("status") == "measured" else Status.ESTIMATED
    return Device(row.labels.get("domain", "wall"), (), status)


EXPORTERS = (
    Exporter(
        "joulelab",
        ("joulelab_energy_joules_total",),
        1.0,
        1.0,
        _own,
        lambda row: row.labels.get("domain", ""),
        adds=True,
    ),
    Exporter(
        "dcgm",
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",),
        1e-3,
        30.0,
        _gpu,
        lambda row: row.labels.get("UUID") or row.labels.get("gpu", ""),
    ),
    Exporter(
        "triton",
        ("nv_energy_consumption",),
        1.0,
        2.0,
        _gpu,
        lambda row: row.labels.get("gpu_uuid", ""),
    ),
    Exporter(
        "kepler",
        ("kepler_node_cpu_joules_total",),
        1.0,
        5.0,
        _zone,
        lambda row: f"{row.labels.get('zone')} {row.labels.get('path')}",
    ),
    Exporter(
        "kepler",
        tuple(
            f"kepler_node_{zone}_joules_total"
            for zone in ("package", "core", "uncore", "dram", "gpu", "platform")
        ),
        1.0,
        3.0,
        _old_zone,
        # Its modes, dynamic and idle, are parts of one energy.
        lambda row: f"{row.name} {row.labels.get('package')} {row.labels.get('index')}",
        adds=True,
    ),
    Exporter(
        "scaphandre",
        ("scaph_host_energy_microjoules", "scaph_host_energy_microjoules_total"),
        1e-6,
        2.0,
        lambda _row, _before: Device("psys:0", ("wall",)),
        lambda _row: "host",
    ),
)


@dataclass(frozen=True)
class Selected:
    """One metric that the user has named, and labels its row has to have."""

    name: str
    labels: Labels

    @classmethod
    def parse(cls, text: str) -> Selected | None:
        """Read ``NAME`` or ``NAME{label="value",...}``; ``None`` for something else."""
        try:
            rows = parse_rows(f"{text.strip()} 0\n", (text.partition("{")[0].strip(),))
        except ValueError:
            return None
        return cls(rows[0].name, rows[0].labels) if len(rows) == 1 else None

    def has(self, row: Row) -> bool:
        """Whether a row is meant."""
        wanted = self.labels.items()
        return row.name == self.name and all(row.labels.get(key) == one for key, one in wanted)

    @property
    def unit_j(self) -> float | None:
        """Its unit by its name; ``None`` where the name has none."""
        base = self.name.removesuffix("_total")
        return next((unit for end, unit in UNITS_J.items() if base.endswith(end)), None)


def is_page(text: str) -> bool:
    """Whether a text is a page for Prometheus: all lines are comments or samples."""
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and all(
        line.startswith("#") or _SAMPLE.fullmatch(line.strip()) for line in lines
    )


def names_of(text: str) -> list[str]:
    """The names of the samples of a page, each once."""
    found = (_NAME.match(line) for line in text.splitlines())
    return list(dict.fromkeys(match[0] for match in found if match))


def parse_rows(text: str, names: Sequence[str]) -> list[Row]:
    """The samples with one of these names; the rest of the page is not parsed.

    Raises:
        ValueError: one of them is not in the format.
    """
    from prometheus_client.parser import text_string_to_metric_families

    wanted = set(names)
    lines = [
        line
        for line in text.splitlines()
        if (match := _NAME.match(line)) is not None and match[0] in wanted
    ]
    return [
        Row(sample.name, sample.labels, float(sample.value))
        for metric in text_string_to_metric_families("\n".join(lines) + "\n")
        for sample in metric.samples
    ]


def devices_of(exporter: Exporter, rows: Sequence[Row]) -> dict[str, tuple[Device, float]]:
    """The devices of an exporter, by what identifies them, and their counters in joules.

    Args:
        exporter: whose rows to read.
        rows: of the page.

    Raises:
        ValueError: two devices have the same domain, or a counter is not a number.
    """
    found: dict[str, tuple[Device, float]] = {}
    for row in rows:
        if row.name not in exporter.metrics:
            continue
        key, value_j = exporter.same(row), row.value * exporter.unit_j
        if not math.isfinite(value_j) or value_j < 0:
            raise ValueError(f"{row.name} is {row.value:g}")
        if key in found:
            known, so_far_j = found[key]
            value_j = so_far_j + value_j if exporter.adds else max(so_far_j, value_j)
            again = exporter.device(row, len(found)) or known
            status = Status.of_sum([known.status, again.status])
            found[key] = Device(known.domain, known.within, status), value_j
        elif (device := exporter.device(row, len(found))) is not None:
            found[key] = device, value_j
    domains = [device.domain for device, _ in found.values()]
    twice = sorted({one for one in domains if domains.count(one) > 1})
    if twice:
        raise ValueError(f"the page has several counters of {', '.join(twice)}")
    return found


def _safe(text: str) -> str:
    """A label as a part of the name of a domain."""
    return _UNSAFE.sub("-", text) or "0"
