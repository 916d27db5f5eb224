"""The real codecarbon as an instrument: without a sensor, over a powercap tree, over a stub GPU."""

import io
import logging
import threading
import time

import pytest
from codecarbon import OfflineEmissionsTracker
from codecarbon.core import cpu, hardware_cache
from codecarbon.core.units import Energy, Power
from codecarbon.external.hardware import CPU
from nvml_stub import run_program

from joulelab.energy import nvidia_cards
from joulelab.energy.conformance import check_meter
from joulelab.energy.detection import find_meters
from joulelab.energy.meter import meters
from joulelab.energy.meters import codecarbon_meter, rapl
from joulelab.energy.meters.codecarbon_meter import CodeCarbonDetector, CodeCarbonMeter, channel_of
from joulelab.energy.meters.codecarbon_tracker import Component, Totals, _components
from joulelab.energy.meters.processor import Processor
from joulelab.energy.reading import Reading, Status, total
from joulelab.errors import MeterError, SettingsError

INTERVAL_S = codecarbon_meter.SHORTEST_INTERVAL_S
PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def _fresh_codecarbon():
    """Each test has codecarbon look at the machine anew, whatever another one made it find."""
    hardware_cache.clear_cache()
    yield
    hardware_cache.clear_cache()
    assert codecarbon_threads() == []


@pytest.fixture
def no_sensor(monkeypatch):
    """A processor of 100 W by its load and memory of 10 W, whatever the machine has."""
    monkeypatch.setenv("CODECARBON_FORCE_MODE_CPU_LOAD", "true")
    monkeypatch.setenv("CODECARBON_FORCE_CPU_POWER", "100")
    monkeypatch.setenv("CODECARBON_FORCE_RAM_POWER", "10")


@pytest.fixture
def powercap(tmp_path, monkeypatch):
    """A powercap tree with one package, which codecarbon takes for the machine's."""
    zone = tmp_path / "subsystem" / "intel-rapl" / "intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0")
    (zone / "max_energy_range_uj").write_text("262143328850")
    (zone / "energy_uj").write_text("5000000")
    root = str(tmp_path / "subsystem")
    found = cpu.is_rapl_available
    monkeypatch.setattr(cpu, "is_rapl_available", lambda: found(root))

    def from_utils(output_dir, mode, **_):
        return CPU(output_dir, mode, "Fake Xeon", 100, rapl_dir=root)

    monkeypatch.setattr(CPU, "from_utils", from_utils)
    return zone / "energy_uj"


def rise(counter, microjoules):
    """Write a counter at once: codecarbon may read it at any moment, and not while it is empty."""
    whole = counter.with_name("next")
    whole.write_text(microjoules)
    whole.replace(counter)


def codecarbon_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if isinstance(one, threading.Timer)]


def test_it_ends_after_a_measurement_that_was_under_way(no_sensor, monkeypatch):
    """It would find no start time, and fail in its thread, which pytest takes for an error."""
    measuring = threading.Event()
    prepare = OfflineEmissionsTracker._prepare_emissions_data

    def slowly(tracker):
        if isinstance(threading.current_thread(), threading.Timer):
            measuring.set()
            time.sleep(0.2)
        return prepare(tracker)

    monkeypatch.setattr(OfflineEmissionsTracker, "_prepare_emissions_data", slowly)
    meter = CodeCarbonMeter("USA", INTERVAL_S)
    assert measuring.wait(PATIENCE_S)
    meter.release()


def wait_for(read):
    """The first answer that is not None."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        if (answer := read()) is not None:
            return answer
        time.sleep(0.01)
    raise AssertionError("nothing happened")


def by_domain(meter):
    return dict(zip((c.domain for c in meter.channels), meter.sample(), strict=True))


def test_what_it_only_computes_is_marked_estimated(no_sensor):
    [meter], _ = CodeCarbonDetector("NLD", INTERVAL_S).detect()
    processor = Processor.here()
    bound = 1.0 if processor.virtual else 0.4
    try:
        channels = {channel.domain: channel for channel in meter.channels}
        load = channels["cpu:0" if processor.sockets == 1 else "cpus"]
        memory = channels["dram:0"]
        for channel in (load, memory):
            assert channel.status is Status.ESTIMATED
            assert channel.source == "codecarbon"
            assert channel.kind == "counter"
            assert channel.tick_s == INTERVAL_S
            assert channel.relative_error == bound
            assert "wall" in channel.within
        assert "load of the whole machine" in load.remark
        assert "100 W" in load.remark
        assert "a constant of 10 W" in memory.remark
        about = meter.describe()
        assert about["codecarbon"].startswith("3.")
        assert about["dram:0 mode"] == "constant"
    finally:
        meter.close()


def test_its_kilowatt_hours_are_joules(no_sensor, monkeypatch):
    monkeypatch.setenv("CODECARBON_FORCE_RAM_POWER", "100")
    meter = CodeCarbonMeter("USA", INTERVAL_S)
    try:
        start_s = time.monotonic()
        start_j = by_domain(meter)["dram:0"].value

        def grown():
            energy_j = by_domain(meter)["dram:0"].value - start_j
            return energy_j if energy_j > 20 else None

        energy_j = wait_for(grown)
        # 100 W of memory; that it comes a little late is no reason for three times as much.
        assert energy_j < 3 * 100 * (time.monotonic() - start_s)
    finally:
        meter.close()


def test_it_is_between_its_last_two_totals():
    """Read as they are, a window within an interval would have no energy."""
    record = codecarbon_meter._Record(interval_s=1.0)
    for at_s, energy_j in ((100.0, 0.0), (101.0, 20.0), (102.0, 60.0)):
        record.take(Totals(at_s, {"ram": energy_j}))
    assert record.at("ram", 101.0).value == 0.0
    assert record.at("ram", 101.5).value == pytest.approx(10.0)
    assert record.at("ram", 102.75).value == pytest.approx(50.0)
    assert record.at("ram", 103.5).value == 60.0  # codecarbon is late: nothing is made up
    assert "not measured for 4.5 s" in record.at("ram", 106.5).reason


def test_it_keeps_the_contract_of_a_meter(no_sensor):
    check_meter(lambda: CodeCarbonMeter("USA", INTERVAL_S))


def test_powercap_is_measured_and_sums_to_what_the_counter_says(powercap, monkeypatch):
    monkeypatch.setattr(codecarbon_meter, "STILL_S", PATIENCE_S)
    meter = CodeCarbonMeter("USA", INTERVAL_S)
    try:
        channels = {channel.domain: channel for channel in meter.channels}
        domain = "cpu:0" if Processor.here().sockets == 1 else "cpus"
        assert channels[domain].status is Status.MEASURED
        assert channels[domain].relative_error == rapl.RELATIVE_ERROR
        assert "RAPL" in channels[domain].remark
        assert channels["dram:0"].status is Status.ESTIMATED
        assert by_domain(meter)[domain].value == 0.0
        rise(powercap, "55000000")

        def all_of_it():
            energy_j = by_domain(meter)[domain].value
            assert energy_j < 50.001
            return energy_j if energy_j > 49.999 else None

        assert wait_for(all_of_it) == pytest.approx(50.0, rel=1e-6)
    finally:
        meter.close()


def test_a_sensor_that_it_counts_as_nothing_is_unreadable(powercap):
    meter = CodeCarbonMeter("USA", INTERVAL_S)
    domain = meter.channels[0].domain
    try:
        powercap.unlink()
        reason = wait_for(lambda: by_domain(meter)[domain].reason or None)
        assert "stood still" in reason
        assert by_domain(meter)[domain].value is None
        assert by_domain(meter)["dram:0"].value > 0
    finally:
        meter.close()


@pytest.mark.parametrize(
    ("later_j", "words"),
    [([-1.0, -1.0], "impossible"), ([15.0, 15.0], "fell"), ([3e5], "jumped")],
    ids=["below zero", "fallen", "jumped"],
)
def test_a_total_that_cannot_be_right_stays_unreadable(later_j, words):
    record = codecarbon_meter._Record(interval_s=0.5)
    known = []
    for number, energy_j in enumerate((0.0, 10.0, 20.0, *later_j, 40.0, 1e6)):
        at_s = 0.5 * number
        record.take(Totals(at_s, {"cpu": energy_j, "ram": 10.0 * number}))
        known.append(record.at("cpu", at_s).value is not None)
    late = len(later_j) - 1  # one that is lower may be late
    assert known == [True] * (3 + late) + [False] * 3
    assert words in record.at("cpu", at_s).reason
    assert record.at("ram", at_s).value == 10.0 * (number - 1)


def test_a_total_that_jumps_within_codecarbon_stays_unreadable(no_sensor, monkeypatch):
    steps_kwh = [1e-6]

    def measure(_, last_duration):
        return Power.from_watts(1.0), Energy.from_energy(kWh=steps_kwh[0])

    monkeypatch.setattr(CPU, "measure_power_and_energy", measure)
    meter = CodeCarbonMeter("USA", INTERVAL_S)
    domain = meter.channels[0].domain
    try:
        wait_for(lambda: True if (by_domain(meter)[domain].value or 0.0) > 10 else None)
        steps_kwh[0] = 0.0728
        assert "jumped" in wait_for(lambda: by_domain(meter)[domain].reason or None)
        assert by_domain(meter)[domain].value is None
        assert by_domain(meter)["dram:0"].value > 0
    finally:
        meter.close()


def test_totals_that_overtake_each_other_have_not_fallen():
    """Codecarbon's threads overlap where the machine is busy."""
    record = codecarbon_meter._Record(interval_s=1.0)
    for at_s, energy_j in ((100.0, 0.0), (102.0, 60.0), (101.0, 20.0), (102.5, 40.0), (103, 80.0)):
        record.take(Totals(at_s, {"ram": energy_j}))
    assert record.at("ram", 103.25).value == pytest.approx(60.0)
    assert record.at("ram", 103.75).value == pytest.approx(70.0)


def test_silence_of_codecarbon_is_no_value(no_sensor, monkeypatch):
    monkeypatch.setattr(codecarbon_meter, "STILL_S", 0.0)
    meter = CodeCarbonMeter("USA", INTERVAL_S)
    try:
        for timer in codecarbon_threads():
            timer.cancel()
        wait_for(lambda: None if codecarbon_threads() else True)
        reason = wait_for(lambda: meter.sample()[0].reason or None)
        assert "has not measured for" in reason
    finally:
        meter.close()


def test_no_thread_is_left_however_it_is_closed(no_sensor):
    for _ in range(3):
        meter = CodeCarbonMeter("USA", INTERVAL_S)
        assert codecarbon_threads()
        meter.close()
        meter.close()
        assert codecarbon_threads() == []


GUARD = """
import logging, signal, socket, sys, threading

touched = []

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        touched.append([event, repr(arguments[1:])])

sys.addaudithook(watch)
"""


def test_it_is_silent_sends_nothing_and_writes_nothing(tmp_path):
    """Not even where its settings file and its environment variables ask for all that."""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    for folder in (home, temporary):
        folder.mkdir()
    (home / ".codecarbon.config").write_text(
        "[codecarbon]\nsave_to_file=true\nsave_to_api=true\nlog_level=debug\npue=3\n"
        "tracking_mode=process\noutput_methods=csv,api,prometheus\n"
    )
    out = run_program(
        GUARD
        + f"""
os.chdir({str(home)!r})
from joulelab.energy.meters.codecarbon_meter import CodeCarbonDetector
import contextlib, io
handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
said = io.StringIO()
with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
    [meter], _ = CodeCarbonDetector(measure_power_secs=0.1).detect()
    memory = [channel.domain for channel in meter.channels].index("dram:0")
    start_s = time.monotonic()
    first_j = last_j = meter.sample()[memory].value
    while last_j - first_j < 5 and time.monotonic() < start_s + 60:
        time.sleep(0.01)
        last_j = meter.sample()[memory].value
    took_s = time.monotonic() - start_s
    log = logging.getLogger("codecarbon")
    log.warning("kept back")
    meter.close()
out["said"] = said.getvalue()
out["touched"] = list(touched)
out["memory_w"] = (last_j - first_j) / took_s
out["threads"] = [one.name for one in threading.enumerate()]
out["signals"] = handlers == [
    signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
]
out["log"] = [log.level, len(log.handlers), len(log.filters)]
with contextlib.suppress(OSError):
    socket.create_connection(("127.0.0.1", 9), timeout=1)
out["guard works"] = len(touched) > len(out["touched"])
""",
        {
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "CODECARBON_ALLOW_MULTIPLE_RUNS": "false",
            "CODECARBON_EMISSIONS_ENDPOINT": "http://127.0.0.1:9/",
            "CODECARBON_ELECTRICITYMAPS_API_TOKEN": "token",
            "CODECARBON_CO2_SIGNAL_API_TOKEN": "token",
            "CODECARBON_CLOUD_PROVIDER": "aws",
            "CODECARBON_OUTPUT_DIR": str(tmp_path / "nowhere"),
            "CODECARBON_FORCE_RAM_POWER": "10",
            "CODECARBON_API_ENDPOINT": "http://127.0.0.1:9/",
        },
    )
    assert out["said"] == ""
    assert out["touched"] == []
    assert out["guard works"]
    assert out["memory_w"] < 20  # with the factor for a data centre of its settings it would be 30
    assert out["threads"] == ["MainThread"]
    assert out["signals"]
    assert out["log"] == [20, 1, 0]  # as the import of codecarbon leaves them
    assert [path.name for path in home.iterdir()] == [".codecarbon.config"]
    assert list(temporary.iterdir()) == []


@pytest.mark.long
def test_it_reads_the_same_gpus_as_nvml(scenario):
    out = scenario(
        """
import contextlib
from codecarbon.core import hardware_cache
from joulelab.energy.meters.codecarbon_meter import CodeCarbonDetector

def look(**variables):
    os.environ.update(variables)
    hardware_cache.clear_cache()
    meters, missing = CodeCarbonDetector(measure_power_secs=0.2).detect()
    channels = [c for meter in meters for c in meter.channels]
    gpus = [[c.domain, c.status, c.within, c.relative_error] for c in channels if "gpu" in c.domain]
    return meters[0], gpus, [[one.domain, one.reason] for one in missing]

def gpu_j(meter):
    values = dict(zip((c.domain for c in meter.channels), meter.sample()))
    return next(values[domain] for domain in values if "gpu" in domain)

def wait(condition):
    deadline_s = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.01)

with contextlib.redirect_stdout(None):
    meter, out["one"], _ = look()
    nvml = NvmlMeter()
    start_j, nvml_j = gpu_j(meter).value, nvml.sample()[0].value
    wait(lambda: gpu_j(meter).value - start_j > 200)
    out["ratio"] = (gpu_j(meter).value - start_j) / (nvml.sample()[0].value - nvml_j)
    nvml.close()
    out["about"] = dict(meter.describe())["gpu:0 model"]
    stub(LOST=0)
    wait(lambda: gpu_j(meter).value is None)
    out["lost"] = gpu_j(meter).reason
    stub(LOST=None)
    meter.close()
    stub(GPUS=2)
    meter, out["two"], out["two missing"] = look()
    meter.close()
    meter, out["second"], _ = look(CUDA_VISIBLE_DEVICES="1")
    meter.close()
    meter, out["none chosen"], out["none chosen missing"] = look(CUDA_VISIBLE_DEVICES="7")
    meter.close()
    del os.environ["CUDA_VISIBLE_DEVICES"]
    meter, out["no command"], out["no command missing"] = look(PATH="")
    meter.close()
""",
        TRACE="constant",
        HIGH_MW=100000,
        LOW_MW=100000,
    )
    assert out["one"] == [["gpu:0", "measured", ["wall"], nvidia_cards.RELATIVE_ERROR]]
    assert 0.5 < out["ratio"] < 1.5
    assert out["about"] == "Stub H100"
    assert "stood still" in out["lost"]
    [[domain, status, within, _]] = out["two"]
    assert (domain, status, within) == ("gpus", "measured", ["gpu:0", "gpu:1", "wall"])
    assert out["two missing"] == []
    assert [gpu[0] for gpu in out["second"]] == ["gpu:1"]
    assert out["none chosen"] == out["no command"] == []
    assert "CUDA_VISIBLE_DEVICES='7'" in out["none chosen missing"][0][1]
    assert "nvidia-smi" in out["no command missing"][0][1]


def test_all_gpus_together_count_only_where_no_meter_knows_one_of_them():
    lumped = channel_of(Component("gpu", "nvml", "two cards", None, (0, 1)), 1.0)
    together = reading(lumped.domain, lumped.within, 300.0)
    assert total([together]).gross_j == 300.0
    each = [reading(f"gpu:{number}", ("wall",), 150.0) for number in (0, 1)]
    assert total([together, *each]).gross_j == 300.0


def reading(domain, within, gross_j):
    return Reading(domain, "any", Status.MEASURED, gross_j, 0.0, None, 1.0, within=within)


@pytest.mark.parametrize(
    ("mode", "tdp_w", "measured", "words"),
    [
        ("intel_power_gadget", None, True, "Intel Power Gadget"),
        ("windows_emi", None, True, "Windows"),
        ("constant", 85.0, False, "half of the design power 85 W"),
        ("something_new", 85.0, False, "something_new"),
    ],
)
def test_a_mode_is_measured_only_where_it_is_known_to_be(mode, tdp_w, measured, words):
    channel = channel_of(Component("cpu", mode, "Xeon", tdp_w), 1.0)
    assert (channel.status is Status.MEASURED) is measured
    assert words in channel.remark


def test_totals_of_an_unknown_origin_are_refused():
    with pytest.raises(MeterError, match="does not report its instruments"):
        list(_components(object(), "9.0"))


@pytest.mark.parametrize(
    "settings",
    [
        {"country": "Holland"},
        {"country": 31},
        {"measure_power_secs": 0},
        {"measure_power_secs": "1"},
        {"measure_power_secs": True},
        {"measure_power_secs": float("nan")},
    ],
)
def test_settings_that_cannot_be_right(settings):
    with pytest.raises(SettingsError):
        CodeCarbonDetector(**settings)


def test_a_country_that_codecarbon_does_not_know():
    with pytest.raises(SettingsError, match="knows no country 'ZZZ'"):
        find_meters(["codecarbon?country=ZZZ"], settings={})


def test_it_is_used_only_by_name():
    assert meters.get("codecarbon") is CodeCarbonDetector
    assert not CodeCarbonDetector.automatic


def test_level_and_handlers_of_its_log_are_the_users(no_sensor):
    log, own = logging.getLogger("codecarbon"), logging.StreamHandler(io.StringIO())
    before = log.level, [*log.handlers, own]
    log.addHandler(own)
    try:
        meter = CodeCarbonMeter("USA", INTERVAL_S)
        assert (log.level, log.handlers) == before
        meter.close()
        assert (log.level, log.handlers) == before
        assert log.filters == []
    finally:
        log.removeHandler(own)
