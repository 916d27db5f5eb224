"""``joulelab list``: every part by its name."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from joulelab.energy.meter import meters
from joulelab.learning.engine import engines
from joulelab.learning.images import datasets
from joulelab.learning.language_models import language_models
from joulelab.learning.networks import networks
from joulelab.learning.protocol import protocols
from joulelab.present import Facts, Section, View
from joulelab.registry import Part, Registry, load_plugin
from joulelab.serving.arrivals import arrivals
from joulelab.serving.policies import policies
from joulelab.sinks.named import sinks
from joulelab.study.spec import kinds
from joulelab.study.study_file import shipped_studies
from joulelab.tuning.strategy import strategies


def parts(plugins: Sequence[Path]) -> View:
    """Studies, networks and models, data sets, strategies, meters, engines, kinds, sinks and more.

    Args:
        plugins: files with parts of the user's own.
    """
    for path in plugins:
        load_plugin(path)
    registries: dict[str, Registry[Any]] = {
        "networks": networks,
        "language models": language_models,
        "data sets": datasets,
        "strategies": strategies,
        "meters": meters,
        "protocols": protocols,
        "engines": engines,
        "kinds of experiment": kinds,
        "batching policies": policies,
        "arrival processes": arrivals,
        "sinks": sinks,
    }
    listed = {"studies": _studies(), **{name: r.parts() for name, r in registries.items()}}
    return View(
        [
            Section(name, [Facts([(part.name, _line(part)) for part in of_name])])
            for name, of_name in listed.items()
        ],
        {
            name.replace(" ", "_"): [asdict(part) for part in of_name]
            for name, of_name in listed.items()
        },
    )


def _line(part: Part) -> str:
    return part.summary + ("" if part.origin == "joulelab" else f" [{part.origin}]")


def _studies() -> list[Part]:
    return [
        Part(name, tomllib.loads(path.read_text("utf-8")).get("summary", ""), "joulelab")
        for name, path in shipped_studies().items()
    ]
