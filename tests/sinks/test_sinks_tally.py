"""Counters never go back, and their sum is the report."""

import math

import pytest

from joulelab.energy.reading import Status
from joulelab.sinks.tally import Tally

GPU = ("measured", "nvml-counter", ())
LOST = ("partly estimated", "nvml-counter", ())


def joules(tally, *, counts=True):
    return {
        (one.domain, one.source, str(one.status)): one.energy_j
        for one in tally.counters()
        if one.counts is counts
    }


def test_a_domain_that_changes_its_status_counts_on_under_the_new_one(measured):
    tally = Tally()
    for duration_s, energy_j, status in ((1.0, 40.0, GPU), (2.0, 80.0, GPU), (3.0, 150.0, LOST)):
        tally.reach(measured(duration_s, gpu_0=(energy_j, *status)))
    assert joules(tally) == {
        ("gpu:0", "nvml-counter", "measured"): 80.0,
        ("gpu:0", "nvml-counter", "partly estimated"): 70.0,
    }
    assert sum(joules(tally).values()) == tally.values["energy_j"] == 150.0
    assert tally.status is Status.PARTLY_ESTIMATED


def test_a_counter_stays_where_a_later_look_finds_less(measured):
    tally = Tally()
    seen = []
    for duration_s, energy_j in ((1.0, 40.0), (2.0, 39.0), (3.0, 60.0)):
        tally.reach(measured(duration_s, gpu_0=(energy_j, *GPU)))
        seen.append(sum(joules(tally).values()))
    assert seen == [40.0, 40.0, 60.0]


def test_each_device_counts_once_and_parts_are_told_apart(measured):
    tally = Tally()
    tally.reach(
        measured(
            2.0,
            psys_0=(100.0, "measured", "rapl", ()),
            cpu_0=(60.0, "measured", "rapl", ("psys:0",)),
            core_0=(30.0, "measured", "rapl", ("cpu:0", "psys:0")),
            gpu_0=(50.0, *GPU),
        )
    )
    assert sum(joules(tally).values()) == tally.values["energy_j"] == 150.0
    assert set(joules(tally, counts=False)) == {
        ("cpu:0", "rapl", "measured"),
        ("core:0", "rapl", "measured"),
    }
    assert tally.values["power_now_w"] == 75.0


def test_a_domain_that_the_user_has_not_named_is_left_out(measured):
    tally = Tally()
    cpu = (60.0, "measured", "rapl", ())
    tally.reach(measured(2.0, ("gpu:0",), gpu_0=(50.0, *GPU), cpu_0=cpu))
    assert [one.domain for one in tally.domains] == ["gpu:0"]


def test_power_is_the_mean_since_the_last_look(measured):
    tally = Tally()
    tally.reach(measured(2.0, gpu_0=(100.0, *GPU)))
    assert tally.values["power_now_w"] == 50.0
    tally.reach(measured(3.0, gpu_0=(300.0, *GPU)))
    assert tally.values["power_now_w"] == 200.0
    assert tally.values["power_w"] == 100.0


def test_laps_add_up_each_under_its_own_status(measured):
    tally = Tally()
    for energy_j, status in ((10.0, GPU), (20.0, LOST), (30.0, GPU)):
        tally.add(measured(1.0, gpu_0=(energy_j, *status)))
    assert joules(tally) == {
        ("gpu:0", "nvml-counter", "measured"): 40.0,
        ("gpu:0", "nvml-counter", "partly estimated"): 20.0,
    }
    assert tally.values["energy_j"] == 60.0
    assert tally.values["energy_error_j"] == pytest.approx(0.3)
    assert tally.duration_s == 3.0
    assert tally.status is Status.PARTLY_ESTIMATED


def test_an_unknown_energy_is_not_0(measured):
    tally = Tally()
    tally.add(measured(1.0, gpu_0=(10.0, *GPU)))
    tally.add(measured(1.0, gpu_0=(None, "missing", "nvml-counter", ())))
    (one,) = tally.domains
    assert one.power_w is None
    assert one.energy_j == 10.0
    assert "power_now_w" not in tally.values
    assert math.isclose(sum(joules(tally).values()), 10.0)
    empty = Tally()
    empty.reach(measured(1.0, gpu_0=(None, "missing", "none", ())))
    assert empty.values == {}
    assert empty.counters() == ()
    assert empty.domains[0].energy_j is None
