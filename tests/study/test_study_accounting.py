"""What counts as the energy of a run."""

import time
from dataclasses import replace

import pytest
from fake_meter import channel

from joulelab.energy.detection import open_recorder
from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status
from joulelab.files import FileLock
from joulelab.study.accounting import Ledger, counted, devices_read
from joulelab.study.executor import Executor, Job


def reading(domain, gross_j, status=Status.MEASURED, within=("wall",)):
    return Reading(domain, "s", status, gross_j, 0.0, 1.0, 10.0, within=within)


def total(*readings, training="gpu:0", domains=None):
    measurement = Measurement("m", 0.0, 10.0, readings, 2, 0.1)
    return counted(measurement, domains, training)


GPU = reading("gpu:0", 200.0)
OTHER_GPU = reading("gpu:1", 70.0)
CPU_ESTIMATE = reading("cpu:0", 40.0, Status.ESTIMATED)
LOST_GPU = reading("gpu:0", None, Status.MISSING)


def test_a_measured_gpu_counts_and_an_estimate_beside_it_does_not():
    sum_ = total(GPU, CPU_ESTIMATE, OTHER_GPU)
    assert (sum_.gross_j, sum_.status, sum_.domains) == (200.0, Status.MEASURED, ("gpu:0",))


def test_a_time_too_short_for_the_sensor_counts_the_same_domains():
    short = replace(GPU, status=Status.ESTIMATED, too_short=True)
    sum_ = total(short, CPU_ESTIMATE, OTHER_GPU)
    assert (sum_.gross_j, sum_.status, sum_.domains) == (200.0, Status.ESTIMATED, ("gpu:0",))
    assert sum_.too_short
    assert total(short, reading("cpu:0", 50.0)).too_short, "the rest is measured"
    assert not total(GPU).too_short
    assert not total(short, CPU_ESTIMATE, domains=["gpu:0", "cpu:0"]).too_short


def test_everything_that_is_measured_on_the_way_counts():
    assert total(GPU, reading("cpu:0", 50.0)).gross_j == 250.0


def test_without_a_sensor_on_the_processor_the_estimate_counts_and_is_marked():
    sum_ = total(CPU_ESTIMATE, reading("dram:0", 2.0, Status.ESTIMATED), training="cpu")
    assert (sum_.gross_j, sum_.status) == (42.0, Status.ESTIMATED)


def test_a_gpu_that_cannot_be_read_is_not_replaced_by_the_processor():
    for readings in ((LOST_GPU, CPU_ESTIMATE), (CPU_ESTIMATE,), (LOST_GPU, reading("cpu:0", 5.0))):
        sum_ = total(*readings)
        assert (sum_.gross_j, sum_.status) == (None, Status.MISSING)


def test_a_second_socket_that_is_lost_makes_the_sum_missing():
    lost = reading("cpu:1", None, Status.MISSING)
    assert total(reading("cpu:0", 50.0), lost, training="cpu").gross_j is None


def test_the_wall_covers_whatever_trains():
    sum_ = total(reading("wall", 500.0, within=()), GPU)
    assert (sum_.gross_j, sum_.domains) == (500.0, ("wall",))
    sum_ = total(reading("wall", 500.0, within=()), LOST_GPU)
    assert (sum_.gross_j, sum_.domains) == (500.0, ("wall",))


def test_a_container_makes_up_for_a_part_that_cannot_be_read():
    psys = reading("psys:0", 90.0)
    lost = Reading("cpu:0", "none", Status.MISSING, None, None, None, 10.0)
    assert total(psys, lost, training="cpu").gross_j == 90.0


def test_a_named_domain_that_is_absent_makes_the_sum_missing():
    assert total(GPU, domains=["gpu:0", "psys:0"]).gross_j is None


def test_domains_that_the_study_names_are_all_that_counts():
    assert total(GPU, CPU_ESTIMATE, domains=["cpu:0"]).gross_j == 40.0


CHANNELS = [channel("gpu:0"), channel("gpu:1"), channel("cpu:0"), channel("dram:0")]
ESTIMATES = [channel("cpu:0", status=Status.ESTIMATED), channel("wall", comparison=True)]


@pytest.mark.parametrize(
    ("channels", "domains", "device", "devices"),
    [
        (CHANNELS, None, "gpu:1", ["cpu", "gpu:1"]),
        (CHANNELS[:2], None, "gpu:1", ["gpu:1"]),
        (CHANNELS[:2] + ESTIMATES, None, "gpu:1", ["gpu:1"]),
        (CHANNELS, ["gpu:0"], "gpu:0", ["gpu:0"]),
        (ESTIMATES, None, "cpu", ["cpu"]),
    ],
)
def test_a_run_has_every_sensor_that_counts_for_itself(channels, domains, device, devices):
    assert devices_read(channels, domains, device) == devices


class Booked:
    """A store that keeps the kinds of what is booked, and when each began and how long it took."""

    def __init__(self):
        self.kinds, self.spans = [], []

    def session(self):
        return 1

    def book(self, session, kind, measurement, *rest):
        self.kinds.append(kind)
        self.spans.append((kind, measurement.duration_s))


def test_a_strategy_is_measured_under_the_lock_of_the_device(tmp_path, monkeypatch):
    monkeypatch.setenv("JOULELAB_LOCK_DIR", str(tmp_path))
    store = Booked()
    with open_recorder(["estimate"], interval_s=0.02) as meters:
        ledger = Ledger(store, meters, None, "cpu")
        ledger.switch("between")
        with ledger.tuning():
            assert not FileLock(tmp_path / "joulelab-cpu.lock").try_to_take()
        other = FileLock(tmp_path / "joulelab-cpu.lock")
        assert other.try_to_take()
        other.give_back()
        ledger.close()
    assert store.kinds == ["between", "tuner", "between"]


class Working(Executor[Job, None]):
    """A job that takes no time, or is interrupted before it begins."""

    interrupted = False

    def _get_ready(self, job):
        if self.interrupted:
            raise KeyboardInterrupt

    def _prepare(self, job):
        return False

    def _carry_out(self, job, progress):
        return None


PAUSE_S = 0.3
"""Time that a window has at least, of which nothing may be lost."""
JOB = Job("job", "cpu", 1)


def test_no_time_is_lost_between_the_ledger_and_an_executor(tmp_path, monkeypatch):
    monkeypatch.setenv("JOULELAB_LOCK_DIR", str(tmp_path))
    store = Booked()
    with open_recorder(["estimate"], interval_s=0.02) as meters:
        began_s = time.monotonic()
        ledger = Ledger(store, meters, None, "cpu")
        executor = Working(meters, "cpu", 0.0, print)
        ledger.switch("idle")
        with ledger.paused(executor):
            time.sleep(PAUSE_S)
            outcome = executor.run(JOB, lambda _: None)
            time.sleep(PAUSE_S)
        ledger.switch("between")
        ledger.close()
        took_s = time.monotonic() - began_s
    booked = dict(store.spans)
    assert booked["idle"] >= PAUSE_S
    assert booked["between"] >= PAUSE_S
    ended = (outcome.measurement, outcome.waiting)
    in_all_s = sum(booked.values()) + sum(one.duration_s for one in ended)
    assert 2 * PAUSE_S <= in_all_s <= took_s
    assert store.kinds == ["idle", "between"]


def test_a_wait_that_is_interrupted_is_booked(tmp_path, monkeypatch):
    monkeypatch.setenv("JOULELAB_LOCK_DIR", str(tmp_path))
    store = Booked()
    with open_recorder(["estimate"], interval_s=0.02) as meters:
        ledger = Ledger(store, meters, None, "cpu")
        executor = Working(meters, "cpu", 0.0, print)
        executor.interrupted = True
        ledger.switch("between")
        with pytest.raises(KeyboardInterrupt), ledger.paused(executor):
            executor.run(JOB, lambda _: None)
        ledger.close()
    assert store.kinds == ["between", "waiting"]
