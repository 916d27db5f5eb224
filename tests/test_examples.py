"""The programs in ``examples/programs`` run as their study files say."""

import shutil
import subprocess
from pathlib import Path

import pytest

from joulelab.kinds.program.tables import claim_table, phase_table
from joulelab.report.experiment import experiments
from joulelab.study.study import Study
from joulelab.study.study_file import load_spec

PROGRAMS = Path(__file__).parent.parent / "examples" / "programs"
QUICK = [
    'energy.meters=["estimate"]',
    "energy.interval_s=0.02",
    "energy.idle_s=0",
    "energy.cool_down_s=0",
]
FEWER = {
    "sgd": ["vary.width=[16]", "vary.lr=[0.1]"],
    "estimators": ["vary.share=[0.1]"],
    "compression": ["vary.level=[1, 9]"],
    "matrix": ["vary.side=[64]"],
    "hello-world": [],
}
IMPORTING = {"sgd", "estimators"}
NEEDED = {"compression": ["gzip", "xz", "factor"], "matrix": ["cc"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the programs, compiled as the study file says."""
    copy = tmp_path_factory.mktemp("examples") / "programs with a space"
    shutil.copytree(PROGRAMS, copy)
    if shutil.which("cc"):
        (line,) = (
            line.removeprefix("#")
            for line in (copy / "matrix.toml").read_text().splitlines()
            if " cc " in line
        )
        subprocess.run(["/bin/sh", "-c", line], cwd=copy, check=True)
    return copy


@pytest.fixture(scope="module")
def finished(folder):
    """Runs an example once: its results."""
    made = {}

    def run(name):
        if name not in made:
            if missing := [one for one in NEEDED.get(name, []) if not shutil.which(one)]:
                pytest.skip(f"{missing[0]} is not installed")
            keys = [f"experiment.{name}.{key}" for key in ["repetitions=1", *FEWER[name]]]
            study = Study.load(folder / f"{name}.toml", [*QUICK, *keys])
            made[name] = study.run(folder / f"out-{name}")
        return made[name]

    return run


# The others import torch or scikit-learn, for seconds; functions have tests of their own.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name in IMPORTING)) for name in FEWER]
)
def test_an_example_runs_and_every_run_gives_its_metrics(finished, name):
    results = finished(name)
    frame = results.to_frame()
    assert len(frame)
    assert set(frame["state"]) == {"finished"}, list(frame["error"].dropna())
    for metric in results.spec["experiment"][name]["metrics"]:
        assert frame[metric].notna().all()


def test_every_example_is_tested():
    assert sorted(FEWER) == sorted(path.stem for path in PROGRAMS.glob("*.toml"))


@pytest.mark.long
def test_the_training_loop_has_phases_curves_and_claims(finished):
    results = finished("sgd")
    (experiment,) = experiments(results)
    phases = phase_table(experiment).frame
    assert set(phases["phase"]) == {"loading", "training", "evaluation"}
    assert len(results.curves_frame()) == 10 * experiment.planned
    assert len(claim_table(experiment).frame) == 1  # the width is not varied here


@pytest.mark.long
def test_a_level_with_a_space_is_one_argument(finished):
    assert "support vectors" in set(finished("estimators").to_frame()["estimator"])


def test_a_better_level_packs_smaller_in_a_folder_with_a_space(finished):
    sizes = finished("compression").to_frame().set_index(["tool", "level"])["size"].astype(float)
    assert sizes["gzip", 9] < sizes["gzip", 1]
    assert sizes["xz", 9] < sizes["gzip", 9]


def test_a_compiled_program_tells_its_phases(finished):
    frame = finished("matrix").to_frame()
    assert frame["checksum"].nunique() == 1
    assert (frame["phase.multiplying.duration_s"] > 0).all()
    assert (frame["phase.filling.duration_s"] < frame["duration_s"]).all()


def test_the_hello_world_of_experiment_runner_takes_fifteen_lines(finished):
    lines = (PROGRAMS / "hello-world.toml").read_text().strip().splitlines()
    assert len(lines) < 15
    (experiment,) = load_spec(PROGRAMS / "hello-world.toml").experiments().values()
    assert experiment.repetitions == 10
    frame = finished("hello-world").to_frame()
    two, three = "example_treatment2", "example_treatment3"
    ran = zip(frame["example_factor1"], frame["example_factor2"], strict=True)
    assert set(ran) == {(two, False), (three, True), (three, False)}
