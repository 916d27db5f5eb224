"""What a study will cost: time and energy of its runs, with ranges, from a short calibration.

What is timed is a whole part of a group, as large as those of the study: its members share its cost
as they will share its energy. Net power is that of the longer trainings. The hyperparameters hardly
matter to either (Yarally et al., CAIN 2023, section VI-A), so one calibration serves all rounds.

A range is to hold the truth in 95 of 100 cases. With k the networks, R_k the runs of each, T_k the
time of one and v_k its variance (`joulelab.study.calibration`),

    time    T = sum R_k T_k              H^2 = t^2 sum R_k^2 v_k + (1.96 d T)^2
    range   T / (1 + H/T)  to  T (1 + H/T)

t is the quantile of Student's distribution for the degrees of freedom of the sum. d is the drift
from calibration to run, which all networks share: clocks, heat, other programs. It is taken to be
as large as the scatter of the timings of the median network, and 10 % at least (three studies of
minutes on a busy machine took 5 and 22 % less and 19 % more than predicted). A laptop that
throttles after minutes, or that others use later, can still leave the range.

For energy the scatter of power is added to v_k, and on both sides of the range the error bound of
the meters, in proportion to time: that of an estimate is tens of per cent.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from joulelab.energy.reading import Status, Total
from joulelab.learning.engine import TrainingTask
from joulelab.study.accounting import counted
from joulelab.study.calibration import (
    TEST_IMAGES,
    Calibration,
    Timing,
    calibrate,
    combined,
    evaluation_in_steps,
    relative_scatter,
    status_of,
)
from joulelab.study.design import Configuration
from joulelab.study.executor import Job, Outcome
from joulelab.study.store import PlannedRun

BUDGET_S = 60.0
"""Time that the calibration of a whole study is to take at the most."""

PLAN_LONG_S = 0.3
RUN_LONG_S = 0.04
"""Long trainings are longer where predicting is the purpose, and not the beginning of a run."""

LEAST_DRIFT = 0.1
ASSUMED_SCATTER = 0.2
"""Of timings where there was time for one of each only: what a busy laptop has been seen to do."""

PROBABILITY = 0.975
NORMAL_QUANTILE = 1.96


@dataclass(frozen=True)
class Cost:
    """Predicted for some runs: seconds and net joules, each with a range of 95 %.

    The energies are ``None`` where power is unknown, and the bounds of the energy also where the
    meters do not say how far they may be wrong.
    """

    duration_s: float
    duration_low_s: float
    duration_high_s: float
    energy_j: float | None
    energy_low_j: float | None
    energy_high_j: float | None
    status: Status


@dataclass(frozen=True)
class Estimate:
    """Predicted for one run of a network.

    Attributes:
        duration_s: time, with what surrounds a training.
        duration_variance: in s^2.
        freedom: its degrees of freedom.
        power_w: net power, or ``None`` where unknown.
        trained_s: the part of the time that the power belongs to.
        power_variance: relative to the power.
        power_freedom: its degrees of freedom.
        error_w: bound of the error of the power by the meters, or ``None`` where unknown.
        status: of the energy.
    """

    duration_s: float
    duration_variance: float
    freedom: float
    power_w: float | None
    trained_s: float
    power_variance: float
    power_freedom: float
    error_w: float | None
    status: Status


@dataclass(frozen=True)
class Prediction:
    """Predicted costs by experiment and configuration.

    Attributes:
        networks: the key of the network of each configuration.
        estimates: by key of the network.
        drift: relative standard deviation that all of them share.
    """

    networks: Mapping[tuple[str, str], str]
    estimates: Mapping[str, Estimate]
    drift: float

    @property
    def by_configuration(self) -> Mapping[tuple[str, str], Cost]:
        """The cost of one run of each configuration."""
        return {key: self._cost({network: 1}) for key, network in self.networks.items()}

    def of(self, run: PlannedRun) -> Cost:
        """The cost of one run."""
        return self.total([run])

    def total(self, runs: Sequence[PlannedRun]) -> Cost:
        """The cost of several runs."""
        counts: dict[str, int] = {}
        for run in runs:
            network = self.networks[run.experiment, run.configuration]
            counts[network] = counts.get(network, 0) + 1
        return self._cost(counts)

    def _cost(self, counts: Mapping[str, int]) -> Cost:
        """Of so many runs of each network."""
        several = [(count, self.estimates[network]) for network, count in counts.items()]
        duration_s = math.fsum(count * one.duration_s for count, one in several)
        half_s = self._half_width(
            duration_s,
            [(count**2 * one.duration_variance, one.freedom) for count, one in several],
        )
        low_s, high_s = _range(duration_s, half_s)
        status = _worst([one.status for _, one in several])
        if status is Status.MISSING:
            return Cost(duration_s, low_s, high_s, None, None, None, status)
        energy_j, low_j, high_j = self._energy(several)
        return Cost(duration_s, low_s, high_s, energy_j, low_j, high_j, status)

    def _energy(
        self, several: Sequence[tuple[int, Estimate]]
    ) -> tuple[float, float | None, float | None]:
        """Net joules of so many runs of each network, and their range."""
        energies = [count * one.trained_s * (one.power_w or 0.0) for count, one in several]
        energy_j = math.fsum(energies)
        bounds = [count * one.trained_s * (one.error_w or 0.0) for count, one in several]
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


def predict(
    configurations: Sequence[Configuration],
    job_of: Callable[[Configuration], Job],
    parts: Callable[[Job], Sequence[TrainingTask]],
    run: Callable[[Job], Outcome],
    images: tuple[int, int],
    domains: list[str] | None,
    training: str,
    long_s: float,
) -> Prediction:
    """Train a few steps of every network, several times, and extrapolate.

    Args:
        configurations: what is to be predicted.
        job_of: a job as large as the groups of a configuration.
        parts: what such a job is split into; the largest is timed.
        run: carries a job out, and books it.
        images: number of training and of test images.
        domains: which energy domains count; ``None`` for the automatic choice.
        training: domain of the device that trains.
        long_s: how much longer than a short training a long one is to take.
    """
    train_images, test_images = images
    jobs: dict[str, Job] = {}
    networks: dict[tuple[str, str], str] = {}
    for configuration in configurations:
        job = job_of(configuration)
        options = sorted(job.task.network_options.items())
        key = f"{job.engine} {job.task.network} {options} {len(job.task.members)}"
        jobs.setdefault(key, job)
        networks[configuration.experiment, configuration.name] = key

    def energy(outcome: Outcome) -> Total:
        return counted(outcome.measurement, domains, training)

    calibrations = {}
    for key, job in jobs.items():
        largest = max(parts(job), key=lambda task: len(task.members))
        steps = largest.epochs * math.ceil(train_images / largest.batch_size)
        left_out = evaluation_in_steps(test_images, largest.batch_size)
        few = replace(job.images, test_images=min(test_images, TEST_IMAGES))
        part = replace(job, task=largest, images=few)
        calibrations[key] = calibrate(
            part, run, energy, steps + left_out, long_s, BUDGET_S / len(jobs)
        )
    scatter = relative_scatter(list(calibrations.values()))
    assumed = ASSUMED_SCATTER if scatter is None else scatter
    estimates = {key: estimate(one, assumed) for key, one in calibrations.items()}
    return Prediction(networks, estimates, max(assumed, LEAST_DRIFT))


def estimate(calibration: Calibration, scatter: float) -> Estimate:
    """What the timings of a part of a group say of one of its members.

    Args:
        calibration: the timings.
        scatter: relative standard deviation of a timing, where there is only one of a kind.
    """
    members, trained_s = calibration.members, calibration.duration_s
    variance, freedom = calibration.variance(scatter)
    timings = calibration.longest
    seconds = math.fsum(one.duration_s for one in timings)
    status = status_of(timings)
    if seconds <= 0:
        status = Status.MISSING
    powers = [] if status is Status.MISSING else [_watts(one) for one in timings]
    power_w = max(math.fsum(powers) / len(powers), 0.0) if powers else None
    errors = [one.energy.error_j for one in timings]
    known = [error for error in errors if error is not None]
    several = len(powers) > 1 and bool(power_w)
    return Estimate(
        duration_s=(trained_s + calibration.around_s) / members,
        duration_variance=variance / members**2,
        freedom=freedom,
        power_w=power_w,
        trained_s=trained_s / members,
        power_variance=(
            statistics.variance(powers) / len(powers) / power_w**2
            if several and power_w
            else scatter**2
        ),
        power_freedom=len(powers) - 1 if several else math.inf,
        error_w=math.fsum(known) / seconds if len(known) == len(errors) and seconds > 0 else None,
        status=status,
    )


def _watts(timing: Timing) -> float:
    """Net power of one timing; gross power where idle power is unknown."""
    energy = timing.energy
    joules = energy.net_j if energy.net_j is not None else energy.gross_j
    return (joules or 0.0) / timing.duration_s if timing.duration_s > 0 else 0.0


def _range(value: float, half: float) -> tuple[float, float]:
    """The lower and the upper end; as far below by a factor as above, so never below 0."""
    if value <= 0:
        return 0.0, half
    return value / (1 + half / value), value + half


def _worst(statuses: Sequence[Status]) -> Status:
    for status in (Status.MISSING, Status.ESTIMATED):
        if status in statuses:
            return status
    return Status.MEASURED


def _quantile(freedom: float) -> float:
    """97.5 % of Student's t distribution; of the normal one for infinite degrees of freedom."""
    if math.isinf(freedom):
        return NORMAL_QUANTILE
    from scipy.stats import t

    return float(t.ppf(PROBABILITY, freedom))
