"""What a process killed with -9 has spent beside its runs is in the ledger."""

import os
import signal
import sys
import time

import psutil
import pytest
from nvml_stub import build_stub, stub_variables

from joulelab.report.ledger import study_energy
from joulelab.study.results import Results
from joulelab.study.store import Store

WATTS = 300.0
"""Of the stand-in for a GPU."""
STUDY = """
name = "killed"
[energy]
meters = ["nvml"]
idle_s = {idle_s}
cool_down_s = 0
interval_s = 0.02
[experiment.e]
kind = "command"
command = "sleep {{s}}"
repetitions = 1
vary = {{ s = [{run_s}] }}
"""
PROGRAM = """
import sys, time
from joulelab.study import executor, working
from joulelab.study.listener import Listener
from joulelab.study.study import Study
executor.HEARTBEAT_INTERVAL_S = working.HEARTBEAT_INTERVAL_S = 0.1

class Slow(Listener):
    def loaded(self, summaries):
        time.sleep(float(sys.argv[3]))

Study.load(sys.argv[1]).run(sys.argv[2], Slow())
"""


@pytest.fixture(scope="module")
def gpu(tmp_path_factory):
    """The environment of a process with a GPU of constant power."""
    library = build_stub(tmp_path_factory.mktemp("nvml"))
    if library is None:
        pytest.skip("no C compiler to build the stand-in for libnvidia-ml.so.1")
    hardware = {"TRACE": "constant", "HIGH_MW": int(1000 * WATTS), "TICK_MS": 1, "NAME": "H100"}
    answers = {f"STUB_{name}": str(answer) for name, answer in hardware.items()}
    return {**os.environ, **stub_variables(library), **answers, "CUDA_VISIBLE_DEVICES": "0"}


LONG_S = 600
"""Longer than anybody waits."""


def killed(folder, gpu, kind, *, loading_s=0, idle_s=0, run_s=0.01):
    """A study killed with -9 once there is word of this work; its folder."""
    study, out = folder / "study.toml", folder / "out"
    study.write_text(STUDY.format(idle_s=idle_s, run_s=run_s))
    command = [sys.executable, "-c", PROGRAM, str(study), str(out), str(loading_s)]
    process = psutil.Popen(command, env=gpu)
    while not heard(out, kind):
        assert process.poll() is None
        time.sleep(0.05)
    programs = process.children(recursive=True)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    for program in programs:
        program.kill()
    return out


def heard(out, kind):
    """Whether a third of a second of this work is in the ledger."""
    if not (out / "study.toml").exists():
        return False
    ledger = Results.open(out).ledger_frame()
    return ((ledger["kind"] == kind) & (ledger["duration_s"] > 1 / 3)).any()


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        ("setup", {"loading_s": LONG_S}),
        ("idle", {"idle_s": LONG_S}),
        ("calibration", {"run_s": LONG_S}),
    ],
)
def test_it_is_booked_up_to_the_last_heartbeat(tmp_path, gpu, joulelab, kind, moment):
    out = killed(tmp_path, gpu, kind, **moment)
    code, said, _ = joulelab("status", out)
    assert code == 0
    assert "interrupted attempts: 0" in " ".join(said.split())
    with Store.open(out, (out / "study.toml").read_text()):
        ledger = Results.open(out).ledger_frame()
    ended = ledger[(ledger["state"] == "interrupted") & (ledger["kind"] == kind)]
    (row,) = ended.to_dict("records")
    assert row["error"] == "the process ended; energy up to the last heartbeat"
    assert row["energy_status"] == "measured"
    assert row["energy_gross_j"] == pytest.approx(WATTS * row["duration_s"], rel=0.05)
    energy = study_energy(ledger)
    assert (energy.status, energy.unknown) == ("measured", 0)
    ends = ledger["started_at"] + ledger["duration_s"]
    lasted_s = ends.max() - ledger["started_at"].min()
    assert energy.duration_s <= lasted_s + 0.05, "nothing is booked twice"
