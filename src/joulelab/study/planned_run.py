"""One run of a study, as it is planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PlannedRun:
    """A unit that is planned, measured, stored and resumed."""

    run_id: str
    position: int
    block: int
    experiment: str
    kind: str
    configuration: str
    factors: Mapping[str, Any]
    round: int
    repetition: int
    seed: int
