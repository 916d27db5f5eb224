"""What a results folder holds: one model of its study, of its manifest, and of the rows of a table.

Whatever is read from a folder goes through one of them first, for the folder may be a stranger's,
or a disk may have lost a part of it. They are no copy of the classes that write the folder: keys
that nobody reads are not looked at, and a folder of an older joulelab lacks some. A folder of a
newer one may have more.

Numbers are what SQLite and JSON hold: an amount is finite, and an amount that nobody knows is null.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Json,
    TypeAdapter,
    model_validator,
)
from typing_extensions import TypedDict

from joulelab.study.miniature import Miniature, thinned_value

STRICT = ConfigDict(strict=True, extra="allow")
LARGEST = 2**63 - 1


Text = Annotated[str, Field(pattern=r"\A[^\x00]*\z")]
"""Without NUL, which no file, no terminal and no figure can take."""
Name = Annotated[Text, Field(min_length=1)]
Whole = Annotated[int, Field(ge=-LARGEST - 1, le=LARGEST)]
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Amount = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Level = Text | bool | Whole | Amount
Plain = Text | bool | Whole | float | None
Words = dict[Text, Text | None]


class _Part(BaseModel):
    model_config = STRICT


# The study file


class StoredExperiment(_Part):
    """A table of an experiment, as far as reports look at it, whatever its kind."""

    kind: Name
    repetitions: Count = 1
    rounds: Count = 1
    limit_ms: Positive | None = None
    limit_percentile: Count = 99
    places: list[Amount | Text] = Field(default_factory=list)
    pue: Positive = 1.0


class StoredStudy(_Part):
    """The resolved study file, as far as reports look at it."""

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
        """What was thinned is there, and is as much a number as it was."""
        if self.miniature is not None:
            plain = self.model_dump()
            for key, whole in self.miniature.whole.items():
                thinned_value(plain, key, whole)
        return self


# The manifest


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
    status: Literal["measured", "estimated", "missing"]


class _PredictedRuns(_Part):
    experiment: Text
    configuration: Text
    estimate: Text


class StoredPrediction(_Part):
    """What a session predicted: `joulelab.study.prediction` says what it means."""

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


# The rows


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


class RunRow(TypedDict):
    """A row of ``runs``."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")  # type: ignore[misc]

    run_id: Name
    position: Count
    block: Count
    experiment: Name
    kind: Name
    configuration: Text
    factors: Json[dict[Name, Level]]
    round: Count
    repetition: Count
    seed: Whole
    state: Literal["planned", "running", "finished", "failed"]
    attempts: Count
    dataset: Text | None
    protocol: Text | None
    engine: Text | None
    precision: Text | None
    group_size: Annotated[int, Field(ge=1, le=LARGEST)] | None
    device: Text | None
    scale: Positive | None
    hyperparameters: Json[dict[Name, Level]] | None
    accuracy: Share | None
    train_loss: float | None
    diverged: Whole | None
    steps: Count | None
    parameters: Count | None
    flops: Positive | None
    placement: Text | None
    metrics: Json[_Metrics] | None
    energy_gross_j: Amount | None
    energy_idle_j: Amount | None
    energy_net_j: Amount | None
    energy_error_j: Amount | None
    energy_status: Text | None
    energy_source: Text | None
    energy_domains: Text | None
    utilisation_mean: Share | None
    utilisation: Json[_Busy] | None
    measurement: Json[_Measurement] | None
    duration_s: Positive | None
    started_at: Amount | None
    error: Text | None


class RoundRow(TypedDict):
    """A row of ``rounds``."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")  # type: ignore[misc]

    experiment: Name
    configuration: Text
    round: Count
    hyperparameters: Json[dict[Name, Level]]
    score: Amount | None


class LedgerRow(TypedDict):
    """A row of ``ledger``; the measurement of an entry is not read."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")  # type: ignore[misc]

    entry: Count
    session: Count
    kind: Text
    state: Literal["running", "finished", "failed", "interrupted"]
    experiment: Text | None
    configuration: Text | None
    round: Count | None
    runs: Json[list[Text]]
    started_at: Amount
    duration_s: Positive | None
    energy_gross_j: Amount | None
    energy_error_j: Amount | None
    energy_status: Text
    error: Text | None


ROWS: dict[str, TypeAdapter[Any]] = {
    "runs": TypeAdapter(list[RunRow]),
    "rounds": TypeAdapter(list[RoundRow]),
    "ledger": TypeAdapter(list[LedgerRow]),
}
"""For each table what checks a list of its rows, and parses the JSON in them."""
