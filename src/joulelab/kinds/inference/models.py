"""The models of a study: factories and published data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from joulelab.learning.zoo import AUTO, RANDOM, classifier_source, published_weights, weights_used
from joulelab.learning.zoo_figures import zoo_figures
from joulelab.serving.tasks import ModelSource

OWN_WEIGHTS = "as the factory returns them"
RESIZE, CROP = 256, 224
"""Default image sizes in pixels, as for most networks."""


@dataclass(frozen=True)
class Model:
    """One model of a study.

    Attributes:
        name: a network of torchvision, or ``module:factory``.
        asked: requested weights.
        source: how a server builds it.
        weights: its weights: a name, ``"random"``, or those of a factory.
        resize: shorter side to which an image is scaled, in pixels, as published.
        crop: side of the cropped square.
    """

    name: str
    asked: str
    source: ModelSource
    weights: str
    resize: int
    crop: int

    @property
    def is_random(self) -> bool:
        """Whether it is a torchvision network without weights on this machine."""
        return self.weights == RANDOM

    def figures(self, image_px: int) -> dict[str, Any]:
        """Columns of a run: published and counted properties, without unknown ones.

        Args:
            image_px: side of its input images.
        """
        if ":" in self.name:
            return {"weights": self.weights, "image_px": image_px}
        known = zoo_figures(self.name, self.asked, image_px)
        figures = {
            "weights": known.weights,
            "published_top1": known.published_top1,
            "published_weights": known.published_weights,
            "year": known.year,
            "source": known.source,
            "flops_per_image": known.flops_per_image,
            "parameters": known.parameters,
            "image_px": image_px,
            "crop_px": known.crop_px,
        }
        return {name: value for name, value in figures.items() if value is not None}


@cache
def find_model(text: str, weights: str = AUTO) -> Model:
    """A model by its user name, without building it.

    Args:
        text: a network of torchvision, or ``module:factory``, found from the current folder.
        weights: of a network of torchvision.

    Raises:
        UnknownNameError: torchvision has no such network, or the network no such weights.
        UsageError: half of ``module:factory`` is missing.
        DatasetError: the requested weights are not in torch's folder.
    """
    factory, options = classifier_source(text, weights)
    source = ModelSource(factory, options, (str(Path.cwd()),))
    if ":" in text:
        return Model(text, weights, source, OWN_WEIGHTS, RESIZE, CROP)
    used = weights_used(text, weights)
    offered = published_weights(text)
    sizes = offered.get(used) or next(iter(offered.values()))
    resize = max(sizes.resize_px, sizes.crop_px)
    return Model(text, weights, source, used, resize, sizes.crop_px)
