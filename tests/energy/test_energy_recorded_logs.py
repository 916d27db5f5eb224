"""Logs of nvidia-smi and anyone's CSV, in the forms in which they are found."""

import math
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest

from joulelab.energy.reading import Status
from joulelab.energy.traces.recording import read_recording
from joulelab.errors import TraceError

NOBODY = 65534
HEADER = "timestamp, index, power.draw [W], utilization.gpu [%], temperature.gpu"
MOMENT = "2023/03/21 12:34:{:06.3f}"


def log(rows, header="timestamp, power.draw [W]", end="\n"):
    """A log with a row a second; each row is what follows the moment."""
    lines = [f"{MOMENT.format(second)}, {row}" for second, row in enumerate(rows)]
    return "\n".join([header, *lines]) + end


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setenv("TZ", "Etc/UTC")


@pytest.fixture
def read(tmp_path):
    def write_and_read(content, name="gpu.csv", **settings):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_recording(path, **settings)

    return write_and_read


@pytest.fixture
def refusal(read):
    def refused(content, **settings):
        with pytest.raises(TraceError) as caught:
            read(content, **settings)
        assert caught.value.hint
        return f"{caught.value.message} / {caught.value.hint}"

    return refused


def energies(recording):
    return {one.domain: one.gross_j for one in recording.measure().readings}


WITH_UNITS = log(["220.50 W", "230.00 W", "1.00 W"])
VARIANTS = {
    "with units": WITH_UNITS,
    "nounits": log(["220.50", "230.00", "1.00"]),
    "no end of the last line, which is left out": log(
        ["220.50 W", "230.00 W", "1.00 W", "2"], end=""
    ),
    "killed within a power": WITH_UNITS + f"{MOMENT.format(3)}, 21",
    "killed within a moment": WITH_UNITS + "2023/03/21 12:3",
    "killed after a comma": WITH_UNITS + f"{MOMENT.format(3)},",
    "CRLF": WITH_UNITS.replace("\n", "\r\n"),
    "BOM": "\ufeff" + WITH_UNITS,
    "PowerShell": WITH_UNITS.encode("utf-16"),
    "no space after commas": WITH_UNITS.replace(", ", ","),
    "many spaces": WITH_UNITS.replace(", ", "  ,   ").replace("timestamp", "  timestamp"),
    "blank lines": WITH_UNITS.replace("\n", "\n\n"),
    "no fraction": WITH_UNITS.replace(".000,", ","),
    "fraction left out where it is zero": WITH_UNITS.replace(":01.000,", ":01,"),
    "ISO 8601": WITH_UNITS.replace("2023/03/21 ", "2023-03-21T"),
    "zone": WITH_UNITS.replace("2023/03/21 ", "2023-03-21T").replace(".000,", ".000+02:00,"),
    "instant": WITH_UNITS.replace("power.draw", "power.draw.instant"),
    "average": WITH_UNITS.replace("power.draw", "power.draw.average"),
    "instant is not supported": log(
        ["[N/A], 220.50 W", "[N/A], 230.00 W", "[N/A], 1.00 W"],
        "timestamp, power.draw.instant [W], power.draw.average [W]",
    ),
    "milliwatts": log(["220500", "230000", "1000"], "timestamp, power.draw [mW]"),
    "milliwatts at the value": log(["220500 mW", "230000 mW", "1000 mW"]),
    "semicolons": WITH_UNITS.replace(", ", ";"),
    "decimal commas": log(["220,50", "230,00", "1,00"]).replace(", ", ";"),
    "tabs": WITH_UNITS.replace(", ", "\t"),
    "quoted": WITH_UNITS.replace("timestamp", '"timestamp"'),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_log_has_its_energy_however_it_was_written(read, variant):
    recording = read(VARIANTS[variant])
    if "killed" not in variant and "no end" not in variant:
        zone = "times without a zone are read as local time (Etc/UTC); --timezone names another"
        assert recording.flags == (() if variant == "zone" else (zone,))
    assert energies(recording) == {"gpu:0": pytest.approx(450.5)}


@pytest.mark.parametrize("name", ["gpu.log", "gpu.txt", "gpu", "GPU.CSV"])
def test_a_log_may_be_called_anything(read, name):
    assert energies(read(WITH_UNITS, name)) == {"gpu:0": 450.5}


def test_a_line_without_its_end_is_left_out_of_a_log_and_said(read):
    # 22 W may have been 220 W: nvidia-smi ends every line that it has written whole.
    recording = read(log(["220 W", "230 W", "22"], end=""))
    assert recording.measure().samples == 2
    assert recording.flags[0] == "the last line is cut off and was left out"
    assert recording.measure().flags[0] == recording.flags[0]


def test_a_row_without_its_end_is_kept_where_a_person_wrote_it(read):
    assert energies(read("t_s,power_w\n0,10\n1,20\n2,30")) == {"gpu:0": 30}


@pytest.mark.parametrize(
    "said",
    ["[N/A]", "[Not Supported]", "[Unknown Error]", "[GPU is lost]", "[Insufficient Permissions]"],
)
def test_what_the_sensor_did_not_say_is_unknown_and_not_zero(read, said):
    rows = ["200.00 W"] * 10 + [said] * 10
    reading = read(log(rows)).measure()["gpu:0"]
    assert reading.status is Status.PARTLY_ESTIMATED
    assert reading.lost_s == pytest.approx(10)
    assert reading.gross_j == pytest.approx(200 * 19)
    assert said in reading.reason


def test_a_gpu_that_never_says_its_power_is_missing(read):
    reading = read(log(["[N/A]"] * 5)).measure()["gpu:0"]
    assert (reading.status, reading.gross_j) == (Status.MISSING, None)
    assert "[N/A]" in reading.reason


def test_gpus_are_told_apart_by_their_index(read):
    rows = [f"{gpu}, {100 * gpu}.00 W, 50 %, 40" for _ in range(3) for gpu in (1, 3)]
    recording = read(log(rows, HEADER))
    assert energies(recording) == {"gpu:1": 500, "gpu:3": 1500}
    assert recording.measure().energy_j == 2000
    assert recording.channel_samples[0].state["utilisation"].tolist() == [0.5, 0.5, 0.5]
    assert recording.channel_samples[0].state["temperature_c"].tolist() == [40, 40, 40]


def test_an_index_stays_whole_where_a_line_was_cut_off(read):
    rows = [f"{gpu}, 100.00 W, 50 %, 40" for _ in range(3) for gpu in (0, 1)]
    content = log(rows, HEADER).replace(", ", ",") + "2023/03/21 12:34:07.000"
    assert set(energies(read(content))) == {"gpu:0", "gpu:1"}


def test_gpus_are_told_apart_by_their_uuid_and_keep_their_names(read):
    header = "timestamp, uuid, name, driver_version, power.draw [W]"
    rows = [
        f"GPU-{uuid}, NVIDIA {name}, 535.54, {watts} W"
        for _ in range(3)
        for uuid, name, watts in (("5e1f", "A100", 300), ("07ab", "T4", 70))
    ]
    recording = read(log(rows, header))
    assert energies(recording) == {"gpu:0": 1500, "gpu:1": 350}
    told = recording.about.meters["nvidia-smi"]
    assert told["gpu:0 uuid"] == "GPU-5e1f"
    assert told["gpu:1 name"] == "NVIDIA T4"
    assert told["gpu:1 driver_version"] == "535.54"


def test_one_of_several_gpus_can_be_asked_for(read):
    rows = [f"{gpu}, {100 * gpu}.00 W, 50 %, 40" for _ in range(3) for gpu in (1, 3)]
    assert energies(read(log(rows, HEADER), where="index=3")) == {"gpu:3": 1200}


@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_gpus_that_cannot_be_told_apart_are_refused(refusal, gpus):
    moments = [MOMENT.format(second + gpu * 0.002) for second in range(9) for gpu in range(gpus)]
    rows = [f"{moment}, {100 + 9 * i % gpus} W" for i, moment in enumerate(moments)]
    said = refusal("\n".join(["timestamp, power.draw [W]", *rows, ""]))
    assert "several GPUs" in said
    assert "--query-gpu=timestamp,index,power.draw" in said


def test_a_log_knows_its_source_its_bound_and_its_beginning(read):
    recording = read(WITH_UNITS)
    (channel,) = recording.channels
    assert (channel.source, channel.kind, channel.within) == ("nvidia-smi", "power", ("wall",))
    assert "power.draw [W] of gpu.csv" in channel.remark
    reading = recording.measure()["gpu:0"]
    assert reading.error_j >= 0.13 * reading.gross_j
    assert recording.about.label == "gpu"
    assert recording.about.started_at == pd.Timestamp("2023-03-21T12:34Z").timestamp()
    berlin = read(WITH_UNITS, timezone="Europe/Berlin")
    assert berlin.about.started_at == pd.Timestamp("2023-03-21T11:34Z").timestamp()
    assert berlin.flags == ()


def test_a_moment_with_a_zone_is_that_moment(read):
    content = VARIANTS["zone"]
    assert read(content).about.started_at == pd.Timestamp("2023-03-21T10:34Z").timestamp()


def test_a_clock_that_is_set_back_is_refused(refusal):
    rows = ["2023/06/10 02:59:59.000, 100 W", "2023/06/10 02:00:00.000, 100 W"]
    said = refusal("\n".join(["timestamp, power.draw [W]", *rows, ""]))
    assert "line 3: time goes back 3599 s" in said
    assert "summer time" in said


def test_with_its_zone_the_end_of_summer_time_is_no_step(read):
    rows = ["2023-10-29T02:59:59+02:00,100", "2023-10-29T02:00:00+01:00,100"]
    assert read("\n".join(["time,power_w", *rows, ""])).measure().duration_s == 1


def test_two_logs_in_one_file_are_refused(refusal):
    said = refusal(WITH_UNITS + WITH_UNITS)
    assert "line 6: time goes back 2 s" in said


@pytest.mark.parametrize("columns", ["", "0, "])
def test_a_log_without_a_header_is_refused(refusal, columns):
    rows = [f"{MOMENT.format(second)}, {columns}220.50 W\n" for second in range(3)]
    said = refusal("".join(rows))
    assert "no column of time" in said
    assert "no header" in said
    assert "without noheader" in said


ODD_NUMBERS = {
    "12,5": "t_s;power_w\n0;12.5.1\n1;12\n",
    "a unit that is none of power": log(["220.50 J", "230.00 J"]),
    "a column that is none of power": log(["220.50", "230.00"], "timestamp, power.draw [%]"),
    "a number with a number": log(["220.50 W", "23 0.00 W"]),
}


@pytest.mark.parametrize("odd", ODD_NUMBERS)
def test_half_a_number_is_no_number(refusal, odd):
    assert "power" in refusal(ODD_NUMBERS[odd])


def test_a_value_too_many_is_refused(refusal):
    said = refusal(log(["220 W", "1, 230 W", "220 W"]))
    assert "line 3" in said
    assert "as many values as the header has names" in said


def test_columns_that_are_called_otherwise_are_named(read, refusal):
    content = "Sekunde,Leistung,Ort\n0,10,x\n1,30,x\n2,0,x\n"
    said = refusal(content)
    assert "no column of time" in said
    assert "--time COLUMN (time=COLUMN); there are Sekunde, Leistung, Ort" in said
    assert "power=COLUMN" in refusal(content, time_column="Sekunde")
    assert "no column 'Watt'" in refusal(content, time_column="Sekunde", power_column="Watt")
    recording = read(content, time_column="Sekunde", power_column="Leistung", domain="wall")
    assert energies(recording) == {"wall": 40}
    assert recording.channels[0].within == ()


@pytest.mark.parametrize(
    ("times", "header"),
    [
        ("0 0.5 2", "seconds"),
        ("10 10.5 12", "Time (s)"),
        ("0 500 2000", "t_ms"),
        ("0 500 2000", "time [ms]"),
        ("1679402096.0 1679402096.5 1679402098.0", "timestamp"),
        ("1679402096000 1679402096500 1679402098000", "timestamp"),
        ("1679402096000000000 1679402096500000000 1679402098000000000", "timestamp"),
        ("2023-03-21T12:34:56Z 2023-03-21T12:34:56.5Z 2023-03-21T12:34:58Z", "time"),
    ],
)
def test_times_come_in_many_forms(read, times, header):
    rows = [f"{moment},100" for moment in times.split()]
    recording = read("\n".join([f"{header},power_w", *rows, ""]))
    assert recording.measure().duration_s == pytest.approx(2)
    assert energies(recording) == {"gpu:0": pytest.approx(200)}
    if header == "timestamp":
        assert recording.about.started_at == pytest.approx(1679402096)


@pytest.mark.parametrize(
    ("name", "first", "step"),
    [("time", 0, 1000), ("elapsed", 0, 100), ("timestamp", 123_456_789_012_345, 10**9)],
)
def test_times_that_are_hardly_seconds_need_their_unit(read, refusal, name, first, step):
    rows = [f"{first + n * step},100" for n in range(61)]
    assert "in an unknown unit" in refusal("\n".join([f"{name},power_w", *rows, ""]))
    unit, energy_j = {1000: ("ms", 6000), 100: ("s", 600_000), 10**9: ("ns", 6000)}[step]
    named = "\n".join([f"{name}_{unit},power_w", *rows, ""])
    assert energies(read(named, time_column=f"{name}_{unit}")) == {"gpu:0": pytest.approx(energy_j)}


@pytest.mark.parametrize(("first", "step"), [(0, 60), (0, 300), (1_772_701_200, 137)])
def test_times_in_minutes_or_since_1970_need_no_unit(read, first, step):
    rows = [f"{first + n * step},100" for n in range(61)]
    assert energies(read("\n".join(["time,power_w", *rows, ""]))) == {"gpu:0": 6000 * step}


RISING = "\n".join(["t_s,energy_j", *(f"{n},{100 + n}" for n in range(30)), ""])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (RISING, "may be a counter or energies of single intervals"),
        ("t_s,power_w" + "\n5,100" * 20 + "\n", "all rows have the same time"),
    ],
)
def test_what_is_no_measurement_of_anything_is_refused(refusal, content, said):
    assert said in refusal(content)


def test_energies_that_rise_slowly_count_where_the_heading_says_so(read):
    counted = RISING.replace("energy_j", "cumulative_energy_j")
    assert energies(read(counted)) == {"gpu:0": 29}


def test_a_counter_beside_its_power_is_left_out(read):
    rows = [f"{n},0,100,{5000 + 100_000 * n}" for n in range(61)]
    header = "t_s,index,power.draw [W],total_energy_consumption [mJ]"
    assert energies(read("\n".join([header, *rows, ""]))) == {"gpu:0": 6000}


def test_a_power_that_overflows_is_left_out(read):
    rows = [f"{n},{1e308 if n == 5 else 100}" for n in range(61)]
    recording = read("\n".join(["t_s,wall power (W)", *rows, ""]))
    assert energies(recording) == {"wall": 6000}
    assert any("1 sample above 1e+07 W" in flag for flag in recording.flags)


def test_a_log_with_the_newest_row_first_is_read_the_other_way_round(read):
    rows = [f"{n},{100 + n}" for n in reversed(range(11))]
    recording = read("\n".join(["t_s,power_w", *rows, ""]))
    assert energies(recording) == {"gpu:0": sum(range(100, 110))}
    assert any("rows are newest first" in flag for flag in recording.flags)


def test_times_may_be_moments_of_a_parquet_file(tmp_path):
    moments = pd.to_datetime(["2023-03-21T12:34:56.0Z", "2023-03-21T12:34:57.5Z"])
    for column, began in ((moments, 1679402096), (moments - moments[0], None)):
        frame = pd.DataFrame({"time": column, "power_w": [10.0, 10.0]})
        frame.to_parquet(tmp_path / "x.parquet")
        recording = read_recording(tmp_path / "x.parquet")
        assert energies(recording) == {"gpu:0": 15}
        assert recording.about.started_at == began


def test_domains_may_stand_in_a_column(read):
    content = "t_s,domain,power_w\n0,wall,100\n0,gpu:0,60\n1,wall,100\n1,gpu:0,60\n"
    recording = read(content)
    assert energies(recording) == {"wall": 100, "gpu:0": 60}
    assert recording.measure().energy_j == 100  # the GPU is within the wall


def test_a_time_that_is_missing_is_refused_with_its_row(refusal):
    assert "line 3: the time is missing" in refusal("t_s,power_w\n0,10\n,20\n2,10\n")


def test_a_power_that_is_missing_is_bridged(read):
    assert energies(read("t_s,power_w\n0,10\n1,\n2,30\n3,NaN\n4,5\n")) == {"gpu:0": 10 * 2 + 30 * 2}


def test_one_row_is_no_energy(read):
    with pytest.raises(TraceError, match="only one sample"):
        read("t_s,power_w\n0,10\n").measure()


def test_a_percentage_beyond_one_is_not_taken_for_utilisation(read):
    recording = read("t_s,power_w,utilisation\n0,10,80\n1,10,0.5\n")
    column = recording.channel_samples[0].state["utilisation"].tolist()
    assert math.isnan(column[0])
    assert column[1] == 0.5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("timestamp, power.draw [W]\n", "a header but no rows"),
        (bytes(range(256)) * 40, "neither Parquet nor text"),
        (b"\x1f\x8b\x08\x00" + bytes(20), "cannot be unpacked"),
        (b"PAR1 and then nothing of the kind", "cannot be read"),
        ("# joulelab {", "is empty"),
        ('# joulelab {"label": \nt_s\n0\n', "cannot be read"),
        ('# joulelab {"channels": 7}\nt_s\n0\n', "metadata of the trace is not valid"),
        ("# joulelab []\nt_s\n0\n", "metadata of the trace is not valid"),
        ('# joulelab {"meters": []}\nt_s\n0\n', "metadata of the trace is not valid"),
        ("<html><body>Not found</body></html>\n", "a header but no rows"),
        ("a,b\n1,2\n", "no column of time"),
    ],
)
def test_what_is_no_trace_is_refused(refusal, content, said):
    assert said in refusal(content)


def test_a_parquet_file_that_was_cut_short_is_refused(tmp_path, refusal):
    whole = tmp_path / "whole.parquet"
    pd.DataFrame({"t_s": [0.0, 1.0], "power_w": [1.0, 1.0]}).to_parquet(whole)
    content = whole.read_bytes()
    for length in (4, 100, len(content) - 4):
        assert "truncated" in refusal(content[:length])


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TraceError, match=r"gpu\.csv does not exist"):
        read_recording(tmp_path / "gpu.csv")


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "gpu.csv").mkdir()
    with pytest.raises(TraceError, match=r"gpu\.csv cannot be read: Is a directory"):
        read_recording(tmp_path / "gpu.csv")


AS_NOBODY = f"""
import os, sys
from joulelab.energy.traces.recording import read_recording
from joulelab.errors import TraceError
if os.getuid() == 0:
    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
try:
    read_recording(sys.argv[1])
except TraceError as error:
    print(error)
"""


def test_a_file_that_may_not_be_read_is_refused():
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, "gpu.csv")
        path.write_text(WITH_UNITS)
        path.chmod(0o600 if os.getuid() == 0 else 0)
        run = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(path)], capture_output=True, text=True, check=True
        )
    assert run.stdout == (
        f"{path} cannot be read: Permission denied\ngive a file that you can read\n"
    )


def second_log(rows, header="timestamp, index, power.draw [W]"):
    return "\n".join([header, *(f"2026/03/05 10:{s // 60:02d}:{s % 60:02d}.123, {row}"
                                for s, row in rows), ""])  # fmt: skip


def test_a_missing_row_and_one_without_a_reading_are_the_same_hole(read):
    logs = [
        second_log((s, "0, 100.00 W") for s in range(90) if not 30 <= s < 60),
        second_log((s, f"0, {'[N/A]' if 30 <= s < 60 else '100.00 W'}") for s in range(90)),
        second_log((s, f"0, {'-5.00 W' if 30 <= s < 60 else '100.00 W'}") for s in range(90)),
        second_log((s, f"0, {'inf' if 30 <= s < 60 else '100.00 W'}") for s in range(90)),
        second_log((s, f"0, {'99999.00 W' if 30 <= s < 60 else '100.00 W'}") for s in range(90)),
    ]
    first, *others = [read(content).measure()["gpu:0"] for content in logs]
    assert first.status is Status.PARTLY_ESTIMATED
    assert first.lost_s == pytest.approx(31)
    for other in others:
        assert (other.gross_j, other.error_j, other.lost_s, other.status) == (
            first.gross_j, first.error_j, first.lost_s, first.status,
        )  # fmt: skip


def test_a_sample_below_zero_is_counted_and_said_with_its_line(read):
    content = second_log((s, f"0, {'-5.00 W' if s == 7 else '100.00 W'}") for s in range(60))
    recording = read(content)
    assert recording.measure().energy_j == pytest.approx(5900)
    assert "gpu:0: 1 sample below 0 W left out, line 9" in recording.flags


def test_the_errors_of_a_driver_between_the_rows_are_left_out_and_said(read):
    rows = [(s, f"{gpu}, 100.00 W") for s in range(60) for gpu in (0, 1)]
    lost = "Unable to determine the device handle for GPU0000:3B:00.0: Unknown Error\n"
    before, after = second_log(rows[:60]), second_log(rows[60:]).partition("\n")[2]
    recording = read(before + lost + lost + after)
    assert recording.measure().energy_j == pytest.approx(2 * 5900)
    assert any("line 62 and 1 more line left out" in flag for flag in recording.flags)


def test_a_gpu_that_disappears_was_not_measured_from_then_on(read):
    rows = [(s, f"{gpu}, 100.00 W") for s in range(60) for gpu in (0, 1) if gpu == 0 or s < 30]
    measured = read(second_log(rows)).measure()
    assert measured["gpu:0"].status is Status.MEASURED
    assert measured["gpu:1"].status is Status.PARTLY_ESTIMATED
    assert measured["gpu:1"].lost_s == pytest.approx(30)
    assert measured.total.status is Status.PARTLY_ESTIMATED


@pytest.mark.parametrize("zone", ["Etc/UTC", "Europe/Berlin", "America/New_York"])
def test_the_hour_that_comes_twice_is_no_time_of_its_own(read, monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    moments = [*(f"02:59:{s:02d}" for s in range(40, 60)), *(f"02:00:{s:02d}" for s in range(20))]
    rows = [f"2026/10/25 {moment}.12{gpu}, {gpu}, 100 W" for moment in moments for gpu in (0, 1)]
    recording = read("\n".join(("timestamp, index, power.draw [W]", *rows, "")))
    assert recording.measure().energy_j == pytest.approx(2 * 3900, rel=1e-3)
    assert recording.measure().duration_s == pytest.approx(39, abs=0.01)


def test_the_interval_is_that_of_the_device_however_its_times_were_written(read):
    rows = [f"2026/03/05 10:00:{n // 10:02d}, {100 + n % 9} W" for n in range(200)]
    cut = "\n".join(("timestamp, power.draw [W]", *rows, ""))
    assert read(cut).channel_samples[0].interval_s == pytest.approx(0.1)
    repeated = [(s, "0, 100 W") for s in range(60) for _ in range(3 if s % 7 == 0 else 1)]
    appended = second_log([*repeated, *((s + 3000, row) for s, row in repeated)])
    assert read(appended).channel_samples[0].interval_s == pytest.approx(1)


def test_a_unit_that_cannot_be_is_asked_for(refusal):
    said = refusal("timestamp,power\n0,100000\n1,100000\n2,100000\n")
    assert "100000 W is more than any device draws" in said
    assert "power_mw" in said
