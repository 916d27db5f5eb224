"""Real programs whose functions use known processor time, with a meter that counts it."""

import gc
import json
import math
import os
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_meter import FakeMeter, channel

import joulelab
from joulelab.energy.monitor import Monitor
from joulelab.energy.reading import Status
from joulelab.energy.recorder import Recorder
from joulelab.errors import MeterError, StoreWriteError, UsageError
from joulelab.profiling.profiler import Profiling
from joulelab.profiling.result import UNSEEN

CHROMIUM = Path("/usr/bin/chromium")
W = 10.0
MOST_OFF = 0.03
BIG = 7**60_000


def burn(seconds):
    """Use processor time, however busy the machine is."""
    end_s = time.thread_time() + seconds
    while time.thread_time() < end_s:
        pass


def half():
    burn(0.4)


def third():
    burn(0.24)


def fifth():
    burn(0.16)


def program():
    half()
    third()
    fifth()


def waits():
    time.sleep(0.15)


class Profiles:
    """Makes profiles with meters of a test: channels, and the functions that give their values."""

    def __init__(self):
        self.monitors = []

    def __call__(self, *channels, idle_w=None):
        recorder = Recorder([FakeMeter(*channels)], interval_s=0.02)
        recorder.idle_w = idle_w or {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("joulelab.energy.open_meters.open_recorder", lambda *_, **__: recorder)
            monitor = Monitor()
        self.monitors.append(monitor)
        return Profiling(lambda: monitor, "test")

    def of_processor_time(self):
        """A profile of processor time, at ten watts."""
        return self((channel("cpu:0"), lambda: W * time.process_time()), idle_w={"cpu:0": 0.0})


@pytest.fixture(scope="module")
def profiling():
    made = Profiles()
    yield made
    for monitor in made.monitors:
        monitor.close()


@pytest.fixture
def counted(profiling):
    return profiling.of_processor_time()


@pytest.fixture(scope="module")
def known(profiling):
    """The profile of a program whose functions use known shares."""
    # Where other programs take the processor at the wrong moment, a sample may be late.
    for _ in range(3):
        with profiling.of_processor_time() as p:
            program()
        if all(abs(error) < MOST_OFF for error in errors(p)):
            break
    return p


def named(profile, kind="self_share"):
    return {one.function.name: getattr(one, kind) for one in profile.functions}


def errors(profile):
    """Of the shares that `program` is known to use."""
    shares = named(profile, "total_share")
    known = {"half": 0.5, "third": 0.3, "fifth": 0.2}
    return [shares.get(name, 0.0) - share for name, share in known.items()]


def test_shares_are_the_known_ones_within_three_points(known):
    assert max(map(abs, errors(known))) < MOST_OFF
    assert named(known)["burn"] == pytest.approx(1.0, abs=0.05)
    top = known.result.top
    assert str(top.function).startswith("burn (test_profiling_profiler.py:")
    assert (known.status, top.status) == (Status.MEASURED, Status.ESTIMATED)


def test_functions_add_up_to_the_measured_energy(known):
    whole_j = known.energy_j
    assert math.fsum(one.self_j for one in known.functions) == pytest.approx(whole_j, rel=1e-12)
    assert known.result.calls.total == pytest.approx(whole_j, rel=1e-12)
    assert whole_j > 0.8 * W


def test_threads_share_by_the_time_that_they_run(counted):
    def worker():
        burn(0.2)

    def idle():
        time.sleep(0.3)

    threads = [threading.Thread(target=one) for one in (worker, idle)]
    with counted as p:
        for one in threads:
            one.start()
        burn(0.1)
        for one in threads:
            one.join()
    shares = named(p, "total_share")
    name = "test_threads_share_by_the_time_that_they_run"
    assert shares[f"{name}.<locals>.worker"] == pytest.approx(2 / 3, abs=0.1)
    assert shares.get(f"{name}.<locals>.idle", 0.0) < 0.05
    assert shares[name] == pytest.approx(1 / 3, abs=0.1)


def test_without_clocks_of_threads_those_that_moved_share(counted, monkeypatch):
    monkeypatch.setattr("joulelab.profiling.clocks._clock", lambda *_: None)
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    with counted as p:
        burn(0.15)
    stop.set()
    other.join()
    assert named(p)["burn"] > 0.5


def test_energy_in_which_no_thread_ran_goes_to_the_one_that_waits(profiling):
    began_s = time.monotonic()
    constant = profiling((channel("cpu:0"), lambda: 30.0 * (time.monotonic() - began_s)))
    stop = threading.Event()
    sleeper = threading.Thread(target=stop.wait)
    sleeper.start()
    with constant as p:
        waits()
    stop.set()
    sleeper.join()
    assert named(p, "total_j")["waits"] > 0.6 * 0.15 * 30.0


def test_energy_of_a_gpu_is_where_the_program_waits_and_said_to_be(profiling):
    began_s = time.monotonic()
    gpu = (channel("gpu:0"), lambda: 300.0 * (time.monotonic() - began_s))
    cpu = (channel("cpu:0"), lambda: W * time.process_time())
    both = profiling(gpu, cpu, idle_w={"cpu:0": 0.0})

    def heartbeat():
        burn(0.02)

    with both as p:
        other = threading.Thread(target=heartbeat)
        other.start()
        waits()
        other.join()
    waiting = next(one for one in p.functions if one.function.name == "waits")
    assert waiting.gpu_j > 0.6 * 0.15 * 300.0
    whole_j = p.measurement["gpu:0"].gross_j
    assert math.fsum(one.gpu_j for one in p.functions) == pytest.approx(whole_j)
    shown = str(p)
    assert "self, GPU" in shown
    assert "mostly at the call that waits for the device" in shown


def test_code_that_holds_the_lock_of_the_interpreter_counts_for_its_function(counted):
    def computes():
        for _ in range(12):
            BIG * BIG  # an operator, which lets no other thread in
            after()

    def after():
        return sum(range(10))

    with counted as p:
        computes()
    name = "test_code_that_holds_the_lock_of_the_interpreter_counts_for_its_function.<locals>"
    assert named(p)[f"{name}.computes"] > 0.5


def test_phases_take_the_energy_of_their_time(counted):
    with counted as p:
        with joulelab.phase("load"):
            burn(0.1)
        for _ in range(5):
            with joulelab.phase("train"), joulelab.phase("step"):
                burn(0.05)
        time.sleep(0.05)
    assert p.phases["train"].times == 5
    load_j, train_j = p.phases["load"].energy_j, p.phases["train"].energy_j
    assert train_j / (load_j + train_j) == pytest.approx(5 / 7, abs=0.1)
    assert p.phases["step"].energy_j == pytest.approx(train_j, rel=0.1)
    assert 0.7 * p.energy_j < load_j + train_j <= p.energy_j * (1 + 1e-9)
    assert "train" in str(p)


def test_a_phase_around_a_profile_counts_from_its_beginning(counted):
    with joulelab.phase("outer"):
        burn(0.02)
        with counted as p:
            burn(0.05)
    outer = p.phases["outer"]
    assert outer.times == 1
    assert outer.duration_s <= p.measurement.duration_s
    assert outer.energy_j == pytest.approx(p.energy_j, rel=0.1)


def test_a_profile_in_a_profile(counted):
    with counted as outer, joulelab.profile(meters=["estimate"]) as inner:
        burn(0.1)
    for p in (outer, inner):
        assert named(p)["burn"] > 0.5
    assert inner.status is Status.ESTIMATED


def test_the_interpreter_is_as_before(counted):
    before = sys.getswitchinterval(), threading.active_count()
    with counted:
        assert sys.getswitchinterval() < before[0]
        burn(0.02)
    assert (sys.getswitchinterval(), threading.active_count()) == before


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="collections begin between bytecodes")
def test_no_garbage_is_collected_while_the_list_of_threads_is_locked(counted):
    """A finalizer that lets another thread run would have both wait for ever."""
    began_in = []

    def collecting(phase, _):
        began_in.append(sys._getframe(1).f_code.co_name)

    thresholds = gc.get_threshold()
    gc.callbacks.append(collecting)
    try:
        with counted:
            gc.set_threshold(1)
            burn(0.1)
            gc.set_threshold(*thresholds)
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(collecting)
    assert gc.isenabled()
    assert "_look" in began_in, "what surrounds it collects"
    assert "_current_frames" not in began_in


def test_an_interval_that_the_program_sets_itself_stays(counted):
    before = sys.getswitchinterval()
    with counted:
        sys.setswitchinterval(0.123)
    set_by_program = sys.getswitchinterval()
    sys.setswitchinterval(before)
    assert set_by_program == pytest.approx(0.123)


def test_threads_that_take_turns_are_not_hurried(counted, monkeypatch):
    monkeypatch.setattr("joulelab.profiling.sampler.BATCH_S", 0.05)
    before, limit_s = sys.getswitchinterval(), time.process_time() + 20
    with counted, ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            pool.submit(burn, 0.15)
        while sys.getswitchinterval() != before and time.process_time() < limit_s:
            burn(0.01)
        seen = sys.getswitchinterval()
    assert seen == before


def test_recursion_of_any_depth_is_a_short_stack(counted):
    def deep(depth):
        return burn(0.05) if depth == 0 else deep(depth - 1)

    with counted as p:
        deep(500)
    chain = max((path for path, _ in p.result.calls.chains()), key=len)
    assert len(chain) < 100
    name = "test_recursion_of_any_depth_is_a_short_stack.<locals>.deep"
    assert named(p, "total_share")[name] <= 1.0 + 1e-9


def test_local_variables_are_not_kept_alive(counted):
    class Big:
        pass

    with counted:
        alive = [Big()]
        burn(0.05)
        del alive
        assert not [one for one in gc.get_objects() if type(one) is Big]


def test_an_error_in_the_block_is_the_programs_own_and_the_profile_is_kept(counted):
    def fails():
        burn(0.05)
        return 1 / 0

    with pytest.raises(ZeroDivisionError), counted:
        fails()
    assert named(counted.result)["burn"] > 0.5


def test_an_empty_block_has_its_energy_and_no_shares(counted):
    with counted as p:
        pass
    assert math.fsum(one.self_j for one in p.functions) == pytest.approx(p.energy_j)
    assert "shares are coarse" in str(p) or "Too short" in str(p)


def test_unknown_energy_leaves_shares_of_time(profiling):
    unreadable = profiling((channel("cpu:0"), lambda: None))
    with unreadable as p:
        burn(0.1)
    assert (p.energy_j, p.functions[0].self_j) == (None, None)
    assert p.functions[0].status is Status.MISSING
    first = str(p).splitlines()[0]
    assert first.startswith("burn (test_profiling_profiler.py:")
    assert "of the time; energy unknown" in first


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf, 100_000])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(UsageError, match="samples in a second is not possible"):
        joulelab.profile(rate=rate)


def test_what_has_not_ended_has_no_result(counted):
    with pytest.raises(MeterError, match="leave the block first"):
        counted.functions  # noqa: B018
    assert repr(counted) == "<joulelab.profile('test'): not begun>"
    counted.start()
    with pytest.raises(MeterError, match="already being measured"):
        counted.start()
    assert counted.stop() is counted.stop()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_is_not_profiled_and_cannot_end_the_profile(counted):
    usual_s = sys.getswitchinterval()
    with counted as p:
        burn(0.03)
        reads, writes = os.pipe()
        if (pid := os.fork()) == 0:
            try:
                counted.stop()
            except MeterError as error:
                told = {"said": str(error), "interval_s": sys.getswitchinterval()}
                os.write(writes, json.dumps(told).encode())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
    told = json.loads(os.read(reads, 10_000))
    os.close(reads)
    os.close(writes)
    assert "belongs to the parent process" in told["said"]
    assert told["interval_s"] == usual_s
    assert p.energy_j > 0


def test_speedscope_has_every_stack_with_its_joules(known, tmp_path):
    p = known
    p.save_speedscope(tmp_path / "out.json")
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    (profile,) = data["profiles"]
    assert (profile["type"], profile["unit"]) == ("sampled", "none")
    assert profile["name"] == "Energy in joules"
    assert len(profile["samples"]) == len(profile["weights"])
    assert math.fsum(profile["weights"]) == pytest.approx(p.energy_j)
    assert profile["endValue"] == pytest.approx(p.energy_j)
    frames = data["shared"]["frames"]
    assert all(one.get("line", 1) >= 1 for one in frames)
    stacks = [[frames[number]["name"] for number in stack] for stack in profile["samples"]]
    assert any(stack[-2:] == ["half", "burn"] for stack in stacks)
    assert all(stack == [UNSEEN] or UNSEEN not in stack for stack in stacks)


def test_the_page_needs_no_other_file_and_says_joules_and_shares(known, tmp_path):
    known.save_html(tmp_path / "out.html")
    page = (tmp_path / "out.html").read_text()
    assert "http" not in page
    assert 'src="' not in page
    assert "half (test_profiling_profiler.py:" in page
    assert "prefers-color-scheme: dark" in page
    assert page.count("<button type") > 5


def test_a_file_that_cannot_be_written_is_said(counted, tmp_path):
    with counted as p:
        pass
    with pytest.raises(StoreWriteError, match="cannot be written"):
        p.save_html(tmp_path / "nowhere" / "out.html")


@pytest.mark.long
def test_the_page_answers_taps_on_a_telephone_in_the_dark(known, tmp_path):
    browsers = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    known.save_html(tmp_path / "out.html")
    with browsers.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": 390, "height": 780},
            color_scheme="dark",
            is_mobile=True,
            has_touch=True,
        )
        errors, asked = [], []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "out.html").as_uri())
        shown = page.locator(".flame button:visible").count()
        page.locator(".flame button", has_text="half").first.tap()
        assert re.match(r"half \(.*\): [\d.]+ J, \d+\.\d %", page.locator("#said").inner_text())
        assert page.locator(".flame button:visible").count() < shown
        page.locator("#all").tap()
        assert page.locator(".flame button:visible").count() == shown
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
        assert (errors, len(asked)) == ([], 1)
        browser.close()
