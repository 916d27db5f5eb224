"""What a session predicted at its start, as plain data in the manifest.

::

    sessions[k].prediction
      predicted_at     seconds since the epoch; what the ledger books from here on was predicted
      basis            in words, one for each kind of work
      runs, total      of all runs that were left, as they were shown
      configurations   runs left and cost of one run of each, and the name of its estimate
      estimates        what ranges of any set of runs follow from (`joulelab.study.prediction`)
      drift            that all estimates share

It is written before the first run, so a session that is killed has one too. Infinite degrees of
freedom are null, since JSON has no infinity. Folders of an older joulelab have no prediction.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from joulelab.energy.reading import Status
from joulelab.study.prediction import Estimate, Prediction
from joulelab.study.store import PlannedRun

FREEDOMS = ("freedom", "power_freedom")


@dataclass(frozen=True)
class SessionPrediction:
    """What one session predicted.

    Attributes:
        session: its number.
        predicted_at: seconds since the epoch.
        basis: what it was made from, in words.
        runs: how many were left.
        prediction: of them.
    """

    session: int
    predicted_at: float
    basis: tuple[str, ...]
    runs: int
    prediction: Prediction

    @property
    def by_same_meters(self) -> Prediction:
        """The prediction of what these meters will say, whether or not they are right.

        Prediction and measurement share the error of the meters, so its bound is no part of a range
        that a measurement is compared with.
        """
        exact = {name: replace(one, error_w=0.0) for name, one in self.prediction.estimates.items()}
        return replace(self.prediction, estimates=exact)


def record(
    prediction: Prediction, left: Sequence[PlannedRun], basis: Sequence[str], predicted_at: float
) -> dict[str, Any]:
    """A prediction as plain data.

    Args:
        prediction: of every configuration that has runs left.
        left: those runs, at least one.
        basis: what it is made from, in words.
        predicted_at: seconds since the epoch.
    """
    counts = Counter((run.experiment, run.configuration) for run in left)
    costs = prediction.by_configuration
    return {
        "predicted_at": predicted_at,
        "basis": list(basis),
        "runs": len(left),
        "total": prediction.total(left).to_dict(),
        "configurations": [
            {
                "experiment": key[0],
                "configuration": key[1],
                "runs": count,
                "estimate": prediction.keys[key],
                **costs[key].to_dict(),
            }
            for key, count in counts.items()
        ],
        "estimates": {name: _plain(one) for name, one in prediction.estimates.items()},
        "drift": prediction.drift,
    }


def session_predictions(manifest: Mapping[str, Any]) -> list[SessionPrediction]:
    """The predictions of those sessions that made one, in order.

    Args:
        manifest: as `joulelab.study.store_reading.read_manifest` gives it.
    """
    # A session killed before its first entry in the ledger gave its number to the next one.
    sessions = {one.get("session"): one for one in manifest.get("sessions", [])}
    return [
        _read(int(one["session"]), one["prediction"])
        for one in sessions.values()
        if one.get("prediction")
    ]


def _read(session: int, data: Mapping[str, Any]) -> SessionPrediction:
    keys = {
        (one["experiment"], one["configuration"]): one["estimate"] for one in data["configurations"]
    }
    estimates = {name: _estimate(one) for name, one in data["estimates"].items()}
    return SessionPrediction(
        session,
        float(data["predicted_at"]),
        tuple(data["basis"]),
        int(data["runs"]),
        Prediction(keys, estimates, float(data["drift"])),
    )


def _plain(estimate: Estimate) -> dict[str, Any]:
    data = asdict(estimate)
    finite = {name: None for name in FREEDOMS if math.isinf(data[name])}
    return {**data, **finite, "status": str(estimate.status)}


def _estimate(data: Mapping[str, Any]) -> Estimate:
    infinite = {name: math.inf for name in FREEDOMS if data[name] is None}
    return Estimate(**{**data, **infinite, "status": Status(data["status"])})
