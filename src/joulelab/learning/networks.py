"""The registry of networks, and how a network is built from its name.

A network is registered as a *builder*: an ``nn.Module`` class, or a function that gives a module,
called as ``builder(shape, classes, **options)``. The module maps images (batch, C, H, W), float32
in [0, 1], to logits (batch, classes).
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulelab.errors import JoulelabError, TrainingError, UsageError, quoted, suggestion
from joulelab.learning.images import ImageShape
from joulelab.registry import Registry, imported_from_user

if TYPE_CHECKING:
    from torch import nn

TORCHVISION, FACTORY = "torchvision", "factory"
"""The registered networks whose option ``model`` or ``factory`` selects the network."""

_EXAMPLE = "mymodels:small"

MOST_LAYERS = 1000
"""Limit of the built-in networks, because layers are built before their size is known."""

Builder = Callable[..., "nn.Module"]
"""``builder(shape: ImageShape, classes: int, **options) -> nn.Module``."""

networks: Registry[Builder] = Registry(
    "network",
    "joulelab.networks",
    {
        "DensePolyNN": (
            "joulelab.learning.small_networks:DensePolyNN",
            "linear layers, each half as wide as the one before (option linear_layers)",
        ),
        "DenseLinearNN": (
            "joulelab.learning.small_networks:DenseLinearNN",
            "linear layers, their widths fall linearly (option linear_layers)",
        ),
        "SimpleCNN": (
            "joulelab.learning.small_networks:SimpleCNN",
            "convolution blocks, then linear layers (options conv_layers, linear_layers, relu, "
            "pooling)",
        ),
        TORCHVISION: (
            "joulelab.learning.zoo_training:torchvision_classifier",
            "a classifier of torchvision with a new head (options model, weights, base, head)",
        ),
        FACTORY: (
            "joulelab.learning.networks:own_network",
            "a function of yours (option factory, module:function; further options are passed to "
            "it)",
        ),
    },
)


def build_network(
    name: str, shape: ImageShape, classes: int, options: Mapping[str, Any] | None = None
) -> nn.Module:
    """Build a network for images of one shape; its weights come from torch's global generator.

    Args:
        name: registered name.
        shape: of one image.
        classes: number of logits.
        options: keyword arguments of the network.

    Raises:
        UnknownNameError: no network has that name.
        UsageError: an option that the network does not have, or an impossible value of one.
        TrainingError: the network cannot be built for this shape.
    """
    options = dict(options or {})
    return _call_builder(network_label(name, options), networks.get(name), shape, classes, options)


def _call_builder(
    name: str, builder: Builder, shape: ImageShape, classes: int, options: Mapping[str, Any]
) -> nn.Module:
    """Call a builder; errors name the network."""
    _check_option_names(name, builder, options)
    try:
        return builder(shape, classes, **options)
    except JoulelabError:
        raise
    except Exception as error:  # a user's network may raise anything
        raise TrainingError(
            f"the network {name} cannot be built for images of {shape.words} and {classes} "
            f"classes: {type(error).__name__}: {error}",
            "check the network's options, or its code if it is yours",
        ) from error


def verify_buildable(
    name: str, shape: ImageShape, classes: int, options: Mapping[str, Any] | None = None
) -> int:
    """Check, without training or allocating anything, whether a network fits images.

    The network is built on torch's meta device, where tensors have shapes and no contents, and two
    images are passed through it. torch's global generator is unchanged.

    Args:
        name: registered name.
        shape: of one image.
        classes: number of logits.
        options: keyword arguments of the network.

    Returns:
        The number of trainable parameters.

    Raises:
        UnknownNameError, UsageError, TrainingError: as `build_network`; a TrainingError also if the
            output does not have one logit per class.
    """
    import torch

    label = network_label(name, options or {})
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = build_network(name, shape, classes, options)
        images = torch.empty(2, *shape)
        try:
            logits = network(images)
        except (RuntimeError, ValueError, TypeError) as error:
            raise TrainingError(
                f"the network {label} cannot process images of {shape.words}: {error}",
                "check the network's options, or its code if it is yours",
            ) from error
    if tuple(logits.shape) != (2, classes):
        raise TrainingError(
            f"the network {label} returns for 2 images a tensor of shape {tuple(logits.shape)}",
            f"it must return one logit per class: shape (2, {classes})",
        )
    return count_parameters(network)


def network_label(name: str, options: Mapping[str, Any]) -> str:
    """The user's name of a network: ``vgg16``, not ``torchvision``.

    >>> network_label("torchvision", {"model": "vgg16"}), network_label("SimpleCNN", {})
    ('vgg16', 'SimpleCNN')

    Args:
        name: registered name.
        options: keyword arguments of the network.
    """
    which = {TORCHVISION: "model", FACTORY: "factory"}.get(name, "")
    return str(options.get(which, name))


def network_key(name: str, options: Mapping[str, Any]) -> tuple[Builder, str]:
    """A cache key of a network with its options.

    Args:
        name: registered name.
        options: keyword arguments of the network.
    """
    return networks.get(name), json.dumps(dict(options), sort_keys=True, default=repr)


def count_parameters(network: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def check_count(option: str, value: object) -> int:
    """Check an option that counts layers.

    Raises:
        UsageError: not a whole number from 1 to `MOST_LAYERS`.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_LAYERS:
        raise UsageError(
            f"{option} = {quoted(value)} is not possible",
            f"{option} is a whole number of at least 1, and at most {MOST_LAYERS:,}",
        )
    return value


def _check_option_names(name: str, builder: Builder, options: Mapping[str, Any]) -> None:
    # The first two parameters are the shape and the number of classes.
    parameters = list(inspect.signature(builder).parameters.values())[2:]
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = {p.name: p for p in parameters if p.kind in named}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for option in options:
        if option not in known and not takes_any:
            raise UsageError(
                f"the network {name} has no option {quoted(option)}",
                suggestion(option, known) or "it has no options",
            )
    for option, parameter in known.items():
        if parameter.default is parameter.empty and option not in options:
            raise UsageError(
                f"the network {name} needs the option {quoted(option)}",
                "give it under network_options",
            )


def option_names(name: str) -> tuple[str, ...] | None:
    """The options that a registered network takes; None where it takes any.

    Args:
        name: registered name.

    Raises:
        UnknownNameError: no network has that name.
    """
    # The first two parameters are the shape and the number of classes.
    parameters = list(inspect.signature(networks.get(name)).parameters.values())[2:]
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return None
    return tuple(one.name for one in parameters)


def own_network(
    shape: ImageShape,
    classes: int,
    *,
    factory: str,
    **options: Any,  # noqa: ANN401
) -> nn.Module:
    """The registered network ``factory``: import the user's builder and call it.

    The current folder is searched first.

    Args:
        shape: of one image.
        classes: number of logits.
        factory: ``module:attribute``.
        options: for the builder.

    Raises:
        UsageError: the builder cannot be imported, lacks an option, has no such option, or does not
            return an ``nn.Module``.
        TrainingError: it raises.
    """
    from torch import nn

    network = _call_builder(factory, _imported(factory), shape, classes, options)
    if not isinstance(network, nn.Module):
        raise UsageError(
            f"the network {factory} is a {type(network).__name__} and not a torch.nn.Module",
            "let the function return the network",
        )
    return network


def split_factory(text: str, noun: str, example: str) -> tuple[str, str]:
    """Module and attribute of a factory, ``module:attribute``.

    Args:
        text: the user's text.
        noun: noun for its result, in the error.
        example: of a factory, in the error.

    Raises:
        UsageError: one half is missing.
    """
    module, _, attribute = text.partition(":")
    if not (module.strip() and attribute.strip()):
        raise UsageError(
            f"the {noun} {quoted(text)} does not name a function",
            f"write module:function, as in {example}",
        )
    return module, attribute


def _imported(factory: str) -> Builder:
    name, attribute = split_factory(factory, "network", _EXAMPLE)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found = imported_from_user(name, attribute, f"the network {quoted(factory)}")
    if not callable(found):
        raise UsageError(
            f"the network {quoted(factory)}: {name} has no function {quoted(attribute)}",
            f"write it as module:function, as in {_EXAMPLE}",
        )
    builder: Builder = found
    return builder
