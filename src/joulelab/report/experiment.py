"""One experiment of a study as the report sees it: its finished runs, and which energy counts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import pandas as pd

from joulelab import formats
from joulelab.analysis.convergence import Score
from joulelab.analysis.negative_energy import in_words, without_negative_energy
from joulelab.analysis.observations import observations
from joulelab.energy.reading import Status
from joulelab.errors import PluginError, UnknownNameError
from joulelab.present import Unavailable
from joulelab.study.results import Results
from joulelab.study.spec import kinds
from joulelab.study.trust import STUDY, code_in, load_approved, unapproved

AVERAGED = ("accuracy", "duration_s", "utilisation_mean", "flops")
NET, GROSS = "energy_net_j", "energy_gross_j"
STATUS, STATUSES = "energy_status", ("measured", "estimated", "partly estimated", "replayed")
"""Column of an export; a table from elsewhere seldom says how its energies came about."""
RECORDED = "recorded_energy_status"
"""Column of replayed runs: how their energies came about when they were recorded."""


@dataclass(frozen=True)
class EnergyBasis:
    """Which column holds the energy of a run, and how sure it is.

    Attributes:
        column: net energy where every run has it, else gross; ``None`` where no run has any.
        status: ``"measured"``, ``"estimated"``, ``"partly estimated"``, ``"replayed"`` or
            ``"missing"``.
        remarks: what to know before reading it, in sentences.
    """

    column: str | None
    status: str
    remarks: tuple[str, ...]

    @property
    def name(self) -> str:
        """``net energy`` or ``gross energy``; of a table from elsewhere just ``energy``."""
        return {NET: "net energy", GROSS: "gross energy"}.get(str(self.column), "energy")


@dataclass(frozen=True, eq=False)
class Experiment:
    """Finished runs of one experiment, with what is needed to analyse them.

    Attributes:
        name: in the study file.
        kind: ``"tuning"``, ``"architecture"`` or a kind from outside.
        protocol: of the study.
        factors: names of the factor columns.
        runs: one row per finished run; diverged ones are among them.
        planned: number of runs in the plan.
        failed: number of failed runs.
        score: of a round: mean or maximum of its repetitions.
        energy: which energy counts.
        dataset: registered name, or that of the file.
        table: the experiment's own table in the study file; empty for one from elsewhere.
        own: whether the user of this machine ran this study in this folder.
        noun: what a run is: ``training``, ``window``.
        impossible: number of runs whose energy was of 0 or below, and is taken for unknown.
        curves: gives the metrics that the runs have reported while they ran.
        ledger: gives the booked intervals of the experiment.
        pending: one row per run that has not ended.
        folder: of the results; ``None`` for a table from elsewhere.
    """

    name: str
    kind: str
    protocol: str
    factors: tuple[str, ...]
    runs: pd.DataFrame
    planned: int
    failed: int
    score: Score
    energy: EnergyBasis
    dataset: str = ""
    table: Mapping[str, Any] = field(default_factory=dict)
    own: bool = True
    noun: str = "training"
    impossible: int = 0
    curves: Callable[[], pd.DataFrame] = pd.DataFrame
    ledger: Callable[[], pd.DataFrame] = pd.DataFrame
    pending: pd.DataFrame = field(default_factory=pd.DataFrame)
    folder: Path | None = None

    @property
    def title(self) -> str:
        """The name, and the kind where the name does not say it."""
        return self.name if self.name == self.kind else f"{self.name} ({self.kind})"

    @property
    def each(self) -> str:
        """One run in words: ``a training``."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}"

    @property
    def energy_label(self) -> str:
        """For an axis, the unit left open: ``net energy of a training, {unit} (estimated)``."""
        return f"{self.energy.name} of {self.each}, {{unit}} ({self.energy.status})"

    @cached_property
    def measured(self) -> pd.DataFrame:
        """One row per measurement: the runs, or the means of those that were trained together."""
        sizes = _group_sizes(self.runs)
        if self.energy.column is None or not (sizes > 1).any():
            return self.runs
        unit = ["configuration", "started_at"]
        return observations(self.runs, unit, self.energy.column, AVERAGED).table

    @property
    def varied(self) -> list[str]:
        """Factors with more than one level among the finished runs."""
        return [factor for factor in self.factors if self.runs[factor].nunique() > 1]


def energy_column(experiment: Experiment) -> str:
    """The column with the energy of the runs.

    Raises:
        Unavailable: no run has finished, or none has an energy.
    """
    if not len(experiment.runs):
        raise Unavailable("no run has finished yet.")
    if experiment.energy.column is None:
        raise Unavailable(experiment.energy.remarks[0])
    return experiment.energy.column


def experiments(results: Results) -> list[Experiment]:
    """Every experiment of a study, in the order of the study file."""
    _load_kinds(results.spec, results.folder)
    frame, readings = results.to_frame(), results.energy_frame()
    own = not unapproved([code_in(results.folder / STUDY)])
    found = []
    for name, table in results.spec["experiment"].items():
        rows = frame[frame["experiment"] == name] if len(frame) else frame
        factors = tuple(results.factors(name)) if len(rows) else ()
        finished = rows[rows["state"] == "finished"].copy() if len(rows) else rows
        for factor in factors:
            finished[factor] = whole_numbers(finished[factor])
        finished, impossible, said = _without_impossible(finished, [NET, GROSS])
        found.append(
            Experiment(
                name=name,
                kind=str(table.get("kind", "")),
                protocol=str(results.spec.get("protocol", "")),
                factors=factors,
                runs=finished,
                planned=len(rows),
                failed=int((rows["state"] == "failed").sum()) if len(rows) else 0,
                score=cast(Score, results.spec.get("score", "mean")),
                energy=with_remarks(
                    energy_basis(finished, _of(readings, name)),
                    (*said, *training_remarks(finished, factors)),
                ),
                dataset=str(results.spec.get("dataset", "")),
                table=table,
                own=own,
                noun=_noun(str(table.get("kind", ""))),
                impossible=impossible,
                curves=results.curves_frame,
                ledger=partial(_ledger_of, results, name),
                pending=rows[~rows["state"].isin(["finished", "failed"])] if len(rows) else rows,
                folder=results.folder,
            )
        )
    return found


def _ledger_of(results: Results, experiment: str) -> pd.DataFrame:
    ledger = results.ledger_frame()
    return ledger[ledger["experiment"] == experiment]


def _noun(kind: str) -> str:
    """What a run of a kind is called."""
    try:
        return kinds.get(kind).spec.noun
    except (UnknownNameError, PluginError):
        return "run"


def _load_kinds(study: Mapping[str, Any], folder: Path) -> None:
    """Load plug-ins that the user has run before, where a kind of the study is not known yet."""
    wanted = {table.get("kind") for table in study["experiment"].values()}
    plugins = study.get("plugins")
    if wanted - {*kinds.names()} and isinstance(plugins, list):
        load_approved([str(folder / file) for file in plugins if isinstance(file, str)])


def experiment_of_table(
    runs: pd.DataFrame,
    *,
    name: str,
    kind: str,
    dataset: str,
    factors: Sequence[str],
    energy: str | None,
    remarks: Sequence[str] = (),
) -> Experiment:
    """An experiment from a table of runs that others have measured.

    Args:
        runs: one row per run, with ``round``, ``accuracy`` and the factors.
        name: of the experiment.
        kind: ``"tuning"`` or ``"architecture"``.
        dataset: name of the data set.
        factors: columns with the levels.
        energy: column in joules; ``None`` where there is none.
        remarks: what to know before reading, in sentences.
    """
    levels = {factor: whole_numbers(runs[factor]) for factor in factors}
    frame = runs.assign(**levels)
    frame["configuration"] = [
        ", ".join(f"{factor}={formats.level(level)}" for factor, level in row.items())
        for row in frame[list(factors)].to_dict("records")
    ]
    frame, impossible, sentences = _without_impossible(frame, [energy] if energy else [])
    known = energy is not None and bool(frame[energy].notna().any())
    if known:
        said = (*remarks, *sentences, *training_remarks(frame))
    else:
        none = "none that can be" if impossible else "none"
        said = (f"No energy is known: the table has {none}.", *remarks, *sentences)
    status = "of unknown source"
    if known and STATUS in frame:
        stated = frame.loc[frame[energy].notna(), STATUS]
        stated = stated[stated.isin(STATUSES)]
        status = Status.of_set(stated) if len(stated) else status
    basis = EnergyBasis(energy if known else None, status, said)
    return Experiment(
        name=name,
        kind=kind,
        protocol="",
        factors=tuple(factors),
        runs=frame,
        planned=len(frame),
        failed=0,
        score="mean",
        energy=basis,
        dataset=dataset,
        impossible=impossible,
    )


def _without_impossible(
    runs: pd.DataFrame, energies: Sequence[str]
) -> tuple[pd.DataFrame, int, tuple[str, ...]]:
    """Runs without the energies that cannot be, of how many runs these were, and a sentence.

    If one energy of a run is impossible, none of its energies is trusted.
    """
    if not len(runs) or not energies:
        return runs, 0, ()
    kept, found = without_negative_energy(runs, energies, "configuration")
    if not len(found):
        return runs, 0, ()
    wrong = (kept[list(energies)].isna() & runs[list(energies)].notna()).any(axis=1)
    kept.loc[wrong, list(energies)] = float("nan")
    said = f"{in_words(found)}; left out of everything about energy: what is switched on takes some"
    return kept, int(wrong.sum()), (f"{said}.",)


def energy_basis(runs: pd.DataFrame, readings: pd.DataFrame) -> EnergyBasis:
    """Net energy where it is known for every run that has an energy, else gross, and why.

    Args:
        runs: finished runs.
        readings: one row per (run, domain), for the reasons of what is missing.
    """
    if not len(runs):
        return EnergyBasis(None, "missing", ())
    net, gross = runs[NET].notna(), runs[GROSS].notna()
    known = int((net | gross).sum())
    if not known:
        none = "the recorded trials have none" if RECORDED in runs else "no meter gave a value"
        because = missing_reasons(readings) or (none,)
        return EnergyBasis(None, "missing", (f"No energy is known: {'; '.join(because)}.",))
    remarks = []
    if flagged := [flag for flag in runs.get("energy_flags", ()) if isinstance(flag, str) and flag]:
        verb = "carries" if len(flagged) == 1 else "carry"
        remarks.append(
            f"{formats.count(len(flagged), 'measurement')} of {len(runs):,} {verb} a quality flag, "
            f"such as “{flagged[0]}”; the column energy_flags of an export has them all."
        )
    if without := len(runs) - known:
        remarks.append(
            f"{formats.count(without, 'finished run')} of {len(runs):,} without a figure of energy "
            "are left out of everything about energy."
        )
    column = NET if int(net.sum()) == known else GROSS
    status = Status.of_set(runs.loc[net | gross, STATUS])
    if status == Status.REPLAYED:
        remarks.append(_replayed(runs))
    elif column == GROSS:
        remarks.append(
            f"The idle power is unknown for {formats.count(known - int(net.sum()), 'run')}, so the "
            "energies here are gross: they include what the machine would have used at idle."
        )
    return EnergyBasis(column, status, tuple(remarks))


def _replayed(runs: pd.DataFrame) -> str:
    """Where the energies of replayed runs come from, in a sentence."""
    stated = runs.get(RECORDED, pd.Series(dtype=object)).dropna().unique()
    were = f", where they were {formats.listing(list(map(str, stated)))}" if len(stated) else ""
    return (
        f"The energies are replayed from recorded trials{were}: they were spent when those were "
        "trained, not by this study, whose ledger has only the work of the searches."
    )


def with_remarks(energy: EnergyBasis, remarks: Iterable[str]) -> EnergyBasis:
    """The same with further remarks, where there are energies to remark on."""
    if energy.column is None:
        return energy
    return replace(energy, remarks=(*energy.remarks, *remarks))


def training_remarks(runs: pd.DataFrame, factors: Collection[str] = ()) -> list[str]:
    """What the way in which runs were trained means for their energies, in sentences.

    Args:
        runs: finished runs of one experiment.
        factors: of the experiment; engine or precision may be among them, to be compared.
    """
    remarks = []
    compared = not {"engine", "precision"}.isdisjoint(factors)
    if not compared and len(ways := trained_by(runs)) > 1:
        remarks.append(
            "This experiment holds runs of several engines or precisions "
            f"({'; '.join(ways)}): their energies must not be compared."
        )
    sizes = _group_sizes(runs)
    if len(sizes) and (largest := int(sizes.max())) > 1:
        remarks.append(
            f"Runs were trained together, up to {largest} at a time, and share the energy of their "
            "group equally. Energies within a group are equal by construction, so everything about "
            f"the spread of energy counts its {_measurements(runs):,} measurements, not its "
            f"{len(runs):,} runs."
        )
    return remarks


def trained_by(runs: pd.DataFrame) -> list[str]:
    """Each engine and precision with its runs: ``fast, bf16: 12 runs, 6 at a time``.

    Args:
        runs: finished ones.
    """
    known = runs[runs["engine"].notna()] if "engine" in runs else runs[:0]
    said = []
    for engine in dict.fromkeys(known["engine"]) if len(known) else ():
        of_engine = known[known["engine"] == engine]
        for precision, rows in of_engine.groupby("precision", sort=False, dropna=False):
            sizes = _group_sizes(rows)
            low, high = (int(sizes.min()), int(sizes.max())) if len(sizes) else (1, 1)
            size = f"{low}" if low == high else f"{low} to {high}"
            arithmetic = f", {precision}" if isinstance(precision, str) else ""
            together = f", {size} at a time" if high > 1 else ""
            said.append(f"{engine}{arithmetic}: {formats.count(len(rows), 'run')}{together}")
    return said


def _group_sizes(runs: pd.DataFrame) -> pd.Series[Any]:
    return runs["group_size"].dropna() if "group_size" in runs else pd.Series(dtype=float)


def _measurements(runs: pd.DataFrame) -> int:
    return len(runs[["configuration", "started_at"]].drop_duplicates())


def _of(frame: pd.DataFrame, experiment: str) -> pd.DataFrame:
    return frame[frame["experiment"] == experiment] if len(frame) else frame


def missing_reasons(readings: pd.DataFrame) -> tuple[str, ...]:
    """Why domains have no value, each domain and reason once."""
    if not len(readings):
        return ()
    gone = readings[readings["gross_j"].isna()]
    pairs = zip(gone["domain"], gone["reason"].fillna(""), strict=True)
    return tuple(dict.fromkeys(f"{domain}: {reason or 'unreadable'}" for domain, reason in pairs))


def whole_numbers(levels: pd.Series[Any]) -> pd.Series[Any]:
    """Levels as they were in the plan: other experiments' gaps have turned integers into floats."""
    kept: Sequence[Any] = [
        int(level) if isinstance(level, float) and level.is_integer() else level for level in levels
    ]
    return pd.Series(kept, index=levels.index, dtype=object).infer_objects()
