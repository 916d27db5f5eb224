"""The keys of a study file that trains."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, field_validator

from joulelab.learning.engine import Precision
from joulelab.learning.engine import engines as known_engines
from joulelab.learning.protocol import protocols as known_protocols
from joulelab.study.design import Configuration
from joulelab.study.experiment import Count
from joulelab.study.spec import StudySpec
from joulelab.study.training.experiment import SearchingConfiguration, TrainingConfiguration
from joulelab.study.validation import known, known_dataset

Share = Annotated[float, Field(gt=0, lt=1)]
HowMany = Count | Share | Literal["all"]
"""Of images: a number, a share of those that there are, or all of them."""


class TrainingStudySpec(StudySpec):
    """A study file with at least one experiment that trains.

    Attributes:
        dataset: registered name, with an argument after a colon where it takes one; not needed
            where every experiment names its own.
        train_images: how many training images are used, drawn by the seed; a share of them, between
            0 and 1; or ``"all"``.
        test_images: the same for the test images.
        protocol: registered name of the training conventions.
        engine: registered name.
        precision: the arithmetic of a training: ``"fp32"``, ``"tf32"`` or ``"bf16"``.
        rounds_together: how many rounds of a configuration are trained as one group, where its
            strategy proposes them ahead of any result.
        mix_engines: whether configurations that the engine cannot train are trained by the
            reference engine beside the others; otherwise one engine trains the whole study.
        epochs: passes over the training images.
        batch_size: images in an optimiser step.
        score: of a round: ``"mean"`` or ``"max"`` accuracy of its repetitions.
    """

    dataset: str | None = None
    train_images: HowMany = "all"
    test_images: HowMany = "all"
    protocol: str = "default"
    engine: str = "reference"
    precision: Literal["fp32", "tf32", "bf16"] = Precision.FP32.value
    rounds_together: Count = 1
    mix_engines: Annotated[bool, Field(strict=True)] = False
    epochs: Count
    batch_size: Count = 512
    score: Literal["mean", "max"] = "mean"

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, name: str | None) -> str | None:
        return None if name is None else known_dataset(name)

    @field_validator("protocol")
    @classmethod
    def _known_protocol(cls, name: str) -> str:
        return known(known_protocols, name)

    @field_validator("engine")
    @classmethod
    def _known_engine(cls, name: str) -> str:
        return known(known_engines, name)

    def adapted(self, configuration: Configuration) -> Configuration:
        """A configuration that knows its data set, and how many rounds are trained together."""
        if not isinstance(configuration, TrainingConfiguration):
            return configuration
        mine = replace(configuration, dataset=configuration.dataset or self.dataset or "")
        if isinstance(mine, SearchingConfiguration):
            return replace(mine, rounds_together=self.rounds_together)
        return mine
