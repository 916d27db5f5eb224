"""CodeCarbon's rows: which of them go on counting, in files of every kind that it writes."""

import pytest

from joulelab.errors import DatasetError
from joulelab.replication.codecarbon_rows import read_emissions

KWH = 3.6e6
RUNS = "timestamp,run_id,duration,emissions,energy_consumed,region"
POWERED = "timestamp,run_id,experiment_id,duration,emissions,energy_consumed,cpu_power"
TASKS = "task_name,timestamp,run_id,duration,emissions,energy_consumed"
NAMELESS = "timestamp,duration,emissions,energy_consumed,region"


@pytest.fixture
def read(tmp_path):
    def write_and_read(*lines):
        path = tmp_path / "emissions.csv"
        path.write_text("\n".join((*lines, "")))
        return read_emissions(path)

    return write_and_read


def runs(*rows):
    """Rows of one run_id: seconds after ten o'clock, duration, kWh."""
    return [f"{stamp(at)},a,{duration},.1,{kwh},x" for at, duration, kwh in rows]


def stamp(at):
    return f"2024-06-01T{10 + at // 3600:02d}:{at // 60 % 60:02d}:{at % 60:02d}"


def powered(*rows):
    return [f"{stamp(at)},a,e,{d},.1,{j / KWH!r},{w}" for at, d, j, w in rows]


GOES_ON = [
    # flush, flush, stop
    (RUNS, runs((60, 60, 0.1), (120, 120, 0.3), (180, 180, 0.35)), (0.1, 0.2, 0.05)),
    # suspended for 100 minutes: neither monotonic clock nor energy went on
    (RUNS, runs((600, 600, 0.1), (7800, 1800, 0.3)), (0.1, 0.2)),
    # the clock was put back by 17 minutes
    (RUNS, runs((3000, 600, 0.1), (2580, 1800, 0.3)), (0.1, 0.2)),
    # summer time ended, and the powers that are stated are not those of the energies
    (POWERED, powered((3600, 600, 3.6e5, 13), (1200, 1800, 1.08e6, 13)), (0.1, 0.2)),
    # a counter that fell behind: impossible, and no count of its own
    (RUNS, runs((600, 600, 0.1), (1200, 1200, 0.05), (1800, 1800, 0.15)), (0.1, -0.05, 0.1)),
]
TIME_ANEW = [
    # start_task, flush, stop_task ... under one tracker
    (
        POWERED,
        powered((4, 4.001, 112, 28), (8, 4.002, 224, 28), (12, 4.0, 336, 28)),
        (112 / KWH,) * 3,
    ),
    # tasks that get longer: durations rise, and are no sum
    (
        POWERED,
        powered((4, 4, 112, 28), (10, 6, 280, 28), (18, 8, 504, 28)),
        (112 / KWH, 168 / KWH, 224 / KWH),
    ),
    # start, stop, start, stop with pauses
    (POWERED, powered((1, 1.0, 28, 28), (3, 1.0, 56, 28)), (28 / KWH,) * 2),
]
ITS_OWN = [
    # each row a tracker's of its own, under one id
    (RUNS, runs((100, 100, 0.04), (210, 110, 0.05), (330, 120, 0.06)), (0.04, 0.05, 0.06)),
    (RUNS, runs((100, 100, 0.05), (300, 90, 0.04), (600, 110, 0.05)), (0.05, 0.04, 0.05)),
    (POWERED, powered((9, 4, 112, 28), (30, 9, 252, 28)), (112 / KWH, 252 / KWH)),
]


@pytest.mark.parametrize(
    ("rule", "header", "rows", "kwh"),
    [
        *(("goes on", *case) for case in GOES_ON),
        *(("time anew", *case) for case in TIME_ANEW),
        *(("its own", *case) for case in ITS_OWN[:2]),
    ],
)
def test_each_row_is_read_by_the_rule_that_it_follows(read, rule, header, rows, kwh):
    found = read(header, *rows)
    assert found.trainings["energy_j"].to_numpy() / KWH == pytest.approx(kwh)
    assert found.trainings["rule"].to_list() == ["first"] + [rule] * (len(rows) - 1)
    possible = sum(one for one in kwh if one > 0)
    assert found.trap.energy_j == pytest.approx(possible * KWH)
    assert found.trap.left_out == len(kwh) - sum(one > 0 for one in kwh)


def test_rows_of_a_task_are_its_own_however_short(read):
    rows = [f"p{n},2024-06-01T10:00:0{n // 3},a,{(n + 1) / 10},.1,{n + 1}e-7" for n in range(4)]
    found = read(TASKS, *rows)
    assert found.trap.energy_j == pytest.approx(10e-7 * KWH)
    assert found.trainings["rule"].unique().tolist() == ["task"]
    assert found.trainings["task"].to_list() == ["p0", "p1", "p2", "p3"]


def test_tasks_whose_names_are_gone_are_refused_where_nothing_tells_them_apart(read):
    header, *rows = (line.partition(",")[2] for line in (TASKS, *(
        f"p{n},2024-06-01T10:00:0{n // 3},a,{(n + 1) / 10},.1,{n + 1}e-7" for n in range(4)
    )))  # fmt: skip
    with pytest.raises(DatasetError, match="line 3: it may continue from"):
        read(header, *rows)


def test_rows_of_tasks_and_of_the_run_that_holds_them_are_refused_together(read):
    with pytest.raises(DatasetError, match="line 3: a row of a whole run"):
        read(TASKS, "p,2024-06-01T10:00:00,a,10,.1,1", ",2024-06-01T10:01:00,a,60,.1,2")


def test_interleaved_trackers_are_told_apart_by_their_run_id(read):
    a, b = runs((60, 60, 0.1), (120, 120, 0.3)), runs((61, 60, 0.2), (122, 121, 0.5))
    b = [row.replace(",a,", ",b,") for row in b]
    found = read(RUNS, a[0], b[0], a[1], b[1])
    assert found.trainings["energy_j"].to_numpy() / KWH == pytest.approx([0.1, 0.2, 0.2, 0.3])


def test_interleaved_trackers_of_one_id_are_refused(read):
    rows = runs((60, 60, 0.1), (61, 55, 0.2), (120, 120, 0.3), (122, 116, 0.5))
    with pytest.raises(DatasetError, match="line 3: the duration falls within run_id a, and is"):
        read(RUNS, *rows)


def test_energy_that_nothing_can_have_used_in_that_time_is_refused(read):
    with pytest.raises(DatasetError, match="line 3: it does not continue from the previous row"):
        read(RUNS, *runs((600, 600, 0.1), (601, 600, 0.12)))


def test_without_ids_trackers_are_told_apart_by_what_they_count(read):
    rows = [row.replace(",a,", ",") for row in runs(
        (60, 60, 0.1), (120, 120, 0.2), (180, 180, 0.3), (300, 90, 0.15), (400, 190, 0.3)
    )]  # fmt: skip
    found = read(NAMELESS, *rows)
    assert found.trainings["run_id"].to_list() == ["tracker 1"] * 3 + ["tracker 2"] * 2
    assert found.trap.energy_j == pytest.approx(0.6 * KWH)


@pytest.mark.parametrize("header", [NAMELESS, "timestamp,experiment_id,cpu_energy" + RUNS[16:]])
def test_without_ids_what_may_be_either_is_refused(read, header):
    ids = "," if header == NAMELESS else ",the-same,.1,"
    rows = [row.replace(",a,", ids) for row in runs((600, 600, 0.1), (7800, 1800, 0.3))]
    with pytest.raises(DatasetError, match="line 3: it may continue from"):
        read(header, *rows)


def test_rows_the_wrong_way_round_are_refused(read):
    rows = runs((60, 60, 0.1), (120, 120, 0.3), (180, 180, 0.35))
    with pytest.raises(DatasetError, match="line 3: it was written before the row"):
        read(RUNS, *rows[::-1])


def test_a_file_to_which_another_version_has_appended_is_read_with_both_headers(read):
    found = read(
        RUNS, *runs((60, 60, 0.1)), POWERED, *powered((200, 60, 0.2 * KWH, 5)), RUNS, *runs()
    )
    assert found.trainings["energy_j"].sum() == pytest.approx(0.2 * KWH)
    assert found.trainings["line"].to_list() == [2, 4]


def test_a_row_that_stands_there_twice_counts_once(read):
    row, other = runs((60, 60, 0.1), (120, 120, 0.3))
    found = read(RUNS, row, row, other)
    assert found.trap.energy_j == pytest.approx(0.3 * KWH)
    assert "1 duplicate row left" in found.remarks[0]


def test_an_offset_that_was_written_is_kept_and_the_order_is_that_of_the_file(read):
    rows = [
        "2024-10-27T02:50:00+02:00,a,600,.1,0.1,x",
        "2024-10-27T02:10:00+01:00,a,1800,.1,0.3,x",
    ]
    found = read(RUNS, *rows)
    assert [one.isoformat() for one in found.trainings["timestamp"]] == [
        "2024-10-27T02:50:00+02:00",
        "2024-10-27T02:10:00+01:00",
    ]
    assert found.trap.energy_j == pytest.approx(0.3 * KWH)
    assert found.remarks == ()


def test_time_that_the_tracker_did_not_count_is_said(read):
    found = read(RUNS, *runs((600, 600, 0.1), (7800, 1800, 0.3)))
    assert "1 h 40 min more on the clock than was counted: the machine was" in found.remarks[0]
