"""The stand-in for the driver's library: compiled here, and loaded by programs of their own.

A process keeps the library that it has loaded, so each scenario is a short program. Within it,
setting a variable changes the simulated hardware at once (see stub_nvml.c).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
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
    """Run a program after `PRELUDE`, and give what it left in ``out``.

    Args:
        program: Python; warnings are errors in it.
        variables: of its environment, on top of those of this process.
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{PRELUDE}\n{program}\nprint(json.dumps(out))"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
