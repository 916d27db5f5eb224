"""The registered network ``factory``: one that a function in the user's own module gives.

The function is named ``module:attribute`` and called as every builder of
`joulelab.learning.networks`: ``attribute(shape, classes, **options)``. The module is looked for in
the current folder before all others.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from torch import nn

from joulelab.errors import UsageError, quoted
from joulelab.learning.images import ImageShape
from joulelab.learning.networks import Builder, call_builder

_HINT = "write it as module:function, for instance mymodels:small"


def own_network(
    shape: ImageShape,
    classes: int,
    *,
    factory: str,
    **options: Any,  # noqa: ANN401
) -> nn.Module:
    """Import the user's builder and call it.

    Args:
        shape: of one image.
        classes: number of logits.
        factory: ``module:attribute``.
        options: for the builder.

    Raises:
        UsageError: the builder cannot be imported, lacks an option or has none of that name, or
            what it gives is no ``nn.Module``.
        TrainingError: it raises.
    """
    network = call_builder(factory, imported(factory), shape, classes, options)
    if not isinstance(network, nn.Module):
        raise UsageError(
            f"the network {factory} is a {type(network).__name__} and no torch.nn.Module",
            "let the function return the network",
        )
    return network


def imported(factory: str) -> Builder:
    """The builder of a name.

    Args:
        factory: ``module:attribute``, with dots in both where need be.

    Raises:
        UsageError: there is none, or its module cannot be imported.
    """
    name, _, attribute = factory.partition(":")
    if not (name.strip() and attribute.strip()):
        raise UsageError(f"the network {quoted(factory)} names no function", _HINT)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(name)
    except Exception as error:  # whatever a module of the user's raises while it is imported
        raise UsageError(
            f"the network {quoted(factory)}: {name} cannot be imported: "
            f"{type(error).__name__}: {' '.join(str(error).split())}",
            f"run python -c 'import {name}' in the folder it lies in",
        ) from error
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise UsageError(
            f"the network {quoted(factory)}: {name} has no function {quoted(attribute)}", _HINT
        )
    builder: Builder = found
    return builder
