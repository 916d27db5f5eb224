"""``joulelab list``: every part by its name."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from joulelab.cli.output import data_console, print_json
from joulelab.energy.meter import meters
from joulelab.learning.engine import engines
from joulelab.learning.images import datasets
from joulelab.learning.networks import networks
from joulelab.learning.protocol import protocols
from joulelab.registry import Part, Registry, load_plugin
from joulelab.serving.arrivals import arrivals
from joulelab.serving.policies import policies
from joulelab.study.kind import kinds
from joulelab.study.study_file import shipped_studies
from joulelab.tuning.strategy import strategies


def print_parts(plugins: Sequence[Path], *, as_json: bool) -> None:
    """Print studies, networks, data sets, strategies, meters, protocols, engines and kinds.

    Args:
        plugins: files with parts of the user's own.
        as_json: JSON instead of a table.
    """
    for path in plugins:
        load_plugin(path)
    registries: dict[str, Registry[Any]] = {
        "networks": networks,
        "data sets": datasets,
        "strategies": strategies,
        "meters": meters,
        "protocols": protocols,
        "engines": engines,
        "kinds of experiment": kinds,
        "batching policies": policies,
        "arrival processes": arrivals,
    }
    parts = {"studies": _studies(), **{name: r.parts() for name, r in registries.items()}}
    if as_json:
        print_json(
            {
                name.replace(" ", "_"): [asdict(part) for part in listed]
                for name, listed in parts.items()
            }
        )
        return
    console = data_console()
    for name, listed in parts.items():
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
        for part in listed:
            origin = "" if part.origin == "joulelab" else f" [{part.origin}]"
            table.add_row(part.name, escape(part.summary + origin))
        console.print(name, style="bold")
        console.print(table)


def _studies() -> list[Part]:
    return [
        Part(name, tomllib.loads(path.read_text("utf-8")).get("summary", ""), "joulelab")
        for name, path in shipped_studies().items()
    ]
