"""Where a model comes from: a factory that every process can call for itself.

A model is not sent from one process to another. What is sent is the name of a function and its
arguments, and the server process builds the model, on its own device, in its own memory.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from joulelab.errors import JoulelabError, ServingError, UsageError, quoted

if TYPE_CHECKING:
    from torch import nn

_HINT = "write it as module:attribute, for instance my_models:small_network"


@dataclass(frozen=True)
class ModelSource:
    """A factory and its arguments.

    Attributes:
        factory: ``module:attribute``; called with the options it gives an ``nn.Module`` that takes
            images (n, 3, S, S), float32.
        options: keyword arguments of the factory, plain data.
        path: folders that are searched for the module before all others.
    """

    factory: str
    options: Mapping[str, Any] = field(default_factory=dict)
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{self.factory}({options})" if options else self.factory

    def load(self) -> nn.Module:
        """Import the factory and call it.

        Raises:
            UsageError: the factory cannot be imported, or what it gives is no ``nn.Module``.
            ServingError: the factory raises.
        """
        from torch import nn

        factory = self._import()
        try:
            model = factory(**self.options)
        except JoulelabError:
            raise
        except Exception as error:
            raise ServingError(
                f"the model {self} cannot be built: {type(error).__name__}: {_line(error)}",
                "call the factory with these options by itself to see where",
            ) from error
        if not isinstance(model, nn.Module):
            raise UsageError(
                f"the model {self} is a {type(model).__name__} and no torch.nn.Module",
                "let the factory return the network",
            )
        return model

    def _import(self) -> Callable[..., Any]:
        name, _, attribute = self.factory.partition(":")
        if not name or not attribute:
            raise UsageError(f"the model {quoted(self.factory)} names no factory", _HINT)
        sys.path[:0] = [folder for folder in self.path if folder not in sys.path]
        importlib.invalidate_caches()
        try:
            found: Any = importlib.import_module(name)
        except Exception as error:  # whatever a module of the user's raises while it is imported
            raise UsageError(
                f"the model {quoted(self.factory)}: {name} cannot be imported: "
                f"{type(error).__name__}: {_line(error)}",
                f"run python -c 'import {name}' in the folder it lies in",
            ) from error
        for part in attribute.split("."):
            found = getattr(found, part, None)
        if not callable(found):
            raise UsageError(
                f"the model {quoted(self.factory)}: {name} has no such function", _HINT
            )
        factory: Callable[..., Any] = found
        return factory


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
