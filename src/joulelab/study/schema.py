"""The tables of the store: runs, rounds, and the ledger.

A change that an older joulelab could not read raises `VERSION`.
"""

VERSION = 2

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
    "hyperparameters": "TEXT",
    "accuracy": "REAL",
    "train_loss": "REAL",
    "diverged": "INTEGER",
    "steps": "INTEGER",
    "parameters": "INTEGER",
    "placement": "TEXT",
    "metrics": "TEXT",
    "energy_gross_j": "REAL",
    "energy_idle_j": "REAL",
    "energy_net_j": "REAL",
    "energy_error_j": "REAL",
    "energy_status": "TEXT",
    "energy_source": "TEXT",
    "energy_domains": "TEXT",
    "measurement": "TEXT",
    "duration_s": "REAL",
    "started_at": "REAL",
    "error": "TEXT",
}
"""A row a run, the same columns for every kind of experiment; JSON where a value has parts."""

PRECISION_IN_VERSION_1 = (
    "CASE WHEN engine IS NULL THEN NULL WHEN device = 'cpu' THEN 'fp32' ELSE 'torch-default' END"
)
"""Its only engine had torch's defaults."""

MIGRATIONS = {
    1: (
        "ALTER TABLE runs ADD COLUMN precision TEXT",
        f"UPDATE runs SET precision = {PRECISION_IN_VERSION_1}",
    ),
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
