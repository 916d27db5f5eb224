"""A folder that an older joulelab wrote: readable as it is, and brought up to date by a writer."""

import hashlib
import json
import sqlite3

import pytest
from tiny_study import assert_same_results, layers_only, tiny

from joulelab.errors import StoreMismatchError
from joulelab.report.ledger import study_energy
from joulelab.study.database import DATABASE
from joulelab.study.listener import Listener
from joulelab.study.results import Results
from joulelab.study.run_frames import NOT_ASKED
from joulelab.study.schema import COLUMNS_OF, KEYS_SINCE_VERSION_1, VERSION, columns_before
from joulelab.study.store import Store

RUNS_IN_VERSION_1 = """CREATE TABLE runs (run_id TEXT PRIMARY KEY, position INTEGER NOT NULL,
block INTEGER NOT NULL, experiment TEXT NOT NULL, kind TEXT NOT NULL, configuration TEXT NOT NULL,
factors TEXT NOT NULL, round INTEGER NOT NULL, repetition INTEGER NOT NULL, seed INTEGER NOT NULL,
state TEXT NOT NULL DEFAULT 'planned'
CHECK (state IN ('planned', 'running', 'finished', 'failed')),
attempts INTEGER NOT NULL DEFAULT 0, dataset TEXT, protocol TEXT, engine TEXT, group_size INTEGER,
device TEXT, hyperparameters TEXT, accuracy REAL, train_loss REAL, diverged INTEGER, steps INTEGER,
parameters INTEGER, placement TEXT, metrics TEXT, energy_gross_j REAL, energy_idle_j REAL,
energy_net_j REAL, energy_error_j REAL, energy_status TEXT, energy_source TEXT,
energy_domains TEXT, measurement TEXT, duration_s REAL, started_at REAL, error TEXT) STRICT"""
RUNS = {
    1: RUNS_IN_VERSION_1,
    2: RUNS_IN_VERSION_1.replace("engine TEXT,", "engine TEXT, precision TEXT,"),
}
"""The table of each older version."""
OTHERS = """
CREATE INDEX runs_by_round ON runs (experiment, configuration, round);
CREATE TABLE rounds (
    experiment TEXT NOT NULL,
    configuration TEXT NOT NULL,
    round INTEGER NOT NULL,
    hyperparameters TEXT NOT NULL,
    score REAL,
    PRIMARY KEY (experiment, configuration, round)
) STRICT;
CREATE TABLE ledger (
    entry INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'finished', 'failed', 'interrupted')),
    experiment TEXT,
    configuration TEXT,
    round INTEGER,
    runs TEXT NOT NULL DEFAULT '[]',
    started_at REAL NOT NULL,
    duration_s REAL,
    energy_gross_j REAL,
    energy_error_j REAL,
    energy_status TEXT NOT NULL DEFAULT 'missing',
    measurement TEXT,
    error TEXT
) STRICT;"""
STUDY = tiny(experiment=layers_only(vary={"conv_layers": [1, 2]}))


class InterruptAfterTwo(Listener):
    """Ends the session with two trainings stored."""

    def __init__(self):
        self.count = 0

    def finished(self, rows, total):
        self.count += 1
        if self.count == 2:
            raise KeyboardInterrupt


@pytest.fixture
def old(finished_study):
    """A study of which version 1 has finished two runs."""
    return finished_study("version-1")


@pytest.fixture(params=[1, 2])
def older(request, finished_study):
    """The same of each older version."""
    return finished_study(f"version-{request.param}")


def written_by(number, tmp_path):
    """A study half done by this joulelab, put back into what an older one would have left."""
    folder = tmp_path / "old"
    with pytest.raises(KeyboardInterrupt):
        STUDY.run(folder, InterruptAfterTwo())
    with sqlite3.connect(folder / DATABASE) as new:
        contents = {
            table: (
                [column[1] for column in new.execute(f"PRAGMA table_info({table})")],
                new.execute(f"SELECT * FROM {table}").fetchall(),
            )
            for table in ("runs", "rounds", "ledger")
        }
    new.close()
    for path in folder.glob(f"{DATABASE}*"):
        path.unlink()
    with sqlite3.connect(folder / DATABASE) as connection:
        connection.executescript(f"{RUNS[number]};{OTHERS};PRAGMA user_version = {number}")
        connection.execute("PRAGMA journal_mode = WAL")
        for table, (columns, rows) in contents.items():
            kept = [
                place
                for place, column in enumerate(columns)
                if column not in columns_before(number, table)
            ]
            names = ", ".join(columns[place] for place in kept)
            marks = ", ".join("?" * len(kept))
            connection.executemany(
                f"INSERT INTO {table} ({names}) VALUES ({marks})",
                [[row[place] for place in kept] for row in rows],
            )
    connection.close()
    study = folder / "study.toml"
    if number > 1:
        return folder
    lines = study.read_text().splitlines(keepends=True)
    study.write_text(
        "".join(line for line in lines if line.partition(" ")[0] not in KEYS_SINCE_VERSION_1)
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    for told in (manifest, *(session["conditions"] for session in manifest["sessions"])):
        del told["engines"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def version(folder):
    with sqlite3.connect(folder / DATABASE) as connection:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return found


def digest(folder):
    return hashlib.sha256((folder / DATABASE).read_bytes()).hexdigest()


def test_a_folder_of_version_1_is_read_as_it_is(old):
    before = digest(old)
    results = Results.open(old)
    frame = results.to_frame()
    assert list(frame["state"]) == ["finished"] * 2 + ["planned"] * 2
    assert list(frame["precision"][:2]) == ["fp32"] * 2
    assert frame["precision"][2:].isna().all()
    assert list(frame.columns).index("precision") == list(frame.columns).index("engine") + 1
    assert len(results.energy_frame()) > 0
    assert results.spec.get("precision") is None
    assert (version(old), digest(old)) == (1, before)


def test_a_gpu_of_version_1_had_the_defaults_of_torch(old):
    with sqlite3.connect(old / DATABASE) as connection:
        connection.execute("UPDATE runs SET device = 'cuda:0' WHERE device IS NOT NULL")
    connection.close()
    read = Results.open(old).to_frame()
    Store.open(old, STUDY.spec.to_toml()).close()
    migrated = Results.open(old).to_frame()
    for frame in (read, migrated):
        assert list(frame["precision"][:2]) == ["torch-default"] * 2
        assert frame["precision"][2:].isna().all()


def test_a_writer_brings_it_up_to_date_and_changes_nothing_else(older):
    old = older
    before = Results.open(old)
    tables = (before.to_frame(), before.rounds_frame(), before.ledger_frame())
    Store.open(old, STUDY.spec.to_toml()).close()
    assert version(old) == VERSION
    after = Results.open(old)
    assert after.to_frame().equals(tables[0])
    assert list(after.to_frame().columns) == list(tables[0].columns)
    assert after.rounds_frame().equals(tables[1])
    assert after.ledger_frame().equals(tables[2])


def test_a_folder_of_version_2_is_read_as_it_is(finished_study):
    old = finished_study("version-2")
    before = digest(old)
    frame = Results.open(old).to_frame()
    assert frame["scale"].tolist()[:2] == [1.0, 1.0]
    assert frame[["flops", "utilisation_mean", "utilisation_p50"]].isna().all(axis=None)
    assert set(frame["flops_reason"][:2]) == {NOT_ASKED}
    assert set(frame["utilisation_reason"][:2]) == {NOT_ASKED}
    assert set(frame["flops_reason"][2:]) == {""}
    assert len(Results.open(old).energy_frame()) > 0
    assert (version(old), digest(old)) == (2, before)


@pytest.mark.parametrize("table", COLUMNS_OF)
def test_a_migrated_table_has_the_columns_of_a_fresh_one(older, table):
    Store.open(older, STUDY.spec.to_toml()).close()
    with sqlite3.connect(older / DATABASE) as connection:
        found = {row[1]: row[2] for row in connection.execute(f"PRAGMA table_info({table})")}
    connection.close()
    assert found == {name: sql.partition(" ")[0] for name, (sql, _) in COLUMNS_OF[table].items()}


def test_why_an_older_entry_of_the_ledger_is_estimated_is_unknown(older):
    before = Results.open(older).ledger_frame()
    assert len(before) > 0
    assert before["too_short"].isna().all()
    # A small one that leaves all open is not taken for more than an estimate.
    before.loc[1:, ["energy_status", "energy_error_j"]] = ["measured", 0.0]
    before.loc[0, "energy_error_j"] = 2 * before.loc[0, "energy_gross_j"]
    before.loc[1, "energy_gross_j"] = 10 * before.loc[0, "energy_gross_j"]
    assert study_energy(before).status == "partly estimated"


@pytest.mark.parametrize("number", [1, 2])
def test_a_study_of_an_older_version_goes_on(number, tmp_path):
    # Half of it is run here, for losses differ in their last bits from processor to processor.
    old = written_by(number, tmp_path)
    kept = Results.open(old).to_frame().iloc[:2]
    results = STUDY.run(old)
    assert version(old) == VERSION
    assert_same_results(results, STUDY.run(tmp_path / "unbroken"))
    assert (results.to_frame()["energy_gross_j"][:2] == kept["energy_gross_j"]).all()
    frame = results.to_frame()
    assert set(frame["precision"]) == {"fp32"}
    assert set(frame["scale"]) == {1.0}
    assert frame["flops"].isna().tolist() == [True, True, False, False]
    assert frame["utilisation_mean"].isna().tolist() == [True, True, False, False]


def test_another_study_is_refused_before_anything_is_changed(old):
    for changes in ({"precision": "bf16"}, {"rounds_together": 2}, {"epochs": 2}):
        (key,) = changes
        other = tiny(experiment=STUDY.spec.experiment, **changes)
        with pytest.raises(StoreMismatchError, match=f"{key} is "):
            other.run(old)
    assert version(old) == 1
