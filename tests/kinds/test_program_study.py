"""A study of a command as its user sees it: killed and resumed, reported, put into a document."""

import os
import random
import re
import shutil
import signal
import subprocess
import time

import numpy as np
import pandas as pd
import pytest
from killed_study import NEVER, kept
from killed_study import run as run_or_kill

from joulelab.analysis.claims.claim import Verdict
from joulelab.cli.study_commands import Table
from joulelab.kinds.program.figures import trade_off
from joulelab.kinds.program.process import end_group
from joulelab.kinds.program.process import has_ended as gone
from joulelab.kinds.program.report import PROGRAM
from joulelab.kinds.program.tables import (
    claims,
    configurations,
    effects,
    level_differences,
    nearly_best,
    phase_table,
)
from joulelab.report.experiment import EnergyBasis, Experiment
from joulelab.study.results import Results
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec

# Sessions are forks of this process, for a new interpreter imports for seconds.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

ENERGY = {"meters": ["estimate"], "interval_s": 0.02, "idle_s": 0, "cool_down_s": 0}
BRIEF = """
echo "$JOULELAB_EVENTS" >> ran
sleep 0.03
printf '{"accuracy": 0.%s, "the_seed": %s}\\n' "$1" "$2"
"""
HANGING = """
case "$JOULELAB_EVENTS" in *outputs*)
    if [ ! -e go ]; then sleep 600 & echo $! > left; wait; fi
esac
printf '{"accuracy": 0.%s}\\n' "$1"
"""
SAME = ["run_id", "position", "block", "configuration", "a", "repetition", "seed", "state"]
SAME += ["accuracy", "the_seed"]


def study(folder, source, **changes):
    """A study of a script of the shell with the factor ``a``."""
    folder.mkdir(exist_ok=True)
    (folder / "work.sh").write_text(source)
    table = {
        "kind": "command",
        "command": "sh work.sh {a} {seed}",
        "cwd": str(folder),
        "repetitions": 3,
        "metrics": {"accuracy": "max"},
        "vary": {"a": [1, 2]},
        **changes,
    }
    return Study(check_spec({"name": "s", "energy": ENERGY, "experiment": {"e": table}}))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The folder of a study that nobody has interrupted."""
    folder = tmp_path_factory.mktemp("unbroken")
    study(folder, BRIEF).run(folder / "out")
    return folder / "out"


def trial(folder, unbroken, moments, repetitions=3):
    """Kill a study at each moment, end it, and compare it with one that was not killed."""
    made, out = study(folder, BRIEF, repetitions=repetitions), folder / "out"
    kills, finished = 0, {}
    for moment in [*moments, NEVER]:
        kills += run_or_kill(made, out, *moment)
        now = kept(out)
        assert {run: now.get(run) for run in finished} == finished, "lost, or run again"
        finished = now
    frame = Results.open(out).to_frame()
    pd.testing.assert_frame_equal(frame[SAME], Results.open(unbroken).to_frame()[SAME])
    # A calibration is not among these.
    starts = re.findall(r"outputs/(\d+)", (folder / "ran").read_text())
    for position, attempts in zip(frame["position"], frame["attempts"], strict=True):
        assert 1 <= starts.count(f"{position + 1:05d}") <= attempts
    assert not (out / ".program").exists()
    return kills


def test_killed_three_times_it_ends_with_the_table_of_an_unbroken_run(tmp_path, unbroken):
    # While a program runs, between two, and at some time or other.
    assert trial(tmp_path, unbroken, [(7, 0.01), (6, 0.0), (5, 0.1)]) >= 2


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_ten_times_it_ends_with_the_table_of_an_unbroken_run(tmp_path, seed):
    chance = random.Random(seed)
    study(tmp_path / "whole", BRIEF, repetitions=20).run(tmp_path / "whole" / "out")
    moments = [(chance.randrange(1, 9), chance.uniform(0, 0.1)) for _ in range(10)]
    whole = tmp_path / "whole" / "out"
    assert trial(tmp_path / "killed", whole, moments, repetitions=20) == 10


def wait_for(holds, limit_s=60.0):
    ends_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < ends_s
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "leader"), [(signal.SIGKILL, False), (signal.SIGKILL, True), (signal.SIGINT, False)]
)
def test_a_program_left_by_an_interrupted_session_is_ended(tmp_path, number, leader):
    """Also where only a child of the program is left."""
    made, out, left = study(tmp_path, HANGING, repetitions=1), tmp_path / "out", tmp_path / "left"
    session = os.fork()
    if not session:
        try:
            made.run(out)
        finally:
            os._exit(1)
    wait_for(lambda: left.exists() and left.read_text().strip())
    program = int(left.read_text())
    shell = os.getpgid(program)
    os.kill(session, number)
    os.waitpid(session, 0)
    if leader:
        os.kill(shell, signal.SIGKILL)
        wait_for(lambda: gone(shell))
    if number == signal.SIGINT:
        wait_for(lambda: gone(program))
    else:
        assert not gone(program)
    (tmp_path / "go").touch()
    frame = made.run(out).to_frame()
    wait_for(lambda: gone(program))
    assert list(frame["state"]) == ["finished", "finished"]
    assert sorted(frame["attempts"]) == [1, 2]


def test_a_second_interruption_ends_a_program_that_does_not_listen():
    deaf = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    program = subprocess.Popen(
        ["/bin/sh", "-c", deaf], stdout=subprocess.PIPE, start_new_session=True
    )
    assert program.stdout.readline()
    asked = iter([False, False])

    def ended():
        if (said := next(asked, None)) is None:
            raise KeyboardInterrupt
        return said

    with pytest.raises(KeyboardInterrupt):
        end_group(program.pid, ended)
    assert program.wait(60) == -signal.SIGKILL
    program.stdout.close()


WIDTHS, MODES, REPETITIONS = (16, 32, 64), ("a", "b"), 8
MEANS = {16: (1.0, 0.70), 32: (2.0, 0.89), 64: (4.0, 0.90)}
"""Energy in joules and accuracy; the mode changes neither."""


@pytest.fixture(scope="module")
def synthetic():
    """An experiment in which only the width has an effect, on energy and accuracy."""
    chance = np.random.default_rng(16)
    durations_s = chance.lognormal(0, 1, REPETITIONS)
    rows = [
        {
            "configuration": f"width={width}, {mode}",
            "width": width,
            "mode": mode,
            "repetition": repetition,
            "block": repetition,
            "energy_gross_j": MEANS[width][0] * chance.normal(1, 0.01),
            "duration_s": durations_s[repetition],  # they vary, whatever the width is
            "accuracy": MEANS[width][1] + chance.normal(0, 0.001),
            "energy_status": "measured",
            "phase.load.duration_s": 0.25,
            "phase.load.energy_j": 0.5,
            "phase.load.status": "estimated",
            "phase.train.duration_s": 0.75,
            "phase.train.energy_j": MEANS[width][0] - 0.5,
            "phase.train.status": "measured",
        }
        for repetition in range(REPETITIONS)
        for width in WIDTHS
        for mode in MODES
    ]
    table = {
        "metrics": {"accuracy": {"better": "max"}},
        "within_percent": 5.0,
        "claims": [
            "width moves energy",
            "mode moves energy",
            "mode does not move accuracy",
            "width moves duration",
            "width = 16 takes less energy than width = 64",
            "width = 16 reaches higher accuracy than 64",
        ],
        "trade_offs": [["energy", "accuracy"]],
    }
    return Experiment(
        name="e",
        kind="command",
        protocol="",
        factors=("width", "mode"),
        runs=pd.DataFrame(rows),
        planned=len(rows),
        failed=0,
        score="mean",
        energy=EnergyBasis("energy_gross_j", "measured", ()),
        table=table,
        noun="run",
    )


def test_the_means_of_each_configuration_are_those_of_its_runs(synthetic):
    rows = configurations(synthetic).frame
    assert sorted(rows["n"]) == [REPETITIONS] * 6
    for row in rows.to_dict("records"):
        assert row["energy_gross_j low"] < row["energy_gross_j"] < row["energy_gross_j high"]
        assert row["energy_gross_j"] == pytest.approx(MEANS[row["width"]][0], rel=0.01)


def test_the_cheapest_that_is_nearly_as_good_is_found(synthetic):
    (row,) = nearly_best(synthetic).frame.to_dict("records")
    assert row["metric"] == "accuracy"
    assert row["best"].startswith("width=64")
    assert row["cheapest"].startswith("width=32")
    assert row["saved"] == pytest.approx(0.5, abs=0.01)


def test_the_effects_are_those_that_there_are(synthetic):
    rows = effects(synthetic).frame.set_index(["measure", "factor"])["p_used"]
    assert rows["energy", "width"] < 0.001
    assert rows["accuracy", "width"] < 0.001
    assert rows["duration", "width"] > 0.05
    pairs = level_differences(synthetic).frame
    differing = pairs[(pairs["p_adjusted"] < 0.05)]
    assert set(differing["factor"]) == {"width"}
    assert len(differing[differing["measure"] == "energy"]) == 3


def test_claims_hold_fail_or_stay_undecided(synthetic):
    assert [one.verdict for one in claims(synthetic)] == [
        Verdict.HOLDS,
        Verdict.FAILS,
        Verdict.HOLDS,
        Verdict.UNDECIDED,
        Verdict.HOLDS,
        Verdict.FAILS,
    ]
    assert PROGRAM.findings(synthetic)[0].startswith("Of 6 claims, 3 hold, 2 do not hold, 1 cannot")


def test_phases_have_their_means_and_status(synthetic):
    rows = phase_table(synthetic).frame.set_index(["configuration", "phase"])
    assert rows.loc[("width=64, a", "train"), "energy_j"] == 3.5
    assert rows.loc[("width=64, a", "load"), "status"] == "estimated"
    assert rows.loc[("width=64, a", "train"), "share"] == 0.75


def test_the_front_has_no_configuration_that_another_beats(synthetic):
    alt = trade_off(synthetic).alt
    assert "Pareto" in trade_off(synthetic).note
    front = set(re.findall(r"width=(\d+)", alt))
    assert front == {"16", "32", "64"}
    assert len(re.findall("width=", alt)) < 6


@pytest.mark.parametrize("table", list(Table))
def test_every_table_can_be_exported(unbroken, joulelab, table):
    code, out, _ = joulelab("export", unbroken, "--table", table)
    assert code == 0
    if table == "runs":
        heading, *rows = out.strip().splitlines()
        assert {"a", "accuracy", "the_seed", "energy_gross_j"} <= set(heading.split(","))
        assert len(rows) == 6


def test_its_tables_compile_in_a_document(unbroken, tmp_path, joulelab, undrawn):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    code, *_ = joulelab("report", unbroken)
    assert code == 0
    names = sorted(path.stem for path in (unbroken / "report" / "tables").glob("*.tex"))
    inputs = "".join(f"\\input{{{unbroken}/report/tables/{name}}}\n" for name in names)
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs}\n\\usepackage{graphicx}\n"
        f"\\begin{{document}}\n{inputs}\\end{{document}}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:].decode("utf-8", "replace")
