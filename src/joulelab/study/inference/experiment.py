"""What experiments on inference have in common: models, and the images they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from joulelab.study.experiment import Count, ExperimentSpec, located_path
from joulelab.study.inference.images import FOLDER, PHOTOGRAPHS
from joulelab.study.validation import unique


class InferenceSpec(ExperimentSpec):
    """Keys of an experiment on inference.

    Attributes:
        models: networks of torchvision by name, or ``"module:factory"``, which is called without
            arguments and gives an ``nn.Module``; levels of the factor ``model``.
        weights: of networks of torchvision: ``"auto"`` (pretrained where their file lies here,
            else random), ``"random"``, ``"pretrained"``, or a name.
        images: ``"photographs"`` (the two that come with scikit-learn), ``"folder:<path>"``, or a
            data set by name.
        resize: length of the shorter side to which an image is scaled, in pixels.
        crop: side of the square that is cut from it, in pixels.
    """

    models: Annotated[list[str], Field(min_length=1)]
    weights: str = "auto"
    images: str = PHOTOGRAPHS
    resize: Count = 256
    crop: Count = 224

    @field_validator("models")
    @classmethod
    def _models(cls, names: list[str]) -> list[str]:
        return unique(names)

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        if self.crop > self.resize:
            raise ValueError(f"crop = {self.crop} is more than resize = {self.resize}")
        return self

    @classmethod
    def located(cls, table: dict[str, Any], folder: Path) -> None:
        """Let the path of a folder with images count from the study file's folder."""
        kind, _, path = str(table.get("images", "")).partition(":")
        if kind == FOLDER and path:
            table["images"] = f"{FOLDER}:{located_path(path, folder)}"
