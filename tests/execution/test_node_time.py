"""Workers that share the sensors of a node: the energies of all windows add up to the node's."""

import math
import random

import pytest

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status, total
from joulelab.execution.node_time import NodeTime

WATTS = 50.0


def window(begin_s, end_s, status=Status.MEASURED, domains=("cpu:0",)):
    seconds = end_s - begin_s
    readings = [
        Reading(one, "meter", status, WATTS * seconds, 0.0, None, seconds) for one in domains
    ]
    whole = Measurement("w", begin_s, seconds, tuple(readings), 2, seconds)
    return whole, total(readings)


@pytest.fixture
def booked():
    """A node, and what is booked on it."""
    return NodeTime(), []


def book(node, found, begin_s, end_s, status=Status.MEASURED, domains=("cpu:0",)):
    node.book(*window(begin_s, end_s, status, domains), lambda *both: found.append(both))


def test_the_time_in_which_another_worker_ran_does_not_count(booked):
    node, found = booked
    node.ran(*window(2, 6))
    book(node, found, 0, 10)
    node.settle(math.inf)
    ((measurement, total),) = found
    assert total.gross_j == pytest.approx(WATTS * 6)
    assert measurement.energy_j == pytest.approx(WATTS * 6)
    assert measurement.duration_s == pytest.approx(6)


def test_a_window_waits_for_the_runs_that_may_overlap_with_it(booked):
    node, found = booked
    book(node, found, 0, 10)
    node.settle(8)
    assert not found
    node.ran(*window(8, 12))
    node.settle(math.inf)
    assert found[0][1].gross_j == pytest.approx(WATTS * 8)


def test_a_sensor_of_one_worker_counts_while_another_has_that_of_the_node(booked):
    node, found = booked
    node.ran(*window(2, 6, domains=("cpu:0", "gpu:0")))
    book(node, found, 0, 10, domains=("cpu:0", "gpu:1"))
    node.settle(math.inf)
    ((measurement, counts),) = found
    assert measurement["cpu:0"].gross_j == pytest.approx(WATTS * 6)
    assert measurement["gpu:1"].gross_j == pytest.approx(WATTS * 10)
    assert measurement.duration_s == pytest.approx(10)
    assert counts.gross_j == pytest.approx(WATTS * 16)


def test_a_sensor_that_another_has_all_the_time_is_left_out(booked):
    node, found = booked
    node.ran(*window(0, 10, domains=("cpu:0", "gpu:0")))
    book(node, found, 2, 6, domains=("cpu:0", "gpu:1"))
    node.settle(math.inf)
    ((measurement, counts),) = found
    assert [one.domain for one in measurement.readings] == ["gpu:1"]
    assert counts.gross_j == pytest.approx(WATTS * 4)


def test_an_estimate_of_each_worker_counts_in_full(booked):
    node, found = booked
    for _ in range(2):
        book(node, found, 0, 10, Status.ESTIMATED)
    node.settle(math.inf)
    assert [total.gross_j for _, total in found] == [WATTS * 10] * 2


@pytest.mark.parametrize("seed", range(5))
def test_of_any_schedule_the_windows_add_up_to_the_energy_of_the_node(booked, seed):
    """Three workers without gaps; runs take turns."""
    node, found = booked
    chance = random.Random(seed)
    turns, at = [], 0.0
    while at < 100:
        begin_s = at + chance.random()
        at = begin_s + chance.random() * 3
        turns.append((begin_s, at, chance.randrange(3)))
    runs = sum(end - begin for begin, end, _ in turns)
    for worker in range(3):
        mine = [(begin, end) for begin, end, who in turns if who == worker]
        edges = [0.0, *(edge for pair in mine for edge in pair), at]
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            book(node, found, begin, end)
        for begin, end in mine:
            node.ran(*window(begin, end))
    node.settle(math.inf)
    beside = sum(total.gross_j for _, total in found)
    assert beside + WATTS * runs == pytest.approx(WATTS * at)
