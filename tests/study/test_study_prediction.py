"""The prediction of a study's cost: the line through timings, and the ranges around it."""

import math
import statistics
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status, Total
from joulelab.kinds.training.executor import ImagesRequest, TrainingJob
from joulelab.kinds.training.prediction import (
    Calibration,
    Timing,
    calibrate,
    estimate,
    evaluation_in_steps,
    relative_scatter,
)
from joulelab.learning.engine import TrainingTask
from joulelab.learning.flops import FlopCount
from joulelab.study.planned_run import PlannedRun
from joulelab.study.prediction import LEAST_DRIFT, Estimate, Prediction, combined


def energy(joules, error=0.0, status=Status.MEASURED):
    known = joules is not None
    return Total(status, joules, 0.0 if known else None, error, ("cpu:0",), ("made-up",))


def timings(*seconds, watts=10.0, error_w=0.0, around=0.0, status=Status.MEASURED):
    return tuple(Timing(s, around, energy(watts * s, error_w * s, status)) for s in seconds)


def calibration(steps, short, long, members=1):
    return Calibration(steps, members, 2, 12, short, long)


def planned(count, configuration="a"):
    return [
        PlannedRun(str(n), n, 0, "layers", "architecture", configuration, {}, n, 0, n)
        for n in range(count)
    ]


def of_one(one, drift=0.0):
    return Prediction({("layers", "a"): "net"}, {"net": one}, drift)


def test_a_training_is_on_the_line_through_short_and_long_ones():
    # 0.3 s once and 0.05 s a step.
    one = estimate(calibration(1000, timings(0.4, 0.4), timings(0.9, 0.9)), scatter=0.1)
    assert one.duration_s == pytest.approx(0.3 + 1000 * 0.05)
    assert one.duration_variance == 0
    assert one.power_w == pytest.approx(10.0)


def test_a_member_has_its_share_of_the_part_and_of_what_surrounds_it():
    short, long = timings(0.4, 0.4, around=0.08), timings(0.9, 0.9, around=0.08)
    one = estimate(calibration(12, short, long, members=8), scatter=0.1)
    assert one.duration_s == pytest.approx((0.9 + 0.08) / 8)
    assert one.powered_s == pytest.approx(0.9 / 8), "energy is used in the training"


def test_the_variance_is_that_of_the_line():
    short, long = (1.0, 1.2, 1.1), (2.0, 2.1, 2.3)
    w = (100 - 2) / 10
    by_hand = ((1 - w) ** 2 * statistics.variance(short) + w**2 * statistics.variance(long)) / 3
    variance, freedom = calibration(100, timings(*short), timings(*long)).variance(0.5)
    assert variance == pytest.approx(by_hand)
    assert 2 <= freedom <= 4


def test_where_there_is_one_timing_of_a_kind_the_scatter_of_the_others_is_taken():
    one = calibration(12, timings(1.0), timings(2.0))
    variance, freedom = one.variance(0.1)
    assert variance == pytest.approx((0.1 * 2.0) ** 2), "a whole training is a long one"
    assert freedom == math.inf


def test_degrees_of_freedom_are_those_of_welch_and_satterthwaite():
    # scipy.stats.ttest_ind(equal_var=False) reports df = 7.2 ... for the same parts.
    from scipy.stats import ttest_ind

    a, b = [1.0, 2.0, 4.0, 3.5, 2.2], [10.0, 30.0, 20.0, 14.0, 8.0, 26.0]
    parts = [(statistics.variance(x) / len(x), len(x) - 1) for x in (a, b)]
    assert combined(parts)[1] == pytest.approx(ttest_ind(a, b, equal_var=False).df)


def test_the_range_of_the_time_holds_the_truth_in_about_95_of_100_calibrations():
    random = np.random.default_rng(5)
    steps, fixed_s, step_s, inside = 500, 0.3, 0.01, 0
    for _ in range(600):
        short, long = (
            timings(*((fixed_s + n * step_s) * (1 + 0.05 * random.standard_normal(3))))
            for n in (2, 12)
        )
        one = estimate(calibration(steps, short, long), scatter=0.05)
        cost = of_one(one).total(planned(1))
        inside += cost.duration_low_s <= fixed_s + steps * step_s <= cost.duration_high_s
    assert 0.93 <= inside / 600 <= 0.995


def test_networks_are_independent_and_runs_of_one_are_not():
    one = Estimate(10.0, 4.0, math.inf, 5.0, 10.0, 0.0, math.inf, 0.0, Status.MEASURED)
    networks = {("layers", name): name for name in "abcd"}
    prediction = Prediction(networks, dict.fromkeys("abcd", one), drift=0.0)
    same = prediction.total(planned(4))
    different = prediction.total([run for name in "abcd" for run in planned(1, name)])
    assert same.duration_s == different.duration_s == 40.0
    half = [cost.duration_high_s - 40.0 for cost in (same, different)]
    assert half[0] == pytest.approx(2 * half[1])
    assert half[1] == pytest.approx(1.96 * math.sqrt(4 * 4.0))


def test_drift_does_not_average_out():
    one = Estimate(10.0, 0.0, math.inf, 5.0, 10.0, 0.0, math.inf, 0.0, Status.MEASURED)
    prediction = Prediction({("layers", n): n for n in "ab"}, {"a": one, "b": one}, LEAST_DRIFT)
    cost = prediction.total([*planned(50), *planned(50, "b")])
    assert cost.duration_high_s == pytest.approx(1000 * (1 + 1.96 * LEAST_DRIFT))
    assert cost.duration_low_s == pytest.approx(1000 / (1 + 1.96 * LEAST_DRIFT))


def test_the_error_bound_of_the_meters_is_on_both_sides_of_the_range():
    short, long = timings(0.4, 0.4, error_w=4.0), timings(0.9, 0.9, error_w=4.0)
    cost = of_one(estimate(calibration(1000, short, long), 0.1)).total(planned(10))
    assert cost.energy_j == pytest.approx(10 * 10 * 50.3)
    assert cost.energy_high_j == pytest.approx(10 * 14 * 50.3)
    assert cost.energy_low_j == pytest.approx(10 * 6 * 50.3)


def test_a_bound_larger_than_the_energy_ends_at_zero():
    long = timings(0.9, 0.9, watts=3.0, error_w=4.0, status=Status.ESTIMATED)
    cost = of_one(estimate(calibration(12, long, long), 0.1)).total(planned(1))
    assert cost.energy_low_j == 0
    assert cost.energy_high_j == pytest.approx(7 * 0.9)
    assert cost.status is Status.ESTIMATED


def test_an_unknown_bound_leaves_the_ends_unknown_and_not_the_energy():
    long = tuple(replace(t, energy=replace(t.energy, error_j=None)) for t in timings(0.9, 0.9))
    cost = of_one(estimate(calibration(12, long, long), 0.1)).total(planned(1))
    assert cost.energy_j == pytest.approx(9.0)
    assert (cost.energy_low_j, cost.energy_high_j) == (None, None)


def test_unknown_power_leaves_the_energy_unknown_and_not_the_time():
    long = tuple(
        replace(t, energy=Total(Status.MISSING, None, None, None, (), ()))
        for t in timings(0.9, 0.9)
    )
    cost = of_one(estimate(calibration(12, long, long), 0.1)).total(planned(3))
    assert cost.duration_s == pytest.approx(2.7)
    assert (cost.energy_j, cost.energy_low_j, cost.energy_high_j) == (None, None, None)
    assert cost.status is Status.MISSING


def test_one_disturbed_network_does_not_make_the_drift_of_all():
    calm = calibration(12, timings(0.1), timings(0.99, 1.0, 1.01))
    disturbed = calibration(12, timings(0.1), timings(1.0, 1.0, 9.0))
    assert relative_scatter([calm, disturbed, calm]) == pytest.approx(0.01)
    assert relative_scatter([calibration(12, timings(0.1), timings(1.0))]) is None


def test_test_images_that_a_calibration_leaves_out_cost_a_third_of_training_images():
    unknown = FlopCount(None)
    assert evaluation_in_steps(500, 512, unknown) == 0
    assert evaluation_in_steps(500 + 3 * 512, 512, unknown) == pytest.approx(1)
    # Where batches are small, so is what is evaluated.
    assert evaluation_in_steps(4 * 20, 20, unknown) == 0
    assert evaluation_in_steps(4 * 20 + 60, 20, unknown) == pytest.approx(1)


def test_images_that_are_only_evaluated_cost_a_step_on_a_frozen_network_whole():
    assert evaluation_in_steps(4 * 20 + 60, 20, FlopCount(900, frozen=0)) == pytest.approx(1)
    assert evaluation_in_steps(4 * 20 + 60, 20, FlopCount(900, frozen=900)) == pytest.approx(3)
    assert evaluation_in_steps(4 * 20 + 60, 20, FlopCount(900, frozen=450)) == pytest.approx(2)


@dataclass
class Machine:
    """Carries out jobs in its own time; remembers the steps of each."""

    monkeypatch: pytest.MonkeyPatch
    fixed_s: float
    step_s: float
    now_s: float = 0.0
    cold_s: float = 0.0
    locked_out_s: float = 0.0

    def __post_init__(self):
        self.steps = []
        self.monkeypatch.setattr("time.monotonic", lambda: self.now_s)

    def run(self, job):
        self.steps.append(job.task.max_steps)
        took_s = self.fixed_s + job.task.max_steps * self.step_s
        took_s += self.cold_s * (len(self.steps) == 1)
        self.now_s += took_s + 0.001 + self.locked_out_s
        reading = Reading("cpu:0", "made-up", Status.MEASURED, took_s, 0.0, 0.0, took_s)
        measured = Measurement("calibration", 0.0, took_s, (reading,), 2, 0.1)
        return SimpleNamespace(measurement=measured, locked_out_s=self.locked_out_s)

    def calibrate(self, steps, budget_s):
        task = TrainingTask("net", {}, "default", 1, 32, (None,))
        job = TrainingJob(
            "run", "cpu", 1, task, ImagesRequest("made-up", None, None, None, 0), "reference"
        )
        total = lambda outcome: energy(outcome.measurement.readings[0].gross_j)  # noqa: E731
        return calibrate(job, self.run, total, steps, 0.3, budget_s)


def test_long_trainings_stand_out_from_what_all_trainings_have_in_common(monkeypatch):
    machine = Machine(monkeypatch, fixed_s=1.0, step_s=0.02)
    one = machine.calibrate(100_000, budget_s=60)
    assert len(one.short) == len(one.long) == 3
    extra_s = (one.long_steps - one.short_steps) * 0.02
    assert 0.9 <= extra_s <= 1.3, "about as long as the fixed part"
    assert one.duration_s == pytest.approx(1.0 + 100_000 * 0.02)
    assert one.around_s == pytest.approx(0.001)


def test_what_others_do_with_the_device_is_no_part_of_what_surrounds_a_training(monkeypatch):
    machine = Machine(monkeypatch, fixed_s=0.01, step_s=0.001, locked_out_s=5.0)
    assert machine.calibrate(1000, budget_s=60).around_s == pytest.approx(0.001)


def test_what_only_the_first_training_of_a_dear_network_costs_is_not_extrapolated(monkeypatch):
    machine = Machine(monkeypatch, fixed_s=2.0, step_s=0.15, cold_s=1.5)
    one = machine.calibrate(50, budget_s=10)
    assert one.duration_s == pytest.approx(2.0 + 50 * 0.15)


def test_no_training_is_longer_than_a_whole_one(monkeypatch):
    machine = Machine(monkeypatch, fixed_s=0.01, step_s=0.001)
    one = machine.calibrate(7, budget_s=60)
    assert max(machine.steps) == 7
    assert one.duration_s == pytest.approx(0.017)


def test_a_training_as_short_as_a_short_one_is_timed_three_times(monkeypatch):
    machine = Machine(monkeypatch, fixed_s=0.01, step_s=0.001)
    one = machine.calibrate(1, budget_s=60)
    assert set(machine.steps) == {1}
    assert (len(one.short), one.long) == (3, ())
    assert one.duration_s == pytest.approx(0.011)


def test_a_network_that_takes_seconds_a_step_is_timed_once_of_each(monkeypatch):
    machine = Machine(monkeypatch, fixed_s=5.0, step_s=3.0)
    one = machine.calibrate(3000, budget_s=6)
    assert machine.steps == [2, 4]
    assert one.duration_s == pytest.approx(5.0 + 3000 * 3.0)


def test_timing_ends_where_the_budget_does(monkeypatch):
    machine = Machine(monkeypatch, fixed_s=0.2, step_s=0.1)
    machine.calibrate(3000, budget_s=3.0)
    assert machine.now_s <= 3.0
