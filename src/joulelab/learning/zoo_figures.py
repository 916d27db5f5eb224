"""What is known of a classifier of the zoo without running it: size, operations, accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from joulelab.learning.flops import FlopCount, count_forward
from joulelab.learning.images import ImageShape
from joulelab.learning.zoo import (
    AUTO,
    FIRST,
    RANDOM,
    build_classifier,
    published_weights,
    weights_used,
    zoo,
)


@dataclass(frozen=True)
class ZooFigures:
    """Columns of a network in a comparison over time; ``None`` where something is unknown.

    Attributes:
        year: of the first public paper.
        source: authors, and where the paper is.
        published_top1: share of ImageNet-1K's validation images, 0 to 1, with `published_weights`.
        published_weights: name of the weights that this accuracy is of.
        weights: what the network is built with here, ``random`` or a name.
        flops_per_image: of the forward pass of one image of `image_px`; 2 for a multiply-add.
        parameters: of the network as it is served.
        image_px: side of the image that it is served.
        crop_px: side of the images that the published accuracy was found with.
    """

    year: int | None
    source: str | None
    published_top1: float | None
    published_weights: str | None
    weights: str
    flops_per_image: int | None
    parameters: int
    image_px: int
    crop_px: int


def zoo_figures(name: str, weights: str = AUTO, image_px: int | None = None) -> ZooFigures:
    """Everything that is known of a network of torchvision without running it.

    The accuracy is that of the first weights that torchvision published (``IMAGENET1K_V1``): a
    later recipe gives an old network the accuracy of a later year. A network that has none of that
    name has no accuracy here, unless its weights are asked for by name.

    Args:
        name: as torchvision has it.
        weights: what the network is built with; a name, for instance ``IMAGENET1K_V2``, makes the
            accuracy that of these weights too.
        image_px: side of the images it is served; the published crop where not given.

    Raises:
        UnknownNameError: unknown network, or unknown weights of it.
        DatasetError: the weights asked for are not in torch's folder.
    """
    offered = published_weights(name)
    used = weights_used(name, weights)
    shown = offered.get(weights) or offered.get(FIRST)
    crop = shown or next(iter(offered.values()))
    side_px = image_px or crop.crop_px
    entry = zoo().get(name)
    return ZooFigures(
        year=entry.year if entry else None,
        source=entry.citation if entry else None,
        published_top1=shown.top1 if shown else None,
        published_weights=shown.name if shown else None,
        weights=used,
        flops_per_image=forward_flops(name, side_px).per_image,
        parameters=parameter_count(name),
        image_px=side_px,
        crop_px=crop.crop_px,
    )


@cache
def forward_flops(name: str, image_px: int = 224) -> FlopCount:
    """Operations of the forward pass of one image; a multiplication and an addition are two.

    Args:
        name: as torchvision has it.
        image_px: side of the image.
    """
    return count_forward(lambda: build_classifier(name, RANDOM), ImageShape(3, image_px, image_px))


@cache
def parameter_count(name: str) -> int:
    """How many parameters the network has as it is served, without heads that only training uses.

    Args:
        name: as torchvision has it.
    """
    from joulelab.learning.zoo import RANDOM
    from joulelab.learning.zoo_training import meta_classifier

    return sum(one.numel() for one in meta_classifier(name, RANDOM).parameters())
