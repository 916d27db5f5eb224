"""Fixtures that tests of several meters share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nvml_stub import build_stub, run_program, stub_variables
from simulated_time import SimulatedTime, simulate_time

Scenario = Callable[..., dict[str, Any]]


@pytest.fixture
def real_time() -> None:
    """For a test of a module with `simulated_time` that needs the thread of the recorder."""


@pytest.fixture
def simulated_time(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> SimulatedTime | None:
    """Waiting takes no time in the module of the test, and recorders have no thread."""
    if "real_time" in request.fixturenames:
        return None
    return simulate_time(monkeypatch, request.module.__name__)


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stand-in for NVIDIA's library."""
    folder = build_stub(tmp_path_factory.mktemp("nvml"))
    if folder is None:
        pytest.skip("no C compiler to build the stand-in for libnvidia-ml.so.1")
    return folder


@pytest.fixture
def scenario(nvml_library: Path) -> Scenario:
    """Runs a program over simulated GPUs; keyword arguments are the stub's variables."""

    def run(program: str, **answers: object) -> dict[str, Any]:
        variables = {f"STUB_{name}": str(answer) for name, answer in answers.items()}
        return run_program(program, stub_variables(nvml_library) | variables)

    return run
