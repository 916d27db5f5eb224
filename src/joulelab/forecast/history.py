"""The user's stored runs as training data, and the excluded ones.

::

    results folders ─ finished trainings, with the features of their configuration
                        └ of one hardware ─ of the domains that most of them count
                                              └ `joulelab.analysis.prediction.before`
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.prediction.before import CATEGORIES, FEATURES
from joulelab.errors import JoulelabError, StoreError, UsageError, quoted
from joulelab.forecast.hardware import Hardware, counted_domains
from joulelab.forecast.training_request import DataShape, TrainingRequest, request_of, trainings
from joulelab.kinds.training.spec import TrainingConfiguration, TrainingExperimentSpec
from joulelab.learning.images import ImageShape
from joulelab.learning.networks import networks
from joulelab.study.results import Results
from joulelab.study.spec import StudySpec
from joulelab.study.store_reading import data_sets
from joulelab.study.study_file import stored_spec
from joulelab.study.trust import functions_of, unapproved
from joulelab.study.validation import any_name

DATABASE = "runs.sqlite"
ELSEWHERE = "on other hardware"
NET, GROSS = "energy_net_j", "energy_gross_j"
FINISHED = "finished"


@dataclass(frozen=True)
class History:
    """Finished trainings of any hardware.

    Attributes:
        runs: one row per run: the features, ``hardware`` (number in `machines`), ``counts`` (which
            domains), both energies in joules and ``duration_s``.
        machines: every hardware that occurs.
        studies: folders with a used finished training.
        left_out: number of runs by reason.
    """

    runs: pd.DataFrame
    machines: tuple[Hardware, ...]
    studies: int
    left_out: Mapping[str, int]

    def named(self, text: str) -> Hardware:
        """The hardware whose name contains a text.

        Args:
            text: the user's text; case-insensitive.

        Raises:
            UsageError: none or several match.
        """
        known = list(dict.fromkeys(map(str, self.machines)))
        found = [one for one in known if text.casefold() in one.casefold()]
        exact = [one for one in found if one.casefold() == text.casefold()]
        if len(exact or found) != 1:
            what = "several stored machines match" if found else "no stored run matches"
            listed = "; ".join(found or known) or "no stored runs"
            raise UsageError(f"{what} hardware {quoted(text)}", f"known: {listed}")
        return next(one for one in self.machines if str(one) == (exact or found)[0])

    def of(self, hardware: Hardware) -> Selection:
        """The runs of one hardware with the domains that most of them count.

        Args:
            hardware: the requested hardware.
        """
        left_out = Counter(self.left_out)
        numbers = [n for n, one in enumerate(self.machines) if one.key == hardware.key]
        mine = self.runs[self.runs["hardware"].isin(numbers)]
        for number, one in enumerate(self.machines):
            if number not in numbers:
                count = int((self.runs["hardware"] == number).sum())
                left_out[_elsewhere(one, hardware)] += count
        counts = ""
        unknown = mine[[NET, GROSS]].isna().all(axis=1)
        if not unknown.all():
            counts = str(mine.loc[~unknown, "counts"].value_counts().index[0])
            # Runs without an energy are excluded later for that reason.
            others = (mine["counts"] != counts) & ~unknown
            left_out["that count other domains"] += int(others.sum())
            mine = mine[~others]
        net = bool(mine[NET].notna().any())
        runs = mine.assign(energy_j=mine[NET if net else GROSS])
        return Selection(hardware, runs, counts, net, dict(+left_out))


@dataclass(frozen=True)
class Selection:
    """Runs of one hardware that count the same domains.

    Attributes:
        hardware: the hardware.
        runs: as in `History.runs`, with ``energy_j``.
        counts: the domains that count, in words.
        net: whether the energy is net; gross if idle power is unknown for all of them.
        left_out: number of runs by reason.
    """

    hardware: Hardware
    runs: pd.DataFrame
    counts: str
    net: bool
    left_out: Mapping[str, int]


def results_folders(folders: Sequence[Path]) -> list[Path]:
    """The results folders among some folders and directly inside them.

    Args:
        folders: results folders, and folders of them.

    Raises:
        UsageError: a folder does not exist.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(
                f"{folder} is not a folder", "name results folders, or one that contains some"
            )
        inner = sorted(path.parent for path in folder.glob(f"*/{DATABASE}"))
        own = [folder] if (folder / DATABASE).is_file() else []
        found |= dict.fromkeys(own + inner)
    return list(found)


def read_history(folders: Iterable[Path], only: Hardware | None = None) -> History:
    """All finished trainings of some results folders.

    Args:
        folders: results folders. Unreadable ones are skipped and reported.
        only: hardware of the wanted runs; other runs are only counted.
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
        """Read the runs of one folder; returns whether any was used."""
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
            self.left_out[_elsewhere(hardware, self.only)] += len(trained)
            return False
        self.machines.append(hardware)
        taken = [self._taken(part) for part in _by_configuration(trained, spec, manifest)]
        self.frames += [one for one in taken if one is not None]
        return any(one is not None for one in taken)

    def _taken(self, part: _Part) -> pd.DataFrame | None:
        flops = part.runs["flops"].to_numpy(float)
        counted = bool(np.isfinite(flops).any())
        try:
            # The oldest stores have no counts.
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
    one: TrainingConfiguration
    data: Mapping[str, DataShape]

    def request(self) -> TrainingRequest:
        if (data := self.data.get(self.one.dataset)) is None:
            raise JoulelabError(f"the manifest does not describe {self.one.dataset}")
        if new := unapproved(functions_of(dict(self.one.network_options))):
            raise JoulelabError(f"its network is code that you have not run: {new[0]}")
        if self.one.network not in networks.names():
            raise JoulelabError(
                f"its network {self.one.network} comes from a plug-in: --plugin FILE"
            )
        # Each run has the number of trainings in its group; strategies take seconds to import.
        return request_of(self.one, data, together=1)


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
            yield _Part(part, one, data)


def _elsewhere(other: Hardware, wanted: Hardware) -> str:
    """Why runs of other hardware are left out: another machine, or another number of threads."""
    if other.model != wanted.model:
        return ELSEWHERE
    threads = formats.count(other.threads, "thread")
    return f"recorded with {threads} (try --threads {other.threads})"


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
