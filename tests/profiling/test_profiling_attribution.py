"""Energy between readings, divided among constructed intervals."""

import math

import numpy as np
import pytest

from joulelab.energy.meter import Channel
from joulelab.energy.reading import Status
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.profiling.attribution import KEPT, Attribution
from joulelab.profiling.sampler import Interval
from joulelab.profiling.stacks import Node

STEP_S = 0.01


def channel(domain="cpu:0", kind="counter", status=Status.MEASURED, tick_s=0.001):
    return Channel(domain, f"stub-{kind}", kind, status, 0.0, tick_s)


def samples(of, times_s, values, interval_s=0.1):
    return ChannelSamples(of, np.array(times_s, float), np.array(values, float), interval_s)


class Divided:
    """Two stacks, ``a`` and ``b``, among which the energy of some channels is divided."""

    def __init__(self, *channels, idle_w=None):
        count = len(channels)
        self.root, self.a, self.b = (Node(None, None, count) for _ in range(3))
        self.division = Attribution(channels, idle_w or {}, self.root)

    def runs(self, node, begin_s, end_s, share=1.0, **more):
        """A stack runs for a share of a time, in which the thread at ``b`` waits for the rest."""
        for number in range(round((end_s - begin_s) / STEP_S)):
            at_s = begin_s + number * STEP_S
            ran = [(node, share * STEP_S)] if share else []
            waited = [(self.b, (1 - share) * STEP_S)] if share < 1 else []
            made = {"driving": [(self.b, 1.0)], **more}
            self.division.add(Interval(at_s, at_s + STEP_S, ran, waited, **made))

    def energies(self, number=0):
        return [node.energy_j[number] for node in (self.a, self.b, self.root)]


def test_energy_goes_to_the_stacks_seen_between_two_readings():
    of = channel()
    divided = Divided(of)
    divided.runs(divided.a, 0.0, 0.1)
    divided.runs(divided.b, 0.1, 0.2)
    divided.division.read([samples(of, [0.0, 0.1, 0.2], [5.0, 8.0, 9.0])], last=True)
    assert divided.energies() == pytest.approx([3.0, 1.0, 0.0])


def test_power_is_integrated():
    of = channel(kind="power")
    divided = Divided(of)
    divided.runs(divided.a, 0.0, 0.1)
    divided.runs(divided.b, 0.1, 0.2)
    divided.division.read([samples(of, [0.0, 0.1, 0.2], [10.0, 30.0, 30.0])], last=True)
    assert divided.energies() == pytest.approx([2.0, 3.0, 0.0])


def test_idle_energy_is_divided_by_time_and_the_rest_by_processor_time():
    of = channel()
    divided = Divided(of, idle_w={"cpu:0": 10.0})
    divided.runs(divided.a, 0.0, 0.05)
    divided.runs(divided.b, 0.05, 0.1, share=0.0)
    divided.division.read([samples(of, [0.0, 0.1], [0.0, 7.0])], last=True)
    assert divided.energies() == pytest.approx([0.5 + 6.0, 0.5, 0.0])


@pytest.mark.parametrize(
    ("domain", "status", "expected"),
    [
        ("cpu:0", Status.ESTIMATED, [1.0, 0.0]),  # it is processor time
        ("cpu:0", Status.MEASURED, [0.5, 0.5]),  # who knows what is idle
        ("dram:0", Status.ESTIMATED, [0.5, 0.5]),
        ("wall", Status.MEASURED, [0.5, 0.5]),
    ],
)
def test_without_idle_power_time_counts_unless_the_energy_is_processor_time(
    domain, status, expected
):
    of = channel(domain, status=status)
    divided = Divided(of)
    divided.runs(divided.a, 0.0, 0.05)
    divided.runs(divided.b, 0.05, 0.1, share=0.0)
    divided.division.read([samples(of, [0.0, 0.1], [0.0, 1.0])], last=True)
    assert divided.energies()[:2] == pytest.approx(expected)


def test_energy_of_a_gpu_goes_to_the_stack_that_it_works_for():
    of = channel("gpu:0")
    divided = Divided(of, idle_w={"gpu:0": 50.0})
    divided.runs(divided.a, 0.0, 0.1, driving=[(divided.b, 1.0)])
    divided.division.read([samples(of, [0.0, 0.1], [0.0, 70.0])], last=True)
    assert divided.energies() == pytest.approx([0.0, 70.0, 0.0])


def test_a_step_of_a_slow_counter_is_of_the_time_since_the_last_one():
    of = channel(tick_s=0.1)
    divided = Divided(of)
    divided.runs(divided.a, 0.0, 0.1)
    divided.runs(divided.b, 0.1, 0.2)
    times, values = [0.0, 0.05, 0.1, 0.15, 0.2], [0.0, 0.0, 4.0, 4.0, 10.0]
    divided.division.read([samples(of, times, values, 0.05)], last=True)
    assert divided.energies() == pytest.approx([4.0, 6.0, 0.0])


def test_work_of_child_processes_counts_where_the_program_waits():
    of = channel(status=Status.ESTIMATED)
    divided = Divided(of)
    divided.runs(divided.a, 0.0, 0.05)
    divided.runs(divided.b, 0.05, 0.1, share=0.0)
    divided.division.add_children(0.15)
    divided.division.read([samples(of, [0.0, 0.1], [0.0, 2.0])], last=True)
    assert divided.energies() == pytest.approx([0.5, 1.5, 0.0])


def test_phases_take_the_energy_of_their_time():
    of = channel()
    divided = Divided(of)
    divided.runs(divided.a, 0.0, 0.1, phases=[("load", 1.0)])
    divided.runs(divided.b, 0.1, 0.2, phases=[("train", 0.25)])
    divided.division.read([samples(of, [0.0, 0.1, 0.2], [0.0, 3.0, 11.0])], last=True)
    found = divided.division.phases_j
    assert found == {"load": pytest.approx([3.0]), "train": pytest.approx([2.0])}


@pytest.mark.parametrize("pieces", [1, 7, 40])
def test_all_energy_is_divided_however_readings_and_intervals_lie(pieces):
    """Meters with rates of their own, with holes, that begin before the first interval."""
    rng = np.random.default_rng(pieces)
    of = [channel(), channel("gpu:0", kind="power"), channel("wall", tick_s=1.0)]
    divided = Divided(*of, idle_w={"cpu:0": 3.0})
    times = [np.sort(rng.uniform(-0.05, 4.05, size)) for size in (40, 90, 9)]
    counted = [np.cumsum(rng.uniform(0, 5, len(one))) for one in times]
    counted[1][rng.uniform(size=90) < 0.2] = math.nan
    for piece in range(pieces):
        begin_s, end_s = 4 * piece / pieces, 4 * (piece + 1) / pieces
        divided.runs([divided.a, divided.b][piece % 2], begin_s, end_s, share=rng.uniform())
        upto = [int(np.searchsorted(one, end_s)) for one in times]
        known = zip(of, times, counted, upto, strict=True)
        divided.division.read([samples(c, t[:n], v[:n]) for c, t, v, n in known])
    known = zip(of, times, counted, strict=True)
    divided.division.read([samples(*one) for one in known], last=True)
    good = ~np.isnan(counted[1])
    power_j = np.trapezoid(counted[1][good], times[1][good])
    wholes = [counted[0][-1] - counted[0][0], power_j, counted[2][-1] - counted[2][0]]
    for number, whole in enumerate(wholes):
        assert math.fsum(divided.energies(number)) == pytest.approx(whole, rel=1e-12)


def test_what_waits_for_a_silent_meter_is_bounded():
    of = channel()
    divided = Divided(of)
    divided.runs(divided.a, 0.0, (KEPT + 500) * STEP_S)
    assert len(divided.division._waiting) == KEPT
    divided.division.read([samples(of, [0.0, 100.0], [0.0, 9.0])], last=True)
    assert math.fsum(divided.energies()) == pytest.approx(9.0)


def test_energy_of_a_time_without_a_stack_is_kept():
    of = channel()
    divided = Divided(of)
    divided.division.read([samples(of, [0.0, 0.1], [0.0, 2.0])], last=True)
    assert divided.energies() == pytest.approx([0.0, 0.0, 2.0])
