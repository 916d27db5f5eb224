"""Times in somebody's table: forms, zones, summer time, whole seconds."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from joulelab.errors import TraceError, UsageError
from joulelab.tabular.local_time import read_zone
from joulelab.tabular.moments import read_moments, spread
from joulelab.tabular.reader import parse_table

BERLIN = ZoneInfo("Europe/Berlin")


def moments(cells, zone=None, heading="timestamp"):
    text = "\n".join((f"n;{heading}", *(f"1;{cell}" for cell in cells), ""))
    table = parse_table(Path("log.csv"), text.encode(), TraceError)
    return read_moments(table, table.require(heading)[0], zone)


def epoch(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("first", "second", "step_s"),
    [
        ("2026-03-05T09:00:00Z", "2026-03-05T09:00:00.250Z", 0.25),
        ("2026-03-05T10:00+01:00", "2026-03-05T09:00:10Z", 10),
        ("2026-03-05 09:00:00 UTC", "2026-03-05 09:00:01 UTC", 1),
        ("05/Mar/2026:09:00:00 +0000", "05/Mar/2026:10:00:07 +0100", 7),
        ("[05/Mar/2026:09:00:00 +0000]", "[05/Mar/2026:09:00:02 +0000]", 2),
        ("2026-03-05 10:00:00 CET", "2026-03-05 11:00:03 CEST", 3),
        ("2026-03-05 10:00:00+01", "2026-03-05 04:00:00.5-05", 0.5),
        ("Thu Mar  5 09:00:00 UTC 2026", "Thu Mar  5 04:00:01 EST 2026", 1),
        ("1772701200", "1772701201.5", 1.5),
        ("1772701200000", "1772701200100", 0.1),
        ("1772701200000000", "1772701200500000", 0.5),
        ("1772701200000000000", "1772701203000000000", 3),
    ],
)
def test_moments_that_name_their_offset_or_count_from_1970(first, second, step_s):
    read = moments([first, second])
    assert read.epoch_s == epoch("2026-03-05T09:00:00")
    assert read.seconds == pytest.approx([0, step_s], abs=1e-6)
    assert read.zone == ""


@pytest.mark.parametrize(
    "cell",
    [
        "2026/03/05 09:00:00.000",
        "05.03.2026 09:00",
        "05.03.2026 09:00:00",
        "05.03.26 09:00:00",
        "20260305090000",
        "202603050900",
        "05.03.2026 09:00 - 05.03.2026 10:00",
        "Thu Mar  5 09:00:00 2026",
        "2026-03-05 09:00:00",
        "3/5/2026 9:00:00 AM",
    ],
)
def test_moments_without_an_offset_are_of_the_zone_that_is_named(cell):
    read = moments([cell], BERLIN)
    assert read.epoch_s == epoch("2026-03-05T08:00:00")


def test_the_days_that_excel_counts_are_moments():
    read = moments(["46086.375", "46086.3750115741"], BERLIN)
    assert read.epoch_s == epoch("2026-03-05T08:00:00")
    assert read.seconds == pytest.approx([0, 1], abs=1e-4)


def test_nanoseconds_since_a_machine_was_started_are_no_moments():
    read = moments([str(123_456_789_012_345), str(123_457_789_012_345)])
    assert not read.has_unit
    assert np.diff(read.seconds) == 1e9


def test_the_zone_that_was_assumed_is_said(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    read = moments(["2026-03-05 09:00:00", "2026-03-05 09:00:01"])
    assert read.epoch_s == epoch("2026-03-05T00:00:00")
    assert read.zone == "Asia/Tokyo"
    assert "local time (Asia/Tokyo)" in read.remarks[0]


@pytest.mark.parametrize(
    ("heading", "utc"),
    [("Datetime (UTC)", "09:00"), ("UTC time", "09:00"), ("MTU (CET/CEST)", "08:00")],
)
def test_a_heading_may_name_the_zone(heading, utc):
    read = moments(["2026-03-05 09:00", "2026-03-05 10:00"], heading=heading)
    assert read.epoch_s == epoch(f"2026-03-05T{utc}:00")
    assert not read.remarks


def test_seconds_since_the_opening_stay_as_they_are_in_their_unit():
    assert moments(["0.25", "1.75"], heading="t_s").seconds.tolist() == [0.25, 1.75]
    assert moments(["250", "1750"], heading="time [ms]").seconds.tolist() == [0.25, 1.75]
    assert moments(["250", "1750"], heading="t_us").epoch_s is None


def test_seconds_that_cannot_be_are_milliseconds_since_1970():
    read = moments(["1772701200000", "1772701200500"], heading="t_s")
    assert read.epoch_s == epoch("2026-03-05T09:00:00")
    assert read.seconds.tolist() == [0, 0.5]


def test_a_time_of_day_goes_on_over_midnight():
    assert moments(["23:59:59.5", "00:00:00.5", "00:00:01"]).seconds.tolist() == [0, 1, 1.5]


@pytest.mark.parametrize(("days", "hours"), [("13/03/2026", 8), ("03/13/2026", 8)])
def test_the_order_of_day_and_month_is_read_from_the_column(days, hours):
    assert moments([f"{days} 09:00:00"], BERLIN).epoch_s == epoch(f"2026-03-13T0{hours}:00:00")


def test_a_day_that_may_be_a_month_is_refused():
    with pytest.raises(TraceError, match=r"line 2, column timestamp.*ambiguous order"):
        moments(["03/05/2026 09:00:00", "03/05/2026 09:00:01"])


def test_where_distances_are_enough_either_day_will_do_and_is_said():
    table = parse_table(
        Path("log.csv"), b"t;p\n05/03/2026 09:00:00;1\n05/03/2026 09:00:02;1\n", TraceError
    )
    read = read_moments(table, "t", any_day=True)
    assert read.seconds.tolist() == [0, 2]
    assert read.epoch_s is None
    assert read.remarks == ("05/03/2026 may be either of two days: the start is unknown",)


def test_offsets_where_none_should_be_are_refused():
    with pytest.raises(TraceError, match=r"line 2, column timestamp: '2026-03-05T10:00:00.01:00x'"):
        moments(["2026-03-05T10:00:00+01:00x", "2026-03-05 10:00:00+02:00 CET"])


def test_a_cell_that_is_no_moment_is_refused_with_its_line():
    with pytest.raises(TraceError, match=r"line 3, column timestamp: 'yesterday'"):
        moments(["2026-03-05 09:00", "yesterday", "2026-03-05 09:02"])


AUTUMN = ["2026-10-25 01:59:30", "2026-10-25 02:30:00", "2026-10-25 02:59:30"]
AUTUMN += ["2026-10-25 02:00:00", "2026-10-25 02:30:00", "2026-10-25 03:00:00"]
AUTUMN_S = [0, 1830, 3600, 3630, 5430, 7230]


def test_the_hour_that_comes_twice_is_read_in_the_order_of_the_file():
    assert moments(AUTUMN, BERLIN).seconds.tolist() == AUTUMN_S


def test_the_hour_that_comes_twice_is_two_rows_where_rows_are_an_hour_apart():
    hours = [f"2026-10-25 0{hour}:00" for hour in (1, 2, 2, 3)]
    assert moments(hours, BERLIN).seconds.tolist() == [0, 3600, 7200, 10800]


def test_the_hour_that_is_left_out_takes_no_time():
    cells = ["2026-03-29 01:59:59", "2026-03-29 03:00:00", "2026-03-29 03:00:01"]
    assert moments(cells, BERLIN).seconds.tolist() == [0, 1, 2]


def test_an_hour_that_the_zone_left_out_is_refused():
    with pytest.raises(TraceError, match=r"2026-03-29 02:30 does not exist in Europe/Berlin"):
        moments(["2026-03-29 01:30:00", "2026-03-29 02:30:00"], BERLIN)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2026-10-25 02:59:59", "2026-10-25 02:00:00"),
        ("2026-03-29 01:59:59", "2026-03-29 03:00:00"),
        ("2026-11-01 01:59:59", "2026-11-01 01:00:00"),
        ("2026-03-08 01:59:59", "2026-03-08 03:00:00"),
    ],
)
def test_a_change_of_summer_time_in_a_zone_that_nobody_named_is_understood(
    before, after, monkeypatch
):
    monkeypatch.setenv("TZ", "UTC")
    ordinary = before[:-1] + "8"
    read = moments([ordinary, before, after])
    assert read.seconds.tolist() == [0, 1, 2]
    assert any("summer time" in remark for remark in read.remarks)


def test_a_change_of_summer_time_is_understood_between_bursts_of_several_devices(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    bursts = ["2026-10-25 02:59:55", "2026-10-25 02:59:58", "2026-10-25 02:00:01"]
    cells = [f"{burst}.{thousandth:03d}" for burst in bursts for thousandth in range(0, 12, 3)]
    assert moments(cells).seconds[::4].tolist() == pytest.approx([0, 3, 6])


def test_an_hour_without_rows_on_an_ordinary_day_stays_an_hour(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    read = moments(["2026-06-10 01:59:58", "2026-06-10 01:59:59", "2026-06-10 03:00:00"])
    assert read.seconds.tolist() == [0, 1, 3602]


@pytest.mark.parametrize("minutes", [15, 30, 60])
def test_rows_as_far_apart_as_hours_are_no_change_of_summer_time(minutes, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    cells = pd.date_range("2026-03-28 22:00", periods=24, freq=f"{minutes}min").astype(str)
    read = moments(list(cells))
    assert np.diff(read.seconds).tolist() == [60 * minutes] * 23
    assert read.changes == 0


def test_rows_an_hour_apart_show_the_hour_that_is_left_out(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    hours = ("2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 03:00", "2026-03-29 04:00")
    read = moments(list(hours))
    assert read.seconds.tolist() == [0, 3600, 7200, 10800]
    assert read.changes == 1


def test_another_zone_than_that_of_this_machine_may_be_assumed_and_is_said(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    table = parse_table(Path("log.csv"), b"n;time\n1;2026-03-05 09:00\n", TraceError)
    read = read_moments(table, "time", assumed=UTC)
    assert read.epoch_s == epoch("2026-03-05T09:00:00")
    assert read.remarks == ("times without a zone are read as UTC",)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "utc", "+02:00", "local", "CET"])
def test_zones_as_a_user_names_them(zone):
    assert datetime.now(read_zone(zone)).utcoffset() is not None


def test_a_zone_that_is_none_is_refused():
    with pytest.raises(UsageError, match="unknown time zone 'Mars/Olympus'"):
        read_zone("Mars/Olympus")


def test_whole_seconds_are_spread_over_their_second():
    cut = np.repeat([0.0, 1.0, 2.0, 3.0], [1, 4, 4, 2])
    assert spread(cut, 1.0).tolist() == [0.75, *(1 + np.arange(8) / 4), 3.0, 3.25]


def test_times_that_differ_stay_as_they_are():
    assert spread(np.array([0.0, 1.0, 2.0]), 1.0).tolist() == [0, 1, 2]
