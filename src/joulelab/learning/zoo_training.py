"""The registered network ``torchvision``: an image classifier of the zoo, made ready for training.

::

    images in [0, 1] ─ normalised as for ImageNet ─ body ─ head ─ logits
                                                     │      └ new, for the data set's classes
                                                     └ trained, or frozen

Normalisation is part of the network, with or without published weights: weights expect it, and the
cost of a training must not depend on them.

A **frozen** body has no gradients and computes none, and stays in evaluation mode while the head is
trained: its BatchNorm keeps its statistics, and its Dropout is off.

A network of torchvision is cut in two, a body that gives features and a new head on top:

::

                      body                                  new head
    linear            all but the last layer                that layer, with other classes
    xu2023            all before the pooling of the whole   Flatten, 2 x (Linear 4096, ReLU),
                      image and the old classifier          Dropout 0.5, Linear

The head ``xu2023`` is from Xu et al., HICSS 2023: the network without its top, Flatten, two Dense
layers of 4096 units with ReLU, Dropout with 0.5, and the output. The paper does not state the
position of the Dropout; here it is between the second layer and the output. The pooling over the
whole image is removed with the old classifier if it is a separate layer (VGG, ResNet, EfficientNet
...); if it is a call within the network (DenseNet, MobileNetV2, MnasNet, ShuffleNetV2) or absent
(ViT), the head gets its output. At 32x32 pixels VGG16 gives this head 512 features, and ResNet50
2048.

On torch's meta device tensors have shapes and no contents, and take no time and no memory. A
network is built there to find its output for an image size, and weights that will be replaced stay
there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision import models

from joulelab.errors import TrainingError, UsageError, one_line, quoted, suggestion
from joulelab.learning.images import ImageShape
from joulelab.learning.zoo import (
    AUTO,
    RANDOM,
    build_classifier,
    damage_explained,
    find_weights,
    random_options,
    weights_used,
)

TRAINED, FROZEN = "trained", "frozen"
BASES = (TRAINED, FROZEN)
LINEAR, XU2023 = "linear", "xu2023"
HEADS = (LINEAR, XU2023)
WIDTH = 4096
"""Units of each hidden layer of the head ``xu2023``."""
DROPOUT = 0.5
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's channels, used to train torchvision's weights."""
SIDES = (32, 48, 64, 96, 128, 192, 224, 256, 299, 384, 512)
"""Image sides in pixels; an error suggests the smallest that a network accepts."""
WORTH_LEAVING = 10_000_000
"""Values in weights that are not read: AlexNet and VGG have more, all others less."""

_CHANNELS = 3
_OLD_HEADS = ("classifier", "fc", "heads", "head")
_BEFORE_THE_HEAD = ("avgpool", "dropout")


class TorchvisionClassifier(nn.Module):
    """A body and a head.

    Args:
        body: maps normalised images (B, 3, H, W) to features, (B, F) or (B, C, h, w).
        head: maps features to logits, (B, classes).
        frozen: whether the body is frozen.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, body: nn.Module, head: nn.Module, *, frozen: bool) -> None:
        super().__init__()
        self.body = body.requires_grad_(not frozen)
        self.head = head
        self.frozen = frozen
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(1, _CHANNELS, 1, 1))
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, 3, H, W) in [0, 1]."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self.body((images - self.mean) / self.deviation)
        logits: Tensor = self.head(features)
        return logits

    def train(self, mode: bool = True) -> TorchvisionClassifier:
        """Training or evaluation mode; a frozen body stays in the latter."""
        super().train(mode)
        if self.frozen:
            self.body.eval()
        return self


def torchvision_classifier(
    shape: ImageShape,
    classes: int,
    *,
    model: str,
    weights: str = AUTO,
    base: str = TRAINED,
    head: str = LINEAR,
) -> nn.Module:
    """A network of torchvision with a head for other classes; nothing is downloaded.

    On the meta device no weights are read.

    Args:
        shape: of one image; the network's own three channels, and a side that it takes.
        classes: number of logits.
        model: as torchvision has it, for instance ``vgg16``.
        weights: ``auto``, ``random``, ``pretrained`` or a name, as `joulelab.learning.zoo`
            explains; `training_weights` says which that means.
        base: ``trained``, or ``frozen``: only the head is trained.
        head: ``linear`` or ``xu2023``; see the top of this file.

    Raises:
        UnknownNameError: unknown network, or unknown weights of it.
        UsageError: an impossible value of an option.
        DatasetError: the weights are not in torch's folder, or their file is damaged.
        TrainingError: the network does not accept images of this shape; suggests one.
    """
    _check_choice("base", base, BASES)
    _check_choice("head", head, HEADS)
    used = weights_used(model, weights)
    features = _features(model, used, head, shape)
    if torch.empty(0).is_meta:  # new tensors go to the meta device
        network = meta_classifier(model, used)
    else:
        network = classifier_without(model, used, _replaced(model, head))
    top = head_for(network, head, features, classes)
    return TorchvisionClassifier(body_of(network, head), top, frozen=base == FROZEN)


@cache
def _features(model: str, weights: str, head: str, shape: ImageShape) -> int:
    """Number of features of the body for one image, found without computing.

    Raises:
        TrainingError: the network does not accept such images.
    """
    body = body_of(meta_classifier(model, weights), head)
    found, reason = _passed(body, shape) if shape.channels == _CHANNELS else (None, "")
    if found is not None:
        return found
    settings = [f"channels={_CHANNELS}"] if shape.channels != _CHANNELS else []
    if _passed(body, ImageShape(_CHANNELS, shape.height, shape.width))[0] is None:
        squares = (ImageShape(_CHANNELS, side, side) for side in SIDES)
        side = next((one.height for one in squares if _passed(body, one)[0] is not None), None)
        settings += [f"side={side}"] if side else []
    because = f": {reason}" if reason else f", only images with {_CHANNELS} channels"
    raise TrainingError(
        f"the network {model} cannot process images of {shape.words}{because}",
        f"add ?{'&'.join(settings)} to the data set's name",
    )


def _passed(body: nn.Module, shape: ImageShape) -> tuple[int | None, str]:
    """Number of features of one image, or why there are none."""
    try:
        with torch.no_grad(), torch.device("meta"):
            features = body(torch.empty(2, *shape))
    except (RuntimeError, ValueError, AssertionError) as error:
        return None, one_line(error)
    count = features[0].numel()
    return (count, "") if count else (None, "they would be reduced to nothing")


@cache
def _replaced(model: str, head: str) -> frozenset[tuple[int, ...]]:
    """Shapes of weights that a new head replaces, and that nothing else in the network has."""
    network = meta_classifier(model, RANDOM)
    before = {tuple(one.shape) for one in network.parameters()}
    return frozenset(before - {tuple(one.shape) for one in body_of(network, head).parameters()})


def _check_choice(option: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(
            f"{option} = {quoted(value)} is not possible", suggestion(str(value), known)
        )


def body_of(network: nn.Module, head: str) -> nn.Module:
    """The part of a network below a new head; the network is modified.

    Args:
        network: of torchvision, from `joulelab.learning.zoo`.
        head: which head it will get.
    """
    old, last = _last_layer(network)
    if isinstance(last, nn.Conv2d):
        return network.get_submodule("features")
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
        network: of torchvision, from `joulelab.learning.zoo`.
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


def _last_layer(network: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The layer that gives a logit for each class, and its name."""
    found = [
        (name, layer)
        for name, layer in network.named_modules()
        if name.partition(".")[0] in _OLD_HEADS and isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    return found[-1]


def meta_classifier(name: str, weights: str) -> nn.Module:
    """The network of `build_classifier` in evaluation mode on the meta device, without weights.

    Args:
        name: as torchvision has it.
        weights: the requested weights; some of ViT's are for larger images, with another shape.

    Raises:
        UnknownNameError, DatasetError: as `build_classifier`.
    """
    entry = find_weights(name, weights)
    options = random_options(name)
    if entry is not None and name.startswith("vit_"):
        options["image_size"] = entry.meta["min_size"][0]
    with torch.random.fork_rng(devices=[]), torch.device("meta"), _Placed(_regnets_numbers):
        network: nn.Module = models.get_model(name, weights=None, **options)
    return network.to("meta").eval()


def classifier_without(name: str, weights: str, shapes: frozenset[tuple[int, ...]]) -> nn.Module:
    """The result of `build_classifier`, except that weights of some shapes stay on meta.

    The classifier of VGG16 holds 124 of its 138 million weights; drawing them only to replace them
    takes most of the time in which the network is built.

    Args:
        name: as torchvision has it.
        weights: of the network. If published ones exist and the omitted part is small, torchvision
            builds the whole network, because it can read old files.
        shapes: of the omitted weights.

    Raises:
        UnknownNameError, DatasetError: as `build_classifier`.
    """
    entry = find_weights(name, weights)
    if entry is not None and sum(map(math.prod, shapes)) < WORTH_LEAVING:
        return build_classifier(name, weights)

    def of_those_shapes(function: Callable[..., Any], args: tuple[Any, ...]) -> str | None:
        makes_one = function is torch.empty and isinstance(args[0], tuple) and args[0] in shapes
        return "meta" if makes_one else None

    with _Placed(of_those_shapes):
        network = build_classifier(name, RANDOM)
    if entry is not None:
        with damage_explained(name, entry):
            _load_rest(network, entry.get_state_dict(progress=False))
    return network


def _load_rest(network: nn.Module, published: Mapping[str, torch.Tensor]) -> None:
    """Load published weights into everything that is not on the meta device.

    Raises:
        KeyError: some of them are not published.
    """
    wanted = [name for name, value in network.state_dict().items() if not value.is_meta]
    network.load_state_dict({name: published[name] for name in wanted}, strict=False)


def _regnets_numbers(function: Callable[..., Any], _: tuple[Any, ...]) -> str | None:
    """Tensors that torchvision computes with while building a RegNet stay on the CPU."""
    return "cpu" if function in (torch.arange, torch.tensor) else None


class _Placed(TorchFunctionMode):
    """Places some new tensors on a device, unless the call specifies one.

    Args:
        device_of: the device for a call of a function with these arguments; ``None`` for torch's
            choice.
    """

    def __init__(
        self, device_of: Callable[[Callable[..., Any], tuple[Any, ...]], str | None]
    ) -> None:
        super().__init__()
        self._device_of = device_of

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        given = dict(kwargs or {})
        device = self._device_of(func, args)
        if device is not None and given.get("device") is None:
            given["device"] = device
        return func(*args, **given)
