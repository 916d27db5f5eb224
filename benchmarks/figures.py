"""How figures are printed: medians with their spread, Markdown tables, the machine they are of."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from math import ceil, floor, sqrt
from pathlib import Path

PEERS = ("zeus", "codecarbon")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def spread(values: Sequence[float], form: str = ".1f") -> str:
    """Median, least and greatest.

    Args:
        values: at least one.
        form: of each number, as `format` takes it.
    """
    middle = f"{statistics.median(values):{form}}"
    return f"{middle} ({min(values):{form}} to {max(values):{form}})"


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that a share of all values does not exceed."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """A 95 % confidence interval of the median, by ranks (a binomial by its normal limit)."""
    ordered, count = sorted(values), len(values)
    away = 1.96 * sqrt(count) / 2
    low, high = floor(count / 2 - away), ceil(count / 2 + away) - 1
    return ordered[max(0, low)], ordered[min(count - 1, high)]


def verdict(value: float, target: float) -> str:
    """Whether a figure is within its target."""
    return "met" if value <= target else "missed"


def interval_verdict(interval: tuple[float, float], target: float) -> str:
    """The same for a figure of which only an interval is known."""
    if interval[1] <= target:
        return "met"
    return "missed" if interval[0] > target else "undecided"


def versions() -> str:
    """The versions of Python and of the tools that are compared."""
    found = [f"Python {platform.python_version()}"]
    for name in ("joulelab", *PEERS, "nvidia-ml-py"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)


def machine() -> str:
    """The machine: processor, logical processors, load and date."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    virtual = any(" hypervisor" in line for line in lines if line.startswith("flags"))
    parts = [
        f"{os.cpu_count()} logical processors",
        models[0] if models else platform.machine(),
        "virtual" if virtual else "not virtual",
        f"load {load()}",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    ]
    return ", ".join(parts)


def load() -> str:
    """Mean number of running programs in the last minute: what else the machine had to do."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
