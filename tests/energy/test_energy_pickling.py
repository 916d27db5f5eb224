"""Results that go to another process, or are copied, show what they showed."""

import copy
import functools
import multiprocessing
import pickle
import time

import pytest
from fake_meter import FakeMeter, channel

import joulelab
from joulelab.energy.command import run_command
from joulelab.energy.meter import Detector, meters
from joulelab.energy.monitor import Monitor
from joulelab.energy.shared_meters import close_shared
from joulelab.errors import CommandError, JoulelabError, MeterError, UnknownNameError

WAYS = {
    **{
        f"pickle {protocol}": functools.partial(
            lambda one, protocol: pickle.loads(pickle.dumps(one, protocol)), protocol=protocol
        )
        for protocol in (0, pickle.HIGHEST_PROTOCOL)
    },
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@meters.register("even")
class Even(Detector):
    """A counter into which 100 W flow."""

    automatic = False

    def detect(self):
        return [FakeMeter((channel(), lambda: 100 * time.monotonic()))], []


@pytest.fixture(autouse=True)
def fresh_meters():
    yield
    close_shared()


@pytest.fixture(params=WAYS)
def again(request):
    return WAYS[request.param]


def even(label="epoch"):
    # Nothing that is told to somebody in this process can go to another one.
    return joulelab.measure(label, meters=["even"], place="NLD", on_wait=lambda _: None)


def same(copied, original, tmp_path):
    """Whether two blocks show the same: figures, table, page, samples, and the file of them."""
    assert copied.result == original.result
    assert (str(copied), repr(copied)) == (str(original), repr(original))
    assert copied._repr_html_() == original._repr_html_()
    for name in ("energy_j", "net_j", "error_j", "status", "duration_s", "co2e_g", "label"):
        assert getattr(copied, name) == getattr(original, name)
    assert copied.so_far() == copied.stop() == original.result
    assert copied["gpu:0"] == original["gpu:0"]
    assert copied.trace().equals(original.trace())
    files = tmp_path / "copied.csv", tmp_path / "original.csv"
    for file, one in zip(files, (copied, original), strict=True):
        one.save_trace(file)
    assert files[0].read_text() == files[1].read_text()


def test_a_finished_block_can_be_pickled_and_copied(again, tmp_path):
    with even() as m:
        time.sleep(0.01)
    m.trace()
    copied = again(m)
    same(copied, m, tmp_path)
    same(again(copied), m, tmp_path)
    before = m.result
    with copied:
        pass
    assert copied.result != before
    assert m.result is before


def test_a_block_of_a_monitor_can_be_pickled_after_it_was_closed(again, tmp_path):
    with Monitor(meters=["even"]) as monitor, monitor.measure("of a monitor") as m:
        pass
    copied = again(m)
    same(copied, m, tmp_path)
    with pytest.raises(MeterError, match="this copy of 'of a monitor' has no meters"):
        copied.start()


def test_a_block_that_has_not_begun_can_be_copied_and_measured(again):
    with again(even("later")) as m:
        pass
    assert m.result.label == "later"


def test_an_open_block_says_what_can_be_pickled_instead(again):
    with even() as m:
        with pytest.raises(MeterError, match="'epoch' is still being measured") as caught:
            again(m)
        so_far = m.so_far()
        assert again(so_far) == so_far
    assert "so_far()" in caught.value.hint
    assert m.energy_j > 0


def test_an_open_monitor_says_what_can_be_pickled_instead(again):
    with Monitor(meters=["even"]) as monitor:
        with pytest.raises(MeterError, match="open meters"):
            again(monitor)
        window = monitor.recorder.open("w")
        with pytest.raises(MeterError, match="the window 'w' is open"):
            again(window)
        closed = window.close()
    copied = again(window)
    assert copied.close() == copied.so_far() == closed
    assert copied.trace_columns()["t_s"].tolist() == window.trace_columns()["t_s"].tolist()
    with pytest.raises(MeterError, match="already closed"):
        copied.lap()


def test_a_measured_command_can_be_pickled(again):
    with Monitor(meters=["even"]) as monitor:
        run = run_command(["true"], monitor, "true")
    copied = again(run)
    assert (copied.measurement, copied.exit_code) == (run.measurement, 0)
    assert copied.window.measurement == run.measurement


def test_a_forecast_can_be_pickled_once_it_has_ended(again):
    training = joulelab.TrainingForecast(2, meters=["even"], on_wait=lambda _: None)
    assert repr(again(training)) == repr(training)
    with training as forecast:
        with pytest.raises(MeterError, match="still being measured"):
            again(forecast)
        forecast.epoch_done()
        assert again(forecast.predictions) == forecast.predictions
    copied = again(forecast)
    assert copied.result == forecast.result
    assert copied.measurement == forecast.measurement
    assert copied.predictions == forecast.predictions
    assert repr(copied) == repr(forecast)


@pytest.mark.parametrize(
    "error",
    [
        JoulelabError("what", "do this"),
        CommandError("no such program", "write another", 127),
        UnknownNameError("meter", "nvlm", ["nvml"]),
    ],
)
def test_an_error_comes_back_from_another_process_as_it_was(error, again):
    copied = again(error)
    assert type(copied) is type(error)
    assert (str(copied), vars(copied)) == (str(error), vars(error))


@joulelab.measured(meters=["even"])
def square(n):
    return n * n


def measured_elsewhere(n):
    with even("elsewhere") as m:
        value = square(n)
    return value, m, square.measurements[-1]


def test_a_decorated_function_and_its_results_pass_between_processes(tmp_path):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(square, [2, 3]) == [4, 9]
        value, m, measurement = pool.apply(measured_elsewhere, (5,))
    assert value == 25
    assert (m.result.label, measurement.label) == ("elsewhere", "square")
    assert m.energy_j == pytest.approx(100 * m.duration_s, rel=0.5)
    same(pickle.loads(pickle.dumps(m)), m, tmp_path)
