"""What is known of the models of a study: how they are built, and their published figures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from joulelab.learning.zoo import classifier_source
from joulelab.learning.zoo_figures import zoo_figures
from joulelab.serving.model_source import ModelSource

OWN_WEIGHTS = "as the factory gives them"


@dataclass(frozen=True)
class Model:
    """One model of a study.

    Attributes:
        source: how a server builds it.
        figures: columns of a run: ``weights``, ``published_top1``, ``year``, ``source``,
            ``flops_per_image``, ``parameters``; what is unknown is left out.
    """

    source: ModelSource
    figures: dict[str, Any]


@cache
def find_model(text: str, weights: str, crop: int) -> Model:
    """A model by what a user calls it.

    Args:
        text: a network of torchvision, or ``module:factory``, found from the current folder.
        weights: of a network of torchvision.
        crop: side of the images it is given, in pixels.

    Raises:
        UnknownNameError: torchvision has no such network, or the network no such weights.
        DatasetError: the weights asked for do not lie in torch's folder.
    """
    factory, options = classifier_source(text, weights)
    source = ModelSource(factory, options, (str(Path.cwd()),))
    if ":" in text:
        return Model(source, {"weights": OWN_WEIGHTS})
    known = zoo_figures(text, weights, crop)
    figures = {
        "weights": known.weights,
        "published_top1": known.published_top1,
        "published_weights": known.published_weights,
        "year": known.year,
        "source": known.source,
        "flops_per_image": known.flops_per_image,
        "parameters": known.parameters,
    }
    return Model(source, {name: value for name, value in figures.items() if value is not None})
