"""The process that calls a function of the user, once or again and again.

::

    joulelab                          this process
    {"check": [names]}           ──►  import the module, compare the names with the parameters
                                 ◄──  {"parameters": [...], "files": [...]} or {"error": ...}
    {"call": {...}, "events": …} ──►  call it
                                 ◄──  {"result": {...}} or {"error": ..., "details": ...}

Requests come on one pipe, answers go out on another, one JSON object a line; standard output and
standard error belong to the function. The working folder and the random state of the process are
set anew before each call; what a function leaves in modules stays, unless every run has a process
of its own.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from joulelab.kinds.program.events import VARIABLE

INSIDE = "JOULELAB_RUN"
"""Set in the processes that joulelab starts; a study cannot be run within a run."""
CANNOT_BE_CALLED = (
    (inspect.iscoroutinefunction, "is async", "call it from a function: return asyncio.run(...)"),
    (inspect.isasyncgenfunction, "is an async generator", "return a dict of metrics instead"),
    (inspect.isgeneratorfunction, "is a generator", "return a dict of metrics instead of yielding"),
    (inspect.isclass, "is a class", "name a function that makes one and returns its metrics"),
)


def load(reference: str) -> Callable[..., Any]:
    """The function ``"file.py:name"`` or ``"module:name"``.

    Raises:
        Exception: whatever the module raises, or an attribute is missing.
    """
    place, _, name = reference.rpartition(":")
    if place.endswith(".py"):
        path = Path(place)
        sys.path.insert(0, str(path.parent))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{place} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


def checked(function: Callable[..., Any], names: list[str]) -> dict[str, Any]:
    """What the function takes, or why it cannot be used.

    Args:
        function: of the user.
        names: the factors.
    """
    called = getattr(function, "__name__", type(function).__name__)
    if not callable(function):
        kind = type(function).__name__
        return {"error": f"{called} is of type {kind}", "hint": "name a function"}
    for holds, what, remedy in CANNOT_BE_CALLED:
        if holds(function):
            return {"error": f"{called} {what}", "hint": remedy}
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {"parameters": None, "files": []}  # written in C: every call shows it
    anything = any(one.kind is one.VAR_KEYWORD for one in parameters)
    by_name = [
        one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    ]
    for name in names:
        if name not in by_name and not anything:
            has = ", ".join(by_name) or "none"
            return {
                "error": f"{called}() has no parameter {name!r}, which is a factor",
                "hint": f"its parameters: {has}",
            }
    for one in parameters:
        needed = one.default is one.empty and one.kind in (
            one.POSITIONAL_ONLY,
            one.POSITIONAL_OR_KEYWORD,
            one.KEYWORD_ONLY,
        )
        if needed and one.name not in {*names, "seed", "out", "repetition"}:
            return {
                "error": f"{called}() needs {one.name!r}, which is not a factor",
                "hint": f"add {one.name} to vary, or give the parameter a default",
            }
    return {"parameters": None if anything else by_name}


def files_under(folder: str) -> list[str]:
    """Files of the imported modules in a folder, except those of installed packages."""
    found = []
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not file or not file.endswith(".py") or module.__name__.partition(".")[0] == "joulelab":
            continue
        path = Path(file).resolve()
        with contextlib.suppress(ValueError):
            parts = path.relative_to(folder).parts
            if not {"site-packages", "dist-packages"} & set(parts):
                found.append(str(path))
    return found


def answer(function: Callable[..., Any], request: Mapping[str, Any], cwd: str) -> dict[str, Any]:
    """The result of a call, or its error."""
    os.chdir(cwd)
    os.environ[VARIABLE] = request["events"]
    try:
        result = function(**request["call"])
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "details": traceback.format_exc()}
    except SystemExit as error:
        return {"error": f"the function has called sys.exit({error.code!r})", "details": ""}
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
    left_out: dict[str, str] = {}
    try:
        return {"result": _plain(result, left_out), "left_out": left_out}
    except TypeError as error:
        return {"error": str(error), "details": ""}


def _plain(result: Any, left_out: dict[str, str]) -> Any:  # noqa: ANN401 - of a user's function
    """The result as JSON; a single number is the value of the only metric."""
    if result is None or isinstance(result, bool | int | float | str):
        return result
    if hasattr(result, "item") and not isinstance(result, Mapping):
        return _plain(result.item(), left_out)
    if not isinstance(result, Mapping):
        raise TypeError(
            f"the function has returned a {type(result).__name__}; return a dict of metrics, as in "
            '{"accuracy": 0.9}, or a number'
        )
    return _values(result, "", left_out)


def _values(
    found: Mapping[Any, Any], before: str, left_out: dict[str, str]
) -> dict[str, dict[str, Any] | str | float | None]:
    """The numbers and texts of a table, with the reasons of what is left out by its name."""
    made: dict[str, Any] = {}
    for name, value in found.items():
        full = f"{before}{name}"
        try:
            plain = value.item() if hasattr(value, "item") else value
        except (TypeError, ValueError, RuntimeError):
            left_out[full] = f"{full} has several elements, not one number"
            continue
        if isinstance(value, Mapping):
            made[str(name)] = _values(value, f"{full}.", left_out)
        elif plain is None or isinstance(plain, bool | int | float | str):
            made[str(name)] = plain
        else:
            left_out[full] = f"{full} is of type {type(value).__name__}, not a number"
    return made


def _end_with(parent: int) -> None:
    """End this process when its parent has been killed, whatever the function is doing."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def serve(
    reference: str,
    asked: int,
    answers: int,
    check: Callable[[Callable[..., Any], Any], dict[str, Any]],
    call: Callable[[Callable[..., Any], Mapping[str, Any], str, IO[str], IO[str]], dict[str, Any]],
) -> None:
    """Answer requests about a function until the pipe is closed.

    Args:
        reference: the function.
        asked: file descriptor of the requests.
        answers: of the answers.
        check: whether it can be called, given the value of ``"check"`` in a request.
        call: calls it, given a request, the working folder, and both pipes.
    """
    own = os.getpid()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    cwd = str(Path.cwd())
    sys.path.insert(0, cwd)
    function: Callable[..., Any] | None = None
    with os.fdopen(asked, "r", encoding="utf-8") as lines, os.fdopen(answers, "w") as out:
        # Not by iterating: that would read ahead of a call that reads from the same pipe.
        while line := lines.readline():
            request = json.loads(line)
            try:
                function = function or load(reference)
            except BaseException as error:  # of a user's module, sys.exit() too
                told: dict[str, Any] = {
                    "error": f"{reference} cannot be imported: {type(error).__name__}: {error}",
                    "hint": "run that file by itself to see where",
                    "details": traceback.format_exc(),
                }
            else:
                if "check" in request:
                    told = {**check(function, request["check"]), "files": files_under(cwd)}
                else:
                    told = call(function, request, cwd, lines, out)
            if os.getpid() != own:  # the function has forked, and its copy has returned too
                os._exit(0)
            out.write(f"{json.dumps(told)}\n")
            out.flush()


if __name__ == "__main__":
    serve(
        sys.argv[1],
        int(sys.argv[2]),
        int(sys.argv[3]),
        checked,
        lambda function, request, cwd, *_: answer(function, request, cwd),
    )
