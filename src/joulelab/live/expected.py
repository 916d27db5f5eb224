"""The forecast of a study beside what its runs have taken, and the time that is left.

With p the predicted time of the runs that have ended in this session, e the time from the
prediction to the end of the last of them, and q the predicted time of those that are left, about
``q e / p`` is left at that end. Without a prediction the mean time of a run stands for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joulelab.live.tallies import Tallies, Tally
from joulelab.study.prediction import Estimate, session_predictions

Key = tuple[str, str]


@dataclass(frozen=True)
class Forecast:
    """The forecast of a whole study.

    Attributes:
        estimates: of one run, by experiment and configuration; of the latest session.
        predicted_at: when that was predicted, seconds since the epoch; 0 if nothing was.
        session: number of the latest session.
        energy_j: predicted for all runs; ``None`` where unknown.
        low_j: lower end of its 95 % range; ``None`` where unknown.
        high_j: upper end.
    """

    estimates: Mapping[Key, Estimate]
    predicted_at: float = 0.0
    energy_j: float | None = None
    low_j: float | None = None
    high_j: float | None = None

    @classmethod
    def of(cls, manifest: Mapping[str, Any], planned: int) -> Forecast:
        """From the manifest of a study.

        Args:
            manifest: as stored.
            planned: number of all runs.
        """
        found: dict[Key, Estimate] = {}
        predicted_at = 0.0
        for one in session_predictions(manifest):
            predicted = one.prediction
            found |= {key: predicted.estimates[name] for key, name in predicted.keys.items()}
            predicted_at = one.predicted_at
        sessions = [one for one in manifest.get("sessions", []) if one.get("prediction")]
        if sessions and sessions[-1] is not manifest["sessions"][-1]:
            predicted_at = 0.0  # the latest session has not predicted
        whole = next((one for one in sessions if one["prediction"]["runs"] == planned), None)
        total = (whole or {}).get("prediction", {}).get("total", {})
        return cls(
            found,
            predicted_at,
            _number(total.get("energy_net_j")),
            _number(total.get("energy_low_j")),
            _number(total.get("energy_high_j")),
        )

    def energy_of(self, tally: Tally) -> float | None:
        """The predicted energy of a run; ``None`` where unknown."""
        one = self.estimates.get((tally.experiment, tally.name))
        return None if one is None or one.power_w is None else one.power_w * one.powered_s

    def duration_of(self, tally: Tally) -> float | None:
        """The predicted time of a run, with what surrounds it; ``None`` where unknown."""
        one = self.estimates.get((tally.experiment, tally.name))
        return None if one is None else one.duration_s


@dataclass(frozen=True)
class SoFar:
    """Energy of the finished runs that have a forecast, and the forecast of the same runs."""

    used_j: float = 0.0
    predicted_j: float = 0.0
    runs: int = 0

    @property
    def ratio(self) -> float | None:
        """Used over predicted; ``None`` where unknown."""
        return self.used_j / self.predicted_j if self.predicted_j > 0 and self.runs else None


def so_far(forecast: Forecast, tallies: Sequence[Tally]) -> SoFar:
    """What the finished runs have used, beside their forecast.

    Args:
        forecast: of the study.
        tallies: of its configurations.
    """
    used, predicted, runs = [], [], 0
    for one in tallies:
        each_j = forecast.energy_of(one)
        joules, known = (one.net_j, one.net_runs) if one.net else (one.gross_j, one.gross_runs)
        if each_j is not None and known:
            used.append(joules)
            predicted.append(each_j * known)
            runs += known
    return SoFar(math.fsum(used), math.fsum(predicted), runs)


def left_s(
    forecast: Forecast, tallies: Tallies, session_began: float, last_end: float
) -> tuple[float | None, str]:
    """The time that is left from the end of the last run on, and what that is from.

    Args:
        forecast: of the study.
        tallies: of its configurations.
        session_began: when this session began, seconds since the epoch.
        last_end: when the last run ended.
    """
    left = {one.number: one.left for one in tallies.tallies if one.left}
    if not left:
        return 0.0, ""
    predicted = _predicted_s(forecast, tallies, left)
    if predicted is not None and forecast.predicted_at:
        ended, _ = tallies.ended_since(forecast.predicted_at)
        taken = _predicted_s(forecast, tallies, ended)
        if not taken or last_end <= forecast.predicted_at:
            return predicted, "by the forecast"
        return predicted * (last_end - forecast.predicted_at) / taken, (
            "by the forecast and the runs so far"
        )
    ended, first = tallies.ended_since(session_began)
    if not ended.total() or last_end <= first:
        return None, "until a run has ended"
    mean_s = (last_end - first) / ended.total()
    return mean_s * sum(left.values()), "by the mean of the runs so far"


def _predicted_s(forecast: Forecast, tallies: Tallies, counts: Mapping[int, int]) -> float | None:
    """Predicted time of some runs, by number of configuration; ``None`` if one is unknown."""
    times = []
    for number, count in counts.items():
        each_s = forecast.duration_of(tallies.tallies[number])
        if each_s is None:
            return None
        times.append(count * each_s)
    return math.fsum(times)


def _number(value: object) -> float | None:
    known = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if known else None  # type: ignore[arg-type]  # a number
