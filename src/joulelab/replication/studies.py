"""Published studies by name: each takes a folder with raw data and gives a `Replication`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from joulelab.registry import Registry
from joulelab.replication.published import Replication

Replicate: TypeAlias = Callable[[Path], Replication]

published_studies: Registry[Replicate] = Registry(
    "published study",
    "joulelab.published_studies",
    {
        "yarally2023": (
            "joulelab.replication.yarally2023:replicate",
            "energy-efficient practices in deep learning training (CAIN 2023)",
        )
    },
)
