"""Cutting a network of torchvision in two: a body that gives features, and a new head on top.

::

                      body                                  new head
    linear            all but the last layer                that layer, with other classes
    xu2023            all before the pooling of the whole   Flatten, 2 x (Linear 4096, ReLU),
                      image and the old classifier          Dropout 0.5, Linear

The head ``xu2023`` is that of Xu et al., HICSS 2023: the network without its top, Flatten, two
Dense layers of 4096 units with ReLU, Dropout with 0.5, and the output. The paper names the Dropout
after the two layers and not its place among them; here it stands between the second and the output.
The pooling over the whole image goes with the old classifier where it is a layer of its own (VGG,
ResNet, EfficientNet ...); where it is a call within the network (DenseNet, MobileNetV2, MnasNet,
ShuffleNetV2) or there is none (ViT), the head gets what comes out of it.

At 32x32 pixels VGG16 gives this head 512 features, and ResNet50 2048.
"""

from __future__ import annotations

from torch import nn

LINEAR, XU2023 = "linear", "xu2023"
HEADS = (LINEAR, XU2023)
WIDTH = 4096
"""Units of each hidden layer of the head ``xu2023``."""
DROPOUT = 0.5

_OLD_HEADS = ("classifier", "fc", "heads", "head")
_BEFORE_THE_HEAD = ("avgpool", "dropout")


def body_of(network: nn.Module, head: str) -> nn.Module:
    """What of a network stays beneath a new head; the network is changed.

    Args:
        network: of torchvision, as `joulelab.learning.zoo` gives it.
        head: which head it will get.
    """
    if _last_layer_is_a_convolution(network):
        return network.get_submodule("features")
    old, _ = _last_layer(network)
    if head == XU2023:
        old = old.partition(".")[0]
        for name, child in network.named_children():
            if name in _BEFORE_THE_HEAD and isinstance(child, nn.AdaptiveAvgPool2d | nn.Dropout):
                network.set_submodule(name, nn.Identity())
    network.set_submodule(old, nn.Identity())
    return network


def head_for(network: nn.Module, head: str, features: int, classes: int) -> nn.Module:
    """The new head of a network, before `body_of` has cut it.

    Args:
        network: of torchvision, as `joulelab.learning.zoo` gives it.
        head: which.
        features: that the body gives for one image; not used where the last layer alone is new.
        classes: number of logits.
    """
    if head == XU2023:
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(features, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(WIDTH, classes),
        )
    _, last = _last_layer(network)
    if isinstance(last, nn.Conv2d):  # SqueezeNet: one channel for each class, and their means
        return nn.Sequential(
            nn.Dropout(DROPOUT),
            nn.Conv2d(last.in_channels, classes, kernel_size=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
    return nn.Linear(last.in_features, classes, bias=last.bias is not None)


def replaced_shapes(network: nn.Module, head: str) -> frozenset[tuple[int, ...]]:
    """Shapes of those weights that a new head replaces, and that nothing else in the network has.

    Args:
        network: of torchvision, on the meta device; it is changed.
        head: which it will get.
    """
    before = {tuple(one.shape) for one in network.parameters()}
    return frozenset(before - {tuple(one.shape) for one in body_of(network, head).parameters()})


def _last_layer_is_a_convolution(network: nn.Module) -> bool:
    return isinstance(_last_layer(network)[1], nn.Conv2d)


def _last_layer(network: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The layer that gives a logit for each class, and its name."""
    found = [
        (name, layer)
        for name, layer in network.named_modules()
        if name.partition(".")[0] in _OLD_HEADS and isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    return found[-1]
