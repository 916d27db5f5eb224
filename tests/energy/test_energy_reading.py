"""Sums that never count a joule twice, and never take the unknown for nothing."""

import pytest

from joulelab.energy.reading import Reading, Status, outermost, total


def reading(domain, gross_j, status=Status.MEASURED, within=(), idle_w=None):
    error_j = None if gross_j is None else 0.1 * gross_j
    return Reading(domain, "s", status, gross_j, error_j, idle_w, 10.0, within=within)


CORE = reading("core:0", 30.0, within=("cpu:0", "psys:0", "wall"))
PACKAGE = reading("cpu:0", 50.0, within=("psys:0", "wall"))
PSYS = reading("psys:0", 90.0, within=("wall",))
GPU = reading("gpu:0", 200.0, within=("wall",))


def test_domains_that_others_contain_are_left_out():
    assert total([CORE, PACKAGE]).gross_j == 50.0
    assert total([CORE, PACKAGE, PSYS, GPU]).gross_j == 290.0
    assert [one.domain for one in outermost([CORE, PACKAGE, PSYS])] == ["psys:0"]


def test_a_container_of_unknown_energy_contains_nothing():
    unknown = reading("psys:0", None, Status.MISSING)
    assert total([PACKAGE, unknown]).gross_j is None
    assert {one.domain for one in outermost([PACKAGE, unknown])} == {"cpu:0", "psys:0"}


def test_measured_and_estimated_make_estimated():
    mixed = total([GPU, reading("cpu:0", 5.0, Status.ESTIMATED)])
    assert mixed.status is Status.ESTIMATED
    assert total([GPU]).status is Status.MEASURED


def test_a_missing_part_makes_the_sum_missing_and_not_smaller():
    sum_ = total([GPU, reading("cpu:0", None, Status.MISSING)])
    assert (sum_.status, sum_.gross_j, sum_.error_j) == (Status.MISSING, None, None)


def test_nothing_adds_up_to_unknown_and_not_to_zero():
    sum_ = total([])
    assert (sum_.status, sum_.gross_j) == (Status.MISSING, None)


def test_net_energy_needs_the_idle_power_of_every_part():
    with_idle, without = reading("gpu:0", 200.0, idle_w=5.0), reading("cpu:0", 50.0)
    assert total([with_idle]).net_j == 150.0
    assert total([with_idle, without]).net_j is None


def test_error_bounds_add_up():
    assert total([GPU, PACKAGE]).error_j == pytest.approx(25.0)


def test_a_share_keeps_power_and_divides_energy():
    share = reading("gpu:0", 200.0, idle_w=5.0).shared(4)
    assert (share.gross_j, share.idle_j, share.net_j) == (50.0, 12.5, 37.5)
    assert share.mean_power_w == 20.0
    assert reading("gpu:0", None, Status.MISSING).shared(4).gross_j is None
