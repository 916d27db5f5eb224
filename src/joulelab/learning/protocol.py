"""Protocols: the conventions of a training that are neither network nor hyperparameter.

::

                             default              yarally2023
    mini-batches             drawn every epoch    drawn once, the same in every epoch
    accuracy computed in     eval mode            train mode: BatchNorm uses test statistics
    test images evaluated    in bounded batches   as one batch
    beta2 of the optimiser   as proposed          always 0.999
    training images          as they are          as they are
    green tuning sees        held-out images      the test images

``xu2023`` is ``default`` with training images that are rotated, shifted and mirrored at random.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from joulelab.learning.augmentation import AUGMENTATIONS, OF_PROTOCOL, Augmentation
from joulelab.learning.engine import Hyperparameters
from joulelab.registry import Registry


@dataclass(frozen=True)
class Protocol:
    """Conventions of a training, by name.

    Attributes:
        name: as a study names it.
        summary: one-line summary.
        reshuffle_each_epoch: draw new mini-batches for every epoch; else once for the training.
        evaluation_mode: the mode that the network is in while accuracy is computed.
        evaluate_as_one_batch: pass all test images through the network at once; else in batches
            of a bounded size, which gives the same in eval mode and needs less memory.
        beta2_fixed: fixed beta2, overriding the proposed value; ``None`` for the proposed.
        augmentation: how training images are changed at random; ``None`` leaves them as they are.
        tunes_on_test: whether a search of green tuning sees the accuracy on the test images; else
            that on training images which are held out.
    """

    name: str
    summary: str
    reshuffle_each_epoch: bool = True
    evaluation_mode: Literal["eval", "train"] = "eval"
    evaluate_as_one_batch: bool = False
    beta2_fixed: float | None = None
    augmentation: Augmentation | None = None
    tunes_on_test: bool = False

    def adjusted(self, proposed: Hyperparameters) -> Hyperparameters:
        """The hyperparameters of the training, given the proposed ones."""
        if self.beta2_fixed is None:
            return proposed
        return replace(proposed, beta2=self.beta2_fixed)

    def augmentation_for(self, name: str) -> Augmentation | None:
        """The augmentation of a training.

        Args:
            name: in `AUGMENTATIONS`, or ``"protocol"`` for this protocol's.
        """
        return self.augmentation if name == OF_PROTOCOL else AUGMENTATIONS[name]


DEFAULT = Protocol(
    "default", "new mini-batches every epoch, accuracy in eval mode, beta2 as proposed"
)

# The published code of Yarally et al., CAIN 2023, and so the numbers in the paper, deviate from
# common practice here.
YARALLY2023 = Protocol(
    "yarally2023",
    "mini-batches drawn once, accuracy in train mode on one batch, beta2 always 0.999",
    reshuffle_each_epoch=False,
    evaluation_mode="train",
    evaluate_as_one_batch=True,
    beta2_fixed=0.999,
    tunes_on_test=True,
)

# The augmentation of Xu et al., HICSS 2023.
XU2023 = Protocol(
    "xu2023",
    "default, with images rotated up to 15 degrees, shifted up to 0.1 of the side, and mirrored",
    augmentation=AUGMENTATIONS["xu2023"],
)

protocols: Registry[Protocol] = Registry(
    "protocol",
    "joulelab.protocols",
    {
        protocol.name: (f"{__name__}:{attribute}", protocol.summary)
        for attribute, protocol in (
            ("DEFAULT", DEFAULT),
            ("YARALLY2023", YARALLY2023),
            ("XU2023", XU2023),
        )
    },
)
