"""Joulelab: a laboratory for energy-efficient deep learning, measured in joules.

>>> from joulelab import Study
>>> results = Study.load("quickstart").run("out")   # doctest: +SKIP
>>> results.to_frame()                              # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from joulelab.study.results import Results
    from joulelab.study.study import Study

__all__ = ["Results", "Study", "__version__"]
__version__ = "0.1.0"

_LAZY = {"Results": "joulelab.study.results", "Study": "joulelab.study.study"}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import the public classes only when they are asked for: torch and pandas are heavy."""
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'joulelab' has no attribute {name!r}")
