"""Python functions as experiments: arguments, processes, results, phases and curves."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import joulelab
from joulelab.errors import SpecError, UsageError
from joulelab.kinds.program import events
from joulelab.study.results import Results
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec

ENERGY = {"meters": ["estimate"], "interval_s": 0.02, "idle_s": 0, "cool_down_s": 0}


def study(folder, source, **table):
    """A study of the function ``f`` of a file with this source, with the factor ``a``."""
    (folder / "work.py").write_text(f"import json, os, sys, time\n{source}\n")
    full = {"kind": "function", "repetitions": 1, "vary": {"a": [1]}, "cwd": str(folder)}
    full |= {"function": f"{folder / 'work.py'}:f"} | table
    return Study(check_spec({"name": "s", "energy": ENERGY, "experiment": {"e": full}}))


def run(folder, source, **table):
    """The rows of a study that has been run."""
    return study(folder, source, **table).run(folder / "out").to_frame()


@pytest.mark.parametrize("fresh", [True, False])
def test_a_function_gets_its_levels_seed_and_folder_and_returns_metrics(tmp_path, fresh):
    source = (
        "def f(a, *, seed, out, repetition):\n"
        "    open(os.path.join(out, 'mine'), 'w').close()\n"
        "    return {'the_seed': seed, 'r': repetition, 'nested': {'a': a}, 'pid': os.getpid()}"
    )
    frame = run(tmp_path, source, vary={"a": [1, "x"]}, repetitions=2, fresh_process=fresh)
    assert (frame["the_seed"] == frame["seed"]).all()
    assert (frame["r"] == frame["repetition"]).all()
    assert sorted(map(str, frame["nested.a"])) == ["1", "1", "x", "x"]
    assert frame["pid"].nunique() == (4 if fresh else 1)
    assert len(list((tmp_path / "out" / "outputs").glob("*/mine"))) == 4


def test_a_fresh_process_knows_nothing_of_the_run_before(tmp_path):
    source = "seen = []\ndef f(a):\n    seen.append(a)\n    return {'calls': len(seen)}"
    fresh = run(tmp_path, source, repetitions=3)
    assert list(fresh["calls"]) == [1, 1, 1]


def test_one_process_makes_all_runs_and_starts_anew_after_it_died(tmp_path):
    source = (
        "seen = []\n"
        "def f(a):\n"
        "    os.chdir('/')\n"
        "    seen.append(a)\n"
        "    if a == 2: os._exit(7)\n"
        "    return len(seen)"
    )
    frame = run(
        tmp_path, source, vary={"a": [1, 2]}, repetitions=2, fresh_process=False,
        metrics={"calls": "max"},
    ).sort_values("position")  # fmt: skip
    died = frame[frame["a"] == 2]
    assert list(died["state"]) == ["failed", "failed"]
    assert all("exit code 7" in error for error in died["error"])
    assert list(frame[frame["a"] == 1]["state"]) == ["finished", "finished"]


FAILING = {
    "raise ValueError('too wide')": "ValueError: too wide",
    "sys.exit(3)": "called sys.exit(3)",
    "os.kill(os.getpid(), 9)": "signal 9",
    "return [1]": "has returned a list; return a dict",
    "return {'m': object()}": "m is of type object",
    "return {'n': 1}": "has returned none of them",
    "return None": "has returned none of them",
    "time.sleep(60)": "took longer than 1.00 s",
    "return 1.5": "",
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """The results of calls that fail, and of a last one that does not."""
    folder = tmp_path_factory.mktemp("failing")
    bodies = [f"    if a == {n}: {body}" for n, body in enumerate(FAILING)]
    source = "\n".join(["def f(a):", *bodies])
    table = {"vary": {"a": list(range(len(FAILING)))}, "metrics": {"m": "max"}}
    made = study(folder, source, fresh_process=False, timeout_s=1, **table)
    return made.run(folder / "out")


@pytest.mark.parametrize("body", FAILING)
def test_a_call_that_fails_is_kept_with_its_reason(failed, body):
    row = failed.to_frame().set_index("a").loc[list(FAILING).index(body)]
    assert row["state"] == ("failed" if FAILING[body] else "finished")
    assert FAILING[body] in str(row["error"])
    assert row["m"] == 1.5 or FAILING[body]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("async def f(a): pass", "f is async"),
        ("def f(a): yield 1", "f is a generator"),
        ("class f: pass", "f is a class"),
        ("f = 1", "is of type int"),
        ("def g(a): pass", "has no attribute 'f'"),
        ("raise OSError('no data')", "OSError: no data"),
        ("sys.exit()", "SystemExit"),
        ("def f(b): pass", "has no parameter 'a'"),
        ("def f(a, b): pass", "needs 'b', which is not a factor"),
        ("def f(a: pass", "SyntaxError"),
    ],
)
def test_a_function_that_cannot_be_called_is_told_before_anything_runs(tmp_path, source, said):
    with pytest.raises(SpecError) as refused:
        run(tmp_path, source)
    assert said in str(refused.value)


def test_what_it_prints_is_kept_with_its_run(tmp_path):
    run(tmp_path, "def f(a):\n    print('out', a)\n    print('err', file=sys.stderr)\n    return 1",
        metrics={"m": "max"})  # fmt: skip
    folder = tmp_path / "out" / "outputs" / "00001"
    assert (folder / "stdout.txt").read_text() == "out 1\n"
    assert (folder / "stderr.txt").read_text() == "err\n"


PHASES = """
import joulelab
def f(a):
    for step in range(3):
        with joulelab.phase("wait"):
            time.sleep(0.8 * (step == 0))  # far longer than the time between two samples
        with joulelab.phase("work"):
            ends = time.process_time() + 0.12 * a
            while time.process_time() < ends: pass
        joulelab.report_metric("loss", 1 / (step + 1), step=10 * step)
    return {"acc": a / 10}
"""


@pytest.fixture(scope="module")
def phased(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phases")
    metrics = {"acc": "max", "loss": "min"}
    made = study(folder, PHASES, vary={"a": [1, 2]}, metrics=metrics)
    return made.run(folder / "out")


def test_the_last_reported_value_counts_and_all_are_a_curve(phased):
    frame = phased.to_frame()
    assert (frame["loss"] - 1 / 3).abs().max() < 1e-12
    curves = phased.curves_frame()
    assert len(curves) == 2 * 3
    assert list(curves["step"][:3]) == [0, 10, 20]


def test_the_curve_of_an_attempt_that_was_killed_as_it_ended_does_not_count(phased, tmp_path):
    copy = shutil.copytree(phased.folder, tmp_path / "copy")
    for written in list((copy / "curves").glob("*.csv.gz")):
        shutil.copy(written, written.with_name("1" + written.name))  # the attempt that ended
    pd.testing.assert_frame_equal(Results.open(copy).curves_frame(), phased.curves_frame())


def test_the_energies_of_phases_are_parts_of_that_of_the_run(phased):
    frame = phased.to_frame()
    waiting, working = frame["phase.wait.energy_j"], frame["phase.work.energy_j"]
    assert (frame["phase.wait.duration_s"] >= 0.8).all()
    assert (waiting + working <= frame["energy_gross_j"] * 1.001).all()
    # The estimate follows processor time, which waiting does not take, however long it lasts.
    working_w = working / frame["phase.work.duration_s"]
    assert (working_w > waiting / frame["phase.wait.duration_s"]).all()
    assert set(frame["phase.work.status"]) == {"estimated"}


def test_outside_of_a_run_reporting_does_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv(events.VARIABLE, raising=False)
    with joulelab.phase("loading"):
        joulelab.report_metric("loss", 1.0)
    with pytest.raises(TypeError, match="not a number"):
        joulelab.report_metric("loss", "low")


def test_reporting_imports_neither_torch_nor_pandas():
    code = (
        "import sys, joulelab\n"
        "joulelab.report_metric('x', 1)\n"
        "print(sorted({'torch', 'pandas', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


SCRIPT = """
import joulelab

def train(width, seed):
    return {"loss": 1 / width}

if __name__ == "__main__":
    energy = {"meters": ["estimate"], "idle_s": 0, "cool_down_s": 0, "interval_s": 0.02}
    results = joulelab.experiment(
        train, factors={"width": [1, 2]}, repetitions=1, metrics={"loss": "min"}, energy=energy,
    ).run("out")
    print(sorted(results.to_frame()["loss"]))
"""


def test_a_script_runs_its_own_function_as_an_experiment(tmp_path):
    (tmp_path / "mine.py").write_text(SCRIPT)
    command = [sys.executable, "mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[0.5, 1.0]", done.stderr
    assert Results.open(tmp_path / "out").to_frame()["state"].eq("finished").all()


def test_an_experiment_without_a_guard_does_not_start_itself_again(tmp_path):
    source = SCRIPT.replace('if __name__ == "__main__":', "if True:")
    (tmp_path / "mine.py").write_text(source)
    command = [sys.executable, "mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert 'under if __name__ == "__main__":' in done.stderr


def at_a_prompt():
    names = {"__name__": "made"}
    exec("def f(a): return a", names)
    return names["f"]


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ([1, 2], "factors is [1, 2]"),
        ({"obj": 3}, "the levels of 'obj' are 3"),
        ({"obj": "abc"}, "the levels of 'obj' are 'abc'"),
        ({"obj": [1.0, float("nan")]}, "experiment.dumps.vary.obj.1: nan is not a finite number"),
    ],
)
def test_factors_that_are_not_lists_of_levels_are_refused(factors, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        joulelab.experiment(json.dumps, factors=factors)


def test_levels_may_be_numbers_of_numpy():
    made = joulelab.experiment(
        json.dumps,
        factors={"obj": np.arange(2), "indent, skipkeys": [(np.int64(1), np.bool_(True))]},
    )
    vary = made.spec.experiment["dumps"]["vary"]
    assert vary == {"obj": [0, 1], "indent, skipkeys": [[1, True]]}


def local():
    def inner(a):
        return a

    return inner


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda a: a, "a lambda has no name"),
        (local(), "inner is defined inside local"),
        (asyncio.Lock(), "of type Lock has no name"),
        (Path().joinpath, "joinpath is a method of an object"),
        (at_a_prompt(), "f is defined in a notebook or at the prompt"),
    ],
)
def test_a_function_that_no_other_process_can_import_is_refused(function, said):
    with pytest.raises(UsageError) as refused:
        joulelab.experiment(function, factors={"a": [1]})
    assert said in str(refused.value)


def test_a_function_of_a_package_keeps_its_module():
    made = joulelab.experiment(json.dumps, factors={"obj": ["x"]})
    assert made.spec.experiment["dumps"]["function"] == "json:dumps"
    own = joulelab.experiment(f"{Path(__file__)}:local", factors={"a": [1]})
    assert own.spec.experiment["local"]["function"].endswith("test_program_functions.py:local")


def test_the_copy_of_a_function_that_has_forked_does_not_answer(tmp_path):
    source = (
        "def f(a):\n"
        "    if a == 1 and os.fork() == 0:\n        return {'m': -1}\n"
        "    if a == 1: os.wait()\n"
        "    return {'m': a}"
    )
    table = {"vary": {"a": [1, 2]}, "repetitions": 3, "metrics": {"m": "min"}}
    frame = run(tmp_path, source, fresh_process=False, **table)
    assert frame["m"].tolist() == frame["a"].tolist()


def test_the_ledger_has_the_functions_own_traceback(failed):
    errors = "\n".join(failed.ledger_frame()["error"].dropna())
    assert "in f" in errors
    assert "too wide" in errors
