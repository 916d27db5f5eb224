"""Compare the prediction of each run, from the start of its session, with its result.

The compared quantities are defined by the predictions:

**Time** of a run includes its overhead: its part of everything booked in the session since the last
attempt ended (for the first: since the prediction). ::

    predicted_at ─ between ─ waiting ─ training ─┬─ between ─ waiting ─ training ─┬─ ...
                 └────────── first run ──────────┘└───────── second run ─────────┘

**Energy** of a run is its own energy above idle; if idle power is unknown, both are gross. The
bound of the meters' error, common to both, is not in the range. Runs that are trained together
share time and energy equally, in the prediction as in the measurement.

A run is compared with the prediction of the session that finished it. Failed runs ended early, and
interrupted attempts have no end: neither is compared, and their time belongs to no run.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from joulelab.errors import StoreCorruptError, quoted
from joulelab.study.prediction import SessionPrediction, session_predictions

COLUMNS = (
    "run_id",
    "session",
    "experiment",
    "configuration",
    "state",
    "predicted_s",
    "predicted_low_s",
    "predicted_high_s",
    "took_s",
    "waited_s",
    "predicted_j",
    "predicted_low_j",
    "predicted_high_j",
    "used_j",
)

NEEDED = (
    "experiment",
    "configuration",
    "state",
    "energy_net_j",
    "energy_gross_j",
    "started_at",
)
"""Columns of the runs that are used."""

SEARCHED = "between"
"""Kind of the entry with which a search ends."""

Run = Mapping[Hashable, Any]


def predicted_runs(
    manifest: Mapping[str, Any], runs: pd.DataFrame, ledger: pd.DataFrame
) -> pd.DataFrame:
    """One row per run that a session with a prediction has finished, or that failed in it.

    Args:
        manifest: of the study.
        runs: one row per run.
        ledger: one row per booked interval.

    Returns:
        Columns: identity, the session, the state; time of the run with overhead and energy above
        idle, each as predicted for one run with its 95 % range, and as measured; ``waited_s`` of
        the time was spent waiting for the device, or for it to cool down. Unknown energies and
        bounds are NaN.

    Raises:
        StoreCorruptError: a prediction in the manifest cannot be read.
    """
    said = session_predictions(manifest)
    known = runs.set_index("run_id")[list(NEEDED)].to_dict("index") if said else {}
    by_name = {str(name): run for name, run in known.items()}
    rows = [row for one in said for row in _of_session(one, by_name, ledger)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = [name for name in COLUMNS if name.endswith(("_s", "_j"))]
    return frame.astype(dict.fromkeys(numbers, float))


def _of_session(
    said: SessionPrediction, runs: Mapping[str, Run], ledger: pd.DataFrame
) -> list[dict[str, Any]]:
    """The runs that one session ended, in order of completion."""
    costs = said.by_same_meters.by_configuration
    rows = []
    for names, took_s, waited_s in _attempts(said, runs, ledger):
        for name in names:
            run = runs[name]
            cost = costs.get((run["experiment"], run["configuration"]))
            if cost is None:
                raise StoreCorruptError(
                    f"manifest.json: the prediction of session {said.session} does not have the "
                    f"configuration of {quoted(name)}, which the session has run",
                    "restore the file, or remove the key `prediction` from that session",
                )
            net_j = run["energy_net_j"]
            rows.append(
                {
                    "run_id": name,
                    "session": said.session,
                    "experiment": run["experiment"],
                    "configuration": run["configuration"],
                    "state": run["state"],
                    "predicted_s": cost.duration_s,
                    "predicted_low_s": cost.duration_low_s,
                    "predicted_high_s": cost.duration_high_s,
                    "took_s": took_s / len(names),
                    "waited_s": waited_s / len(names),
                    "predicted_j": cost.energy_j,
                    "predicted_low_j": cost.energy_low_j,
                    "predicted_high_j": cost.energy_high_j,
                    "used_j": run["energy_gross_j"] if pd.isna(net_j) else net_j,
                }
            )
    return rows


def _attempts(
    said: SessionPrediction, runs: Mapping[str, Run], ledger: pd.DataFrame
) -> list[tuple[list[str], float, float]]:
    """The runs of each ended attempt, its time including overhead, and its waits."""
    booked = ledger[ledger["session"] == said.session]
    entries, latest = [], 0.0
    for row in booked.to_dict("records"):
        names = [name for name in json.loads(row["runs"]) if name in runs]
        ended = bool(names) and row["state"] in {"finished", "failed"}
        latest = max(latest, row["started_at"])
        began = row["started_at"]
        if ended:
            # An attempt is entered before it waits for the device; its work starts later. Only a
            # search, which is many entries, is entered at its end, after all of them.
            began = latest if row["kind"] == SEARCHED else runs[names[0]]["started_at"]
        entries.append((began, row["kind"], row["duration_s"], names if ended else []))
    attempts, passed_s, waited_s = [], 0.0, 0.0
    for began, kind, duration_s, names in sorted(entries, key=lambda one: one[0]):
        if began < said.predicted_at or pd.isna(duration_s):
            continue
        passed_s += duration_s
        waited_s += duration_s if kind == "waiting" else 0.0
        if names:
            attempts.append((names, passed_s, waited_s))
            passed_s = waited_s = 0.0
    return attempts
