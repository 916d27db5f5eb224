"""The estimate: from processor time and memory, always marked as such."""

import subprocess
import sys
import time

import psutil
import pytest

from joulelab.energy.conformance import check_meter
from joulelab.energy.detection import open_recorder
from joulelab.energy.meters.estimate import EstimateDetector, EstimateMeter
from joulelab.energy.meters.processor import Processor, descendants, table_tdp_w
from joulelab.energy.reading import Status
from joulelab.energy.recorder import Recorder
from joulelab.errors import MeterError, SettingsError, UnknownNameError


def busy(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_known_processor_has_the_tdp_of_the_table():
    assert table_tdp_w("Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz") == 125.0
    assert table_tdp_w("11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz") == 28.0
    assert table_tdp_w("AMD EPYC 7742 64-Core Processor") == 225.0


def test_an_unknown_processor_has_no_tdp_of_a_neighbour():
    assert table_tdp_w("Intel(R) Core(TM) i7-9700Q CPU @ 3.00GHz") is None
    assert table_tdp_w("Intel(R) Xeon(R) Processor @ 2.50GHz") is None


def test_the_power_of_a_logical_processor_is_its_share_of_all_sockets():
    watts, source = Processor("AMD EPYC 7742 64-Core Processor", 2, 256, virtual=False).power(None)
    assert watts == pytest.approx(225 * 2 / 256)
    assert "codecarbon" in source


def test_the_users_figure_beats_the_table():
    watts, source = Processor("AMD EPYC 7742 64-Core Processor", 1, 100, virtual=False).power(50.0)
    assert watts == 0.5
    assert "user" in source


def test_an_unknown_processor_takes_the_documented_default_and_says_so():
    watts, source = Processor("Oracle 9000", 1, 8, virtual=False).power(None)
    assert watts == 4.0
    assert "default" in source
    assert "Oracle 9000" in source


def test_processor_time_becomes_energy():
    meter = EstimateMeter(tdp_w=100.0)
    watts, _ = Processor.here().power(100.0)
    before = meter.sample()[0].value
    busy(0.2)
    used_j = meter.sample()[0].value - before
    assert used_j == pytest.approx(0.2 * watts, rel=0.2)


def test_a_child_that_has_ended_is_not_forgotten():
    meter = EstimateMeter(tdp_w=100.0)
    watts, _ = Processor.here().power(100.0)
    program = "import time\nwhile time.process_time() < 0.2: pass"
    before = meter.sample()[0].value
    subprocess.run([sys.executable, "-c", program], check=True)
    used_j = meter.sample()[0].value - before
    assert used_j > 0.18 * watts


def test_a_living_child_is_counted_and_not_twice_when_it_ends():
    meter = EstimateMeter(tdp_w=100.0)
    watts, _ = Processor.here().power(100.0)
    before = meter.sample()[0].value
    program = "import time\nwhile time.process_time() < 0.4: pass\nprint(flush=True)\ninput()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as child:
        child.stdout.readline()
        limit_s = time.monotonic() + 60
        while (alive_j := meter.sample()[0].value - before) < 0.35 * watts:
            assert time.monotonic() < limit_s, "it was not seen while it lived"
            time.sleep(0.05)
        child.communicate(b"\n")
    total_j = meter.sample()[0].value - before
    assert alive_j <= total_j
    assert 0.35 * watts < total_j < 0.8 * watts


@pytest.mark.parametrize("listed", [True, False])
def test_grandchildren_are_found_with_and_without_the_kernels_list(listed, monkeypatch):
    if not listed:
        monkeypatch.setattr("joulelab.energy.meters.processor._lists_children", lambda _: False)
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as child:
        deadline_s = time.monotonic() + 30
        while len(found := descendants(psutil.Process())) < 2 and time.monotonic() < deadline_s:
            time.sleep(0.05)
        child.stdin.close()
    assert child.pid in {process.pid for process in found}
    assert len(found) >= 2


def test_the_whole_machine_is_estimated_where_nothing_of_ours_is_run():
    tree, machine = EstimateMeter(tdp_w=100.0), EstimateMeter(tdp_w=100.0, scope="machine")
    program = "import time\nwhile time.process_time() < 0.25: pass"
    for meter in (tree, machine):
        meter.sample()
    # A process that is no descendant of this one: its parent, a shell, ends at once.
    subprocess.run(f"{sys.executable} -c '{program}' & echo", shell=True, check=True)
    before = machine.sample()[0].value
    deadline_s = time.monotonic() + 60
    while machine.sample()[0].value - before < 0.15 * Processor.here().power(100.0)[0]:
        assert time.monotonic() < deadline_s, "the machine's time did not grow"
        time.sleep(0.05)
    assert "the whole machine" in machine.channels[0].remark
    assert machine.sample()[1].value >= 0


@pytest.mark.parametrize("settings", [{"scope": "world"}, {"tdp_w": 0}, {"tdp_w": "65 W"}])
def test_settings_of_the_estimate_that_cannot_be_are_refused(settings):
    with pytest.raises(SettingsError):
        open_recorder(["estimate"], settings={"estimate": settings})


def test_the_estimate_passes_the_conformance_tests():
    for scope in ("tree", "machine"):
        check_meter(lambda scope=scope: EstimateMeter(scope=scope))


def test_every_channel_is_marked_estimated_and_says_how():
    for channel in EstimateMeter().channels:
        assert channel.status is Status.ESTIMATED
        assert channel.source == "estimate"
        assert "process tree" in channel.remark
        assert channel.relative_error >= 0.4


def test_nothing_is_estimated_that_a_sensor_reads():
    (meter,), _ = EstimateDetector(measured=["cpu:0", "gpu:0"]).detect()
    assert [channel.domain for channel in meter.channels] == ["dram:0"]
    assert len(meter.sample()) == 1
    assert EstimateDetector(measured=["wall"]).detect() == ([], [])
    assert EstimateDetector(measured=["cpu:0", "cpu:1", "dram:0"]).detect() == ([], [])


def test_a_closed_meter_gives_reasons():
    meter = EstimateMeter()
    meter.close()
    meter.close()
    assert [sample.value for sample in meter.sample()] == [None, None]


def test_an_unknown_meter_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'rapl'"):
        open_recorder(["rappl"])


def test_a_meter_asked_for_by_name_that_finds_nothing_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("JOULELAB_POWERCAP", str(tmp_path))
    with pytest.raises(MeterError, match="'rapl' cannot read anything"):
        open_recorder(["rapl"])


def test_a_new_descendant_is_found_at_the_edge_of_a_window(monkeypatch):
    """Its time belongs to the window in which it was used, not to a later one."""
    monkeypatch.setattr("joulelab.energy.meters.processor.LOOKING_SHARE", 1e-9)
    monkeypatch.setattr("joulelab.energy.meters.processor.EDGE_SHARE", 1.0)
    busy = "import time\nwhile time.process_time() < 0.25: pass\nprint('done', flush=True)\ninput()"
    with Recorder([EstimateMeter(tdp_w=100.0)], interval_s=0.05) as recorder:
        window = recorder.open("busy")
        with subprocess.Popen(
            [sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            child.stdout.readline()
            following = window.lap("quiet")
            quiet = following.close()
            child.communicate("\n")
    per_s = EstimateMeter(tdp_w=100.0)._w_per_processor
    assert window.measurement["cpu:0"].gross_j > 0.22 * per_s
    assert quiet["cpu:0"].gross_j < 0.1 * per_s
