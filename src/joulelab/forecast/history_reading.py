"""Reading results folders: every finished training with the features of its configuration."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from joulelab.analysis.prediction.before import CATEGORIES, FEATURES
from joulelab.errors import JoulelabError, StoreError
from joulelab.forecast.data_shape import DataShape
from joulelab.forecast.hardware import Hardware, counted_domains
from joulelab.forecast.history import ELSEWHERE, GROSS, NET, History
from joulelab.forecast.study_requests import request_of, trainings
from joulelab.forecast.training_request import TrainingRequest
from joulelab.kinds.training.spec import TrainingConfiguration, TrainingExperimentSpec, TrainingKeys
from joulelab.learning.images import ImageShape
from joulelab.learning.networks import networks
from joulelab.study.results import Results
from joulelab.study.spec import StudySpec
from joulelab.study.store_reading import data_sets
from joulelab.study.study_file import stored_spec
from joulelab.study.trust import functions_of, unapproved
from joulelab.study.validation import any_name

FINISHED = "finished"


def read_history(folders: Iterable[Path], only: Hardware | None = None) -> History:
    """All finished trainings of some results folders.

    Args:
        folders: results folders. One that cannot be read is left out, and said.
        only: hardware of which runs are wanted; those of another are counted, and not looked at.
    """
    reading = _Reading(only)
    studies = sum(reading.add(folder) for folder in folders)
    frame = pd.concat(reading.frames, ignore_index=True) if reading.frames else _nothing()
    return History(frame, tuple(reading.machines), studies, dict(+reading.left_out))


@dataclass
class _Reading:
    """What was read so far."""

    only: Hardware | None
    frames: list[pd.DataFrame] = field(default_factory=list)
    machines: list[Hardware] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, folder: Path) -> bool:
        """The runs of one folder; whether any was taken."""
        try:
            results = Results.open(folder)
            runs, manifest = results.to_frame(), results.manifest
            spec = stored_spec(results.spec, TrainingExperimentSpec)  # type: ignore[type-abstract]
        except JoulelabError as error:
            kind = "a damaged store" if isinstance(error, StoreError) else "a study that fails"
            self.left_out[f"{kind} ({folder.name}: {error.message})"] += 1
            return False
        trained = runs[(runs["state"] == FINISHED) & runs["engine"].notna()]
        if trained.empty or spec is None:
            return False
        hardware = _hardware(manifest)
        if hardware is None:
            self.left_out["of studies on several machines, or on an unknown one"] += len(trained)
            return False
        if self.only is not None and hardware.key != self.only.key:
            self.left_out[ELSEWHERE] += len(trained)
            return False
        self.machines.append(hardware)
        taken = [self._taken(part) for part in _by_configuration(trained, spec, manifest)]
        self.frames += [one for one in taken if one is not None]
        return any(one is not None for one in taken)

    def _taken(self, part: _Part) -> pd.DataFrame | None:
        flops = part.runs["flops"].to_numpy(float)
        counted = bool(np.isfinite(flops).any())
        try:
            # The oldest stores have no counts of their own.
            features = part.request().features(math.nan if counted else None)
        except JoulelabError as error:
            self.left_out[f"that cannot be counted again ({error.message})"] += len(part.runs)
            return None
        runs = part.runs
        number = len(self.machines) - 1
        steps = runs["steps"].to_numpy(float)
        flops = flops if counted else np.full(len(runs), features["flops"])
        return pd.DataFrame(
            {
                **{name: runs[name].to_numpy() for name in (NET, GROSS, "duration_s")},
                **features,
                "flops": flops,
                "flops_per_step": flops / steps,
                "steps": steps,
                "engine": runs["engine"].astype(str).to_numpy(),
                "precision": runs["precision"].astype(str).to_numpy(),
                "together": runs["group_size"].to_numpy(float),
                "hardware": number,
                "counts": [
                    counted_domains(domains, status)
                    for domains, status in zip(
                        runs["energy_domains"], runs["energy_status"], strict=True
                    )
                ],
            }
        )


@dataclass(frozen=True)
class _Part:
    """The finished runs of one configuration."""

    runs: pd.DataFrame
    spec: TrainingKeys
    one: TrainingConfiguration
    data: Mapping[str, DataShape]

    def request(self) -> TrainingRequest:
        if (data := self.data.get(self.one.dataset)) is None:
            raise JoulelabError(f"the manifest does not describe {self.one.dataset}")
        if new := unapproved(functions_of(dict(self.one.network_options))):
            raise JoulelabError(f"its network is code that you have not run: {new[0]}")
        if self.one.network not in networks.names():
            raise JoulelabError(f"its network {self.one.network} is of a plug-in: --plugin FILE")
        # How many trained together each run says itself; strategies take seconds to import.
        return request_of(self.spec, self.one, data, together=1)


def _by_configuration(
    runs: pd.DataFrame, spec: StudySpec, manifest: Mapping[str, Any]
) -> Iterator[_Part]:
    data = {
        one["name"]: DataShape(
            ImageShape(*one["shape"]), one["classes"], one["train_images"], one["test_images"]
        )
        for one in data_sets(manifest)
        if "shape" in one and "classes" in one
    }
    with any_name():
        known = {one.key: one for one in trainings(spec)}
    for key, part in runs.groupby(["experiment", "configuration"], sort=False):
        if isinstance(key, tuple) and (one := known.get((str(key[0]), str(key[1])))):
            yield _Part(part, cast(TrainingKeys, spec), one, data)


def _hardware(manifest: Mapping[str, Any]) -> Hardware | None:
    """The one hardware of all sessions."""
    sessions = [one.get("conditions", {}) for one in manifest.get("sessions", ())] or [manifest]
    found = [Hardware.of(one) or Hardware.of(manifest) for one in sessions]
    first = found[0]
    same = all(one is not None and first is not None and one.key == first.key for one in found)
    return first if same else None


def _nothing() -> pd.DataFrame:
    columns = ["group", *FEATURES, *CATEGORIES, "hardware", "counts", NET, GROSS, "duration_s"]
    return pd.DataFrame({name: pd.Series(dtype=float) for name in columns})
