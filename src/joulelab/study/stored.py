"""Models of the study file and the manifest in a results folder.

Everything read from a folder is validated by these models, because the folder may be foreign or
damaged. They do not mirror the classes that write the folder: unused keys are ignored, older
folders lack some keys, and newer ones may have more.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from joulelab.study.miniature import Miniature, thinned_value
from joulelab.study.schema import Amount, Count, Name, Positive, Share, Text, Words

STRICT = ConfigDict(strict=True, extra="allow")


class _Part(BaseModel):
    model_config = STRICT


# The study file


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
