"""The core, installed from the wheel into an environment without the extras."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UV = Path(sys.executable).with_name("uv")
MOST_MB = 400
WORK = """
import json, sys
print(json.dumps({"accuracy": 1 - 1 / int(sys.argv[1])}))
"""
FUNCTION = """
def accuracy(trial):
    rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    return 1 - abs(rate - 0.01)
"""


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """The folder of an environment in which joulelab and its core needs are installed."""
    folder = tmp_path_factory.mktemp("core")
    python = folder / "env" / "bin" / "python"
    _uv("build", "--wheel", "--out-dir", folder / "dist", ROOT)
    _uv("venv", "--python", sys.executable, folder / "env")
    (wheel,) = (folder / "dist").glob("*.whl")
    pinned = ("--constraint", ROOT / "requirements.lock")
    _uv("pip", "install", "--python", python, *pinned, wheel)
    return folder / "env"


def _uv(*arguments):
    subprocess.run([UV, *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def compiled(core):
    """The same, with the modules that are compiled here: compiling pandas and SciPy takes seconds.

    Python compiles a module anew if size or time of its source are others.
    """
    (packages,), ours = (
        (core / "lib").glob("python*/site-packages"),
        Path(pytest.__file__).parents[1],
    )
    for package in packages.iterdir():
        for modules in (ours / package.name).rglob("__pycache__"):
            if (into := packages / modules.relative_to(ours)).parent.is_dir():
                shutil.copytree(modules, into, dirs_exist_ok=True)
    return core


@pytest.fixture
def joulelab(compiled, tmp_path):
    """Runs the command of the core in a folder of its own; returns its output."""

    def run(*arguments, code=0):
        unlike = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
        environment = {name: value for name, value in os.environ.items() if name not in unlike}
        done = subprocess.run(
            [compiled / "bin" / "joulelab", *map(str, arguments)],
            cwd=tmp_path,
            env=environment | {"XDG_STATE_HOME": str(tmp_path / "state")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    return run


def test_it_is_small_and_brings_no_library_of_an_extra(core):
    packages = next((core / "lib").glob("python*/site-packages"))
    for library in ("torch", "torchvision", "sklearn", "statsmodels", "pyarrow", "h11", "optuna"):
        assert not (packages / library).exists()
    installed = (one for one in packages.rglob("*") if one.is_file() and one.suffix != ".pyc")
    size = sum(one.stat().st_size for one in installed)
    assert size < MOST_MB * 1e6


def test_it_measures_records_and_reads_back(joulelab):
    assert "cpu:0" in joulelab("doctor")
    assert joulelab("help", "energy").startswith("# How energy is read")
    measured = joulelab("measure", "--json", "--idle", 0, "--", "true")
    assert json.loads(measured)["measurement"]["readings"]
    joulelab("record", "--out", "power.csv", "--for", 0.5)
    assert "cpu" in joulelab("trace", "power.csv")
    assert "J" in joulelab("predict", "step", "power.csv", "--duration", 60)


def test_a_study_of_a_command_is_run_reported_and_exported(joulelab, tmp_path):
    (tmp_path / "work.py").write_text(WORK)
    joulelab("init", "--command", f"{sys.executable} work.py {{width}}", "study.toml")
    smaller = ("energy.idle_s=0", "experiment.study.repetitions=2")
    given = [part for one in smaller for part in ("--set", one)]
    joulelab("run", "study.toml", "--out", "out", *given)
    assert "report" in joulelab("report", "out")
    assert joulelab("export", "out").startswith("run_id")
    assert '"accuracy": 0.5' in joulelab(
        "profile", "--html", "out.html", "--idle", 0, "--", "work.py", 2
    )


def test_a_function_is_tuned(joulelab, tmp_path):
    (tmp_path / "mine.py").write_text(FUNCTION)
    assert "rate" in joulelab("tune", "mine.py:accuracy", "--budget", "5 evaluations")


@pytest.mark.parametrize(
    ("arguments", "library", "extra"),
    [
        (("plan", "quickstart"), "torch", "train"),
        (("run", "quickstart", "--out", "out"), "torch", "train"),
        (("run", "replayed-tuning", "--out", "out"), "pyarrow", "parquet"),
        (("record", "--out", "power.parquet"), "pyarrow", "parquet"),
        (("measure", "--trace", "power.parquet", "--", "touch", "begun"), "pyarrow", "parquet"),
        (("measure", "--to", "otlp", "--", "touch", "begun"), "opentelemetry", "opentelemetry"),
        (("watch", "--to", "mlflow", "--for", "1"), "mlflow", "mlflow"),
        (("run", "quickstart", "--to", "mlflow", "--out", "out"), "mlflow", "mlflow"),
        (("batch", "resnet18", "--rate", "50", "--p99", "200ms"), "torch", "train"),
        (
            ("load", "http://127.0.0.1:9", "--arrivals", "poisson(5)", "--requests", "9"),
            "h11",
            "serve",
        ),
    ],
)
def test_what_needs_an_extra_says_so_before_it_does_anything(
    joulelab, tmp_path, arguments, library, extra
):
    said = joulelab(*arguments, code=1)
    assert f"needs {library}" in said
    assert f'pip install "joulelab[{extra}]"' in said
    assert "Traceback" not in said
    left = {one.name for one in tmp_path.iterdir()} - {"state"}
    assert not left
