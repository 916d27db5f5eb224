"""What the page of a study is told, from its results folder."""

import shutil
import sqlite3
from dataclasses import replace

import pytest
from stored import Writer, measured, spec_of

from joulelab.energy.reading import Status, total
from joulelab.live import following
from joulelab.live.study_source import MOST_CONFIGURATIONS, MOST_POINTS, StudySource, is_shown
from joulelab.report.ledger import study_energy
from joulelab.study.database import DATABASE
from joulelab.study.listener import Listener, WorkerNow
from joulelab.study.now import announced
from joulelab.study.results import Results


@pytest.fixture
def writer(tmp_path):
    with Writer(tmp_path / "out") as writing:
        yield writing


@pytest.fixture
def page(writer):
    return Page(writer.folder)


class Page:
    """A viewer: everything that it has been told so far."""

    def __init__(self, folder):
        self.source = StudySource(folder)
        self.seen = ""
        self.head, self.rows, self.points, self.errors = {}, {}, {}, {}

    def look(self):
        """Look for changes; the message, if there is one."""
        self.source.update()
        told = self.source.message(self.seen)
        if told is None:
            return None
        if told["whole"]:
            self.rows, self.points, self.errors = {}, {}, {}
        self.seen, self.head = told["id"], told["head"]
        self.rows |= {row[2]: row for row in told["rows"]}
        self.points |= {point[0]: point for point in told["points"]}
        self.errors |= {error[0]: error for error in told["errors"]}
        return told

    @property
    def counts(self):
        return self.head["counts"]


def test_a_run_appears_while_it_runs_and_when_it_has_ended(writer, page):
    page.look()
    assert page.counts == {"finished": 0, "failed": 0, "running": 0, "planned": 6}
    entry = writer.begin()
    page.look()
    assert page.counts["running"] == 1
    assert writer.running.configuration in page.head["doing"]
    writer.end(entry, 12.0, accuracy=0.75)
    told = page.look()
    assert page.counts == {"finished": 1, "failed": 0, "running": 0, "planned": 5}
    assert [row[2] for row in told["rows"]] == [writer.running.configuration]
    assert page.head["best"][0]["value"] == "0.750"
    assert page.head["energy"]["text"] == "12.0 J"
    assert page.head["energy"]["status"] == "estimated"


def test_only_what_has_changed_is_told(writer, page):
    page.look()
    writer.run()
    first = page.look()
    assert not first["whole"]
    assert page.look() is None
    writer.run(accuracy=0.4)
    second = page.look()
    assert len(second["rows"]) == len(second["points"]) == 1
    whole = Page(writer.folder)
    whole.look()
    assert len(whole.rows) == 3
    assert whole.points.keys() == page.points.keys()


def test_power_is_the_mean_since_the_last_heartbeat(writer, page):
    entry = writer.begin()
    writer.beat(entry, 40.0, 2.0)
    page.look()
    assert page.head["power"]["text"] == "20.0 W"
    writer.beat(entry, 100.0, 4.0)
    page.look()
    assert page.head["power"]["text"] == "30.0 W"
    assert page.head["power"]["status"] == "estimated"
    assert "last 2.00 s" in page.head["power"]["how"]


def test_what_is_booked_is_counted_once(writer, page):
    writer.run(joules=10.0)
    page.look()
    entry = writer.begin()
    writer.beat(entry, 5.0, 1.0)
    page.look()
    assert page.head["energy"]["text"] == "15.0 J"
    writer.end(entry, 7.0)
    page.look()
    assert page.head["energy"]["text"] == "17.0 J"
    writer.run(joules=3.0, error="boom")
    page.look()
    assert page.head["energy"]["text"] == "20.0 J"
    assert page.head["energy"]["lost"] == "3.00 J"


def test_errors_have_their_text_and_are_counted(writer, page):
    writer.run(error="exit code 1: no space", details="Traceback: here")
    page.look()
    writer.run(error="exit code 1: no space", details="Traceback: there")
    page.look()
    [(message, runs, run, details)] = page.errors.values()
    assert (message, runs) == ("exit code 1: no space", 2)
    assert run == writer.running.run_id
    assert details == "Traceback: there"
    assert page.counts["failed"] == 2


def test_a_killed_runner_is_noticed_and_its_run_goes_on(writer, page):
    writer.run()
    entry = writer.begin()
    writer.beat(entry, 4.0, 2.0)
    page.look()
    assert page.head["state"] == "running"
    writer.store.close()  # the lock is free; the run is left as it was, as after kill -9
    page.look()
    assert page.head["state"] == "stopped"
    assert page.head["words"] == "Its process has ended unexpectedly, with 5 runs left."
    assert page.counts == {"finished": 1, "failed": 0, "running": 0, "planned": 5}
    with Writer(writer.folder) as again:
        page.look()
        assert page.head["state"] == "running"
        assert page.head["interrupted"] == 1
        again.left = [run for run in again.left if again.store.states()[run.run_id] == "planned"]
        again.run_all()
        page.look()
    page.look()
    assert page.head["state"] == "finished"
    assert page.counts == {"finished": 6, "failed": 0, "running": 0, "planned": 0}
    assert page.head["energy"]["text"] == "64.0 J"


def book(writer, joules, **reading):
    """Book a moment beside runs."""
    one = replace(measured(joules, 0.1).readings[0], **reading)
    moment = replace(measured(joules, 0.1), readings=(one,))
    writer.store.book(writer.session, "between", moment, total([one]), "finished")


def test_longer_work_between_runs_is_told_while_it_goes_on_and_is_no_run(writer, page):
    idle = measured(20.0, 2.0)
    writer.store.so_far(writer.session, "idle", idle, total(idle.readings))
    page.look()
    assert page.head["energy"]["text"] == "20.0 J"
    assert page.head["power"]["text"] == "10.0 W"
    assert page.head["power"]["how"] == "mean of 2.00 s of idle time"
    entry = writer.begin()
    writer.beat(entry, 8.0, 2.0)
    page.look()
    assert writer.running.configuration in page.head["doing"]
    assert page.head["power"]["text"] == "4.00 W", "not the sum of both"
    writer.store.close()
    with Writer(writer.folder):
        page.look()
        assert page.head["interrupted"] == 1, "idle time is no attempt"


@pytest.mark.parametrize("recent", [1, 300])
def test_the_energy_has_the_status_that_the_report_gives_it(writer, page, monkeypatch, recent):
    # Entries before the recent ones are added up by the database.
    monkeypatch.setattr(following, "RECENT", recent)
    book(writer, 100.0, status=Status.MEASURED, error_j=5.0)
    book(writer, 0.1, too_short=True, error_j=0.3)
    book(writer, 100.0, status=Status.MEASURED, error_j=5.0)
    page.look()
    assert page.head["energy"]["status"] == "measured"
    assert study_energy(Results.open(writer.folder).ledger_frame()).status == "measured"
    book(writer, 0.1, error_j=0.3)  # no sensor has read it
    book(writer, 100.0, status=Status.MEASURED, error_j=5.0)
    page.look()
    assert page.head["energy"]["status"] == "partly estimated"
    assert study_energy(Results.open(writer.folder).ledger_frame()).status == "partly estimated"


def test_what_is_waited_for_is_told(writer, page):
    with announced(Listener(), writer.folder) as hears:
        hears.doing("loading the data set digits")
        page.look()
        assert page.head["doing"] == "Loading the data set digits."
        writer.begin()
        page.look()
        assert page.head["doing"] == f"{writer.running.configuration}."
        hears.waiting("cooling down gpu:0 to idle power")
        page.look()
        assert page.head["doing"].startswith("Cooling down gpu:0 to idle power. Next: ")
    page.look()
    assert page.head["doing"] == f"{writer.running.configuration}."


def test_what_each_worker_does_is_told(writer, page):
    with announced(Listener(), writer.folder) as hears:
        hears.doing("worker 1: loading the data set digits")
        writer.begin()
        run = writer.running.run_id
        told = [
            WorkerNow(1, "worker 1", "n1", runs=(run,), done=3, of=5),
            WorkerNow(2, "worker 2, job 7", doing="pending, Resources"),
        ]
        hears.workers(told, 4)
        page.look()
        assert page.head["doing"] == "1 of 2 workers with a run; 4 runs not given to a worker."
        assert page.head["workers"] == [
            f"worker 1 on n1: {run}, 3 of 5",
            "worker 2, job 7: pending, Resources",
        ]
    page.look()
    assert page.head["workers"] == []


def test_the_power_of_runs_that_go_on_together_is_added_up(writer, page):
    for number in range(2):
        entry = writer.begin()
        writer.beat(entry, 20.0 + number, 2.0)
    page.look()
    assert page.head["power"]["text"] == "20.5 W"
    assert page.head["power"]["how"].startswith("sum of 2 runs")


def test_the_front_and_the_best_follow_the_direction_of_the_metric(tmp_path):
    spec = spec_of(metrics={"loss": "min"}, repetitions=1)
    with Writer(tmp_path / "out", spec) as writer:
        page = Page(writer.folder)
        for joules, loss in ((10.0, 0.5), (20.0, 0.2), (30.0, 0.4)):
            writer.run(joules=joules, accuracy=None, metrics={"loss": loss})
            page.look()
    assert page.head["experiments"][0]["metric"] == "loss"
    assert page.head["best"][0]["value"] == "0.200"
    assert [point[4] for point in page.points.values()] == [1, 1, 0]


def test_a_kind_without_its_metric_shows_another_or_the_duration(tmp_path):
    for values, shown in (({"loss": 1.0}, "loss"), ({}, "duration_s")):
        with Writer(tmp_path / shown) as writer:
            page = Page(writer.folder)
            writer.run(accuracy=None, metrics=values)
            page.look()
            assert page.head["experiments"][0]["metric"] == shown
            assert len(page.points) == 1


def test_a_viewer_who_comes_back_gets_what_it_has_missed(writer, page):
    page.look()
    writer.run()
    writer.run()
    page.source.update()
    writer.run()
    told = page.look()
    assert not told["whole"]
    assert page.counts["finished"] == 3
    stranger = Page(writer.folder)
    stranger.seen = page.seen  # of another server
    assert stranger.look()["whole"]


@pytest.mark.parametrize("seen", ["", "x", "-", "abc-9", "9999999999-1", "\0", "é-1"])
def test_an_unknown_place_gets_everything(writer, page, seen):
    page.source.update()
    assert page.source.message(seen)["whole"]


def test_a_deleted_folder_is_said_and_a_new_one_shown_from_the_start(writer, page):
    writer.run()
    page.look()
    writer.store.close()
    shutil.rmtree(writer.folder)
    page.look()
    assert page.head["state"] == "gone"
    assert "does not hold a study" in page.head["problems"][0]
    with Writer(writer.folder) as again:
        again.run()
        told = page.look()
    assert told["whole"]
    assert page.counts["finished"] == 1
    assert page.head["problems"] == []


def test_a_damaged_entry_is_said_and_the_rest_is_shown(writer, page):
    writer.run()
    writer.run()
    with sqlite3.connect(writer.folder / DATABASE) as connection:
        connection.execute("UPDATE ledger SET runs = '[' WHERE entry = 1")
        connection.execute("UPDATE runs SET factors = 'x', state = 'finished' WHERE position = 5")
        connection.execute("UPDATE runs SET accuracy = 7 WHERE position = 0")
    page.look()
    assert page.counts["finished"] == 2
    assert [problem.split(":")[1].strip() for problem in page.head["problems"]] == [
        "row 1 of ledger",
        "row 1 of runs (width/width=2/0/0)"
        if "width=2" in writer.plan.runs[0].run_id
        else f"row 1 of runs ({writer.plan.runs[0].run_id})",
    ]


def test_a_file_that_is_not_a_database_is_said(writer, page):
    writer.run_all()
    page.look()
    writer.store.close()
    (writer.folder / DATABASE).write_bytes(b"no database" * 1000)
    page.look()
    assert page.head["state"] == "gone"
    assert "damaged" in page.head["problems"][0]
    assert page.counts["finished"] == 6


def test_many_configurations_and_points_are_bounded(tmp_path):
    count = 2 * MOST_CONFIGURATIONS
    with Writer(tmp_path / "out", spec_of(range(count), 1)) as writer:
        page = Page(writer.folder)
        told = page.look()
        assert len(told["rows"]) == MOST_CONFIGURATIONS
        assert told["head"]["configurations"] == count
        writer.run()
        assert [row[2] for row in page.look()["rows"]] == [writer.running.configuration]
    for points in (MOST_POINTS + 1, 10 * MOST_POINTS):
        share = 0.5
        while points * share > MOST_POINTS:
            share /= 2
        drawn = sum(is_shown(number, share) for number in range(points))
        assert points * share == pytest.approx(drawn, rel=0.02)


def test_a_viewer_follows_without_reading_all_runs_again(writer, page, monkeypatch):
    page.look()
    writer.run()
    read = []
    monkeypatch.setattr(
        "joulelab.live.following.read_rows",
        lambda *asked: read.append(asked) or iter([]),
    )
    page.look()
    assert all(asked[4] for asked in read), "a table was read as a whole"
