"""What a results folder contains: the tables of the store, the study file and the manifest.

Tables have the SQL and the type of each column. Content of a folder is checked with these types and
models, because the folder may be foreign or damaged. The models do not mirror the classes that
write the folder: unused keys are ignored, older folders lack some keys, and newer ones may have
more. Numbers follow SQLite and JSON: amounts are finite, and an unknown amount is null.

A change that an older joulelab could not read raises `VERSION`.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, Json, TypeAdapter, model_validator
from typing_extensions import TypedDict

from joulelab.study.miniature import Miniature, thinned_value

VERSION = 5

KEYS_SINCE_VERSION_1 = {
    "precision": "fp32",
    "rounds_together": 1,
    "mix_engines": False,
    "optimiser": "adam",
    "schedule": "constant",
    "augmentation": "protocol",
}
"""Keys missing in older study files, with the values that they imply."""

LARGEST = 2**63 - 1


Text = Annotated[str, Field(pattern=r"\A[^\x00]*\z")]
"""Without NUL, which files, terminals and figures cannot hold."""
Name = Annotated[Text, Field(min_length=1)]
Whole = Annotated[int, Field(ge=-LARGEST - 1, le=LARGEST)]
Flag = Annotated[int, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Amount = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Level = Text | bool | Whole | Amount
Plain = Text | bool | Whole | float | None
Words = dict[Text, Text | None]


Columns = dict[str, tuple[str, Any]]


class _Reading(TypedDict):
    __pydantic_config__ = ConfigDict(strict=True)  # type: ignore[misc]

    domain: Text
    source: Text
    status: Text
    reason: Text
    gross_j: Amount | None
    duration_s: Positive
    error_j: NotRequired[Amount | None]
    idle_w: NotRequired[Amount | None]
    check_j: NotRequired[Amount | None]
    peak_power_w: NotRequired[Amount | None]
    lost_s: NotRequired[Amount | None]
    within: NotRequired[list[Text]]


class _Measurement(TypedDict):
    __pydantic_config__ = ConfigDict(strict=True)  # type: ignore[misc]

    readings: NotRequired[list[_Reading]]
    others: NotRequired[list[_Reading]]
    flags: NotRequired[list[Text]]


class _Metrics(TypedDict):
    __pydantic_config__ = ConfigDict(strict=True)  # type: ignore[misc]

    flops_reason: NotRequired[Text]
    values: NotRequired[dict[Name, Plain | dict[Text, Plain]]]


class _Busy(TypedDict):
    __pydantic_config__ = ConfigDict(strict=True)  # type: ignore[misc]

    p5: NotRequired[Share | None]
    p25: NotRequired[Share | None]
    p50: NotRequired[Share | None]
    p75: NotRequired[Share | None]
    p95: NotRequired[Share | None]
    source: NotRequired[Text | None]
    reason: NotRequired[Text | None]


RUN_COLUMNS: Columns = {
    "run_id": ("TEXT PRIMARY KEY", Name),
    "position": ("INTEGER NOT NULL", Count),
    "block": ("INTEGER NOT NULL", Count),
    "experiment": ("TEXT NOT NULL", Name),
    "kind": ("TEXT NOT NULL", Name),
    "configuration": ("TEXT NOT NULL", Text),
    "factors": ("TEXT NOT NULL", Json[dict[Name, Level]]),
    "round": ("INTEGER NOT NULL", Count),
    "repetition": ("INTEGER NOT NULL", Count),
    "seed": ("INTEGER NOT NULL", Whole),
    "state": (
        "TEXT NOT NULL DEFAULT 'planned'"
        " CHECK (state IN ('planned', 'running', 'finished', 'failed'))",
        Literal["planned", "running", "finished", "failed"],
    ),
    "attempts": ("INTEGER NOT NULL DEFAULT 0", Count),
    "dataset": ("TEXT", Text | None),
    "protocol": ("TEXT", Text | None),
    "engine": ("TEXT", Text | None),
    "precision": ("TEXT", Text | None),
    "group_size": ("INTEGER", Annotated[int, Field(ge=1, le=LARGEST)] | None),
    "device": ("TEXT", Text | None),
    "scale": ("REAL", Positive | None),
    "hyperparameters": ("TEXT", Json[dict[Name, Level]] | None),
    "accuracy": ("REAL", Share | None),
    "train_loss": ("REAL", float | None),
    "diverged": ("INTEGER", Whole | None),
    "steps": ("INTEGER", Count | None),
    "parameters": ("INTEGER", Count | None),
    "flops": ("REAL", Positive | None),
    "placement": ("TEXT", Text | None),
    "metrics": ("TEXT", Json[_Metrics] | None),
    "energy_gross_j": ("REAL", Amount | None),
    "energy_idle_j": ("REAL", Amount | None),
    "energy_net_j": ("REAL", Amount | None),
    "energy_error_j": ("REAL", Amount | None),
    "energy_status": ("TEXT", Text | None),
    "energy_source": ("TEXT", Text | None),
    "energy_domains": ("TEXT", Text | None),
    "utilisation_mean": ("REAL", Share | None),
    "utilisation": ("TEXT", Json[_Busy] | None),
    "measurement": ("TEXT", Json[_Measurement] | None),
    "duration_s": ("REAL", Positive | None),
    "started_at": ("REAL", Amount | None),
    "error": ("TEXT", Text | None),
    "last_session": ("INTEGER", Count | None),
}
"""One row per run, the same columns for every kind of experiment; JSON for structured values."""

ROUND_COLUMNS: Columns = {
    "experiment": ("TEXT NOT NULL", Name),
    "configuration": ("TEXT NOT NULL", Text),
    "round": ("INTEGER NOT NULL", Count),
    "hyperparameters": ("TEXT NOT NULL", Json[dict[Name, Level]]),
    "score": ("REAL", Amount | None),
}
"""One row per round whose hyperparameters were proposed."""

LEDGER_COLUMNS: Columns = {
    "entry": ("INTEGER PRIMARY KEY", Count),
    "session": ("INTEGER NOT NULL", Count),
    "kind": ("TEXT NOT NULL", Text),
    "state": (
        "TEXT NOT NULL CHECK (state IN ('running', 'finished', 'failed', 'interrupted'))",
        Literal["running", "finished", "failed", "interrupted"],
    ),
    "experiment": ("TEXT", Text | None),
    "configuration": ("TEXT", Text | None),
    "round": ("INTEGER", Count | None),
    "runs": ("TEXT NOT NULL DEFAULT '[]'", Json[list[Text]]),
    "started_at": ("REAL NOT NULL", Amount),
    "duration_s": ("REAL", Positive | None),
    "energy_gross_j": ("REAL", Amount | None),
    "energy_error_j": ("REAL", Amount | None),
    "energy_status": ("TEXT NOT NULL DEFAULT 'missing'", Text),
    "too_short": ("INTEGER", Flag | None),
    "measurement": ("TEXT", None),
    "error": ("TEXT", Text | None),
}
"""One row per attempt or other booked interval; `None` is the type of a column not read.

``too_short`` is that of the sum (`joulelab.energy.reading.Total`), 0 or 1; null where unknown.
"""

COLUMNS_OF = {"runs": RUN_COLUMNS, "rounds": ROUND_COLUMNS, "ledger": LEDGER_COLUMNS}

ADDED: dict[int, tuple[str, dict[str, str]]] = {
    2: (
        "runs",
        {
            # The only engine of version 1 had torch's defaults.
            "precision": "CASE WHEN engine IS NULL THEN NULL WHEN device = 'cpu' THEN 'fp32'"
            " ELSE 'torch-default' END",
        },
    ),
    3: (
        "runs",
        {
            # No scaling, no counts and no utilisation in that version.
            "scale": "CASE WHEN engine IS NULL THEN NULL ELSE 1.0 END",
            "flops": "NULL",
            "utilisation_mean": "NULL",
            "utilisation": "NULL",
        },
    ),
    4: ("runs", {"last_session": "NULL"}),
    5: ("ledger", {"too_short": "NULL"}),
}
"""The table and the columns added by each version, with their values for older rows."""


def columns_before(version: int, table: str) -> dict[str, str]:
    """Columns missing in a store of this version, with the SQL to select instead.

    Args:
        version: of the store.
        table: ``"runs"``, ``"rounds"`` or ``"ledger"``.
    """
    return {
        name: value
        for later, (changed, columns) in ADDED.items()
        if later > version and changed == table
        for name, value in columns.items()
    }


MIGRATIONS = {
    version - 1: tuple(
        statement
        for name, value in columns.items()
        for statement in (
            f"ALTER TABLE {table} ADD COLUMN {name} {COLUMNS_OF[table][name][0]}",
            f"UPDATE {table} SET {name} = {value}",
        )
    )
    for version, (table, columns) in ADDED.items()
}
"""SQL that upgrades each version to the next."""


def _create(table: str, columns: Columns, key: str = "") -> str:
    of_each = ", ".join(f"{name} {sql}" for name, (sql, _) in columns.items())
    return f"CREATE TABLE {table} ({of_each}{key}) STRICT"


TABLES = (
    _create("runs", RUN_COLUMNS),
    "CREATE INDEX runs_by_round ON runs (experiment, configuration, round)",
    _create("rounds", ROUND_COLUMNS, ", PRIMARY KEY (experiment, configuration, round)"),
    _create("ledger", LEDGER_COLUMNS),
)

INTERRUPTED_INDEX = (
    "CREATE INDEX IF NOT EXISTS interrupted ON ledger (experiment, configuration)"
    " WHERE state = 'interrupted'"
)
"""Those of a configuration are looked up before each of its groups."""

COLUMNS = {
    table: {name: of for name, (_, of) in columns.items() if of is not None}
    for table, columns in COLUMNS_OF.items()
}
"""The columns of each table that are read, with their types."""


@cache
def rows_of(table: str, columns: tuple[str, ...]) -> TypeAdapter[Any]:
    """The validator of rows, which also parses their JSON.

    Args:
        table: ``"runs"``, ``"rounds"`` or ``"ledger"``.
        columns: of the rows.
    """
    row: Any = TypedDict(table, {name: COLUMNS[table][name] for name in columns})  # type: ignore[misc]
    setattr(row, "__pydantic_config__", ConfigDict(strict=True, extra="forbid"))  # noqa: B010
    return TypeAdapter(list[row])


STRICT = ConfigDict(strict=True, extra="allow")


class _Part(BaseModel):
    model_config = STRICT


class StoredExperiment(_Part):
    """A table of an experiment of any kind, as far as reports use it."""

    kind: Name
    repetitions: Count = 1
    rounds: Count = 1
    limit_ms: Positive | None = None
    limit_percentile: Count = 99
    places: list[Amount | Text] = Field(default_factory=list)
    pue: Positive = 1.0


class StoredStudy(_Part):
    """The resolved study file, as far as reports use it."""

    name: Name
    summary: Text = ""
    seed: Count = 0
    dataset: Text | None = None
    protocol: Text = ""
    engine: Text = ""
    precision: Text = ""
    epochs: Count = 1
    batch_size: Count = 1
    train_images: Count | Share | Text = "all"
    score: Literal["mean", "max"] = "mean"
    experiment: Annotated[dict[Name, StoredExperiment], Field(min_length=1)]
    miniature: Miniature | None = None

    @model_validator(mode="after")
    def _thinned(self) -> StoredStudy:
        """Reduced keys exist and have the same type as before."""
        if self.miniature is not None:
            plain = self.model_dump()
            for key, whole in self.miniature.whole.items():
                thinned_value(plain, key, whole)
        return self


class _Device(_Part):
    name: Text | None = None
    domain: Text | None = None
    model: Text | None = None


class _Channel(_Part):
    domain: Text = ""
    source: Text = ""
    status: Text = ""
    relative_error: Positive | None = None
    remark: Text | None = None
    calibration: Positive = 1.0


class _Missing(_Part):
    domain: Text | None = None
    reason: Text | None = None
    remedy: Text | None = None


class _Energy(_Part):
    channels: list[_Channel] = Field(default_factory=list)
    missing: list[_Missing] = Field(default_factory=list)
    meters: dict[Text, Words] = Field(default_factory=dict)


class _DataSet(_Part):
    name: Text
    source: Text | None = None
    train_images: Count | None = None
    test_images: Count | None = None
    train_images_of: Count | None = None
    shape: Annotated[list[Count], Field(min_length=3, max_length=3)] | None = None
    classes: Count | None = None
    checksum: Text | None = None


class _Images(_Part):
    names: list[Text]
    files: Count
    checksum: Text | None = None


class _Code(_Part):
    root: Text
    root_from_here: Text
    files: Words


class _Engines(_Part):
    remark: Text | None = None


class _Conditions(_Part):
    joulelab: Text | None = None
    commit: Text | None = None
    python: Text | None = None
    libraries: Words | None = None
    system: Text | None = None
    processor: Text | None = None
    cores: Count | None = None
    memory_gb: Positive | None = None
    device: _Device | None = None
    threads: Count | None = None
    plugins: Words | None = None
    code: _Code | None = None
    energy: _Energy | None = None
    data: _DataSet | None = None
    data_sets: list[_DataSet] | None = None
    images: _Images | None = None
    weights: Words | None = None
    engines: _Engines | None = None


class _Estimate(_Part):
    model_config = ConfigDict(strict=True, extra="forbid")

    duration_s: Amount
    duration_variance: Positive
    freedom: Positive | None
    powered_s: Amount
    power_w: Amount | None
    power_variance: Positive
    power_freedom: Positive | None
    error_w: Amount | None
    status: Literal["measured", "partly estimated", "estimated", "missing"]


class _PredictedRuns(_Part):
    experiment: Text
    configuration: Text
    estimate: Text


class StoredPrediction(_Part):
    """The prediction of a session: see `joulelab.study.prediction`."""

    predicted_at: Amount
    basis: list[Text]
    runs: Count
    configurations: list[_PredictedRuns]
    estimates: dict[Text, _Estimate]
    drift: Amount

    @model_validator(mode="after")
    def _whole(self) -> StoredPrediction:
        for one in self.configurations:
            if one.estimate not in self.estimates:
                raise ValueError(f"the estimate {one.estimate!r} is not among them")
        return self


class _Session(_Part):
    session: Count
    started_at: Text = ""
    ended_at: Text | None = None
    idle_before_w: dict[Text, Amount | None] | None = None
    idle_after_w: dict[Text, Amount | None] | None = None
    conditions: _Conditions | None = None
    prediction: StoredPrediction | None = None


class StoredManifest(_Conditions):
    """``manifest.json``: the conditions of the first session, and all sessions."""

    sessions: list[_Session] = Field(default_factory=list)
