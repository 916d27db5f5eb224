"""How good the prediction at the start of each session was, now that runs have finished.

Time and energy each: in all, and one run of each configuration. What is compared with what is said
in `joulelab.study.predicted_runs`. The range of several sessions together is the sum of theirs, as
if they erred alike.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from joulelab import formats
from joulelab.analysis.prediction.scores import Hindsight, hindsight
from joulelab.energy.reading import Status
from joulelab.study.predicted_runs import predicted_runs
from joulelab.study.prediction import Cost, SessionPrediction, session_predictions
from joulelab.study.results import Results


@dataclass(frozen=True)
class Measure:
    """Time or energy.

    Attributes:
        name: in words.
        verb: what runs did with it.
        unit: at the end of the names of columns.
        actual: column with what it was.
        form: writes a value.
        form_range: writes a range.
        bounds: a value of a cost, and its range.
    """

    name: str
    verb: str
    unit: str
    actual: str
    form: Callable[[float | None], str]
    form_range: Callable[[float | None, float | None], str]
    bounds: Callable[[Cost], tuple[float | None, float | None, float | None]]


TIME = Measure(
    "time",
    "took",
    "s",
    "took_s",
    formats.duration,
    formats.duration_range,
    lambda cost: (cost.duration_s, cost.duration_low_s, cost.duration_high_s),
)
ENERGY = Measure(
    "energy",
    "used",
    "j",
    "used_j",
    formats.joules,
    formats.joules_range,
    lambda cost: (cost.energy_j, cost.energy_low_j, cost.energy_high_j),
)


@dataclass(frozen=True)
class InAll:
    """All runs compared, together; NaN where unknown."""

    runs: int
    predicted: float
    low: float
    high: float
    actual: float

    @property
    def ratio(self) -> float:
        """Of actual over predicted."""
        return self.actual / self.predicted if self.predicted > 0 else math.nan

    @property
    def within(self) -> bool | None:
        """Whether the range holds the actual value; ``None`` without a range."""
        if math.isnan(self.low) or math.isnan(self.high):
            return None
        return self.low <= self.actual <= self.high


@dataclass(frozen=True)
class Compared:
    """Time or energy, predicted and actual; of at least one run.

    Attributes:
        measure: which of the two.
        in_all: all runs together.
        configurations: a row a session and configuration: ``session``, ``experiment``,
            ``configuration``, ``runs``, and of one run ``predicted``, ``low``, ``high`` and the
            mean ``actual``.
    """

    measure: Measure
    in_all: InAll
    configurations: Hindsight


@dataclass(frozen=True)
class PredictionQuality:
    """What was predicted of a study, and what came of it.

    Attributes:
        sessions: that predicted runs which have finished since.
        runs: those runs.
        failed: runs that failed after they had been predicted.
        unpredicted: finished runs of sessions without a prediction.
        waited_s: of their time, waiting for the device or for it to cool down.
        basis: what the predictions were made from.
        status: of the energies.
        time: with what surrounds a run.
        energy: of the run itself, above idle; ``None`` where it was not predicted or is unknown.
    """

    sessions: int
    runs: int
    failed: int
    unpredicted: int
    waited_s: float
    basis: tuple[str, ...]
    status: str
    time: Compared
    energy: Compared | None


def prediction_quality(results: Results) -> PredictionQuality | str:
    """Compare what was predicted with what came of it; or why that cannot be done, in words.

    Raises:
        StoreCorruptError: a prediction in the manifest cannot be read.
    """
    said = {one.session: one for one in session_predictions(results.manifest)}
    if not said:
        return "no session of this folder has kept its prediction."
    runs = results.to_frame()
    every = predicted_runs(results.manifest, runs, results.ledger_frame())
    ended = every[every["state"] == "finished"]
    if not len(ended):
        return "no predicted run has finished yet."
    finished = runs[runs["state"] == "finished"]
    known = ended.dropna(subset=["predicted_j", "used_j"])
    sessions = [said[number] for number in ended["session"].unique()]
    return PredictionQuality(
        sessions=len(sessions),
        runs=len(ended),
        failed=int((every["state"] == "failed").sum()),
        unpredicted=len(finished) - len(ended),
        waited_s=float(ended["waited_s"].sum()),
        basis=tuple(dict.fromkeys(basis for one in sessions for basis in one.basis)),
        status=Status.of_set(
            finished.loc[finished["run_id"].isin(known["run_id"]), "energy_status"]
        ),
        time=_compared(TIME, ended, said),
        energy=_compared(ENERGY, known, said) if len(known) else None,
    )


def _compared(
    measure: Measure, ended: pd.DataFrame, said: Mapping[int, SessionPrediction]
) -> Compared:
    return Compared(measure, _in_all(measure, ended, said), _by_configuration(measure, ended))


def _in_all(measure: Measure, ended: pd.DataFrame, said: Mapping[int, SessionPrediction]) -> InAll:
    """The runs that have ended, against the predictions of their sessions for just those runs."""
    bounds = []
    for session, rows in ended.groupby("session"):
        counts = Counter(zip(rows["experiment"], rows["configuration"], strict=True))
        cost = said[int(str(session))].by_same_meters.of_counts(counts)
        bounds.append(measure.bounds(cost))
    predicted, low, high = (_sum(values) for values in zip(*bounds, strict=True))
    return InAll(len(ended), predicted, low, high, float(ended[measure.actual].sum()))


def _sum(values: Sequence[float | None]) -> float:
    return math.fsum(math.nan if value is None else value for value in values)


def _by_configuration(measure: Measure, ended: pd.DataFrame) -> Hindsight:
    """Of one run of each configuration in each session, the mean of those that have ended."""
    grouped = ended.groupby(["session", "experiment", "configuration"], sort=False, as_index=False)
    return hindsight(
        grouped.agg(
            runs=("run_id", "size"),
            predicted=(f"predicted_{measure.unit}", "first"),
            low=(f"predicted_low_{measure.unit}", "first"),
            high=(f"predicted_high_{measure.unit}", "first"),
            actual=(measure.actual, "mean"),
        )
    )
