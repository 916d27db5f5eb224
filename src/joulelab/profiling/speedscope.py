"""A profile as a file for https://www.speedscope.app.

The format has no unit of energy: units are ``none``, and the names of the profiles say joules. With
several domains there is a profile for all of them and one for each.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import joulelab
from joulelab.profiling.flame_graph import write_text
from joulelab.profiling.result import Function, Profile

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def write_speedscope(profile: Profile, path: Path) -> None:
    """Write the file.

    Args:
        profile: what it is of.
        path: of the file.

    Raises:
        StoreWriteError: the file cannot be written.
    """
    write_text(path, json.dumps(speedscope_data(profile), allow_nan=False))


def speedscope_data(profile: Profile) -> dict[str, Any]:
    """The contents of the file.

    Args:
        profile: what it is of.
    """
    found = [(path, call) for path, call in profile.calls.chains() if call.size]
    # The root stands for what no sample has seen.
    stacks = [path or (call.function,) for path, call in found]
    calls = [call for _, call in found]
    frames: dict[Function, int] = {}
    for stack in stacks:
        for function in stack:
            frames.setdefault(function, len(frames))
    numbers = [[frames[function] for function in stack] for stack in stacks]
    unit = "joules" if profile.energy_j is not None else "seconds"
    profiles = [_sampled(f"Energy in {unit}", numbers, [call.size for call in calls])]
    domains = profile.calls.domains_j
    if len(domains) > 1:
        profiles += [
            _sampled(f"{name} in joules", numbers, [call.domains_j[name] for call in calls])
            for name in domains
        ]
    return {
        "$schema": SCHEMA,
        "name": profile.measurement.label or "joulelab profile",
        "exporter": f"joulelab {joulelab.__version__}",
        "activeProfileIndex": 0,
        "shared": {"frames": [_frame(function) for function in frames]},
        "profiles": profiles,
    }


def _sampled(name: str, stacks: list[list[int]], sizes: list[float]) -> dict[str, Any]:
    kept = [(stack, size) for stack, size in zip(stacks, sizes, strict=True) if size > 0]
    return {
        "type": "sampled",
        "name": name,
        "unit": "none",
        "startValue": 0,
        "endValue": sum(size for _, size in kept),
        "samples": [stack for stack, _ in kept],
        "weights": [size for _, size in kept],
    }


def _frame(function: Function) -> dict[str, Any]:
    where = {"file": function.file, "line": function.line} if function.file else {}
    return {"name": function.name, **where}
