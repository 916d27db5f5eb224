"""The forecast of a study beside what its runs have taken, and the time that is left.

With p the predicted time of the runs that have ended in this session, e the time from the
prediction to the end of the last of them, and q the predicted time of those that are left, about
``q e / p`` is left at that end. Without a prediction the mean time of a run stands for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
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
class _Part:
    """What a configuration contributes: of finished runs, and of those that are left."""

    used_j: float = 0.0
    predicted_j: float = 0.0
    runs: int = 0
    left: int = 0
    left_s: float | None = 0.0


class Outlook:
    """What the runs have taken beside their forecast, and the time that is left.

    It is kept up to date by what changes, for a study may have 25,000 configurations.

    Args:
        forecast: of the study.
        session_began: when the latest session began, seconds since the epoch.

    Attributes:
        used_j: energy of the finished runs that have a forecast.
        predicted_j: the forecast of the same runs.
        runs: their number.
    """

    def __init__(self, forecast: Forecast, session_began: float) -> None:
        self.forecast = forecast
        self.used_j = self.predicted_j = 0.0
        self.runs = 0
        self._since = forecast.predicted_at or session_began
        self._parts: dict[int, _Part] = {}
        self._left = self._left_unknown = 0
        self._left_s = 0.0
        self._taken = self._ended = self._ended_unknown = 0
        self._ended_s = 0.0
        self._first = math.inf

    @property
    def ratio(self) -> float | None:
        """Used over predicted; ``None`` where unknown."""
        return self.used_j / self.predicted_j if self.predicted_j > 0 and self.runs else None

    def take(self, tallies: Tallies, numbers: Iterable[int]) -> None:
        """Take what has changed.

        Args:
            tallies: of the study.
            numbers: of the configurations that have changed.
        """
        for number in numbers:
            self._count(self._parts.get(number, _Part()), -1)
            self._parts[number] = self._part(tallies.tallies[number])
            self._count(self._parts[number], 1)
        for number, began_at in tallies.ended[self._taken :]:
            if began_at >= self._since:
                each_s = self.forecast.duration_of(tallies.tallies[number])
                self._ended += 1
                self._ended_s += each_s or 0.0
                self._ended_unknown += each_s is None
                self._first = min(self._first, began_at)
        self._taken = len(tallies.ended)

    def left_s(self, last_end: float) -> tuple[float | None, str]:
        """The time that is left from the end of the last run on, and what that is from.

        Args:
            last_end: when the last run ended.
        """
        if not self._left:
            return 0.0, ""
        predicted_at = self.forecast.predicted_at
        if predicted_at and not self._left_unknown:
            if not self._ended_s or self._ended_unknown or last_end <= predicted_at:
                return self._left_s, "by the forecast"
            ratio = (last_end - predicted_at) / self._ended_s
            return self._left_s * ratio, "by the forecast and the runs so far"
        if not self._ended or last_end <= self._first:
            return None, "until a run has ended"
        mean_s = (last_end - self._first) / self._ended
        return mean_s * self._left, "by the mean of the runs so far"

    def _part(self, tally: Tally) -> _Part:
        each_j, each_s = self.forecast.energy_of(tally), self.forecast.duration_of(tally)
        joules, runs = (
            (tally.net_j, tally.net_runs) if tally.net else (tally.gross_j, tally.gross_runs)
        )
        left_s = None if each_s is None and tally.left else tally.left * (each_s or 0.0)
        if each_j is None or not runs:
            return _Part(left=tally.left, left_s=left_s)
        return _Part(joules, each_j * runs, runs, tally.left, left_s)

    def _count(self, part: _Part, sign: int) -> None:
        self.used_j += sign * part.used_j
        self.predicted_j += sign * part.predicted_j
        self.runs += sign * part.runs
        self._left += sign * part.left
        self._left_s += sign * (part.left_s or 0.0)
        self._left_unknown += sign * (part.left_s is None)


def _number(value: object) -> float | None:
    known = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if known else None  # type: ignore[arg-type]  # a number
