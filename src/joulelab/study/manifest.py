"""The conditions of a study: machine, drivers, versions, code, data, meters."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

import joulelab
from joulelab.errors import StoreMismatchError
from joulelab.study.session import Session

LIBRARIES = (
    "codecarbon",
    "numpy",
    "nvidia-ml-py",
    "pandas",
    "scikit-learn",
    "scipy",
    "torch",
    "torchvision",
)


MACHINE = ("node", "machine", "driver", "power_limit_w")
"""Of the machine of a session; see `machine_of`."""


def conditions(session: Session) -> dict[str, Any]:
    """The conditions of a session, independent of the workload, as plain data.

    Args:
        session: its study, device and meters.
    """
    spec, device = session.spec, session.device
    return {
        "joulelab": joulelab.__version__,
        "commit": source_commit(),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "system": platform.platform(),
        "processor": processor_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "device": {"name": device.name, "domain": device.domain, "model": device.model},
        "threads": session.threads,
        "seed": spec.seed,
        "scale": spec.scale,
        "energy": session.recorder.describe(),
    }


def check_same_weights(before: Mapping[str, Any], weights: Mapping[str, str]) -> None:
    """Refuse to continue with changed weights.

    Args:
        before: the manifest so far.
        weights: of each network now.

    Raises:
        StoreMismatchError: names the changed one.
    """
    for network, now in weights.items():
        begun = before.get("weights", {}).get(network, now)
        if begun != now:
            raise StoreMismatchError(
                f"{network} has the weights {now} here, but the study began with {begun}",
                "set weights to those, or choose another folder with --out",
            )


def new_session(number: int, started_at: float, now: dict[str, Any]) -> dict[str, Any]:
    """The entry of a session in the manifest; `ended_at` is added at a regular end."""
    return {
        "session": number,
        "pid": os.getpid(),
        "host": platform.node(),
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(started_at)),
        "conditions": now,
    }


def machine_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The machine of a session: node, device, driver, power limit in watts; None where unknown.

    Args:
        entry: of the session in the manifest.
    """
    conditions = entry.get("conditions", {})
    device = conditions.get("device") or {}
    on_gpu = device.get("name") not in {None, "cpu"}
    meters = (conditions.get("energy") or {}).get("meters") or {}
    cards = [one for name, one in meters.items() if name.startswith("nvml")]
    card: Mapping[str, str] = cards[0] if cards else {}
    limit = card.get(f"{device.get('domain')} power_limit_w", "")
    return {
        "node": entry.get("host"),
        "machine": device.get("model") if on_gpu else conditions.get("processor"),
        "driver": card.get("driver") if on_gpu else None,
        "power_limit_w": float(limit) if limit.replace(".", "").isdecimal() else None,
    }


def processor_model() -> str:
    """The processor's name from the system."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text("utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def source_commit() -> str | None:
    """The commit of joulelab's source, with ``+`` if files differ from it.

    Later sessions of a process run the code that the first one has imported.
    """
    folder = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
