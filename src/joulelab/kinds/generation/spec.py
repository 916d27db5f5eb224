"""Generation: energy per token by model, batch size, lengths and precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from joulelab.errors import UsageError
from joulelab.kinds.inference.spec import WindowSpec
from joulelab.learning.language_models import language_model_source, language_models, sizes_of
from joulelab.plain import expanded
from joulelab.serving.generation.tasks import (
    GENERATION,
    PRECISIONS,
    PREFILL,
    GenerationTask,
    Part,
)
from joulelab.serving.tasks import ModelSource
from joulelab.study.design import Configuration, Factor, Level, MainMetric
from joulelab.study.spec import Count, Kind, StudySpec, located_path
from joulelab.study.validation import unique

Precision = Literal["float32", "bfloat16", "float16"]
Length = Annotated[int, Field(ge=2, strict=True)]
ID_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class GenerationConfiguration(Configuration):
    """One combination of levels of an experiment on generation.

    Attributes:
        model: a registered language model, a folder, or ``module:factory``.
        batch_size: sequences that are decoded together.
        prompt_tokens: length of each prompt.
        output_tokens: length of each answer.
        precision: number format of weights and cache.
        seconds: duration of the whole generations.
        prefill_seconds: duration of the prefills alone.
        warm_up: generations before the window.
    """

    model: str
    batch_size: int
    prompt_tokens: int
    output_tokens: int
    precision: str
    seconds: float
    prefill_seconds: float
    warm_up: int

    @property
    def tokens(self) -> int:
        """Tokens of prompt and output of a sequence."""
        return self.prompt_tokens + self.output_tokens

    def memory_bytes(self) -> int:
        """Its tokens; of a registered model also weights and cache."""
        tokens = self.batch_size * self.tokens
        sizes = sizes_of(self.model)
        if sizes is None:
            return ID_BYTES * tokens
        values = sizes.parameters() + tokens * sizes.cache_values_per_token()
        return ID_BYTES * tokens + PRECISIONS[self.precision] * values

    def check(self) -> None:
        """Check that it fits the context of a registered model.

        Raises:
            UsageError: prompt and output are too long.
        """
        sizes = sizes_of(self.model)
        if sizes is not None and self.tokens > sizes.context:
            raise UsageError(
                f"{self.prompt_tokens} + {self.output_tokens} tokens are too long for the context "
                f"of {self.model}, {sizes.context}",
                "shorten prompts or outputs, or exclude the combination",
            )

    def task(self, seed: int) -> GenerationTask:
        """The server's task for one run.

        Args:
            seed: of the run.
        """
        factory, options, _ = language_model_source(self.model)
        return GenerationTask(
            model=ModelSource(factory, options, (str(Path.cwd()),), self.model),
            precision=self.precision,
            batch_size=self.batch_size,
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            parts=(Part(PREFILL, self.prefill_seconds), Part(GENERATION, self.seconds, 2)),
            warm_up=self.warm_up,
            seed=seed,
        )


class GenerationSpec(WindowSpec):
    """Keys of an experiment of kind ``generation``.

    Attributes:
        models: registered language models, folders with a causal model of Hugging Face, or
            ``"module:factory"``, called without arguments; levels of the factor ``model``.
        batch_sizes: sequences that are decoded together; levels of ``batch_size``.
        prompt_tokens: lengths of the prompts; levels of ``prompt_tokens``.
        output_tokens: lengths of the answers, at least 2; levels of ``output_tokens``.
        precisions: ``"float32"``, ``"bfloat16"``, ``"float16"``; levels of ``precision``.
        seconds: minimum duration of each window: a third for prefills alone, then whole
            generations.
        warm_up: generations before every window.
    """

    kind: Literal["generation"]
    models: Annotated[list[str], Field(min_length=1)]
    batch_sizes: Annotated[list[Count], Field(min_length=1)] = [1, 4, 16]  # noqa: RUF012
    prompt_tokens: Annotated[list[Count], Field(min_length=1)] = [128]  # noqa: RUF012
    output_tokens: Annotated[list[Length], Field(min_length=1)] = [64]  # noqa: RUF012
    precisions: Annotated[list[Precision], Field(min_length=1)] = ["float32"]  # noqa: RUF012
    seconds: Annotated[float, Field(gt=0, le=3600)] = 6.0
    warm_up: Annotated[int, Field(ge=0, strict=True)] = 1

    @field_validator("models", "precisions")
    @classmethod
    def _once(cls, names: list[str]) -> list[str]:
        return unique(names)

    @field_validator("batch_sizes", "prompt_tokens", "output_tokens")
    @classmethod
    def _sorted(cls, numbers: list[int]) -> list[int]:
        return sorted(unique(numbers))

    @classmethod
    def main_metric(cls, table: Mapping[str, Any]) -> MainMetric:
        """The output tokens per second, beside the energy of one."""
        return MainMetric("tokens_per_s")

    def needs(self) -> tuple[str, ...]:
        """PyTorch and transformers."""
        return ("torch", "transformers")

    def factors(self) -> Sequence[Factor]:
        """Model, batch size, lengths and precision."""
        return (
            Factor("model", tuple(self.models)),
            Factor("batch_size", tuple(self.batch_sizes)),
            Factor("prompt_tokens", tuple(self.prompt_tokens)),
            Factor("output_tokens", tuple(self.output_tokens)),
            Factor("precision", tuple(self.precisions)),
        )

    @classmethod
    def located(cls, table: dict[str, Any], folder: Path) -> None:
        """Make paths of model folders relative to the study file's folder."""
        models = table.get("models")
        if not isinstance(models, list):
            return
        table["models"] = [
            str(located_path(one, folder)) if _is_folder(one, folder) else one for one in models
        ]

    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> GenerationConfiguration:
        """One combination of levels."""
        return GenerationConfiguration(
            **self.identity(experiment, levels),
            model=str(levels["model"]),
            batch_size=int(levels["batch_size"]),
            prompt_tokens=int(levels["prompt_tokens"]),
            output_tokens=int(levels["output_tokens"]),
            precision=str(levels["precision"]),
            seconds=self.seconds * 2 / 3,
            prefill_seconds=self.seconds / 3,
            warm_up=self.warm_up,
        )


def _is_folder(model: object, folder: Path) -> bool:
    """Whether a model is a folder, beside the study file or from the current folder."""
    if not isinstance(model, str) or not model or model in language_models.names():
        return False
    given = expanded(model)
    return (folder / given).is_dir() or given.is_dir()


GENERATION_KIND = Kind(
    GenerationSpec,
    "joulelab.kinds.generation.workload:GenerationWorkload",
    "joulelab.kinds.generation.report:GENERATION",
)
