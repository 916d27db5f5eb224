"""What experiments on inference have in common: models, and the images they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from joulelab.study.experiment import ExperimentSpec, located_path
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
    """

    models: Annotated[list[str], Field(min_length=1)]
    weights: str = "auto"
    images: str = PHOTOGRAPHS

    @field_validator("models")
    @classmethod
    def _models(cls, names: list[str]) -> list[str]:
        return unique(names)

    @classmethod
    def located(cls, table: dict[str, Any], folder: Path) -> None:
        """Let the path of a folder with images count from the study file's folder."""
        kind, _, path = str(table.get("images", "")).partition(":")
        if kind == FOLDER and path:
            table["images"] = f"{FOLDER}:{located_path(path, folder)}"
