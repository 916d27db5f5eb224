"""Predict the time and energy of a study's runs, with ranges.

Runs of the same cost share an `Estimate`, made by each workload (`Workload.predict`).

A range should contain the true value in 95 of 100 cases. With k the estimates, R_k the runs of
each, T_k the time of one and v_k its variance,

    time    T = sum R_k T_k              H^2 = t^2 sum R_k^2 v_k + (1.96 d T)^2
    range   T / (1 + H/T)  to  T (1 + H/T)

t is the quantile of Student's distribution for the degrees of freedom of the sum. d is the drift
from calibration to run, which all runs share: clocks, heat, other programs. It is assumed to be as
large as the scatter of the timings of the median estimate, but at least 10 % (three short studies
on a busy machine took 5 and 22 % less and 19 % more than predicted). A laptop that throttles after
minutes, or that others use later, can still exceed the range.

For energy the scatter of power is added to v_k, and the error bound of the meters, proportional to
time, is added on both sides of the range: for estimates it is tens of per cent.

A session stores its prediction at the start as plain data in the manifest.

::

    sessions[k].prediction
      predicted_at     seconds since the epoch; everything booked from here on was predicted
      basis            in words, one for each workload
      runs, total      of all remaining runs, as shown
      configurations   runs left and cost of one run of each, and the name of its estimate
      estimates        basis for the ranges of any set of runs
      drift            common to all estimates

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
from joulelab.study.planned_run import PlannedRun

BUDGET_S = 60.0
"""Longest calibration of a whole study."""

LEAST_DRIFT = 0.1
ASSUMED_SCATTER = 0.2
"""Scatter assumed for single timings, as observed on a busy laptop."""

PROBABILITY = 0.975
NORMAL_QUANTILE = 1.96
FREEDOMS = ("freedom", "power_freedom")


@dataclass(frozen=True)
class Cost:
    """Predicted for some runs: seconds and net joules, each with a range of 95 %.

    Energies are ``None`` if power is unknown; their bounds also if the meters state no error bound.
    """

    duration_s: float
    duration_low_s: float
    duration_high_s: float
    energy_j: float | None
    energy_low_j: float | None
    energy_high_j: float | None
    status: Status

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "duration_s": self.duration_s,
            "duration_low_s": self.duration_low_s,
            "duration_high_s": self.duration_high_s,
            "energy_net_j": self.energy_j,
            "energy_low_j": self.energy_low_j,
            "energy_high_j": self.energy_high_j,
            "energy_status": str(self.status),
        }


@dataclass(frozen=True)
class Estimate:
    """Predicted for one run.

    Attributes:
        duration_s: time of the run with overhead.
        duration_variance: in s^2.
        freedom: its degrees of freedom.
        power_w: net power, or ``None`` where unknown.
        powered_s: the time to which the power applies.
        power_variance: relative to the power.
        power_freedom: its degrees of freedom.
        error_w: bound of the error of the power by the meters, or ``None`` where unknown.
        status: of the energy.
    """

    duration_s: float
    duration_variance: float
    freedom: float
    power_w: float | None
    powered_s: float
    power_variance: float
    power_freedom: float
    error_w: float | None
    status: Status

    @classmethod
    def assumed(
        cls,
        powered_s: float,
        around_s: float,
        energy_j: float | None,
        error_w: float | None,
        status: Status,
    ) -> Estimate:
        """From one timing, with an assumed scatter.

        Args:
            powered_s: time of the run.
            around_s: overhead.
            energy_j: of the run; ``None`` where unknown.
            error_w: bound of the error of the power by the meters; ``None`` where unknown.
            status: of the energy, if known.
        """
        duration_s = powered_s + around_s
        return cls(
            duration_s=duration_s,
            duration_variance=(ASSUMED_SCATTER * duration_s) ** 2,
            freedom=math.inf,
            power_w=None if energy_j is None else energy_j / powered_s,
            powered_s=powered_s,
            power_variance=ASSUMED_SCATTER**2,
            power_freedom=math.inf,
            error_w=error_w,
            status=Status.MISSING if energy_j is None else status,
        )

    @classmethod
    def unknown(cls, duration_s: float) -> Estimate:
        """Without any timing: a rough time, and no energy.

        Args:
            duration_s: the best guess.
        """
        variance, missing = duration_s**2, Status.MISSING
        return cls(duration_s, variance, math.inf, None, 0.0, 1.0, math.inf, None, missing)


@dataclass(frozen=True)
class Prediction:
    """Predicted costs by experiment and configuration.

    Attributes:
        keys: of the estimate for each configuration.
        estimates: by key.
        drift: common relative standard deviation.
    """

    keys: Mapping[tuple[str, str], str]
    estimates: Mapping[str, Estimate]
    drift: float

    def knows(self, runs: Sequence[PlannedRun]) -> bool:
        """Whether it has an estimate for each of some runs."""
        return all((run.experiment, run.configuration) in self.keys for run in runs)

    @property
    def by_configuration(self) -> Mapping[tuple[str, str], Cost]:
        """The cost of one run of each configuration."""
        return {one: self._cost({key: 1}) for one, key in self.keys.items()}

    def of(self, run: PlannedRun) -> Cost:
        """The cost of one run."""
        return self.total([run])

    def total(self, runs: Sequence[PlannedRun]) -> Cost:
        """The cost of several runs."""
        return self.of_counts(Counter((run.experiment, run.configuration) for run in runs))

    def of_counts(self, counts: Mapping[tuple[str, str], int]) -> Cost:
        """The cost of given numbers of runs of each configuration."""
        by_estimate: Counter[str] = Counter()
        for one, count in counts.items():
            by_estimate[self.keys[one]] += count
        return self._cost(by_estimate)

    def _cost(self, counts: Mapping[str, int]) -> Cost:
        """The cost of given numbers of runs of each estimate."""
        several = [(count, self.estimates[key]) for key, count in counts.items()]
        duration_s = math.fsum(count * one.duration_s for count, one in several)
        half_s = self._half_width(
            duration_s,
            [(count**2 * one.duration_variance, one.freedom) for count, one in several],
        )
        low_s, high_s = _range(duration_s, half_s)
        status = Status.of_sum([Status.MEASURED, *(one.status for _, one in several)])
        if status is Status.MISSING:
            return Cost(duration_s, low_s, high_s, None, None, None, status)
        energy_j, low_j, high_j = self._energy(several)
        return Cost(duration_s, low_s, high_s, energy_j, low_j, high_j, status)

    def _energy(
        self, several: Sequence[tuple[int, Estimate]]
    ) -> tuple[float, float | None, float | None]:
        """Net joules of given numbers of runs of each estimate, and their range."""
        energies = [count * one.powered_s * (one.power_w or 0.0) for count, one in several]
        energy_j = math.fsum(energies)
        bounds = [count * one.powered_s * (one.error_w or 0.0) for count, one in several]
        if any(one.error_w is None for _, one in several):
            return energy_j, None, None
        parts = []
        for joules, (_, one) in zip(energies, several, strict=True):
            relative = one.duration_variance / one.duration_s**2 if one.duration_s else 0.0
            parts += [
                (joules**2 * relative, one.freedom),
                (joules**2 * one.power_variance, one.power_freedom),
            ]
        low_j, high_j = _range(energy_j, self._half_width(energy_j, parts))
        bound_j = math.fsum(bounds)
        return energy_j, max(low_j - bound_j, 0.0), high_j + bound_j

    def _half_width(self, value: float, parts: Sequence[tuple[float, float]]) -> float:
        """H: of parts as variance and degrees of freedom, and the drift of the whole."""
        variance, freedom = combined(parts)
        own = _quantile(freedom) * math.sqrt(variance)
        return math.hypot(own, NORMAL_QUANTILE * self.drift * value)


def combined(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The variance of a sum of independent parts, and its degrees of freedom.

    nu = (sum v)^2 / sum(v^2 / nu), the approximation of Welch and Satterthwaite (Biometrics
    Bulletin 2(6), 1946, equation 17).

    >>> combined([(1.0, 2), (1.0, 2)])
    (2.0, 4.0)
    """
    variance = math.fsum(v for v, _ in parts)
    weights = math.fsum(v**2 / freedom for v, freedom in parts)
    return variance, variance**2 / weights if weights else math.inf


def merged(predictions: Sequence[Prediction]) -> Prediction:
    """Predictions of several workloads as one; the largest drift holds for all."""
    return Prediction(
        {one: key for each in predictions for one, key in each.keys.items()},
        {key: one for each in predictions for key, one in each.estimates.items()},
        max(each.drift for each in predictions),
    )


def _range(value: float, half: float) -> tuple[float, float]:
    """The lower and the upper end; symmetric as factors, so never below 0."""
    if value <= 0:
        return 0.0, half
    return value / (1 + half / value), value + half


def _quantile(freedom: float) -> float:
    """97.5 % of Student's t distribution; of the normal one for infinite degrees of freedom."""
    if math.isinf(freedom):
        return NORMAL_QUANTILE
    from scipy.stats import t

    return float(t.ppf(PROBABILITY, freedom))


@dataclass(frozen=True)
class SessionPrediction:
    """The prediction of one session.

    Attributes:
        session: its number.
        predicted_at: seconds since the epoch.
        basis: basis of the prediction, in words.
        runs: number of remaining runs.
        prediction: of them.
    """

    session: int
    predicted_at: float
    basis: tuple[str, ...]
    runs: int
    prediction: Prediction

    @property
    def by_same_meters(self) -> Prediction:
        """The prediction of the meters' readings, right or wrong.

        Prediction and measurement share the meters' error, so the range for comparison excludes its
        bound.
        """
        exact = {name: replace(one, error_w=0.0) for name, one in self.prediction.estimates.items()}
        return replace(self.prediction, estimates=exact)


def record(
    prediction: Prediction, left: Sequence[PlannedRun], basis: Sequence[str], predicted_at: float
) -> dict[str, Any]:
    """A prediction as plain data.

    Args:
        prediction: of every configuration with remaining runs.
        left: those runs, at least one.
        basis: basis of the prediction, in words.
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
    """The predictions of the sessions, in order.

    Args:
        manifest: from `joulelab.study.store_reading.read_manifest`.
    """
    # A session killed before its first ledger entry has the same number as the next one.
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
