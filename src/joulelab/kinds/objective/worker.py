"""The process that calls an objective, again and again.

::

    joulelab                             this process
    {"check": true}                 ──►  import the module
                                    ◄──  {"parameters": [...], "files": [...]} or {"error": ...}
    {"trial": {...}, "events": ...} ──►  call it
                                    ◄──  {"report": [score, step], "used": ...}   every report
    {"stop": false}                 ──►
                                    ◄──  {"state": ..., "score": ..., ...}  at its end
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import random
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from joulelab.errors import UsageError
from joulelab.kinds.objective.optuna_study import Seen
from joulelab.kinds.objective.trial import Trial, check_number, check_second
from joulelab.kinds.program.events import VARIABLE
from joulelab.kinds.program.worker import CANNOT_BE_CALLED, serve

NUMPY_SEEDS = 2**32


def called(
    function: Callable[[Trial], Any],
    request: Mapping[str, Any],
    ask: Callable[[Mapping[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
    """Call the objective: what it returned, or its error.

    Args:
        function: of the user.
        request: the trial.
        ask: tells joulelab something, and gives its answer.
    """
    about = dict(request["trial"])
    about["checkpoint"] = Path(about["checkpoint"])

    def reported(score: float, step: int) -> bool:
        return bool(ask({"report": [score, step], "used": trial.used})["stop"])

    trial = Trial(**about, on_report=reported)
    trial.study = Seen(request["direction"], 2 if request["two_goals"] else 1)
    os.environ[VARIABLE] = request["events"]
    _seed(trial.seed)
    told: dict[str, Any]
    try:
        told = {"state": "returned", **scores(function(trial), request["two_goals"])}
    except UsageError as error:
        stopped = trial.told and "returned nothing" in error.message
        told = {"state": "stopped"} if stopped else _failed(error.message, "")
    except SystemExit as error:
        told = _failed(f"the objective has called sys.exit({error.code!r})", "")
    except Exception as error:
        if is_pruned(error):
            told = {"state": "stopped"}
        else:
            told = _failed(f"{type(error).__name__}: {error}", traceback.format_exc())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
    return {**told, **trial.to_dict()}


def scores(returned: Any, two_goals: bool) -> dict[str, float]:  # noqa: ANN401 - the user's
    """The score that was returned, and the second goal if there is one.

    Raises:
        UsageError: it is not a number, or, with two goals, two.
    """
    if not isinstance(returned, tuple | list):
        return {"score": check_number(returned)}
    if not two_goals:
        raise UsageError(
            f"the objective has returned {len(returned)} values; return one number, or seek two "
            "goals with --goals score,energy",
            'from Python: goals=("score", "energy")',
        )
    if len(returned) != 2:  # noqa: PLR2004 - a pair
        raise UsageError(
            f"the objective has returned {len(returned)} values, not a score and a second goal",
            "return two numbers",
        )
    return {"score": check_number(returned[0]), "second": check_second(returned[1])}


def is_pruned(error: Exception) -> bool:
    """Whether it is the exception by which Optuna's objectives stop, of any version."""
    return any(
        one.__name__ == "TrialPruned" and one.__module__.partition(".")[0] == "optuna"
        for one in type(error).__mro__
    )


def _failed(said: str, details: str) -> dict[str, Any]:
    return {"state": "failed", "error": said, "details": details}


def _seed(seed: int) -> None:
    """Seed the generators of the libraries that the objective has imported."""
    random.seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed % NUMPY_SEEDS)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)


def _conversation(lines: IO[str], out: IO[str]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    guard = threading.Lock()

    def ask(said: Mapping[str, Any]) -> dict[str, Any]:
        with guard:
            out.write(f"{json.dumps(said)}\n")
            out.flush()
            line = lines.readline()
        if not line:
            os._exit(1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    return ask


def asked_to_call(
    function: Callable[..., Any],
    request: Mapping[str, Any],
    cwd: str,
    lines: IO[str],
    out: IO[str],
) -> dict[str, Any]:
    """Call the objective from its working folder; it reports through the pipes."""
    os.chdir(cwd)
    return called(function, request, _conversation(lines, out))


def checked_objective(function: Callable[..., Any], _: object) -> dict[str, Any]:
    """Whether it can be called with a trial, or why not."""
    name = getattr(function, "__name__", type(function).__name__)
    remedy = "define it as: def objective(trial)"
    if not callable(function):
        return {"error": f"{name} is of type {type(function).__name__}", "hint": remedy}
    for holds, what, _ in CANNOT_BE_CALLED:
        if holds(function):
            return {"error": f"{name} {what}", "hint": remedy}
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        return {"error": f"{name}() cannot be called with a trial: {error}", "hint": remedy}
    except ValueError:  # written in C: the first call shows it
        pass
    return {"parameters": None}


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), checked_objective, asked_to_call)
