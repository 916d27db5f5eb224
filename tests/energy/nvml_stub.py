"""The stand-in for the driver's library: compiled here, and loaded by programs of their own.

A process keeps the library that it has loaded, so each scenario is a short program. Within it,
setting a variable changes the simulated hardware at once (see stub_nvml.c).
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parent / "stub_nvml.c"
LIBRARY = "libnvidia-ml.so.1"

PRELUDE = """
import ctypes, json, os, time
from dataclasses import asdict
from pathlib import Path
from joulelab.energy.meters.nvml import NvmlDetector, NvmlMeter, gpu_index
from joulelab.errors import MeterError, SettingsError

def stub(**answers):
    for name, answer in answers.items():
        os.environ["STUB_" + name] = "" if answer is None else str(answer)

def opened():
    return ctypes.CDLL("libnvidia-ml.so.1").stub_opened()

def found(detector):
    meters, missing = detector.detect()
    domains = [channel.domain for meter in meters for channel in meter.channels]
    for meter in meters:
        meter.close()
    return domains, [[one.domain, one.reason, one.remedy] for one in missing]

def detect(**answers):
    stub(**answers)
    try:
        return found(NvmlDetector())
    finally:
        stub(**dict.fromkeys(answers))

def samples(meter):
    return [[sample.value, sample.reason, dict(sample.state)] for sample in meter.sample()]

def refused(make):
    try:
        make()
    except (MeterError, SettingsError) as error:
        return [type(error).__name__, error.message, error.hint]

out = {}
"""


def build_stub(folder: Path) -> Path | None:
    """Compile the stand-in into a folder.

    An ``nvidia-smi`` that only starts lies beside it: CodeCarbon looks for a GPU only where there
    is one.

    Returns:
        The folder; ``None`` where there is no C compiler.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    options = ["-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    target = folder / LIBRARY
    subprocess.run([compiler, *options, "-o", target, SOURCE, "-lm"], check=True)
    smi = folder / "nvidia-smi"
    smi.write_text("#!/bin/sh\nexit 0\n")
    smi.chmod(0o755)
    return folder


def stub_variables(folder: Path) -> dict[str, str]:
    """The environment of a program that takes the stand-in for NVIDIA's library.

    Args:
        folder: as `build_stub` gives it.
    """
    path = os.pathsep.join((str(folder), os.environ.get("PATH", os.defpath)))
    return {"LD_LIBRARY_PATH": str(folder), "PATH": path}


def run_program(program: str, variables: dict[str, str]) -> dict[str, Any]:
    """Run a program after `PRELUDE` in a process of its own, and give what it left in ``out``.

    Args:
        program: Python; warnings are errors in it.
        variables: of its environment, on top of those of this process.
    """
    if os.getpid() not in _LAUNCHERS:
        _LAUNCHERS[os.getpid()] = _Launcher()
    code, said, complaint = _LAUNCHERS[os.getpid()].run(program, {**os.environ, **variables})
    assert code == 0, complaint
    answer: dict[str, Any] = json.loads(said.splitlines()[-1])
    return answer


LAUNCH = """
import contextlib, gc, traceback, warnings
import joulelab.energy.detection, joulelab.energy.conformance, joulelab.energy.monitor
for name in ("pydantic", "pynvml", "httpx"):
    with contextlib.suppress(ImportError):  # what Zeus would import in each program
        __import__(name)
gc.collect()
gc.freeze()  # a program that ends does not look through all that again
child = 0
for job in iter(sys.stdin.readline, ""):
    job = json.loads(job)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads of numpy's libraries, which do nothing here
        child = os.fork()
    if child == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    os._exit(0)
for number, flags, path in ((0, os.O_RDONLY, os.devnull), (1, os.O_WRONLY, job["said"]),
                            (2, os.O_WRONLY, job["complaint"])):
    os.dup2(os.open(path, flags), number)
os.environ.clear()
os.environ.update(job["environment"])
sys.path[:0] = [
    path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if path and path not in sys.path
]
exec(compile(job["program"], "<program>", "exec"))
print(json.dumps(out))
"""
"""Forks a process for each program, with `PRELUDE` imported already, and ends it as Python does."""


class _Launcher:
    """A process that has imported what every program needs, and becomes one of them by a fork.

    A process reads LD_LIBRARY_PATH only when it starts. So this one has a folder of its own in it,
    with a link to the stand-in while a program runs that asks for it.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._library = self._folder / "driver" / LIBRARY
        self._library.parent.mkdir()
        paths = (str(self._library.parent), os.environ.get("LD_LIBRARY_PATH", ""))
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, paths)),
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", f"import sys\n{PRELUDE}\n{LAUNCH}"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._close)

    def run(self, program: str, environment: dict[str, str]) -> tuple[int, str, str]:
        """The exit code of a program, and what it has written."""
        said, complaint = self._folder / "said", self._folder / "complaint"
        for file in (said, complaint):
            file.write_text("")
        self._library.unlink(missing_ok=True)
        asked_for = Path(environment.get("LD_LIBRARY_PATH", "").partition(os.pathsep)[0], LIBRARY)
        if asked_for.exists():
            self._library.symlink_to(asked_for)
        job = {
            "program": program,
            "environment": environment,
            "said": str(said),
            "complaint": str(complaint),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(job)}\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return code, said.read_text(), complaint.read_text()

    def _close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


_LAUNCHERS: dict[int, _Launcher] = {}
