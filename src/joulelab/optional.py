"""Libraries that joulelab can do without, and the extras that install them.

The core measures, analyses and reports without any of them. Whoever needs one asks for it here, as
early as it can::

    require("torch", user="the study mine.toml")     an error before anything is done
    sklearn = optional("sklearn.gaussian_process", "the strategy 'bayesian-pi'")
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from joulelab.errors import MissingDependencyError

EXTRAS = {
    "cmaes": "tune",
    "flaml": "flaml",
    "h11": "serve",
    "mlflow": "mlflow",
    "opentelemetry": "opentelemetry",
    "optuna": "tune",
    "pyarrow": "parquet",
    "ray": "ray",
    "sklearn": "tune",
    "starlette": "serve",
    "submitit": "slurm",
    "syne_tune": "syne-tune",
    "torch": "train",
    "torchvision": "train",
    "transformers": "llm",
    "uvicorn": "serve",
    "zeus": "zeus",
}
"""The extra that installs each library; others, such as frameworks, users install themselves."""
PACKAGES = {"yaml": "pyyaml"}
"""Those whose package has another name."""


def require(*modules: str, user: str) -> None:
    """Refuse to begin without some libraries.

    Args:
        modules: their names, keys of `EXTRAS`; they are found, and not imported.
        user: who needs them, for the message: ``"joulelab batch"``.

    Raises:
        MissingDependencyError: one is not installed; says which extra installs it.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise missing(module, user)


def optional(module: str, user: str) -> ModuleType:
    """Import a module of an optional library.

    Args:
        module: its name.
        user: who needs it, for the message: ``"the strategy 'tpe'"``.

    Raises:
        MissingDependencyError: it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing(module, user, str(error)) from error


def missing(module: str, user: str, why: str = "") -> MissingDependencyError:
    """The error of a library that is not installed.

    Args:
        module: that was to be imported.
        user: who needs it.
        why: the error of the import; default: that it is not installed.
    """
    library = module.partition(".")[0]
    extra = EXTRAS.get(library)
    return MissingDependencyError(
        f"{user} needs {library}: {why or 'it is not installed'}",
        f'pip install "joulelab[{extra}]"'
        if extra
        else f"pip install {PACKAGES.get(library, library)}",
    )
