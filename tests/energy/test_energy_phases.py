"""The energy of phases within a window, against constructed samples."""

import numpy as np
import pytest

from joulelab.energy.measurement import Measurement
from joulelab.energy.meter import Channel
from joulelab.energy.phases import phase_energies
from joulelab.energy.reading import Reading, Status, total
from joulelab.energy.sample_buffer import ChannelSamples


def window(kind, power_w, duration_s=10.0, interval_s=0.1, status=Status.MEASURED):
    """A window with one channel: its measurement, sum and samples; power is a function of time."""
    times = np.arange(0, duration_s + interval_s / 2, interval_s)
    power = np.array([power_w(t) for t in times])
    steps = np.diff(times) * (power[1:] + power[:-1]) / 2
    energy = np.concatenate(([0.0], np.cumsum(steps)))
    channel = Channel("cpu:0", "stub", kind, status, 0.0, interval_s)
    values = energy + 1000 if kind == "counter" else power
    samples = ChannelSamples(channel, times + 50, values, interval_s)
    reading = Reading("cpu:0", "stub", status, float(energy[-1]), None, None, duration_s)
    measurement = Measurement("w", 0.0, duration_s, (reading,), len(times), interval_s)
    return measurement, total([reading]), [samples]


@pytest.mark.parametrize("kind", ["counter", "power"])
def test_phases_that_cover_a_window_add_up_to_its_energy(kind):
    measured = window(kind, lambda t: 10.0 if t < 4 else 100.0)
    found = phase_energies([("load", 50, 54), ("train", 54, 60)], *measured)
    assert found["load"].energy_j == pytest.approx(40, rel=0.15)
    assert found["train"].energy_j == pytest.approx(600, rel=0.02)
    whole = found["load"].energy_j + found["train"].energy_j
    assert whole == pytest.approx(measured[1].gross_j)
    assert found["train"].status is Status.MEASURED
    assert found["train"].duration_s == pytest.approx(6)


def test_occurrences_add_up_and_short_ones_are_estimates():
    measured = window("counter", lambda _: 50.0)
    phases = [("batch", 50 + n * 0.02, 50 + n * 0.02 + 0.01) for n in range(400)]
    found = phase_energies(phases, *measured)["batch"]
    assert found.times == 400
    assert found.energy_j == pytest.approx(4.0 * 50, rel=0.01)
    assert found.status is Status.ESTIMATED


def test_the_energy_is_unknown_where_that_of_the_window_is():
    measurement, _, samples = window("power", lambda _: 50.0)
    nothing = Reading("cpu:0", "stub", Status.MISSING, None, None, None, 10.0, "gone")
    found = phase_energies([("a", 50, 55)], measurement, total([nothing]), samples)["a"]
    assert (found.energy_j, found.status) == (None, Status.MISSING)
    assert found.duration_s == 5


def test_a_domain_without_samples_leaves_the_energy_unknown():
    measurement, whole, _ = window("power", lambda _: 50.0)
    assert phase_energies([("a", 50, 55)], measurement, whole, [])["a"].energy_j is None
