"""The user's stored runs, as a table that can be learnt from, and what of it does not fit.

::

    results folders ─ finished trainings, with the features of their configuration
                        └ of one hardware ─ of the domains that most of them count
                                              └ `joulelab.analysis.prediction.before`
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from joulelab.errors import UsageError, quoted
from joulelab.forecast.hardware import Hardware

DATABASE = "runs.sqlite"
ELSEWHERE = "on other hardware"
NET, GROSS = "energy_net_j", "energy_gross_j"


@dataclass(frozen=True)
class History:
    """Finished trainings of any hardware.

    Attributes:
        runs: a row a run: the features, ``hardware`` (number in `machines`), ``counts`` (which
            domains), both energies in joules and ``duration_s``.
        machines: every hardware that occurs.
        studies: folders with a finished training that was taken.
        left_out: number of runs by reason.
    """

    runs: pd.DataFrame
    machines: tuple[Hardware, ...]
    studies: int
    left_out: Mapping[str, int]

    def named(self, text: str) -> Hardware:
        """The hardware whose name has a text in it.

        Args:
            text: as the user writes it; capitals do not matter.

        Raises:
            UsageError: none has, or several have.
        """
        known = list(dict.fromkeys(map(str, self.machines)))
        found = [one for one in known if text.casefold() in one.casefold()]
        exact = [one for one in found if one.casefold() == text.casefold()]
        if len(exact or found) != 1:
            what = "no stored run is of" if not found else "stored runs are of several that match"
            listed = "; ".join(found or known) or "there are no stored runs"
            raise UsageError(f"{what} hardware {quoted(text)}", f"known: {listed}")
        return next(one for one in self.machines if str(one) == (exact or found)[0])

    def of(self, hardware: Hardware) -> Selection:
        """The runs of one hardware, and of the domains that most of them count.

        Args:
            hardware: asked for.
        """
        left_out = Counter(self.left_out)
        numbers = [n for n, one in enumerate(self.machines) if one.key == hardware.key]
        mine = self.runs[self.runs["hardware"].isin(numbers)]
        left_out[ELSEWHERE] += len(self.runs) - len(mine)
        counts = ""
        unknown = mine[[NET, GROSS]].isna().all(axis=1)
        if not unknown.all():
            counts = str(mine.loc[~unknown, "counts"].value_counts().index[0])
            # Runs without an energy are left out for that later, whatever should have counted.
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
        hardware: which.
        runs: as of `History.runs`, with ``energy_j``.
        counts: in words, which domains count.
        net: whether the energy is net; gross where idle power is unknown for all of them.
        left_out: number of runs by reason.
    """

    hardware: Hardware
    runs: pd.DataFrame
    counts: str
    net: bool
    left_out: Mapping[str, int]


def results_folders(folders: Sequence[Path]) -> list[Path]:
    """Every results folder that is named, or lies in a folder that is named.

    Args:
        folders: results folders, and folders of them.

    Raises:
        UsageError: a folder does not exist.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(
                f"{folder} is no folder", "name results folders, or one that holds some"
            )
        inner = sorted(path.parent for path in folder.glob(f"*/{DATABASE}"))
        own = [folder] if (folder / DATABASE).is_file() else []
        found |= dict.fromkeys(own + inner)
    return list(found)
