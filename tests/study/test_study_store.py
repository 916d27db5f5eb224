"""The results folder: transactions, interruptions, and what is refused."""

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from joulelab.cli.inspecting import status
from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status, total
from joulelab.errors import (
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreMismatchError,
    StoreVersionError,
    StoreWriteError,
)
from joulelab.present.terminal import to_text
from joulelab.study.database import DATABASE, connect
from joulelab.study.planned_run import PlannedRun
from joulelab.study.results import Results
from joulelab.study.schema import VERSION
from joulelab.study.store import Store
from joulelab.study.store_reading import is_running
from joulelab.study.stored_ledger import Ending

STUDY = 'name = "s"\nepochs = 1\n[experiment.e]\nkind = "tuning"\n'


def planned(repetition=0, round_number=0):
    return PlannedRun(
        f"e/c/{round_number}/{repetition}",
        repetition,
        0,
        "e",
        "tuning",
        "c",
        {"strategy": "grid"},
        round_number,
        repetition,
        7,
    )


def measured(joules, duration_s=2.0):
    reading = Reading("cpu:0", "estimate", Status.ESTIMATED, joules, 0.4 * joules, 1.0, duration_s)
    return Measurement("m", 1000.0, duration_s, (reading,), 3, 0.1)


def finish(store, entry, runs, joules=10.0):
    sample = measured(joules)
    rows = [
        {"run_id": run.run_id, "state": "finished", "accuracy": 0.5, "energy_gross_j": joules}
        for run in runs
    ]
    store.end(entry, Ending("finished", sample, total(sample.readings), rows=rows))


def test_a_run_goes_from_planned_to_finished(tmp_path):
    run = planned()
    with Store.open(tmp_path / "out", STUDY) as store:
        store.plan([run])
        assert store.states() == {run.run_id: "planned"}
        entry = store.begin(1, "training", 1000.0, [run])
        assert store.states() == {run.run_id: "running"}
        finish(store, entry, [run])
        assert store.states() == {run.run_id: "finished"}
        assert store.finished_values("accuracy", ("e", "c", 0)) == [0.5]
    frame = Results.open(tmp_path / "out").to_frame()
    assert frame.loc[0, "accuracy"] == 0.5
    assert frame.loc[0, "strategy"] == "grid"
    assert frame.loc[0, "attempts"] == 1


def test_flags_of_a_measurement_reach_the_results(tmp_path):
    run, sample = planned(), replace(measured(1.0), flags=("no sample for 0.80 s", "coarse"))
    with Store.open(tmp_path, STUDY) as store:
        store.plan([run, planned(1)])
        entry = store.begin(1, "training", 1000.0, [run])
        row = {"run_id": run.run_id, "measurement": json.dumps(sample.to_dict())}
        store.end(entry, Ending("finished", sample, total(sample.readings), rows=[row]))
    results = Results.open(tmp_path)
    assert list(results.to_frame()["energy_flags"]) == ["no sample for 0.80 s; coarse", ""]
    assert results.factors("e") == ["strategy"]


def test_planning_again_changes_nothing(tmp_path):
    run = planned()
    with Store.open(tmp_path, STUDY) as store:
        store.plan([run])
        finish(store, store.begin(1, "training", 1000.0, [run]), [run])
        store.plan([run])
        assert store.states() == {run.run_id: "finished"}


def test_an_interrupted_run_is_planned_again_and_its_energy_stays_in_the_ledger(tmp_path):
    run = planned()
    with Store.open(tmp_path, STUDY) as store:
        store.plan([run])
        entry = store.begin(1, "training", 1000.0, [run])
        sample = measured(6.5)
        store.progress(entry, sample, total(sample.readings))
    with Store.open(tmp_path, STUDY) as store:
        assert store.states() == {run.run_id: "planned"}
        finish(store, store.begin(2, "training", 1000.0, [run]), [run], joules=10.0)
    ledger = Results.open(tmp_path).ledger_frame()
    assert list(ledger["state"]) == ["interrupted", "finished"]
    assert list(ledger["energy_gross_j"]) == [6.5, 10.0]
    assert Results.open(tmp_path).to_frame().loc[0, "attempts"] == 2


def test_a_run_killed_before_its_first_heartbeat_has_an_unknown_energy(tmp_path):
    heard, unheard = planned(), replace(planned(), run_id="other", repetition=1)
    with Store.open(tmp_path, STUDY) as store:
        store.plan([heard, unheard])
        sample = measured(6.5)
        entry = store.begin(1, "run", 1000.0, [heard])
        store.progress(entry, sample, total(sample.readings))
        store.begin(1, "run", 1000.0, [unheard])
        store.give_up(store.begin(1, "run", 1000.0, [unheard]), "worker 1 has ended: killed")
    Store.open(tmp_path, STUDY).close()
    ledger = Results.open(tmp_path).ledger_frame()
    assert list(ledger["error"]) == [
        "the process ended; energy up to the last heartbeat",
        "the process ended; no heartbeat had come: its energy is unknown",
        "worker 1 has ended: killed; no heartbeat had come: its energy is unknown",
    ]
    assert ledger["energy_gross_j"].isna().tolist() == [False, True, True]
    said = to_text(*status(tmp_path).parts)
    assert "6.50 J gross; 2 booked intervals without a figure not included" in " ".join(
        said.split()
    )


def test_proposals_come_back_bit_by_bit(tmp_path):
    values = {"learning_rate": 0.1 + 0.2, "beta1": 1 / 3, "layers": 3, "on": True}
    with Store.open(tmp_path, STUDY) as store:
        store.propose("e", "c", 0, values)
    with Store.open(tmp_path, STUDY) as store:
        assert store.proposed("e", "c", 0) == (values, None)
        assert store.proposed("e", "c", 1) is None


def test_a_transaction_that_raises_leaves_nothing_behind(tmp_path):
    run = planned()
    with Store.open(tmp_path, STUDY) as store:
        store.plan([run])
        entry = store.begin(1, "training", 1000.0, [run])
        sample = measured(1.0)
        wrong = [{"run_id": run.run_id, "state": "no such state"}]
        with pytest.raises(StoreError):
            store.end(entry, Ending("finished", sample, total(sample.readings), rows=wrong))
        assert store.states() == {run.run_id: "running"}


def test_a_second_writer_is_refused(tmp_path):
    with Store.open(tmp_path, STUDY):
        assert is_running(tmp_path)
        with pytest.raises(StoreBusyError, match="another joulelab is already running"):
            Store.open(tmp_path, STUDY)
    assert not is_running(tmp_path)


def test_a_writer_killed_with_9_leaves_the_lock_free_and_the_database_whole(tmp_path):
    program = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from joulelab.study.planned_run import PlannedRun
        from joulelab.study.store import Store
        store = Store.open(Path({str(tmp_path)!r}), {STUDY!r})
        runs = [PlannedRun(f"e/c/0/{{n}}", n, 0, "e", "tuning", "c", {{}}, 0, n, n)
                for n in range(100_000)]
        print("begun", flush=True)
        for n in range(0, 100_000, 50):
            store.plan(runs[n:n + 50])
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    process.stdout.readline()
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with Store.open(tmp_path, STUDY) as store:
        kept = len(store.states())
    assert kept % 50 == 0, "a transaction is whole or absent"


def test_readers_see_what_a_writer_has_committed(tmp_path):
    with Store.open(tmp_path, STUDY) as store:
        store.plan([planned(0), planned(1)])
        assert len(Results.open(tmp_path).to_frame()) == 2


def test_another_study_in_the_folder_is_refused_with_the_difference(tmp_path):
    with Store.open(tmp_path, STUDY) as store:
        store.plan([planned()])
    with pytest.raises(StoreMismatchError, match="epochs is 1 there and 2 here"):
        Store.open(tmp_path, STUDY.replace("epochs = 1", "epochs = 2"))


def test_a_folder_in_which_nothing_was_planned_takes_another_study(tmp_path):
    with Store.open(tmp_path, STUDY) as store:
        book(store, 1000.0, 1.0)
    with Store.open(tmp_path, STUDY):
        assert len(Results.open(tmp_path).ledger_frame()) == 1, "the same study has spent it"
    other = STUDY.replace("epochs = 1", "epochs = 2")
    Store.open(tmp_path, other).close()
    assert Results.open(tmp_path).spec["epochs"] == 2
    assert len(Results.open(tmp_path).ledger_frame()) == 0


def test_work_beside_runs_is_one_entry_from_its_first_heartbeat_to_its_end(tmp_path):
    with Store.open(tmp_path, STUDY) as store:
        beat(store, 1000.0, 2.0)
        book(store, 1002.5, 1.0)
        beat(store, 1000.0, 4.0)
        (entry,) = Results.open(tmp_path).ledger_frame().query("state == 'running'")["entry"]
        book(store, 1000.0, 5.0, kind="between")  # there was nothing to calibrate
        beat(store, 1000.0, 4.5)  # measured before, and overtaken
        frame = Results.open(tmp_path).ledger_frame().set_index("started_at")
    assert frame["energy_gross_j"].to_dict() == {1000.0: 50.0, 1002.5: 10.0}
    assert set(frame["state"]) == {"finished"}
    assert frame.loc[1000.0, ["entry", "kind"]].tolist() == [entry, "between"]


def test_what_was_heard_of_work_beside_runs_stays_when_its_process_ends(tmp_path):
    with Store.open(tmp_path, STUDY) as store:
        beat(store, 1000.0, 2.0)
        beat(store, 1000.0, 4.0)
    (row,) = Results.open(tmp_path).ledger_frame().to_dict("records")
    assert (row["state"], row["duration_s"], row["energy_gross_j"]) == ("interrupted", 4.0, 40.0)
    assert row["error"] == "the process ended; energy up to the last heartbeat"


def beside(enter, begun_at, seconds, *state, kind="calibration"):
    """Enter work beside runs that takes 10 W."""
    reading = Reading("cpu:0", "s", Status.MEASURED, 10 * seconds, 0.0, 1.0, seconds)
    measurement = Measurement(kind, begun_at, seconds, (reading,), 2, 0.1)
    enter(1, kind, measurement, total([reading]), *state)


def book(store, begun_at, seconds, **kind):
    beside(store.book, begun_at, seconds, "finished", **kind)


def beat(store, begun_at, seconds):
    beside(store.so_far, begun_at, seconds)


def test_a_store_in_which_nothing_is_planned_yet_has_an_empty_frame(tmp_path):
    Store.open(tmp_path, STUDY).close()
    results = Results.open(tmp_path)
    assert len(results.to_frame()) == 0
    assert {"run_id", "state", "accuracy", "energy_net_j"} <= set(results.to_frame().columns)
    assert len(results.ledger_frame()) == 0


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(StoreMismatchError, match=r"thesis\.tex"):
        Store.open(tmp_path, STUDY)


def test_a_store_that_is_refused_is_closed_and_free_for_others(tmp_path, monkeypatch):
    with Store.open(tmp_path, STUDY) as store:
        store.plan([planned()])
    opened = []

    def connected(folder):
        opened.append(connect(folder))
        return opened[-1]

    monkeypatch.setattr("joulelab.study.store.connect", connected)
    with pytest.raises(StoreMismatchError):
        Store.open(tmp_path, STUDY.replace("epochs = 1", "epochs = 2"))
    (connection,) = opened
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
    assert not is_running(tmp_path)


def test_a_store_of_a_newer_version_is_refused_by_writer_and_reader(tmp_path):
    Store.open(tmp_path, STUDY).close()
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    before = (tmp_path / DATABASE).read_bytes()
    for opening in (lambda: Store.open(tmp_path, STUDY), lambda: Results.open(tmp_path)):
        with pytest.raises(StoreVersionError, match="newer joulelab"):
            opening()
    assert (tmp_path / DATABASE).read_bytes() == before


@pytest.mark.parametrize("damage", ["header", "middle"])
def test_a_damaged_database_is_named_and_left_as_it_is(tmp_path, damage):
    with Store.open(tmp_path, STUDY) as store:
        store.plan([planned(n) for n in range(500)])
    path = tmp_path / DATABASE
    data = bytearray(path.read_bytes())
    start = 0 if damage == "header" else len(data) // 2
    data[start : start + 8000] = os.urandom(8000)
    path.write_bytes(bytes(data))
    with pytest.raises(StoreCorruptError, match=r"runs\.sqlite is damaged"):
        Store.open(tmp_path, STUDY)
    assert path.read_bytes() == bytes(data)


def test_a_damaged_study_file_is_named(tmp_path):
    with Store.open(tmp_path, STUDY) as store:
        store.plan([planned()])
    (tmp_path / "study.toml").write_text("name = ")
    with pytest.raises(StoreCorruptError, match=r"study\.toml cannot be read"):
        Store.open(tmp_path, STUDY)


def test_a_folder_without_a_study_is_refused_by_readers(tmp_path):
    with pytest.raises(StoreError, match="does not hold a study"):
        Results.open(tmp_path)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreWriteError, match=r"is a file, not a folder\nchoose another folder"):
        Store.open(tmp_path / "file" / "out", STUDY)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_where_no_folder_can_be_made_another_is_asked_for():
    with pytest.raises(StoreWriteError, match=r"cannot be written.*\nchoose another folder"):
        Store.open(Path("/proc/nowhere"), STUDY)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreWriteError, match="cannot be written"):
        Store.open(tmp_path / "out", STUDY)


def test_a_full_disk_is_an_error_that_loses_nothing(tmp_path):
    """A limit on the size of files is what a process can have of a full disk without root."""
    with Store.open(tmp_path, STUDY) as store:
        store.plan([planned(0)])
    limit = (tmp_path / DATABASE).stat().st_size + 64 * 1024
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with Store.open(tmp_path, STUDY) as store:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
            with pytest.raises(StoreWriteError, match="free disk space"):
                store.plan([planned(n) for n in range(1, 50_000)])
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert len(store.states()) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old_handler)
    with Store.open(tmp_path, STUDY) as store:
        assert len(store.states()) == 1


def test_results_can_be_read_from_a_copy(tmp_path):
    with Store.open(tmp_path / "a", STUDY) as store:
        store.plan([planned()])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert len(Results.open(tmp_path / "b").to_frame()) == 1
