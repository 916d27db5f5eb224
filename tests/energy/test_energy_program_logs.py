"""Logs of other programs, each as it writes them, with the energy that is in it."""

import json
import plistlib
import random
from contextlib import suppress
from datetime import datetime

import pytest

from joulelab.energy.reading import Status
from joulelab.energy.traces.recording import read_recording
from joulelab.errors import JoulelabError, TraceError

DMON = "    {gpu}    {power}     45      -     95      0\n"
DMON_HEAD = "# gpu    pwr  gtemp  mtemp     sm    mem\n# Idx      W      C      C      %      %\n"
DMON_DT_HEAD = (
    "#Date       Time        gpu    pwr  gtemp  mtemp     sm    mem\n"
    "#YYYYMMDD   HH:MM:SS    Idx      W      C      C      %      %\n"
)


def dmon_dt(second, *powers):
    return "".join(
        f" 20260305   10:00:{second:02d}  " + DMON.format(gpu=gpu, power=power)
        for gpu, power in enumerate(powers)
    )


TURBOSTAT = """\
turbostat version 2023.11.07 - Len Brown <lenb@kernel.org>
CPUID(0): GenuineIntel 0x16 CPUID levels
cpu0: MSR_RAPL_POWER_UNIT: 0x000a0e03 (0.125000 Watts, 0.000061 Joules, 0.000977 sec.)
usec\tTime_Of_Day_Seconds\tPackage\tCore\tCPU\tBusy%\tPkgTmp\tPkgWatt\tCorWatt\tGFXWatt\tRAMWatt
9\t1772704800.123456\t-\t-\t-\t5.5\t45\t45.20\t30.10\t1.00\t3.10
9\t1772704800.123400\t0\t0\t0\t5.5\t45\t25.20\t15.10\t1.00\t1.60
9\t1772704800.123410\t0\t0\t4\t5.5
usec\tTime_Of_Day_Seconds\tPackage\tCore\tCPU\tBusy%\tPkgTmp\tPkgWatt\tCorWatt\tGFXWatt\tRAMWatt
9\t1772704805.123456\t-\t-\t-\t5.5\t45\t45.20\t30.10\t1.00\t3.10
9\t1772704805.123400\t1\t0\t0\t5.5\t45\t20.00\t15.00\t0.00\t1.50
"""
TURBOSTAT_J = "Time_Of_Day_Seconds\tBusy%\tPkg_J\tRAM_J\n" + "".join(
    f"{1772704800 + 5 * number}.0\t5.5\t{226 + number}.0\t15.5\n" for number in range(3)
)
PERF = """\
# started on Thu Mar  5 10:00:00 2026

#           time             counts unit events
     1.001055183              45.20 Joules power/energy-pkg/
     1.001055183               2.00 Joules power/energy-gpu/
     1.001055183               3.10 Joules power/energy-ram/
     1.001055183      2,400,000,000      cycles
     2.002255183           1,045.20 Joules power/energy-pkg/
     2.002255183               2.00 Joules power/energy-gpu/
     2.002255183               3.10 Joules power/energy-ram/
"""
PERF_X = """\
1.001055183,45.20,Joules,power/energy-pkg/,1001055183,100.00,,
1.001055183,50.20,Joules,power/energy-psys/,1001055183,100.00,,
2.002055183,45.20,Joules,power/energy-pkg/,1001055183,100.00,,
2.002055183,50.20,Joules,power/energy-psys/,1001055183,100.00,,
"""
PERF_SOCKETS = "#           time socket cpus             counts unit events\n" + "".join(
    f"     {second}.000265       S{socket}        1    {joules} Joules power/energy-pkg/\n"
    for second in (1, 2)
    for socket, joules in enumerate((45.2, 25.2))
)
PERF_GERMAN = "".join(
    f"     {second},001055183           1.045,20 Joules power/energy-pkg/\n" for second in (1, 2)
)
PERF_JSON = "".join(
    json.dumps({"interval": second, "counter-value": "45.2", "unit": "Joules", "event": event})
    + "\n"
    for second in (1.001, 2.001)
    for event in ("power/energy-pkg/",)
)
POWERMETRICS = "Machine model: Mac14,9\nOS version: 23A344\n\n" + "".join(
    f"""*** Sampled system activity (Thu Mar  5 10:00:0{number} 2026 +0100) (1000.50ms elapsed) ***

**** Processor usage ****

CPU 0 frequency: 1000 MHz
CPU Power: 5000 mW
GPU Power: 2000 mW
ANE Power: 0 mW
Combined Power (CPU + GPU + ANE): 7000 mW

**** GPU usage ****

GPU Power: 2000 mW

"""
    for number in range(1, 6)
)
POWERMETRICS_PLIST = b"\0".join(
    plistlib.dumps(
        {
            "elapsed_ns": 1000500000,
            "timestamp": datetime(2026, 3, 5, 9, 0, number),
            "processor": {"cpu_power": 5000.0, "gpu_power": 2000.0, "combined_power": 7000.0},
        }
    )
    for number in range(1, 6)
)
APPLE = {"cpu:0": 5 * 5.0025, "gpu:0": 2 * 5.0025, "total": 7 * 5.0025}
POWERSTAT_HEAD = "  Time    User  Nice   Sys  Idle    IO  Run Ctxt/s  IRQ/s Fork Exec Exit  Watts"
POWERSTAT_ROW = "   0.1   0.0   0.2  99.6   0.1    1    440    234    0    0    0  12.00"
POWERSTAT = "".join(
    [
        "Running for 60.0 seconds (60 samples at 1.0 second intervals).\n",
        "Power measurements will start in 0 seconds time.\n\n",
        f"{POWERSTAT_HEAD}\n",
        *(f"11:23:0{number}{POWERSTAT_ROW} \n" for number in range(3)),
        f"-------- -----\n Average{POWERSTAT_ROW} \n Maximum{POWERSTAT_ROW} \n",
        "Summary:\nSystem:  12.00 Watts on average with standard deviation 0.00\n",
    ]
)
POWERSTAT_RAPL = f"{POWERSTAT_HEAD}    dram   core  pkg-0\n" + "".join(
    f"11:23:0{number}{POWERSTAT_ROW}    2.00   5.00  10.00\n" for number in range(3)
)
POWERJOULAR = "Date,CPU Utilization,Total Power,CPU Power,GPU Power\n" + "".join(
    f"2026-03-05 10:00:0{number},0.5,70.0,40.0,30.0\n" for number in range(4)
)
ENERGIBRIDGE = (
    "Delta,Time,CPU_FREQUENCY_0,DRAM_ENERGY (J),PACKAGE_ENERGY (J),PP0_ENERGY (J),"
    "PP1_ENERGY (J),GPU0_POWER (mWatts),TOTAL_MEMORY\n"
    + "".join(
        f"{200 * bool(n)},{1772704800100 + 200 * n},2400,{50 + 0.6 * n:.3f},"
        f"{(262140 + 9 * n) % 262144:.3f},{100 + 5 * n},0,30000,1\n"
        for n in range(6)
    )
)
ENERGIBRIDGE_AMD = "Delta,Time,CORE0_ENERGY (J),CORE1_ENERGY (J),CPU_ENERGY (J)\n" + "".join(
    f"200,{1772704800100 + 200 * n},{n},{2 * n},{(65530 + 9 * n) % 65536:.3f}\n" for n in range(6)
)
ZEUS = "".join(f"{1772704800.1 + 0.1 * n:.6f},100.5,60.25\n" for n in range(11))
ZEUS_FIRST = "Time,Power\n" + "".join(f"2022-07-13 02:07:3{n}.708783111,32402\n" for n in range(5))
NVITOP = (
    '"run/cuda:0 (gpu:3)/power_usage (W)/mean","run/cuda:0 (gpu:3)/power_usage (W)/min",'
    '"run/cuda:0 (gpu:3)/power_usage (W)/max","run/cuda:0 (gpu:3)/power_usage (W)/last",'
    '"run/cuda:1 (gpu:2)/power_usage (W)/mean","run/host/memory_used (GiB)/mean",'
    '"run/duration (s)","run/timestamp"\n'
    + "".join(f"100,90,200,101,60,91,{n},{1772704800.1 + n}\n" for n in range(4))
)


def scaphandre(number):
    domains = [{"name": "core", "consumption": 20e6}, {"name": "dram", "consumption": 5e6}]
    return {
        "host": {"consumption": 40e6, "timestamp": 1772704800.1 + 2 * number},
        "consumers": [{"exe": "/bin/python", "pid": 7, "consumption": 3e6}],
        "sockets": [{"id": 0, "consumption": 35e6, "domains": domains}],
    }


SCAPHANDRE = "".join(json.dumps(scaphandre(number)) for number in range(4))
SCAPHANDRE_J = {"total": 240, "cpu:0": 210, "core:0": 120, "dram:0": 30}


def shelly(number):
    total = {"total": round(6.532 + 45 / 3600 * number, 3), "minute_ts": 1772704800 + number // 60}
    return {"id": 0, "output": True, "apower": 45.0, "voltage": 237.5, "aenergy": total}


SHELLY = "".join(f"{1772704800 + n} {json.dumps(shelly(n))}\n" for n in range(81))
SHELLY_NOTIFY = "".join(
    json.dumps(
        {
            "src": "shellyplus1pm-a8032ab",
            "method": "NotifyStatus",
            "params": {"ts": 1772704800.5 + number, "switch:0": shelly(number)},
        }
    )
    + "\n"
    for number in range(81)
)
SHELLY_EM = "timestamp,a_total_act_energy,a_total_act_ret_energy,a_max_act_power\n" + "".join(
    f"{1772704800 + 60 * number},0.75,0,50\n" for number in range(10)
)


def tasmota(power, number):
    energy = {"Total": 1.234, "Power": power, "ApparentPower": 50, "Factor": 0.9}
    return {"StatusSNS": {"Time": f"2026-03-05T10:00:{number:02d}", "ENERGY": energy}}


TASMOTA = "".join(json.dumps(tasmota(45, number)) + "\n" for number in range(10))
TASMOTA_LOG = "".join(
    f"10:00:{n:02d}.123 MQT: tele/plug/SENSOR = {json.dumps(tasmota([45, 5], n)['StatusSNS'])}\n"
    for n in range(10)
)

LOGS = {
    "dmon -o DT": (
        DMON_DT_HEAD + dmon_dt(0, 100, 60) + dmon_dt(1, 100, 60) + DMON_DT_HEAD
        + dmon_dt(2, 100, "-") + dmon_dt(3, 100, 60),
        {"gpu:0": 300, "gpu:1": 180}, 480),
    "dmon -o T": (
        "#Time        gpu    pwr  gtemp\n#HH:MM:SS    Idx      W      C\n"
        " 23:59:59      0    100     45\n 00:00:00      0    100     45\n",
        {"gpu:0": 100}, 100),
    "turbostat": (TURBOSTAT, {"cpu:0": 226, "core:0": 150.5, "uncore:0": 5, "dram:0": 15.5}, 241.5),
    "turbostat --Joules": (TURBOSTAT_J, {"cpu:0": 681, "dram:0": 46.5}, 727.5),
    "perf stat -I": (PERF, {"cpu:0": 1090.4, "uncore:0": 4, "dram:0": 6.2}, 1096.6),
    "perf stat -I -x,": (PERF_X, {"cpu:0": 90.4, "psys:0": 100.4}, 100.4),
    "perf stat -I --per-socket": (PERF_SOCKETS, {"cpu:0": 90.4, "cpu:1": 50.4}, 140.8),
    "perf stat -I -A": (
        "".join(
            f"     {second}.000265  CPU{cpu}     45.2 Joules power/energy-pkg/\n"
            for second in (1, 2) for cpu in (0, 28)
        ),
        {"cpu:0": 90.4, "cpu:28": 90.4}, 180.8,
    ),
    "perf stat -I in a German locale": (PERF_GERMAN, {"cpu:0": 2090.4}, 2090.4),
    "perf stat -I -j": (PERF_JSON, {"cpu:0": 90.4}, 90.4),
    "powermetrics": (POWERMETRICS, {**APPLE, "ane:0": None}, 7 * 5.0025),
    "powermetrics -f plist": (POWERMETRICS_PLIST, APPLE, 7 * 5.0025),
    "powerstat": (POWERSTAT, {"wall": 24}, 24),
    "powerstat -R -D": (POWERSTAT_RAPL, {"total": 24, "cpu:0": 20, "core:0": 10, "dram:0": 4}, 24),
    "powerjoular": (POWERJOULAR, {"total": 210, "cpu:0": 120, "gpu:0": 90}, 210),
    "energibridge": (ENERGIBRIDGE, {"cpu:0": 45, "core:0": 25, "dram:0": 3, "gpu:0": 30}, 78),
    "energibridge on AMD": (ENERGIBRIDGE_AMD, {"cpu:0": 45, "core:0": 5, "core:1": 10}, 45),
    "zeus": (ZEUS, {"gpu:0": 100.5, "gpu:1": 60.25}, 160.75),
    "zeus_monitor": (ZEUS_FIRST, {"gpu:0": 4 * 32.402}, 129.608),
    "nvitop": (NVITOP, {"gpu:3": 300, "gpu:2": 180}, 480),
    "scaphandre": (SCAPHANDRE, SCAPHANDRE_J, 240),
    "scaphandre, in a list": (f"[{SCAPHANDRE.replace('}{', '}, {')}]", SCAPHANDRE_J, 240),
    "scaphandre, killed": (SCAPHANDRE + SCAPHANDRE[:100], SCAPHANDRE_J, 240),
    "shelly": (SHELLY, {"wall": 3600}, 3600),
    "shelly, NotifyStatus": (SHELLY_NOTIFY, {"wall": 3600}, 3600),
    "shelly, EMData": (SHELLY_EM, {"wall": 27000}, 27000),
    "shelly, em_data.csv": (
        "Date/time UTC,Active energy Wh,Returned energy Wh,Min V,Max V\n"
        + "".join(f"2026-03-05 10:{10 * n:02d},15.5,0.0,229.1,233.0\n" for n in range(6)),
        {"wall": 6 * 15.5 * 3600}, 6 * 15.5 * 3600,
    ),
    "tasmota": (TASMOTA, {"wall": 405}, 405),
    "tasmota's log": (TASMOTA_LOG, {"wall:0": 405, "wall:1": 45}, 450),
}  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def write_and_read(content, **settings):
        path = tmp_path / "log"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_recording(path, **settings)

    return write_and_read


@pytest.mark.parametrize("log", LOGS)
def test_a_log_of_a_known_program_has_its_energy_and_no_joule_twice(read, log):
    content, expected, whole_j = LOGS[log]
    measured = read(content).measure()
    known = {domain: joules for domain, joules in expected.items() if joules is not None}
    found = {one.domain: one.gross_j for one in measured.readings if one.domain in known}
    assert found == pytest.approx(known, rel=1e-3)
    assert measured.total.status is Status.MEASURED
    assert measured.energy_j == pytest.approx(whole_j, rel=1e-3)


def test_rows_without_times_are_a_second_apart_by_default_and_no_measurement(read):
    content = DMON_HEAD + "".join(DMON.format(gpu=gpu, power=100) for _ in range(3) for gpu in "01")
    guessed = read(content)
    reading = guessed.measure()["gpu:1"]
    assert (reading.gross_j, reading.status, reading.error_j) == (200, Status.ESTIMATED, None)
    assert any("assumed to be 1 s apart" in flag for flag in guessed.flags)
    said = read(content, interval_s=5).measure()["gpu:1"]
    assert (said.gross_j, said.status) == (1000, Status.MEASURED)


def test_a_table_without_times_asks_for_them(read):
    content = "Core\tCPU\tBusy%\tPkgWatt\n-\t-\t5.5\t45.2\n0\t0\t5.5\t45.2\n-\t-\t5.5\t45.2\n"
    with pytest.raises(TraceError, match=r"(?s)no column of time.*--interval SECONDS"):
        read(content)
    assert read(content, interval_s=5).measure().energy_j == pytest.approx(226)


def test_intervals_that_perf_did_not_count_are_not_measured(read):
    rows = [
        f"     {n}.000 {'<not counted>' if 5 <= n <= 12 else '45.00'} Joules power/energy-pkg/\n"
        for n in range(1, 31)
    ]
    reading = read("".join(rows)).measure()["cpu:0"]
    assert reading.status is not Status.MEASURED
    assert reading.lost_s == pytest.approx(8)
    assert reading.gross_j == pytest.approx(1350)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("     45.20 Joules power/energy-pkg/\n\n  1.001 seconds time elapsed\n", "no time bef"),
        (PERF + PERF, "occurs twice"),
        ("*** Sampled system activity (Thu Mar  5 10:00:01 2026 +0100) (9ms elapsed) ***\n", "no "),
        ('{"id":0,"apower":45.0}\n{"id":0,"apower":45.0}\n', "no column of time"),
        ('{"ts": 1, "apower": }\n{"ts": 2, "apower": 45}\n', "line 1: not JSON"),
        ("Delta,Time,CPU_ENERGY (J)\n" + "".join(
            f"200,{1772704800100 + 200 * n},{1000 + n if n < 4 else n}\n" for n in range(8)
        ), "line 6, column CPU_ENERGY .J.: the counter falls from 1003 to 4 J"),
        ("t_s,energy_j\n0,10\n1,10\n2,10\n3,10\n", "energy_j does not rise"),
        ("t_s,energy_j\n0,5\n1,2\n2,6\n3,1\n", "energy_j may be a counter or"),
        ("t_s,energy_j\n0,10\n1,12\n2,15\n", "energy_j may be a counter or"),
    ],
)  # fmt: skip
def test_what_says_no_power_is_refused(read, content, said):
    with pytest.raises(TraceError, match=said):
        read(content)


def test_a_first_report_without_data_is_no_reading(read):
    first = {"host": {"consumption": 0.0, "timestamp": 1772704700.1}, "sockets": []}
    measured = read(json.dumps(first) + SCAPHANDRE).measure()
    assert measured["total"].status is not Status.MEASURED
    assert measured["total"].lost_s == pytest.approx(100)


def damaged(content, chance):
    """A log in which bytes, lines, or marks were lost or changed."""
    lines = content.split(b"\n")
    at = chance.randrange(len(lines))
    match chance.randrange(5):
        case 0:
            return content[: chance.randrange(len(content))]
        case 1:
            place = chance.randrange(len(content))
            return content[:place] + bytes([chance.randrange(256)]) + content[place + 1 :]
        case 2:
            return b"\n".join(lines[:at] + lines[at + chance.randrange(1, 5) :])
        case 3:
            return b"\n".join([*lines[:at], chance.choice(lines), *lines[at:]])
        case _:
            old, new = chance.choice(
                ((b",", b";"), (b".", b","), (b"1", b"nan"), (b"0", b"[N/A]"), (b"0", b"1e400"))
            )
            return content.replace(old, new)


@pytest.mark.parametrize("logs", [50, pytest.param(500, marks=pytest.mark.long)])
def test_a_damaged_log_is_read_or_refused_and_never_ends_otherwise(read, logs):
    chance = random.Random(20260305)
    sound = [log[0] if isinstance(log[0], bytes) else log[0].encode() for log in LOGS.values()]
    for _ in range(logs):
        with suppress(JoulelabError):
            read(damaged(chance.choice(sound), chance)).measure()
