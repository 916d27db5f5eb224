"""Fixtures that tests of several meters share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nvml_stub import build_stub, run_program, stub_variables

Scenario = Callable[..., dict[str, Any]]


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
