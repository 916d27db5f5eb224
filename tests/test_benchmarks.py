"""Each benchmark runs over the simulated sensors and prints its figures; how good they are is not
a matter of tests."""

import importlib
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic_power import Trace

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
FIGURE = r"[+-]?\d+(?:\.\d+)?"
SMALL = {
    "accuracy.py --without-peers --seconds 0.5 --repeats 1 --draws 1 --traces plateau": (
        rf"\| joulelab, counter \| {FIGURE} ",
        rf"\| joulelab, power at 10 Hz \| {FIGURE} ",
        rf"\| plateau \| {FIGURE} ",
        r"\| joulelab, counter \| 0\.100 % \| .*(met|missed)",
    ),
    "bounds.py --logs 1": (
        rf"\| mean over a second \| 4 s \| 78 \| {FIGURE} % \| {FIGURE} % \| ± \d+ % \|",
    ),
    "overhead.py --without-peers --seconds 0.3 --busy 0 --piece 0.01": (
        rf"\| joulelab, RAPL at 10 Hz \| {FIGURE} % \| {FIGURE} % \| \d+ \|",
        rf"\| GPU, RAPL, estimate at 100 Hz \| {FIGURE} % ",
    ),
    "profiling.py --runs 1 --pairs 2 --piece 0.05 --loads loop": (
        rf"\| {FIGURE} points \| {FIGURE} points \| 3: (met|missed) \|",
        rf"\| loop \| {FIGURE} % \({FIGURE} to {FIGURE}\) ",
    ),
    "streaming.py --seconds 0.2 --repeats 1 --tokens 3": (
        rf"\| joulelab \| {FIGURE} \({FIGURE} to {FIGURE}\) \| {FIGURE} .*\| (met|missed) \| \d+ ",
        rf"\| httpx \| {FIGURE} ",
    ),
    "windows.py --without-peers --imports 1 --windows 20": (
        rf"\| joulelab \| {FIGURE} ",
        r"\| joulelab, one RAPL counter \| \d+ us \| \d+ us \| 20 \|",
        r"\| joulelab.measure, GPU and four RAPL counters \| \d+ us ",
    ),
    "callbacks.py --pairs 1 --epochs 1 --budgets 0 --only scikit-learn": (
        rf"\| track, steps of 10 ms \| {FIGURE} % \({FIGURE} to {FIGURE}\) \| {FIGURE} % ",
        rf"\| scikit-learn, epochs of 1 s \| {FIGURE} % .* (met|missed|undecided) \|",
    ),
    "gaps.py --seconds 0.3 --rates 10 --loads loop": (
        rf"\| 10 Hz \| one busy thread \| \d+ ms \| \d+ in {FIGURE} s ",
        r"Target at 10 Hz, under 150 ms: one busy thread (met|missed)",
    ),
    "analysis.py --repeats 1 --rounds 2 --many 80": (
        rf"\| replicate, architecture-cifar10, .* \| {FIGURE} s ",
        rf"\| report, 480 runs \| {FIGURE} s .* \| \d+ MiB ",
        rf"\| export, 80 runs \| {FIGURE} s .* \| \d+ MiB ",
    ),
    "coverage.py --draws 8": (rf"\| 6 \| {FIGURE} % ", r"\| 1, proportional scatter \| "),
    "serving.py --seconds 0.5 --repeats 1": (r"\| idle \| ", r"\| 32 \| \d"),
    "planner.py --requests 2000 --repeats 1": (r"\| fixed\(32\) \| 2,000 \| \d+ \|",),
    "tokens.py --repeats 2 --split-repeats 1": (
        rf"\| 2/s, 2 min \| {FIGURE} \| {FIGURE} % \| {FIGURE} % \| {FIGURE} % \| (met|missed) \|",
        rf"\| 10 min at 4/s \| prompt token \| {FIGURE} J \| {FIGURE} J \| {FIGURE} % ",
    ),
    "sinks.py --epochs 4 --seconds 0.05 --repeats 1 --sinks csv": (
        rf"\| none \| {FIGURE} ",
        rf"\| csv \| {FIGURE} .* % \| {FIGURE} ",
        r"Target, under 0\.5% of an epoch: csv (met|missed)",
    ),
    "live.py --runs 1500 --updates 2 --seconds 1": (
        rf"\| first view \| {FIGURE} ms \({FIGURE} to {FIGURE}\) ",
        rf"\| update \| {FIGURE} ms ",
        rf"\| one viewer, nothing changes \| {FIGURE} s a minute \| {FIGURE} MiB ",
    ),
    "training.py --pairs 1 --steps 1 --repetitions 2 --networks DensePolyNN --precisions fp32"
    " --datasets fashion-mnist --rounds --epochs 1 --train-images 1024": (
        rf"\| fashion-mnist \| DensePolyNN \| fp32 \| {FIGURE} \({FIGURE} to {FIGURE}\) ",
        rf"fp32: {FIGURE} times the trainings an hour",
        rf"\| fashion-mnist \| DensePolyNN \| reference \| fp32 \| 1 \| {FIGURE} ",
        rf"fp32: 3072 trainings of the paper in {FIGURE} h",
    ),
}


def run(command, **variables):
    script, *options = command.split()
    return subprocess.run(
        [sys.executable, BENCHMARKS / script, *options],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        check=False,
    )


@pytest.mark.long
@pytest.mark.parametrize("command", SMALL, ids=lambda command: command.split()[0])
def test_a_benchmark_prints_its_figures(command):
    if shutil.which("gcc") is None and shutil.which("cc") is None:
        pytest.skip("no C compiler to build the simulated GPU")
    done = run(command)
    assert done.returncode == 0, done.stderr
    for figure in SMALL[command]:
        assert re.search(figure, done.stdout), f"{figure} is not in\n{done.stdout}"


def test_the_benchmark_of_bounds_prints_what_it_simulates(monkeypatch, capsys):
    """In this process, and without the recording of a real GPU."""
    (command,) = [one for one in SMALL if one.startswith("bounds.py")]
    script, *options = command.split()
    monkeypatch.delenv("JOULELAB_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", [script, *options])
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
    printed = capsys.readouterr().out
    assert "There is no recording of a GPU beside a power meter" in printed
    for figure in SMALL[command]:
        assert re.search(figure, printed), f"{figure} is not in\n{printed}"


def test_the_benchmark_of_strategies_compares_costs(monkeypatch):
    """On a table of its own, of which a quarter is good and that half is cheap."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    tuning = importlib.import_module("tuning")
    levels = {"width": [1, 10, 100, 1000], "kind": ["a", "b"]}
    scores = np.array([[0.1, 0.2], [0.3, 0.9], [0.4, 0.5], [0.6, 0.9]])[..., None]
    seconds = np.array([[1.0, 1.0], [10.0, 10.0], [100.0, 100.0], [1e3, 1e3]])[..., None]
    small = tuning.Table(levels, scores, seconds, scores[..., 0] > 0.8, lambda v: v["width"])
    monkeypatch.setattr(tuning, "table", lambda name, target: small)
    names = ("green+cost", "random")
    runs = [tuning.search(("small", n, seed, 8, 0.99)) for n in names for seed in range(4)]
    assert all(run.reached for run in runs if run.strategy == "green+cost")
    rows = tuning.summary(runs, ["small"], names)
    text = tuning.markdown(rows, ["small"], names)
    assert re.search(rf"\| small \| {FIGURE} \({FIGURE} to {FIGURE}\) \| ", text)
    assert "| small | 100 % | " in text
    assert re.search(rf"Times cheaper than random:(.*\n)+\| geometric mean \| {FIGURE} \(", text)
    assert rows[0]["random"][0] == pytest.approx(rows[2]["cost_s"][0] / rows[0]["cost_s"][0])


def test_the_benchmark_of_a_real_gpu_measures_an_idle_one(nvml_folder):
    """Over the simulated GPU, which no load reaches."""
    drawing = {**Trace("constant").variables(), "STUB_TICK_MS": "100", "STUB_UPDATE_MS": "100"}
    done = run(
        "gpu.py --loads idle --seconds 0.3 --settle 0", LD_LIBRARY_PATH=str(nvml_folder), **drawing
    )
    assert done.returncode == 0, done.stderr
    assert re.search(rf"\| idle \| {FIGURE} s \| 0 \| {FIGURE} J \| {FIGURE} J \(", done.stdout)
    assert re.search(rf"\| TotalEnergyConsumption \| {FIGURE} ", done.stdout)


def test_the_benchmark_of_a_real_gpu_says_in_one_line_that_there_is_none(nvml_folder):
    done = run("gpu.py", LD_LIBRARY_PATH=str(nvml_folder), STUB_INIT="9")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"There is no NVIDIA GPU to measure: .+\n", done.stdout)


@pytest.fixture(scope="module")
def nvml_folder(tmp_path_factory):
    from nvml_stub import build_stub

    folder = build_stub(tmp_path_factory.mktemp("nvml"))
    if folder is None:
        pytest.skip("no C compiler to build the simulated GPU")
    return folder
