"""Fixtures that tests of several rooms share."""

import atexit
import gc
import os
import shutil
import signal
import sys
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

from pinned import Golden
from undrawn import undraw, unpicture

# Without compiled modules every process that a test starts compiles the package anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# As many processes as cores run tests; threads of torch and BLAS beside them wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell lets what it starts in the background ignore two of these, and nohup the third: then no
# test could send them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for ignored in (signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.SIG_DFL)

ROOT = Path(__file__).parent.parent


# What is imported and collected stays: searching it for garbage, again and again, takes seconds.
gc.disable()


def pytest_collection_finish():
    """Collect garbage only among what tests make."""
    gc.freeze()
    gc.set_threshold(50_000)
    gc.enable()
    atexit.register(gc.unfreeze)  # libraries check what is left when the interpreter ends


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with real data sets; a test that asks for it is skipped where there is none."""
    folder = Path(os.environ.get("JOULELAB_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set JOULELAB_DATA to a folder that has it")
    return folder


@pytest.fixture(scope="session", autouse=True)
def locks_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests do not wait for a measurement that somebody runs on this machine, nor disturb it."""
    os.environ["JOULELAB_LOCK_DIR"] = str(tmp_path_factory.mktemp("locks"))


@pytest.fixture(scope="session", autouse=True)
def approvals_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests neither read nor change which code the user has run."""
    os.environ["JOULELAB_APPROVED"] = str(tmp_path_factory.mktemp("approved") / "approved-code")


@pytest.fixture(scope="session", autouse=True)
def schedules_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests neither read nor change the schedules that the user's machine remembers."""
    os.environ["JOULELAB_SCHEDULES"] = str(tmp_path_factory.mktemp("schedules") / "schedules.json")


built = cache(get_command)
"""The commands and options of the command line, made once and not for each command."""


@pytest.fixture
def joulelab(monkeypatch, capsys):
    """Runs a command in this process: its exit code, standard output and standard error."""
    from joulelab.cli import main

    monkeypatch.setattr("typer.main.get_command", built)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["joulelab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what is expected of the studies in tests/data anew",
    )


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are made and not drawn into files."""
    undraw(monkeypatch)


@pytest.fixture
def unpictured(monkeypatch):
    """Pages of a report have empty pictures; what the figures show is tested apart."""
    unpicture(monkeypatch)


@pytest.fixture
def in_threads(monkeypatch):
    """Serving processes are threads of this one, for starting one takes seconds."""
    import torch

    from threaded_child import ThreadedChild

    monkeypatch.setattr("joulelab.serving.session.Child", ThreadedChild)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def golden(request):
    """Compares with the golden files, or writes them anew."""
    return Golden(ROOT / "tests" / "data" / "golden", update=request.config.option.update_golden)


@pytest.fixture
def finished_study(tmp_path):
    """Copies a finished study of tests/data: its folder, which a test may change."""

    def copy(name):
        return Path(shutil.copytree(ROOT / "tests" / "data" / "studies" / name, tmp_path / name))

    return copy
