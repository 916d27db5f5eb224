"""A results folder of which a part is damaged, or is not what belongs there."""

import gzip
import json
import os
import re
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing

import pytest
from mutations import copied, loosened
from tiny_study import TINY, tiny

from joulelab.errors import StoreCorruptError, StoreError, StoreMismatchError
from joulelab.study.database import DATABASE
from joulelab.study.planned_run import PlannedRun
from joulelab.study.results import SECONDS, Results
from joulelab.study.run_tables import write_run_table
from joulelab.study.store import Store
from joulelab.study.store_reading import read_manifest, read_study

SMALL = {
    "tuning": {**TINY["experiment"]["tuning"], "strategies": ["grid", "random"], "rounds": 2},
    "architecture": {**TINY["experiment"]["architecture"], "vary": {"conv_layers": [1, 2]}},
}


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A small study that ended well; not to be changed."""
    return tiny(experiment=SMALL).run(tmp_path_factory.mktemp("whole") / "out").folder


@pytest.fixture
def folder(whole, tmp_path):
    return copied(whole, tmp_path / "out")


def changed(folder, sql, *values, table="runs"):
    """Change a table that has neither types nor constraints any more."""
    with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as connection:
        loosened(connection, table)
        connection.execute(sql, values)


READINGS = {
    "runs": Results.to_frame,
    "rounds": Results.rounds_frame,
    "ledger": Results.ledger_frame,
}


@pytest.mark.parametrize(
    ("table", "column", "value", "said"),
    [
        ("runs", "accuracy", "'abc'", "accuracy = 'abc'"),
        ("runs", "accuracy", "1.5", "accuracy = 1.5"),
        ("runs", "energy_gross_j", "9e999", "energy_gross_j = inf"),
        ("runs", "duration_s", "-1.0", "duration_s = -1.0"),
        ("runs", "state", "'done'", "state = 'done'"),
        ("runs", "state", "NULL", "state = None"),
        ("runs", "configuration", "CAST(x'61ff' AS TEXT)", r"configuration = b'a\xff'"),
        ("runs", "factors", "'{\"strategy\": [1]}'", "factors.strategy = [1]"),
        ("runs", "factors", "'{'", "factors = '{'"),
        ("runs", "hyperparameters", "'[]'", "hyperparameters = []"),
        ("runs", "metrics", "'{\"values\": 3}'", "metrics.values = 3"),
        ("runs", "utilisation", '\'{"p5": "x"}\'', "utilisation.p5 = 'x'"),
        ("runs", "measurement", "'{\"readings\": [{}]}'", "measurement.readings.0.domain"),
        ("runs", "measurement", '\'{"flags": "x"}\'', "measurement.flags = 'x'"),
        ("runs", "kind", "'batching'", "its kind is 'batching', and 'tuning' in study.toml"),
        ("runs", "experiment", "'tunin'", "study.toml has no experiment 'tunin'"),
        ("runs", "factors", "'{\"x\": 1}'", "its factors differ from those of the other runs"),
        ("runs", "run_id", "(SELECT run_id FROM runs)", "another run has the same id"),
        ("rounds", "score", "'x'", "score = 'x'"),
        ("rounds", "hyperparameters", "'{\"beta1\": null}'", "hyperparameters.beta1 = None"),
        ("ledger", "runs", "'{}'", "runs = {}"),
        ("ledger", "started_at", "NULL", "started_at = None"),
    ],
)
def test_a_row_that_does_not_fit_is_named_and_the_others_can_still_be_read(
    folder, table, column, value, said
):
    read = READINGS[table]
    before = read(Results.open(folder))
    changed(folder, f"UPDATE {table} SET {column} = {value} WHERE rowid = 2", table=table)
    with pytest.raises(StoreCorruptError) as caught:
        read(Results.open(folder))
    assert DATABASE in caught.value.message
    assert said in caught.value.message
    assert "joulelab export" in caught.value.hint
    results = Results.open(folder, salvage=True)
    left = read(results)
    assert len(results.left_out) == 1
    assert len(left) == len(before) - 1
    if table == "runs":
        lost = set(before["run_id"]) - set(left["run_id"])
        same = before[~before["run_id"].isin(lost)].reset_index(drop=True)
        assert left[["run_id", "accuracy", "state"]].equals(same[["run_id", "accuracy", "state"]])


def test_the_place_of_a_row_is_its_number_and_its_run(folder):
    changed(folder, "UPDATE runs SET steps = 'x' WHERE position = 1")
    with pytest.raises(StoreCorruptError, match=r"row 2 of runs \(tuning/.*\): steps = 'x'"):
        Results.open(folder).to_frame()


def test_rows_beside_a_torn_page_can_still_be_read(tmp_path):
    study = 'name = "s"\n[experiment.e]\nkind = "tuning"\n'
    runs = [
        PlannedRun(f"e/c/0/{n}", n, 0, "e", "tuning", "c", {"strategy": "grid"}, 0, n, n)
        for n in range(600)
    ]
    with Store.open(tmp_path, study) as store:
        store.plan(runs)
    path = tmp_path / DATABASE
    data = bytearray(path.read_bytes())
    # An index has the name as well, but not the factors after it.
    leaf = re.search(rb"e/c/0/300.{0,60}strategy", data, re.DOTALL).start() // 4096 * 4096
    data[leaf : leaf + 4096] = b"\xa5" * 4096
    path.write_bytes(bytes(data))
    with pytest.raises(StoreCorruptError, match=r"runs\.sqlite is damaged"):
        Results.open(tmp_path).to_frame()
    results = Results.open(tmp_path, salvage=True)
    frame = results.to_frame()
    assert 500 < len(frame) < 600
    assert frame["run_id"].is_unique
    assert frame["position"].is_monotonic_increasing
    first, last = results.left_out
    assert "is damaged" in first
    assert f"{600 - len(frame)} rows of runs cannot be read" in last


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sessions": 3}, "sessions = 3"),
        ({"sessions": [{}]}, "sessions.0.session"),
        ({"device": "cpu"}, "device = 'cpu'"),
        ({"energy": {"channels": [{"calibration": "x"}]}}, "energy.channels.0.calibration = 'x'"),
        ({"data_sets": [{"name": "x", "shape": [1, 2]}]}, "data_sets.0.shape = [1, 2]"),
        ({"cores": "many"}, "cores = 'many'"),
    ],
)
def test_a_value_of_the_manifest_that_does_not_fit_is_named_by_its_key(tmp_path, change, said):
    (tmp_path / "manifest.json").write_text(json.dumps(change))
    with pytest.raises(StoreCorruptError) as caught:
        read_manifest(tmp_path)
    assert f"manifest.json: {said}" in caught.value.message


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": "\\ud800"}']
)
def test_a_manifest_that_is_none_is_named(tmp_path, raw):
    (tmp_path / "manifest.json").write_bytes(raw)
    with pytest.raises(StoreCorruptError, match=r"manifest\.json"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["manifest.json", "study.toml"])
def test_a_pipe_in_place_of_a_file_is_named_and_not_waited_for(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    writer = os.open(folder / name, os.O_RDWR)  # so that who reads it gets something all the same
    os.write(writer, b"{}")
    read = read_manifest if name == "manifest.json" else read_study
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(read, folder)
        wait([answer], 10)
        os.close(writer)
        with pytest.raises(StoreCorruptError, match=f"{name} cannot be read: it is not a regular"):
            answer.result()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "tiny"', "name = 3", "name = 3"),
        ("experiment.tuning", "experiment.tuned", "no experiment 'tuning'"),
        ("[experiment.tuning]", "[other.tuning]", "experiment"),
        ('kind = "tuning"', "kind = 1", "experiment.tuning.kind = 1"),
        ("epochs = 1", "epochs = true", "epochs = True"),
        ('score = "mean"', 'score = "meen"', "score = 'meen'"),
        ('name = "tiny"', "name = ", "not valid TOML"),
        ('name = "tiny"', "\0", "not valid TOML"),
    ],
)
def test_a_study_file_that_does_not_fit_is_named_by_its_key(folder, old, new, said):
    path = folder / "study.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(StoreCorruptError) as caught:
        Results.open(folder).to_frame()
    assert said in caught.value.message


def test_what_a_miniature_was_thinned_from_is_checked_with_it(folder):
    with (folder / "study.toml").open("a") as file:
        file.write("\n[miniature]\nscale = 0.5\nshare = 0.5\nwhole = { rounds = 3 }\n")
    with pytest.raises(StoreCorruptError, match="has 'rounds', a key that the study does not have"):
        _ = Results.open(folder).spec


def test_nobody_goes_on_with_a_damaged_folder(folder):
    changed(folder, "UPDATE rounds SET hyperparameters = '{' WHERE rowid = 1", table="rounds")
    before = (folder / DATABASE).read_bytes()
    with pytest.raises(StoreCorruptError, match="row 1 of rounds: hyperparameters"):
        tiny(experiment=SMALL).run(folder)
    assert (folder / DATABASE).read_bytes() == before


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("DROP TABLE runs", "no such table"),
        ("ALTER TABLE runs RENAME COLUMN steps TO other", "no such column"),
        ("PRAGMA user_version = -1", "store version -1"),
        (
            "ALTER TABLE runs RENAME TO hidden; CREATE VIEW runs AS SELECT * FROM hidden",
            "is not a table",
        ),
    ],
)
def test_other_tables_are_no_tables_of_a_study(folder, statement, error):
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        connection.executescript(statement)
    for salvage in (False, True):
        with pytest.raises(StoreCorruptError, match=error):
            Results.open(folder, salvage=salvage).to_frame()
    with pytest.raises(StoreError):
        tiny(experiment=SMALL).run(folder)


def test_a_different_study_is_still_told_from_a_damaged_one(folder):
    with pytest.raises(StoreMismatchError, match="seed is 11 there and 12 here"):
        tiny(experiment=SMALL, seed=12).run(folder)


def test_requests_of_a_damaged_file_are_left_out_and_the_others_kept(folder):
    run_id = Results.open(folder).to_frame()["run_id"][0]
    columns = {name: [0.5, 1.5] for name in SECONDS}
    requests = folder / "requests"
    requests.mkdir()
    write_run_table(requests / "1.csv.gz", run_id, columns)
    whole = (requests / "1.csv.gz").read_bytes()
    (requests / "2.csv.gz").write_bytes(whole[: len(whole) // 2])
    renamed = gzip.decompress(whole).replace(b"due_s", b"dye_s")
    (requests / "3.csv.gz").write_bytes(gzip.compress(renamed))
    with pytest.raises(StoreCorruptError, match=r"2\.csv\.gz cannot be read"):
        Results.open(folder).requests_frame()
    results = Results.open(folder, salvage=True)
    assert list(results.requests_frame()["run_id"]) == [run_id, run_id]
    assert [one.partition(" cannot")[0][-8:] for one in results.left_out] == [
        "2.csv.gz",
        "3.csv.gz",
    ]


def test_a_copy_of_a_damaged_folder_is_as_damaged(folder, tmp_path):
    """Nothing is mended, or written at all, by whoever only reads."""
    changed(folder, "UPDATE runs SET steps = 'x' WHERE rowid = 1")
    shutil.copytree(folder, tmp_path / "copy")
    Results.open(folder, salvage=True).to_frame()
    for name in ("study.toml", "manifest.json", DATABASE):
        assert (folder / name).read_bytes() == (tmp_path / "copy" / name).read_bytes()
