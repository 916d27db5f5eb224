"""Published studies by name: each takes a folder with raw data and gives what is recomputed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from joulelab.registry import Registry
from joulelab.replication.delrey2023 import PredictionStudy
from joulelab.replication.published import Replication

Replicate: TypeAlias = Callable[[Path], Replication | PredictionStudy]

published_studies: Registry[Replicate] = Registry(
    "published study",
    "joulelab.published_studies",
    {
        "yarally2023": (
            "joulelab.replication.yarally2023:replicate",
            "energy-efficient practices in deep learning training (CAIN 2023)",
        ),
        "xu2023": (
            "joulelab.replication.xu2023:replicate",
            "training cost of architectures, places and instruments (HICSS 2023)",
        ),
        "delrey2023": (
            "joulelab.replication.delrey2023:replicate",
            "the energy of a training predicted from its beginning (SEAA 2023)",
        ),
    },
)
