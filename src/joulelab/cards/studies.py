"""The work of a study: all that its ledger books, or some of its runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import joulelab
from joulelab import formats
from joulelab.cards.work import Asked, Phase, Units, Work, assumed, status_remark
from joulelab.energy.booking import Booking
from joulelab.energy.carbon.footprint import JOULES_IN_KWH, Footprint, footprint
from joulelab.errors import UnknownNameError
from joulelab.report.ledger import AROUND, StudyEnergy, study_energy
from joulelab.study.results import Results
from joulelab.study.store_reading import is_running

SERVING, TRAINING = "serving", "training"
NONE_FINISHED = "no run has finished yet"
SPAN = (
    *("energy_gross_j", "energy_error_j", "energy_status"),
    *("duration_s", "started_at", "session"),
)
MOST_NAMED = 3
LEAST_SHARE = 0.005
"""Parts that are smaller are not named."""


def work_of_study(folder: Path, asked: Asked) -> Work:
    """The work of a study, finished or not.

    Args:
        folder: its results folder.
        asked: what the user adds.

    Raises:
        StoreError: the folder has no study, or cannot be read.
        UnknownNameError: it has no such run.
        UsageError: the place is unknown, or the PUE is impossible.
    """
    booking = Booking.of(asked.place, asked.pue)
    results = Results.open(folder)
    runs, ledger = results.to_frame(), results.ledger_frame()
    chosen = _chosen(runs, asked.runs)
    done = chosen[chosen["state"] == "finished"]
    if asked.runs:
        wanted = set(chosen["run_id"])
        theirs = [not wanted.isdisjoint(json.loads(ids)) for ids in ledger["runs"]]
        ledger = ledger[np.array(theirs, dtype=bool)]
        spans = done[[*SPAN]].assign(kind="run", state="finished")
    else:
        spans = ledger
    energy = study_energy(spans)
    phase, known = _phase(ledger, done)
    flops, why_flops = _flops(done, phase)
    unknown = NONE_FINISHED if asked.runs and not len(done) else energy.words
    return Work(
        name=str(results.spec["name"]),
        scope=_scope(asked.runs),
        energy_j=energy.gross_j,
        error_j=energy.error_j,
        status=energy.status,
        origin=_origin(done, energy.status),
        duration_s=_elapsed_s(spans) if len(spans) else None,
        footprint=_footprint(spans, booking, energy),
        phase=phase,
        phase_known=known,
        hardware=_hardware(results.manifest),
        flops=flops,
        units=_units(done, results, phase),
        usual_unit=_usual_unit(done, phase) if known else "run",
        reasons={
            "energy_j": unknown.removeprefix("unknown: "),
            "flops": why_flops,
            "hardware": "manifest.json does not name it",
            "duration_s": "nothing has been booked yet",
        },
        remarks=(
            *_remarks(results, chosen, energy),
            *(() if asked.runs else _booked(energy)),
            *(() if known else (assumed(phase),)),
        ),
    )


def _elapsed_s(spans: pd.DataFrame) -> float:
    """Seconds of work; what workers, which are sessions, did at the same time counts once."""
    if spans["session"].nunique() < 2:  # noqa: PLR2004 - it takes two to run side by side
        return math.fsum(spans["duration_s"].fillna(0.0))
    # Runs that were trained together have one start, and each a part of the time.
    lengths = spans.groupby(["started_at", "session"])["duration_s"].sum()
    starts = lengths.index.get_level_values("started_at").to_numpy(float)
    ends = starts + lengths.to_numpy(float)
    until = np.concatenate((starts[:1], np.maximum.accumulate(ends)[:-1]))
    return math.fsum(np.maximum(0.0, ends - np.maximum(starts, until)))


def _chosen(runs: pd.DataFrame, wanted: Sequence[str]) -> pd.DataFrame:
    """The runs with these ids, or in these experiments or configurations."""
    if not wanted:
        return runs
    picked = pd.Series(False, index=runs.index)
    for one in wanted:
        of_it = (runs["run_id"] == one) | runs["run_id"].str.startswith(f"{one.rstrip('/')}/")
        of_it |= runs["configuration"] == one
        if not of_it.any():
            raise UnknownNameError("run", one, [str(run_id) for run_id in runs["run_id"]])
        picked |= of_it
    return runs[picked]


def _phase(ledger: pd.DataFrame, done: pd.DataFrame) -> tuple[Phase, bool]:
    """What the energy was spent for, and whether that is known."""
    kinds = set(ledger["kind"]) - set(AROUND)
    if kinds == {SERVING}:
        return "inference", True
    if kinds != {TRAINING}:
        return "training", False
    weights = done["weights"].dropna() if "weights" in done else pd.Series(dtype=object)
    named = weights[~weights.isin(["", "random"])]
    if len(named) and len(named) == len(done):
        return "fine-tuning", True
    return "training", not len(named)


def _flops(done: pd.DataFrame, phase: Phase) -> tuple[float | None, str]:
    """The operations of the finished runs, or why they are unknown."""
    if phase == "inference":
        return None, "nothing was trained"
    if not len(done):
        return None, NONE_FINISHED
    counted = done["flops"].dropna().astype(float)
    if len(counted) == len(done):
        return math.fsum(counted), ""
    known = done["flops_reason"].dropna() if "flops_reason" in done else pd.Series(dtype=object)
    reason = next((str(one) for one in known if one), "the program was not counted")
    missing = len(done) - len(counted)
    return None, f"unknown for {formats.count(missing, 'run')} of {len(done)}: {reason}"


def _scope(wanted: Sequence[str]) -> str:
    """Which energy counts, in words."""
    if not wanted:
        return "all energy of the study, with every attempt"
    named = list(wanted[:MOST_NAMED]) + ["more"] * (len(wanted) > MOST_NAMED)
    return (
        f"the finished runs of {formats.listing(named)}, without setup, idle power between runs, "
        "and failed or interrupted attempts"
    )


def _booked(energy: StudyEnergy) -> list[str]:
    """Where the energy of the study went, in a sentence."""
    total_j = energy.gross_j or 0.0
    if total_j <= 0:
        return []
    parts = energy.parts.assign(share=(energy.parts["kept_j"] + energy.parts["lost_j"]) / total_j)
    shares = [
        f"{row['kind']} {formats.percent(row['share'], 0)}"
        for row in parts.to_dict("records")
        if row["share"] >= LEAST_SHARE
    ]
    lost_j = float(energy.parts["lost_j"].sum())
    lost = f"; {formats.joules(lost_j)} of it in what failed or was interrupted" if lost_j else ""
    return [f"Where it went: {', '.join(shares)}{lost}."]


def _origin(done: pd.DataFrame, status: str) -> str:
    sources = [str(one) for one in done["energy_source"].dropna().unique() if one]
    by = f" ({', '.join(sources)})" if sources else ""
    return f"{status} by joulelab {joulelab.__version__}{by}"


def _footprint(
    spans: pd.DataFrame, booking: Booking | None, energy: StudyEnergy
) -> Footprint | None:
    """CO2e, booked in the hour in which each part of the energy was spent."""
    if booking is None:
        return None
    known = spans[spans["energy_gross_j"].notna()]
    parts = [
        footprint(
            float(row["energy_gross_j"]),
            None,
            float(row["started_at"]),
            float(row["duration_s"] or 0.0),
            booking.intensity,
            booking.pue,
        )
        for row in known.to_dict("records")
    ]
    last = parts[-1] if parts else footprint(None, None, None, 0.0, booking.intensity, booking.pue)
    if energy.gross_j is None or not parts:
        return replace(last, grams=None, error_g=None, reason="the energy is unknown")
    if unknown := next((one for one in parts if one.grams is None), None):
        return unknown
    grams = math.fsum(one.grams or 0.0 for one in parts)
    per_joule = grams / energy.gross_j if energy.gross_j else 0.0
    same = len({one.g_per_kwh for one in parts}) == 1 or not energy.gross_j
    return replace(
        last,
        grams=grams,
        error_g=None if energy.error_j is None else energy.error_j * per_joule,
        g_per_kwh=last.g_per_kwh if same else per_joule * JOULES_IN_KWH / booking.pue,
    )


def _hardware(manifest: Mapping[str, Any]) -> str | None:
    """What the study ran on, each machine once."""
    sessions = [one.get("conditions") or {} for one in manifest.get("sessions", [])]
    said = dict.fromkeys(filter(None, map(_machine, [manifest, *sessions])))
    return "; ".join(said) or None


def _machine(conditions: Mapping[str, Any]) -> str:
    device = conditions.get("device") or {}
    processor = conditions.get("processor")
    if processor and conditions.get("cores"):
        processor += f" ({formats.count(conditions['cores'], 'logical processor')})"
    gpu = device.get("model") if str(device.get("domain")).startswith("gpu") else None
    return ", ".join(filter(None, [f"1 {gpu}" if gpu else None, processor]))


def _units(done: pd.DataFrame, results: Results, phase: Phase) -> dict[str, Units]:
    """What the finished runs have done, as far as it can be counted."""
    found = {"run": Units(len(done), "finished runs")}
    if phase != "inference":
        return found | {"training": Units(len(done), "finished trainings")} | _seen(done, results)
    for column, nouns in (("answered", ("request", "image")), ("images", ("image",))):
        if column in done and len(done) and done[column].notna().all():
            number = int(done[column].sum())
            said = "answered requests" if column == "answered" else "images computed"
            found |= {noun: Units(number, said) for noun in nouns if noun not in found}
    return found


def _seen(done: pd.DataFrame, results: Results) -> dict[str, Units]:
    """Epochs and images of the finished trainings, if the steps that they took agree."""
    sizes = {one["name"]: one.get("train_images") for one in results.data_sets}
    given = [
        done[name] if name in done else results.spec.get(name) for name in ("epochs", "batch_size")
    ]
    counts = done.assign(images=done["dataset"].map(sizes), epochs=given[0], batch=given[1])
    columns = ["images", "epochs", "batch", "steps"]
    counts = counts[columns].apply(pd.to_numeric, errors="coerce").astype(float)
    steps = counts["epochs"] * np.ceil(counts["images"] / counts["batch"])
    if not len(done) or not (steps == counts["steps"]).all():
        return {}
    images = int((counts["epochs"] * counts["images"]).sum())
    epochs = Units(int(counts["epochs"].sum()), f"epochs of {len(done):,} finished trainings")
    return {"epoch": epochs, "image": Units(images, "training images, once for each epoch")}


def _usual_unit(done: pd.DataFrame, phase: Phase) -> str:
    if phase != "inference":
        return "training"
    return "request" if "answered" in done else "image"


def _remarks(results: Results, chosen: pd.DataFrame, energy: StudyEnergy) -> list[str]:
    """What to know before the figures are read."""
    states = chosen["state"].value_counts()
    done, failed = (int(states.get(state, 0)) for state in ("finished", "failed"))
    said = status_remark(energy.status)
    if left := len(chosen) - done - failed:
        now = " and runs now" if is_running(results.folder) else ""
        said.append(
            f"The study is not finished{now}: {done} of {formats.count(len(chosen), 'run')} are "
            f"done, {left} are left."
        )
    if failed:
        said.append(f"{formats.count(failed, 'run')} failed.")
    if energy.unknown:
        entries = formats.count(energy.unknown, "booked interval")
        said.append(f"{entries} without a figure of energy: not included.")
    return said
