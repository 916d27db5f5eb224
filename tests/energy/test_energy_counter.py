"""The one guard of all counters: a wrap is undone, a reset is unknown, wherever it began."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulelab.energy.counter import PACKAGE_LIMIT_W, Counter

INTEL_J, AMD_J = 262_143.32885, 65_532.610987


def counted(first_j, value_j, passed_s, **settings):
    """What a counter says that moves once."""
    counter = Counter("it", **settings)
    counter.take(first_j, 100.0)
    return counter.take(value_j, 100.0 + passed_s)


@pytest.mark.parametrize("range_j", [INTEL_J, AMD_J])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.49, 0.51, 0.75, 0.99])
def test_a_reset_is_one_wherever_in_the_range_it_began(range_j, share):
    said = counted(share * range_j, 5.0, 0.1, range_j=range_j)
    assert said.value is None
    assert said.reason.startswith(f"it fell from {share * range_j:.6g} to 5 J within 0.1 s")


@pytest.mark.parametrize("range_j", [INTEL_J, AMD_J])
def test_a_wrap_is_undone(range_j):
    assert counted(range_j - 3, 7.0, 0.1, range_j=range_j).value == pytest.approx(range_j + 7)


def test_a_wrap_after_a_long_gap_is_a_wrap_and_not_a_reset():
    assert counted(60_000, 50_000, 240.0, range_j=AMD_J).value == pytest.approx(AMD_J + 50_000)


def test_the_power_limit_tells_a_reset_from_a_wrap_after_a_gap():
    """62 kJ in a minute are 1 kW: a server may draw that, a laptop of 64 W may not."""
    gap = {"first_j": 200_000.0, "value_j": 10.0, "passed_s": 60.0, "range_j": INTEL_J}
    assert counted(**gap).value == pytest.approx(INTEL_J + 10)
    assert counted(**gap, limit_w=64.0).value is None


def test_a_limit_that_was_raised_meanwhile_counts():
    """A laptop that was plugged in, a card whose limit its owner has lifted."""
    limit_w = [30.0]
    counter = Counter("it", limit_w=lambda: limit_w[0])
    counter.take(0.0, 0.0)
    limit_w[0] = 64.0
    assert counter.take(3600.0, 60.0).value == 3600.0


def test_a_device_that_overshoots_its_limit_has_not_been_reset():
    assert counted(0.0, 303.0 * 600, 600.0, limit_w=300.0).value == 303.0 * 600


def test_a_hundred_joules_are_believed_whatever_the_limit():
    assert counted(5.0, 104.0, 0.001, limit_w=10.0).value == 104.0
    assert counted(5.0, 106.0, 0.001, limit_w=10.0).value is None


def test_a_counter_without_a_range_never_falls_and_does_not_jump():
    assert counted(9000.5, 1.0, 0.1).value is None
    jumped = counted(9000.5, 9000.5 + 2 * PACKAGE_LIMIT_W, 1.0)
    assert jumped.value is None
    assert "it jumped from 9000.5 to 12000.5 J" in jumped.reason


def test_what_a_reset_lost_stays_unknown():
    counter = Counter("it", range_j=AMD_J)
    for value_j in (60.0, 1.0):
        counter.take(value_j, 0.0)
    assert counter.take(20.0, 1.0) == counter.take(60.0, 10.0)
    assert counter.take(60.0, 10.0).value is None


def test_a_value_that_cannot_be_is_left_out_and_the_counter_goes_on():
    counter = Counter("it")
    counter.take(1.0, 0.0)
    assert counter.take(float("nan"), 0.1).value is None
    assert counter.take(-1.0, 0.2).value is None
    assert counter.take(4.0, 0.3).value == 4.0


def test_the_full_value_of_the_range_is_no_step_back():
    counter = Counter("it", range_j=1000.0)
    assert [counter.take(value_j, 0.0).value for value_j in (990.0, 1000.0, 5.0)] == [
        990.0,
        1000.0,
        1005.0,
    ]


@given(
    st.floats(200.0, 1e6),
    st.floats(0, 0.99),
    st.lists(st.tuples(st.floats(0, 0.9), st.floats(0.01, 1.0)), max_size=20),
)
def test_steps_that_can_be_drawn_add_up_across_any_number_of_wraps(range_j, start, steps):
    counter = Counter("it", range_j=range_j)
    value_j, at_s, total_j = start * range_j, 0.0, 0.0
    first_j = counter.take(value_j, at_s).value or 0.0
    for share, power in steps:
        step_j = share * range_j
        at_s += step_j / (power * PACKAGE_LIMIT_W) + 1e-9
        value_j, total_j = (value_j + step_j) % range_j, total_j + step_j
        said_j = counter.take(value_j, at_s).value
        assert said_j is not None
        assert said_j - first_j == pytest.approx(total_j, abs=1e-6 * range_j)
