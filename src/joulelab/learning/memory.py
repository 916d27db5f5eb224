"""Memory of a training step of a network in bytes, counted without computing.

::

    weights       parameters, frozen ones too, and buffers, once
    gradients     trainable parameters, once
    moments       trainable parameters, twice: Adam's two moments
    images        one batch as float32
    activations   what the forward pass of one batch keeps for the backward pass, the loss included

Activations are counted where torch keeps them: every tensor that autograd saves, each storage once,
except parameters, buffers and the images. The output of a frozen layer before the first trainable
one is not saved, and not counted. The count is for fp32; activations in reduced precision take
less. It excludes allocator rounding, convolution workspaces and the resident data set: it is a
property of the network, not the number that nvidia-smi shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joulelab.errors import JoulelabError
from joulelab.learning.images import ImageShape
from joulelab.learning.networks import Builder, build_network, network_key

if TYPE_CHECKING:
    from torch import Tensor, nn

ADAMS_MOMENTS = 2
FLOAT_BYTES = 4


@dataclass(frozen=True)
class MemoryCount:
    """Bytes of one training step.

    Attributes:
        weights: of parameters and buffers.
        gradients: of trainable parameters.
        moments: of Adam.
        images: of one batch.
        activations: kept of one batch for the backward pass.
        parameters: trainable ones, a number.
    """

    weights: int
    gradients: int
    moments: int
    images: int
    activations: int
    parameters: int

    @property
    def total(self) -> int:
        """Total bytes."""
        return self.weights + self.gradients + self.moments + self.images + self.activations


def count_memory(
    name: str, options: Mapping[str, Any], shape: ImageShape, classes: int, batch_size: int
) -> MemoryCount:
    """Count the bytes of a training step of a network; each network is counted once.

    The network and its images are on torch's meta device, where tensors have shapes and no
    contents.

    Args:
        name: registered name of the network.
        options: its keyword arguments.
        shape: of one image.
        classes: number of logits.
        batch_size: images per step; at least 2, for BatchNorm.

    Raises:
        UnknownNameError, UsageError, TrainingError: as `build_network`.
        JoulelabError: the network does not run on the meta device.

    A linear layer of 784 x 10 weights and 10 biases keeps the probabilities of 64 images:

    >>> count = count_memory("DensePolyNN", {"linear_layers": 1}, ImageShape(1, 28, 28), 10, 64)
    >>> count.weights, count.gradients, count.moments, count.images    # 4 bytes x 7,850 ...
    (31400, 31400, 62800, 200704)
    """
    key = (*network_key(name, options), shape, classes, batch_size)
    if key not in _counted:
        import torch

        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            network = build_network(name, shape, classes, options).train()
            images = torch.empty(batch_size, *shape)
            try:
                _counted[key] = counted(network, images)
            except JoulelabError:
                raise
            except Exception as error:  # a network of the user's may raise anything
                raise JoulelabError(
                    f"the memory of the network {name} cannot be counted: {error!r}",
                    "it is counted on torch's meta device, where tensors have no contents",
                ) from error
    return _counted[key]


_counted: dict[tuple[Builder, str, ImageShape, int, int], MemoryCount] = {}


def counted(network: nn.Module, images: Tensor) -> MemoryCount:
    """The bytes of a training step of a network on one batch, on any device.

    Args:
        network: in training mode.
        images: (batch, C, H, W).
    """
    import torch
    from torch.nn.functional import cross_entropy

    kept = [*network.parameters(), *network.buffers()]
    # Keep references, so that no storage is reused meanwhile.
    known = {_place(tensor): tensor.untyped_storage() for tensor in [*kept, images]}
    saved: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        if _place(tensor) not in known:
            saved[_place(tensor)] = tensor.untyped_storage()
        return tensor

    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        loss = cross_entropy(network(images), labels)
    # The labels are saved with the loss and are not an activation.
    saved.pop(_place(labels), None)
    activations = sum(storage.nbytes() for storage in saved.values())
    del loss
    trainable = [one for one in network.parameters() if one.requires_grad]
    gradients = sum(one.numel() * one.element_size() for one in trainable)
    return MemoryCount(
        weights=sum(one.numel() * one.element_size() for one in kept),
        gradients=gradients,
        moments=ADAMS_MOMENTS * gradients,
        images=images.numel() * FLOAT_BYTES,
        activations=activations,
        parameters=sum(one.numel() for one in trainable),
    )


def _place(tensor: Tensor) -> int:
    """An identity of a storage that also works on the meta device, which has no addresses."""
    return int(tensor.untyped_storage()._cdata)
