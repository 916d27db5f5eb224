"""The batching experiment: how many requests should a server answer together?

After Yarally et al., "Batching for Green AI" (SEAA 2023): models x batching policies x arrival
processes. A producer sends requests to a server, which batches them by the policy; energy and
response times are measured from the first request to the last answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from joulelab.errors import UsageError
from joulelab.kinds.inference.models import CROP, RESIZE
from joulelab.kinds.inference.spec import ImagesSetting, InferenceSpec, WindowConfiguration
from joulelab.serving.arrivals import parse_arrivals
from joulelab.serving.call_syntax import call_text, parse_call
from joulelab.serving.policies import parse_policy
from joulelab.study.design import Factor, Level, MainMetric
from joulelab.study.spec import Count, Kind, StudySpec, located_path
from joulelab.study.validation import unique

Texts = Annotated[list[str], Field(min_length=1)]
NotNegative = Annotated[int, Field(ge=0, strict=True)]


class BatchingSpec(InferenceSpec):
    """Keys of an experiment of kind ``batching``.

    Attributes:
        policies: batching policies, as ``"greedy(64)"``; levels of the factor ``policy``.
        arrivals: arrival processes, as ``"poisson(16)"``; levels of the factor of the same name.
        requests: sent in every window.
        resize: length of the shorter side to which an image is scaled, in pixels.
        crop: side of the square that is cut from it, in pixels.
        prepare: where images are decoded, resized, cropped and normalised: in the server's loop,
            as in the paper, or in the producer.
        capacity: places in the queue; a request that finds none is dropped, and counted.
        warm_up_batches: before every window.
        warm_up_size: images in each of them.
        limit_ms: limit on response time in milliseconds, for the report.
        limit_percentile: percentile of answers that should meet it; 100 for all.
    """

    kind: Literal["batching"]
    policies: Texts
    arrivals: Texts
    requests: Count
    resize: Count = RESIZE
    crop: Count = CROP
    prepare: Literal["server", "producer"] = "server"
    capacity: Count = 1024
    warm_up_batches: NotNegative = 8
    warm_up_size: Count = 32
    limit_ms: Annotated[float, Field(gt=0)] | None = None
    limit_percentile: Literal[50, 95, 99, 100] = 99

    @field_validator("policies")
    @classmethod
    def _policies(cls, texts: list[str]) -> list[str]:
        return unique([_written(parse_policy, text) for text in texts])

    @field_validator("arrivals")
    @classmethod
    def _arrivals(cls, texts: list[str]) -> list[str]:
        return unique([_written(parse_arrivals, text) for text in texts])

    @model_validator(mode="after")
    def _consistent(self) -> BatchingSpec:
        if self.crop > self.resize:
            raise ValueError(f"crop = {self.crop} is more than resize = {self.resize}")
        for text in self.policies:
            policy = parse_policy(text)
            if self.capacity < policy.largest and policy.take(self.capacity, 0.0) == 0:
                raise ValueError(
                    f"capacity = {self.capacity}: {text} waits for more requests than the queue "
                    f"has places; set it to at least {policy.largest}"
                )
        for text in self.arrivals:
            most = parse_arrivals(text).most
            if most is not None and most < self.requests:
                raise ValueError(
                    f"requests = {self.requests}: {text} has {most} arrivals; request no more"
                )
        return self

    @classmethod
    def located(cls, table: dict[str, Any], folder: Path) -> None:
        """Make paths of images and traces relative to the study file's folder."""
        super().located(table, folder)
        if isinstance(texts := table.get("arrivals"), list):
            table["arrivals"] = [_located_trace(text, folder) for text in texts]

    @classmethod
    def main_metric(cls, table: Mapping[str, Any]) -> MainMetric:
        """The response time that the limit is about, beside the energy of a request."""
        percentile = table.get("limit_percentile", 99)
        name = "max" if percentile == 100 else f"p{percentile}"  # noqa: PLR2004 - all
        return MainMetric(f"response_{name}_s", "min", per="answered", unit="request")

    def factors(self) -> Sequence[Factor]:
        """Model, policy and arrival process."""
        return (
            Factor("model", tuple(self.models)),
            Factor("policy", tuple(self.policies)),
            Factor("arrivals", tuple(self.arrivals)),
        )

    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> WindowConfiguration:
        """One model served by one policy under one arrival process."""
        return WindowConfiguration(
            **self.identity(experiment, levels),
            model=str(levels["model"]),
            weights=self.weights,
            images=ImagesSetting(self.images, self.resize, self.crop, self.prepare),
            policy=str(levels["policy"]),
            arrivals=str(levels["arrivals"]),
            requests=self.requests,
            capacity=self.capacity,
            warm_up_batches=self.warm_up_batches,
            warm_up_size=self.warm_up_size,
            limit_s=None if self.limit_ms is None else self.limit_ms / 1000,
            limit_percentile=self.limit_percentile,
        )


def _written(parse: Any, text: str) -> str:  # noqa: ANN401 - either of two parsers
    """The canonical text of a policy or an arrival process."""
    try:
        return str(parse(text))
    except UsageError as error:
        raise ValueError(
            f"{error.message}; {error.hint}" if error.hint else error.message
        ) from None


def _located_trace(text: Any, folder: Path) -> Any:  # noqa: ANN401 - unchecked data
    if not (isinstance(text, str) and text.startswith("trace(") and text.endswith(")")):
        return text
    call = parse_call(text, "arrival process")
    files = [str(one) for one in (*call.positional[:1], call.keywords.get("file")) if one]
    if not files:
        return text
    located = str(located_path(files[0], folder))
    keywords = {name: value for name, value in call.keywords.items() if name != "file"}
    return call_text("trace", located, *call.positional[1:], **keywords)


BATCHING = Kind(
    BatchingSpec,
    "joulelab.kinds.inference.workload:InferenceWorkload",
    "joulelab.kinds.batching.report:BATCHING",
)
