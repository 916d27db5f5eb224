"""A function as an experiment from Python, without a study file.

::

    import joulelab
    from work import train

    if __name__ == "__main__":
        study = joulelab.experiment(train, factors={"width": [16, 32]}, metrics={"loss": "min"})
        study.run("out")
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from joulelab.errors import UsageError, quoted
from joulelab.kinds.program.spec import located_function
from joulelab.kinds.program.worker import INSIDE
from joulelab.plain import PlainDataError, check_plain, is_there
from joulelab.study.design import Level
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec

FACTORS = 'give a dict with a list of levels for each factor, as in {"width": [16, 32]}'


def experiment(
    function: Callable[..., Any] | str,
    factors: Mapping[str, Sequence[Level] | Sequence[Sequence[Level]]],
    *,
    repetitions: int = 5,
    metrics: Mapping[str, str] | None = None,
    name: str = "",
    energy: Mapping[str, Any] | None = None,
    seed: int = 0,
    **keys: Any,  # noqa: ANN401 - those of a study file
) -> Study:
    """A study that calls a function for every combination of its factors.

    The function is called by keyword, with a level of each factor, and with ``seed``, ``out`` and
    ``repetition`` if it has such parameters. It runs in processes of its own, which import it, so
    that it must be at the top level of a file.

    Args:
        function: returns a dict of metrics, or one number; or its name, ``"work.py:train"``.
        factors: the levels of each factor; ``"depth, rate"`` for levels that go together.
        repetitions: runs of each combination, each with its own seed.
        metrics: for each metric ``"max"`` or ``"min"``, whichever is better.
        name: of the study; that of the function if not given.
        energy: keys of the table ``[energy]`` of a study file.
        seed: determines all randomness.
        keys: other keys of an experiment of kind ``function``: ``fresh_process``, ``timeout_s``,
            ``claims``, ``design`` and so on.

    Returns:
        The study: `Study.run` runs it, or goes on with it.

    Raises:
        UsageError: the function cannot be imported, a key is not valid, or this is itself a run.
    """
    if os.environ.get(INSIDE):
        raise UsageError(
            "an experiment cannot start within a run of an experiment",
            'put joulelab.experiment(...).run(...) under if __name__ == "__main__":',
        )
    reference = function if isinstance(function, str) else reference_of(function)
    located = located_function(reference, Path.cwd())
    called = name or located.rpartition(":")[2].rpartition(".")[2]
    table = {
        "kind": "function",
        "function": located,
        "vary": _levels(factors),
        "repetitions": repetitions,
        "metrics": dict(metrics or {}),
        "cwd": str(Path.cwd()),
        **keys,
    }
    spec: dict[str, Any] = {
        "name": called,
        "seed": seed,
        "energy": dict(energy or {}),
        "experiment": {called: table},
    }
    try:
        check_plain(spec)
    except PlainDataError as error:
        raise UsageError(f"{'.'.join(error.keys)}: {error.message}", "change that value") from None
    return Study(check_spec(spec))


def _levels(factors: object) -> dict[str, list[Any]]:
    """The levels of every factor, with numbers of numpy as plain ones.

    Raises:
        UsageError: they are not a dict of lists.
    """
    if not isinstance(factors, Mapping):
        raise UsageError(f"factors is {quoted(factors)}", FACTORS)
    for factor, levels in factors.items():
        if isinstance(levels, str | Mapping) or not isinstance(levels, Iterable):
            raise UsageError(f"the levels of {quoted(factor)} are {quoted(levels)}", FACTORS)
    return {str(factor): [_plain(one) for one in levels] for factor, levels in factors.items()}


def _plain(level: Any) -> Any:  # noqa: ANN401 - unchecked data
    """A level, or those that go together, as plain data."""
    if hasattr(level, "tolist"):
        return level.tolist()
    return [_plain(one) for one in level] if isinstance(level, list | tuple) else level


def reference_of(function: Callable[..., Any]) -> str:
    """The file and name by which another process can import a function.

    Raises:
        UsageError: it cannot; says why.
    """
    name = getattr(function, "__qualname__", "")
    module = getattr(function, "__module__", None) or ""
    remedy = "define it with def at the top level of a file"
    if not name:
        raise UsageError(f"an object of type {type(function).__name__} has no name", remedy)
    if "<lambda>" in name:
        raise UsageError("a lambda has no name by which another process can import it", remedy)
    if "<locals>" in name:
        outer, _, inner = name.rpartition(".<locals>.")
        raise UsageError(
            f"{inner} is defined inside {outer}, where no other process can import it", remedy
        )
    if inspect.ismethod(function) and not inspect.isclass(function.__self__):
        raise UsageError(f"{name} is a method of an object that no other process has", remedy)
    try:
        file = Path(inspect.getfile(function)).resolve()
    except (TypeError, OSError):  # written in C, or defined at a prompt
        file = None
    main = sys.modules["__main__"]
    nowhere = file is None or not getattr(main, "__file__", None)
    if (module == "__main__" and nowhere) or (file is not None and not is_there(file)):
        raise UsageError(
            f"{name} is defined in a notebook or at the prompt, where no other process can "
            "import it",
            "write it to a file (in a notebook with %%writefile work.py) and import it from there",
        )
    if file is None:
        return f"{module}:{name}"
    package = getattr(sys.modules.get(module), "__package__", "")
    return f"{module}:{name}" if package and module != "__main__" else f"{file}:{name}"
