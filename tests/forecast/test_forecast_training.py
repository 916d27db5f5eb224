"""The energy of a training predicted while it runs: pure progress, then real measuring."""

import doctest
import math
import threading

import numpy as np
import pytest

import joulelab
from joulelab.analysis.prediction.step import FINE_TUNING
from joulelab.errors import MeterError, SpecError, UsageError
from joulelab.forecast import progress as progress_module
from joulelab.forecast.progress import MOST_POINTS, EnergyCurve, Progress, epoch_length


def epoch(power_w, length_s=10.0, step_s=0.1):
    """Length, energy and course of an epoch at a power that is given at every step."""
    moments_s = np.linspace(0.0, length_s, round(length_s / step_s) + 1)
    power_w = np.broadcast_to(power_w, len(moments_s) - 1)
    seen_j = np.concatenate([[0.0], np.cumsum(power_w * np.diff(moments_s))])
    return length_s, float(seen_j[-1]), moments_s, seen_j


@pytest.fixture
def steady(tmp_path):
    """A card that draws 100 W for a minute, recorded ten times a second."""
    path = tmp_path / "steady.csv"
    lines = [f"{0.1 * i:.1f},100.0" for i in range(601)]
    path.write_text("\n".join(["t_s,power_w", *lines]) + "\n")
    return path


def test_the_worked_examples_hold():
    result = doctest.testmod(progress_module)
    assert result.attempted >= 2
    assert not result.failed


def test_a_curve_that_is_thinned_keeps_its_energy_and_its_length():
    curve = EnergyCurve()
    rng = np.random.default_rng(0)
    true_j = 0.0
    for _ in range(30):
        length_s, energy_j, *course = epoch(100 + rng.normal(0, 10, 1000), 100.0)
        curve.add(length_s, energy_j, *course)
        true_j += energy_j

    trace = curve.trace()

    assert len(trace.time_s) <= MOST_POINTS + 2
    assert trace.energy_j == pytest.approx(true_j, rel=1e-12)
    assert trace.duration_s == pytest.approx(3000.0)


def test_a_part_without_samples_has_even_power():
    curve = EnergyCurve()
    curve.add(4.0, 200.0)
    assert curve.trace().power_w == pytest.approx(50.0)


def test_the_first_epoch_is_left_out_as_soon_as_there_is_another():
    assert epoch_length([30.0]).mean_s == 30.0
    assert epoch_length([30.0, 10.0]).mean_s == 10.0
    assert epoch_length([30.0]).spread > epoch_length([30.0, 10.0]).spread


def test_longer_epochs_from_some_point_on_are_what_is_to_come():
    """A thawed base makes the later epochs longer, and the later half of them counts."""
    assert epoch_length([5.0, 5.0, 5.0, 9.0, 9.0, 9.0]).mean_s == pytest.approx(9.0, rel=0.2)


def test_lengths_that_drift_leave_more_open_than_lengths_that_scatter():
    earlier = [11.0] * 7
    scattering = [*earlier, 10.0, 12.0, 11.0, 12.0, 11.0, 10.0]
    drifting = [*earlier, 10.0, 10.0, 11.0, 11.0, 12.0, 12.0]
    assert epoch_length(drifting).spread > epoch_length(scattering).spread


def test_even_power_is_foretold_exactly_and_the_interval_narrows():
    progress = Progress(20)
    found = []
    for _ in range(20):
        progress.add(*epoch(100.0))
        found.append(progress.predict())

    assert [one.energy_j for one in found] == pytest.approx([20_000.0] * 20)
    widths = [one.high_j - one.low_j for one in found]
    assert widths[0] > widths[1] > widths[9] > widths[18]
    assert found[-1].low_j == found[-1].high_j == pytest.approx(20_000.0)
    assert (found[4].so_far_j, found[4].left_s) == pytest.approx((5_000.0, 150.0))


def test_after_the_first_epoch_it_is_said_to_be_a_guess():
    progress = Progress(20)
    progress.add(*epoch(100.0))
    assert "little more than a guess" in str(progress.predict())
    progress.add(*epoch(100.0))
    assert "guess" not in str(progress.predict())


@pytest.mark.parametrize("done", [3, 6, 15])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(done):
    """Power and lengths scatter from epoch to epoch, and the first is slow and cold."""
    rng = np.random.default_rng(done)
    held = []
    for _ in range(150):
        levels_w = rng.normal(120.0, 4.0, 30)
        lengths_s = rng.normal(10.0, 0.4, 30)
        levels_w[0], lengths_s[0] = 60.0, 18.0
        progress, true_j = Progress(30), float(levels_w @ lengths_s)
        for level_w, length_s in zip(levels_w[:done], lengths_s[:done], strict=True):
            progress.add(*epoch(level_w, length_s, 0.5))
        found = progress.predict()
        held.append(found.low_j <= true_j <= found.high_j)
    assert np.mean(held) >= 0.9


def test_a_base_that_will_thaw_makes_the_interval_wide_until_then():
    plain, thawing = Progress(50), Progress(50, FINE_TUNING)
    for _ in range(3):
        plain.add(*epoch(100.0))
        thawing.add(*epoch(100.0))
    ahead = thawing.predict()
    assert ahead.high_j > plain.predict().high_j
    assert ahead.energy_j > plain.predict().energy_j
    assert "may still change" in str(ahead)


def test_a_sensor_that_is_lost_leaves_the_energy_unknown_and_never_smaller():
    progress = Progress(10)
    progress.add(*epoch(100.0))
    progress.add(10.0, None, reason="gpu:0: unplugged")
    progress.add(*epoch(100.0))
    found = progress.predict()
    assert found.energy_j is found.so_far_j is None
    assert "energy unknown" in str(found)
    assert "unplugged" in str(found)
    assert found.left_s == pytest.approx(70.0)


def test_more_epochs_than_announced_are_no_error():
    progress = Progress(2)
    for _ in range(3):
        progress.add(*epoch(100.0))
    found = progress.predict()
    assert (found.left_s, found.energy_j) == pytest.approx((0.0, 3_000.0))


def test_a_training_at_a_known_power_is_foretold_while_it_is_measured(steady):
    """The card of the recording draws 100 W, whatever this machine does."""
    pause = threading.Event()
    with joulelab.TrainingForecast(8, meters=f"replay:{steady}", label="steady") as forecast:
        for _ in range(8):
            pause.wait(0.12)
            forecast.epoch_done()

    result, found = forecast.result, forecast.predictions
    assert result.energy_j == pytest.approx(100.0 * result.duration_s, rel=0.01)
    assert forecast.measurement.energy_j == pytest.approx(result.energy_j, rel=0.05)
    assert found[3].power_w == pytest.approx(100.0, rel=0.02)
    assert found[3].so_far_j == pytest.approx(100.0 * found[3].elapsed_s, rel=0.02)
    assert result.comparable
    assert "predicted after epoch" in str(result)
    assert result.to_dict()["predictions"][3]["error"] == result.error_of(found[3])


def test_a_real_training_is_foretold_from_the_estimate():
    import torch
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(1)
    images, labels = torch.randn(512, 64), torch.randint(0, 10, (512,))
    network = torch.nn.Linear(64, 10)
    adam = torch.optim.Adam(network.parameters())
    with joulelab.TrainingForecast(6, "cpu", meters="estimate") as forecast:
        for _ in range(6):
            for _ in range(30):
                adam.zero_grad()
                cross_entropy(network(images), labels).backward()
                adam.step()
            said = str(forecast.epoch_done())
            assert said.startswith(f"epoch {len(forecast.predictions)} of 6: ")
    result = forecast.result
    assert result.comparable
    assert math.isfinite(result.energy_j)
    assert [one.so_far_j for one in forecast.predictions] == sorted(
        one.so_far_j for one in forecast.predictions
    )
    assert forecast.predictions[-1].energy_j <= result.energy_j


def test_a_training_that_stops_early_is_not_compared(steady):
    with joulelab.TrainingForecast(5, meters=f"replay:{steady}") as forecast:
        forecast.epoch_done()
    assert not forecast.result.comparable
    assert "1 of the 5 announced epochs were done" in str(forecast.result)


def test_an_error_of_the_training_comes_through(steady):
    forecast = joulelab.TrainingForecast(5, meters=f"replay:{steady}")
    with pytest.raises(ZeroDivisionError), forecast:  # noqa: PT012 - the epoch before it counts
        forecast.epoch_done()
        raise ZeroDivisionError
    assert forecast.result.done == 1


def test_calls_in_the_wrong_order_are_explained(steady):
    forecast = joulelab.TrainingForecast(2, meters=f"replay:{steady}")
    for early in (forecast.epoch_done, forecast.stop, forecast.so_far):
        with pytest.raises(MeterError, match="'training' has not been measured yet"):
            early()
    with forecast:
        forecast.epoch_done()
        assert forecast.so_far().duration_s > 0
        with pytest.raises(MeterError, match="is already being measured"):
            forecast.start()
        with pytest.raises(MeterError, match="has not ended"):
            _ = forecast.result
    assert forecast.stop() is forecast.result
    for late in (forecast.epoch_done, forecast.start):
        with pytest.raises(MeterError, match="has ended"):
            late()


def test_epochs_that_end_together_count_as_often_as_there_are_of_them():
    """Steps of milliseconds are not measured each."""
    single, parts = Progress(100), Progress(100)
    for _ in range(20):
        single.add(2.0, 100.0)
    parts.add(2.0, 100.0)
    parts.add(8.0, 400.0, epochs=4)
    parts.add(30.0, 1500.0, epochs=15)
    one, together = single.predict(), parts.predict()
    assert (together.done, together.elapsed_s) == (one.done, one.elapsed_s)
    assert together.energy_j == pytest.approx(one.energy_j)
    assert together.left_s == pytest.approx(one.left_s)
    # A part counts by its epochs, and not as one of two.
    assert epoch_length([1.0, 4.0, 2.0], [1, 10, 10]).mean_s == pytest.approx(2.0)
    assert epoch_length([1.0, 4.0, 2.0], [1, 1, 3]).mean_s == pytest.approx(2.0)


@pytest.mark.parametrize("epochs", [0, -1, 2.5, True, "10"])
def test_an_impossible_number_of_epochs_is_refused(epochs):
    with pytest.raises(UsageError, match="epochs="):
        joulelab.TrainingForecast(epochs)


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(SpecError, match="cuda:97"):
        joulelab.TrainingForecast(3, "cuda:97")
