"""Libraries that some strategies need and joulelab does not install."""

from __future__ import annotations

import importlib
from types import ModuleType

from joulelab.errors import MissingDependencyError


def optional(module: str, user: str, extra: str) -> ModuleType:
    """Import a module of an optional library.

    Args:
        module: its name.
        user: who needs it, for the message: ``"the strategy 'tpe'"``.
        extra: the extra of joulelab that installs it.

    Raises:
        MissingDependencyError: it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{user} needs {module.partition('.')[0]}: {error}",
            f'pip install "joulelab[{extra}]"',
        ) from error
