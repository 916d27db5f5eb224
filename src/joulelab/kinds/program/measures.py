"""What is analysed of a program: energy, duration, its metrics and phases."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from joulelab import formats
from joulelab.analysis.comparison import mean_interval
from joulelab.kinds.program.spec import DURATION, ENERGY, MEASURED_NAMES
from joulelab.present import Unavailable, cached_per_subject
from joulelab.present.axes import Axis
from joulelab.report.effects import Outcome
from joulelab.report.experiment import Experiment

PHASE = "phase."


@dataclass(frozen=True)
class Measure:
    """What is analysed of a run.

    Attributes:
        name: ``energy``, ``duration``, or that of a metric.
        column: of the runs.
        better: ``"min"`` or ``"max"``.
        form: of its values.
        units: for axes.
    """

    name: str
    column: str
    better: str
    form: Callable[[float | None], str] = formats.quantity
    units: formats.Units | None = None

    @property
    def sign(self) -> int:
        """1 where less is better, else -1."""
        return 1 if self.better == "min" else -1

    def axis(self, experiment: Experiment, *, ends: bool = True) -> Axis:
        """Its axis, with its intervals; less is better to the right."""
        if self.name == ENERGY:
            label = experiment.energy_label
        elif self.name == DURATION:
            label = f"duration of {experiment.each}, s"
        else:
            label = self.name
        low, high = (f"{self.column} low", f"{self.column} high") if ends else ("", "")
        return Axis(self.column, label, low=low, high=high, units=self.units)


@cached_per_subject
def measures(experiment: Experiment) -> list[Measure]:
    """Energy, duration and the declared metrics that runs have.

    Raises:
        Unavailable: no run has finished.
    """
    if not len(experiment.runs):
        raise Unavailable("no run has finished yet.")
    found = []
    if (energy := experiment.energy.column) is not None:
        found.append(Measure(ENERGY, energy, "min", formats.joules, formats.ENERGY))
    found.append(Measure(DURATION, "duration_s", "min", formats.duration))
    for name, one in (experiment.table.get("metrics") or {}).items():
        if name in experiment.runs and numbers(experiment.runs[name]).notna().any():
            found.append(Measure(name, name, one.get("better", "max")))
    return found


def numbers(column: pd.Series) -> pd.Series:
    """The values of a metric; text and unknown values are NaN."""
    return pd.to_numeric(column, errors="coerce")


@cached_per_subject
def groups(experiment: Experiment) -> dict[str, tuple[str, ...]]:
    """The varied factors by name; those whose levels go together are one, ``depth, rate``."""
    declared = [name.split(",") for name in experiment.table.get("vary") or {}]
    wanted = [[one.strip() for one in names] for names in declared] or [
        [one] for one in experiment.factors
    ]
    found: list[tuple[str, ...]] = []
    for names in wanted:
        if not (kept := tuple(name for name in names if name in experiment.varied)):
            continue
        same = next((one for one in found if _together(experiment, one, kept)), None)
        if same is None:
            found.append(kept)
        else:
            found[found.index(same)] = (*same, *kept)
    return {", ".join(names): names for names in found}


def _together(experiment: Experiment, one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether either tells the other."""
    sizes = {len(experiment.runs[list(by)].drop_duplicates()) for by in (one, other)}
    return sizes == {len(experiment.runs[[*one, *other]].drop_duplicates())}


def factors(experiment: Experiment) -> list[str]:
    """The names of `groups`."""
    return list(groups(experiment))


@cached_per_subject
def runs_of(experiment: Experiment) -> pd.DataFrame:
    """The runs with a column for each of `groups`, and metrics as numbers."""
    runs = experiment.runs
    joined = {
        name: [
            ", ".join(map(formats.level, row))
            for row in runs[list(names)].itertuples(index=False, name=None)
        ]
        for name, names in groups(experiment).items()
        if len(names) > 1
    }
    values = {one.column: numbers(runs[one.column]) for one in measures(experiment)}
    return runs.assign(**joined, **values)


def outcomes(experiment: Experiment) -> Iterator[tuple[Measure, Outcome]]:
    """Every measure as the statistics take it."""
    for one in measures(experiment):
        noun = one.name
        runs, by = runs_of(experiment), factors(experiment)
        yield one, Outcome(runs, by, one.column, noun, f"values of {noun}", exact=True)


@cached_per_subject
def means(experiment: Experiment) -> pd.DataFrame:
    """One row per configuration: runs, and of each measure the mean with its 95 % interval."""
    rows = []
    for name, runs in experiment.runs.groupby("configuration", sort=False):
        row = {"configuration": name, "n": len(runs)}
        row |= {one: runs[one].iloc[0] for one in experiment.factors if one not in row}
        for one in measures(experiment):
            values = numbers(runs[one.column]).dropna()
            found = mean_interval([float(value) for value in values]) if len(values) else None
            row[one.column] = found.value if found else math.nan
            low = found.low if found else math.nan
            # Energy and time cannot be below 0, whatever the interval of a few runs says.
            row[f"{one.column} low"] = max(low, 0.0) if one.name in MEASURED_NAMES else low
            row[f"{one.column} high"] = found.high if found else math.nan
        rows.append(row)
    frame = pd.DataFrame(rows)
    cheap = measures(experiment)[0]
    return frame.sort_values(cheap.column, kind="stable", ignore_index=True)


def pairs(experiment: Experiment) -> list[tuple[Measure, Measure]]:
    """The trade-offs to show: those of the study file, or energy against each metric."""
    known = {one.name: one for one in measures(experiment)}
    asked = experiment.table.get("trade_offs") or []
    if asked:
        return [(known[x], known[y]) for x, y in asked if x in known and y in known]
    first, *others = known.values()
    metrics = [one for one in others if one.name not in MEASURED_NAMES]
    return [(first, one) for one in metrics or others]


@cached_per_subject
def phases(experiment: Experiment) -> pd.DataFrame:
    """One row per configuration and phase: mean duration and energy."""
    runs = experiment.runs
    columns = [str(column) for column in runs if str(column).startswith(PHASE)]
    names = [
        column.removeprefix(PHASE).removesuffix(".duration_s")
        for column in columns
        if column.endswith(".duration_s")
    ]
    if not names:
        raise Unavailable("")
    rows = []
    for configuration, those in runs.groupby("configuration", sort=False):
        for name in names:
            status = those.get(f"{PHASE}{name}.status", pd.Series(dtype=object)).dropna()
            rows.append(
                {
                    "configuration": configuration,
                    "phase": name,
                    "duration_s": numbers(those[f"{PHASE}{name}.duration_s"]).mean(),
                    "energy_j": numbers(those[f"{PHASE}{name}.energy_j"]).mean(),
                    "status": formats.listing(sorted(set(status))) if len(status) else "",
                }
            )
    frame = pd.DataFrame(rows).dropna(subset=["duration_s"])
    total_s = frame.groupby("configuration")["duration_s"].transform("sum")
    return frame.assign(share=frame["duration_s"] / total_s)
