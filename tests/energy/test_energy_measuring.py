"""Measuring a block or a function, with meters whose answers are known."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import types

import pytest
from fake_meter import FakeMeter, channel

import joulelab
from joulelab.energy.meter import Detector, meters
from joulelab.energy.monitor import Monitor
from joulelab.energy.reading import Status
from joulelab.energy.shared_meters import close_shared
from joulelab.errors import (
    BudgetSpentError,
    DeviceBusyError,
    MeterError,
    SettingsError,
    UsageError,
)

POWER_W = 100.0


@meters.register("steady")
class Steady(Detector):
    """A counter into which 100 W flow, and the power beside it."""

    automatic = False
    events: list[str] = []  # noqa: RUF012 - emptied by the tests that read it

    def detect(self):
        def joules():
            self.events.append("read")
            return POWER_W * time.monotonic()

        meter = FakeMeter((channel(), joules), (channel(kind="power"), lambda: POWER_W))
        return [meter], []


@pytest.fixture(autouse=True)
def fresh_meters():
    yield
    close_shared()


def steady(label="", **options):
    return joulelab.measure(label, meters=["steady"], **options)


def about(measurement, rel=0.05):
    return pytest.approx(POWER_W * measurement.duration_s, rel=rel)


def test_a_block_is_measured():
    with steady("epoch") as m:
        time.sleep(0.1)
    assert m.energy_j == about(m.result)
    assert m["gpu:0"].source == "fake-counter"
    assert m["gpu:0"].check_j == about(m.result)
    assert (m.status, m.result.label) == (Status.MEASURED, "epoch")
    assert 0.1 <= m.duration_s < 5


def test_an_error_in_the_block_passes_and_the_reading_is_kept():
    m = steady()

    def fail_later():
        time.sleep(0.05)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), m:
        fail_later()
    assert m.status is Status.MEASURED
    assert POWER_W * 0.05 <= m.energy_j <= POWER_W * m.duration_s * 1.001


def test_blocks_nest_and_overlap():
    outer, late = steady("outer"), steady("late")
    with outer:
        with steady("inner") as inner:
            time.sleep(0.05)
        late.start()
        time.sleep(0.05)
    time.sleep(0.05)
    late.stop()
    for m in (outer, inner, late):
        assert m.energy_j == about(m.result, rel=0.1)
    assert outer.energy_j > inner.energy_j


def test_blocks_of_several_threads_are_independent():
    done = []

    def work(pause_s):
        with steady(f"{pause_s}") as m:
            time.sleep(pause_s)
        done.append((pause_s, m))

    threads = [threading.Thread(target=work, args=(0.03 * n,)) for n in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 5
    for pause_s, m in done:
        assert m.result.label == f"{pause_s}"
        assert m.duration_s >= pause_s
        assert m.energy_j == about(m.result, rel=0.1)


def test_a_block_may_be_left_in_another_thread_than_it_was_entered():
    m = steady()
    m.start()
    time.sleep(0.1)
    thread = threading.Thread(target=m.stop)
    thread.start()
    thread.join()
    assert m.energy_j == about(m.result, rel=0.2)


def test_tasks_of_an_event_loop_have_a_window_each():
    async def task(pause_s):
        with steady() as m:
            await asyncio.sleep(pause_s)
        return m

    async def both():
        return await asyncio.gather(task(0.05), task(0.15))

    short, long = asyncio.run(both())
    # The windows overlap, so both hold the machine's energy of their own time.
    assert short.energy_j == about(short.result, rel=0.1)
    assert long.energy_j > 2 * short.energy_j


def test_an_open_block_says_what_it_has_used_so_far():
    with steady() as m:
        time.sleep(0.03)
        first = m.so_far().energy_j
        time.sleep(0.03)
        assert m.so_far().energy_j > first > 0
    assert m.energy_j > first


def test_what_is_not_measured_yet_says_so():
    m = steady("later")
    with pytest.raises(MeterError, match="'later' has not been measured yet"):
        _ = m.energy_j
    for early in (m.stop, m.so_far):
        with pytest.raises(MeterError, match="'later' has not been measured yet"):
            early()
    with m:
        with pytest.raises(MeterError, match="is already being measured"):
            m.start()
        with pytest.raises(MeterError, match="'later' has not ended"):
            _ = m.result
    assert m.stop() is m.result is m.result() is m.so_far()


def test_the_same_object_measures_anew():
    m = steady()
    with m:
        time.sleep(0.01)
    first = m.result
    with m:
        time.sleep(0.05)
    assert m.result is not first
    assert m.duration_s > 0.05


def test_idle_power_gives_net_energy():
    assert joulelab.measure_idle(0.1, meters=["steady"])["gpu:0"] == pytest.approx(100, rel=0.05)
    with steady() as m:
        time.sleep(0.1)
    assert abs(m.net_j) < 0.1 * m.energy_j
    with pytest.raises(UsageError, match="idle power of -1 s is not possible"):
        joulelab.measure_idle(-1, meters=["steady"])


def test_one_domain_is_named_without_a_list():
    with steady(domains="gpu:0") as m:
        pass
    assert m.result.domains == ("gpu:0",)


def test_a_decorated_function_gives_what_it_gave_and_keeps_its_measurements():
    @joulelab.measured(meters=["steady"])
    def add(a, b=1):
        """Add."""
        time.sleep(0.02)
        return a + b

    assert add(1, b=2) == 3
    assert add(5) == 6
    assert add.__name__ == "add"
    assert add.__doc__ == "Add."
    assert [one.label.endswith("add") for one in add.measurements] == [True, True]
    assert all(one.energy_j == about(one, rel=0.2) for one in add.measurements)


def test_a_decorated_function_that_raises_is_measured_all_the_same():
    @joulelab.measured(label="failing", meters=["steady"])
    def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert fail.measurements[-1].label == "failing"


def test_methods_coroutines_and_generators_are_measured_until_they_end():
    class Model:
        @joulelab.measured(meters=["steady"])
        def fit(self, value):
            return self, value

    model = Model()
    assert model.fit(3) == (model, 3)
    assert len(Model.fit.measurements) == 1

    @joulelab.measured(meters=["steady"])
    async def wait(pause_s):
        await asyncio.sleep(pause_s)
        return "done"

    assert asyncio.run(wait(0.05)) == "done"
    assert wait.measurements[-1].duration_s >= 0.05

    @joulelab.measured(meters=["steady"])
    def count(n):
        for number in range(n):
            time.sleep(0.02)
            yield number
        return "end"

    assert list(count(3)) == [0, 1, 2]
    assert count.measurements[-1].duration_s >= 0.06

    @joulelab.measured(meters=["steady"])
    async def stream(n):
        for number in range(n):
            await asyncio.sleep(0.02)
            yield number

    async def collect():
        return [item async for item in stream(3)]

    assert asyncio.run(collect()) == [0, 1, 2]
    assert stream.measurements[-1].duration_s >= 0.06


def fake_torch(monkeypatch, synchronize, used=(0,)):
    """A torch whose GPUs note in the events of the meter that they were waited for."""
    cuda = types.SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 3,
        current_device=lambda: 0,
        memory_reserved=lambda index: int(index in used),
        synchronize=synchronize,
    )
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    return cuda


def test_the_devices_in_use_are_synchronised_before_the_meters_are_read(monkeypatch):
    fake_torch(monkeypatch, lambda index: Steady.events.append(f"wait {index}"), used=(2,))
    with steady(interval_s=60.0):
        pass
    Steady.events.clear()
    with steady(interval_s=60.0):
        Steady.events.append("block")
    assert Steady.events == ["wait 0", "wait 2", "read", "block", "wait 0", "wait 2", "read"]


def test_a_device_that_cannot_be_synchronised_is_flagged_and_hides_no_error(monkeypatch):
    def broken(_):
        raise RuntimeError("CUDA error: device-side assert triggered\nmore of it")

    fake_torch(monkeypatch, broken)
    m = steady()
    with pytest.raises(ValueError, match="of the block"), m:
        raise ValueError("of the block")
    flag = "the device could not be synchronised: CUDA error: device-side assert triggered"
    assert m.result.flags.count(flag) == 1


def test_torch_is_not_imported_for_it_and_a_program_ends_although_a_block_is_open():
    program = """
import sys, joulelab
with joulelab.measure("x", meters=["estimate"]): pass
joulelab.measure("open", meters=["estimate"]).start()
print("torch" in sys.modules)
"""
    assert output_of(program) == "False"


def test_importing_joulelab_imports_nothing_heavy():
    heavy = "{'numpy', 'pandas', 'torch', 'scipy', 'pynvml', 'psutil', 'matplotlib', 'pydantic'}"
    assert output_of(f"import sys, joulelab; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_without_a_sensor_strict_is_an_error_that_says_what_to_do():
    with pytest.raises(MeterError, match="nothing can be measured here") as caught:
        Monitor(strict=True, meters=["estimate"])
    assert "joulelab doctor" in caught.value.hint


def test_without_a_sensor_there_are_estimates_that_are_marked():
    with joulelab.measure(meters=["estimate"]) as m:
        time.sleep(0.01)
    assert m.status is Status.ESTIMATED
    assert "estimated" in str(m)


def test_options_that_cannot_be_are_refused():
    with pytest.raises(SettingsError, match="no option 'meter'") as caught:
        joulelab.measure("x", meter="nvml").start()
    assert "meters" in caught.value.hint
    with pytest.raises(SettingsError, match="interval"):
        steady(interval_s=0.0).start()
    with pytest.raises(SettingsError, match="busy='maybe'"):
        steady(busy="maybe").start()
    with pytest.raises(MeterError, match="'gpu:7' cannot be read here") as caught:
        steady(domains=["gpu:7"]).start()
    assert "gpu:0" in caught.value.hint
    with pytest.raises(UsageError):
        steady(place="Atlantis").start()
    with pytest.raises(UsageError, match="PUE"):
        steady(place="NLD", pue=0.5).start()


def test_carbon_is_booked_with_its_source_and_year():
    with steady(place="NLD", pue=1.5) as m:
        time.sleep(0.05)
    footprint = m.result.footprint
    assert m.co2e_g == pytest.approx(m.energy_j / 3.6e6 * 1.5 * footprint.g_per_kwh)
    assert footprint.year > 2000
    assert "codecarbon" in footprint.source
    with steady() as m:
        pass
    assert m.co2e_g is None


def test_an_intensity_over_time_is_weighted_by_when_the_energy_was_used(tmp_path):
    path = tmp_path / "intensity.csv"
    now = time.time()
    rows = [f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(now + n))},500" for n in (-10, 60)]
    path.write_text("time,g_per_kwh\n" + "\n".join(rows) + "\n")
    with steady(place=str(path)) as m:
        time.sleep(0.05)
    assert m.co2e_g == pytest.approx(m.energy_j / 3.6e6 * 500)


HOLD = """
import sys, time
from joulelab.energy.lock import DeviceLock
lock = DeviceLock("gpu:0", "somebody else's epochs")
lock.acquire()
print("held", flush=True)
sys.stdin.readline()
lock.release()
time.sleep(60)
"""


@pytest.fixture
def other_measurement():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD], **pipes) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_another_measurement_on_the_device_is_flagged(other_measurement):
    with steady() as m:
        pass
    assert any("somebody else's epochs" in flag for flag in m.result.flags)


def test_another_measurement_on_the_device_is_refused_on_request(other_measurement):
    with pytest.raises(DeviceBusyError, match="is measuring on gpu:0"):
        steady(busy="refuse").start()


def test_a_device_that_cannot_be_locked_is_flagged_and_never_silently_shared(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    for name in ("JOULELAB_LOCK_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "file"))
    with steady() as m:
        pass
    assert any("gpu:0 cannot be locked" in flag for flag in m.result.flags)
    with pytest.raises(MeterError, match="cannot be locked"):
        steady(busy="wait").start()


def test_another_measurement_on_the_device_is_waited_for_on_request(other_measurement):
    said = []

    def let_go(what):
        said.append(what)
        other_measurement.stdin.write(b"\n")
        other_measurement.stdin.flush()

    with steady(busy="wait", on_wait=let_go) as m:
        pass
    assert "somebody else's epochs" in said[0]
    assert m.result.flags == ()


def test_a_block_in_a_forked_process_has_meters_of_its_own():
    with steady():
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                with steady() as m:
                    time.sleep(0.05)
                os.write(writing, json.dumps([m.energy_j, m.duration_s]).encode())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
    energy_j, duration_s = json.loads(os.read(reading, 1000))
    assert energy_j == pytest.approx(POWER_W * duration_s, rel=0.2)


def test_a_notebook_shows_a_table_with_nothing_unescaped():
    with steady("<b>epoch</b>") as m:
        time.sleep(0.01)
    page = m._repr_html_()
    assert "<table>" in page
    assert "&lt;b&gt;epoch" in page
    assert "<b>epoch" not in page
    assert m.result._repr_html_() == page


def test_the_trace_is_a_table_and_a_file(tmp_path):
    with steady("epoch", interval_s=0.02) as m:
        time.sleep(0.1)
    trace = m.trace()
    assert set(trace["source"]) == {"fake-counter", "fake-power"}
    assert trace["t_s"].between(0, m.duration_s).all()
    m.save_trace(tmp_path / "epoch.parquet")
    from joulelab.energy.traces.recording import read_recording

    again = read_recording(tmp_path / "epoch.parquet").measure()
    assert again.energy_j == pytest.approx(m.energy_j, rel=0.02)


def output_of(program):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_block_asks_whether_its_budget_is_spent():
    with joulelab.measure(budget="1 h") as kept:
        assert not kept.check()
    with joulelab.measure(budget="0.01 s", on_budget="flag") as flagged:
        time.sleep(0.02)
        assert flagged.check()
        assert flagged.over
    with joulelab.measure(budget="0.01 s") as raising:
        time.sleep(0.02)
        with pytest.raises(BudgetSpentError, match=r"of a budget of 10\.0 ms are spent"):
            raising.check()
    assert raising.energy_j > 0
    with joulelab.measure() as without:
        assert not without.check()


def test_an_impossible_budget_is_refused_before_the_block():
    with pytest.raises(UsageError, match="only trainings by joulelab have epochs"):
        joulelab.measure(budget="3 epochs")
    with pytest.raises(UsageError, match="needs the origin of the electricity"):
        joulelab.measure(budget="3 gCO2e")
    joulelab.measure(budget="3 gCO2e", place="NLD")
