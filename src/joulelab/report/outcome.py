"""What a table of effects is about: a measure of the runs, and how sentences speak of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from joulelab.report.experiment import Experiment


@dataclass(frozen=True, eq=False)
class Outcome:
    """One measure of the runs of an experiment.

    Attributes:
        runs: a row a measurement, those that count.
        factors: columns with the levels.
        column: of the measure.
        noun: ``energy``, ``energy per request``, ``mean response time``.
        plural: ``energies``.
    """

    runs: pd.DataFrame
    factors: Sequence[str]
    column: str
    noun: str = "energy"
    plural: str = "energies"

    def said(self, reason: str) -> str:
        """A reason of the statistics, which speak of energies, in the words of this measure."""
        article = "an" if self.noun[0] in "aeiou" else "a"
        return reason.replace("energies", self.plural).replace(
            "an energy", f"{article} {self.noun}"
        )


def energy_of_runs(experiment: Experiment) -> Outcome:
    """The energy of the runs; of an experiment in which some energy is known."""
    return Outcome(experiment.measured, experiment.varied, str(experiment.energy.column))
