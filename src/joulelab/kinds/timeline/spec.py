"""The timeline: energy per image and accuracy of networks of different years.

After Yarally et al. (SEAA 2023 and thesis, part 2): energy per image against year and published
accuracy. Each network computes batches of ready images, of one at a time and of more, each image of
the size that its published accuracy is for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from joulelab.kinds.inference.spec import BatchConfiguration, ImagesSetting, InferenceSpec
from joulelab.learning.zoo import representatives
from joulelab.study.design import Factor, Level, MainMetric
from joulelab.study.spec import Count, Kind, StudySpec
from joulelab.study.validation import unique


class TimelineSpec(InferenceSpec):
    """Keys of an experiment of kind ``timeline``.

    Attributes:
        models: as for every experiment on inference; the representatives of each year in the table
            of the zoo by default.
        batch_sizes: levels of the factor ``batch_size``; 1 and at least one more, so that there is
            a best batch.
        seconds: minimum duration of each window.
        warm_up_batches: before every window.
    """

    kind: Literal["timeline"]
    models: Annotated[list[str], Field(min_length=1, default_factory=lambda: [*representatives()])]
    batch_sizes: Annotated[list[Count], Field(min_length=1)] = [1, 8, 64]  # noqa: RUF012
    seconds: Annotated[float, Field(gt=0, le=3600)] = 5.0
    warm_up_batches: Count = 2

    @field_validator("batch_sizes")
    @classmethod
    def _batch_sizes(cls, sizes: list[int]) -> list[int]:
        return sorted(unique(sizes))

    @classmethod
    def main_metric(cls, table: Mapping[str, Any]) -> MainMetric:
        """The published accuracy, beside the energy of an image."""
        return MainMetric("published_top1", per="images", unit="image")

    def factors(self) -> Sequence[Factor]:
        """Model and batch size."""
        return (
            Factor("model", tuple(self.models)),
            Factor("batch_size", tuple(self.batch_sizes)),
        )

    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> BatchConfiguration:
        """One network with one batch size."""
        return BatchConfiguration(
            **self.identity(experiment, levels),
            model=str(levels["model"]),
            weights=self.weights,
            images=ImagesSetting(self.images),
            batch_size=int(levels["batch_size"]),
            seconds=self.seconds,
            warm_up_batches=self.warm_up_batches,
        )


TIMELINE = Kind(
    TimelineSpec,
    "joulelab.kinds.inference.workload:InferenceWorkload",
    "joulelab.kinds.timeline.report:TIMELINE",
)
