"""The tables of the store: runs, rounds, and the ledger.

A change that an older joulelab could not read raises `VERSION`.
"""

VERSION = 3

KEYS_SINCE_VERSION_1 = {"precision": "fp32", "rounds_together": 1, "mix_engines": False}
"""Keys that a study file of version 1 does not have, with what it meant."""

RUN_COLUMNS = {
    "run_id": "TEXT PRIMARY KEY",
    "position": "INTEGER NOT NULL",
    "block": "INTEGER NOT NULL",
    "experiment": "TEXT NOT NULL",
    "kind": "TEXT NOT NULL",
    "configuration": "TEXT NOT NULL",
    "factors": "TEXT NOT NULL",
    "round": "INTEGER NOT NULL",
    "repetition": "INTEGER NOT NULL",
    "seed": "INTEGER NOT NULL",
    "state": "TEXT NOT NULL DEFAULT 'planned'"
    " CHECK (state IN ('planned', 'running', 'finished', 'failed'))",
    "attempts": "INTEGER NOT NULL DEFAULT 0",
    "dataset": "TEXT",
    "protocol": "TEXT",
    "engine": "TEXT",
    "precision": "TEXT",
    "group_size": "INTEGER",
    "device": "TEXT",
    "scale": "REAL",
    "hyperparameters": "TEXT",
    "accuracy": "REAL",
    "train_loss": "REAL",
    "diverged": "INTEGER",
    "steps": "INTEGER",
    "parameters": "INTEGER",
    "flops": "REAL",
    "placement": "TEXT",
    "metrics": "TEXT",
    "energy_gross_j": "REAL",
    "energy_idle_j": "REAL",
    "energy_net_j": "REAL",
    "energy_error_j": "REAL",
    "energy_status": "TEXT",
    "energy_source": "TEXT",
    "energy_domains": "TEXT",
    "utilisation_mean": "REAL",
    "utilisation": "TEXT",
    "measurement": "TEXT",
    "duration_s": "REAL",
    "started_at": "REAL",
    "error": "TEXT",
}
"""A row a run, the same columns for every kind of experiment; JSON where a value has parts."""

ADDED = {
    2: {
        # The only engine of version 1 had torch's defaults.
        "precision": "CASE WHEN engine IS NULL THEN NULL WHEN device = 'cpu' THEN 'fp32'"
        " ELSE 'torch-default' END",
    },
    3: {
        # Nothing was thinned yet, nothing counted, and nobody asked how busy the device was.
        "scale": "CASE WHEN engine IS NULL THEN NULL ELSE 1.0 END",
        "flops": "NULL",
        "utilisation_mean": "NULL",
        "utilisation": "NULL",
    },
}
"""Columns of runs that a version has added, each with what it is for older rows."""


def columns_before(version: int) -> dict[str, str]:
    """The columns that a store of this version lacks, each with what to select in its place."""
    return {
        name: value
        for later, columns in ADDED.items()
        if later > version
        for name, value in columns.items()
    }


MIGRATIONS = {
    version - 1: tuple(
        statement
        for name, value in columns.items()
        for statement in (
            f"ALTER TABLE runs ADD COLUMN {name} {RUN_COLUMNS[name]}",
            f"UPDATE runs SET {name} = {value}",
        )
    )
    for version, columns in ADDED.items()
}
"""What makes of each version the next."""

TABLES = (
    f"CREATE TABLE runs ({', '.join(f'{name} {kind}' for name, kind in RUN_COLUMNS.items())})"
    " STRICT",
    "CREATE INDEX runs_by_round ON runs (experiment, configuration, round)",
    """CREATE TABLE rounds (
        experiment TEXT NOT NULL,
        configuration TEXT NOT NULL,
        round INTEGER NOT NULL,
        hyperparameters TEXT NOT NULL,
        score REAL,
        PRIMARY KEY (experiment, configuration, round)
    ) STRICT""",
    """CREATE TABLE ledger (
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
    ) STRICT""",
)
