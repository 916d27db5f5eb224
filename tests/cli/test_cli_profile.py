"""``joulelab profile`` as its users call it."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import sys, time

def burn(seconds):
    end_s = time.thread_time() + seconds
    while time.thread_time() < end_s:
        pass

def train():
    burn(0.3)

def main():
    train()
    print("trained", sys.argv[1:])

main()
sys.exit(3)
"""
QUICK = ("--idle", "0", "--busy", "share")


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(PROGRAM)
    return tmp_path


def process(*words):
    """A profile in a process of its own."""
    line = [sys.executable, "-m", "joulelab", "profile", *QUICK, *words]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_first_line_says_which_part_costs_most_and_the_exit_code_is_the_programs(
    program, joulelab
):
    code, out, err = joulelab("profile", *QUICK, "--", "train.py", "--lr", "1")
    assert (code, out) == (3, "trained ['--lr', '1']\n")
    lines = err.splitlines()
    assert re.match(
        r"burn \(train\.py:4\) takes \d+ % of about [\d.]+ m?J.*; estimated,", " ".join(lines[:2])
    )
    assert re.search(r"^burn +train\.py:4 +[\d.]+ +[\d.]+ %", err, re.M)
    assert re.search(r"^train +train\.py:9 +", err, re.M)
    assert re.search(r"^all +[\d.]+ +100\.0 %", err, re.M)
    assert "Shares are estimates" in err or "shares are coarse" in err
    assert "joulelab" not in err.replace("(joulelab doctor)", "")


def test_files_and_json_agree_with_the_measurement(program, joulelab):
    files = ("--html", "out.html", "--speedscope", "out.json")
    code, out, err = joulelab("profile", *QUICK, "--json", *files, "--", "python", "train.py")
    data = json.loads(out)
    assert (code, data["exit_code"], data["schema_version"]) == (3, 3, 1)
    assert "trained []" in err
    whole_j = data["measurement"]["total"]["gross_j"]
    assert math.fsum(one["self_j"] for one in data["functions"]) == pytest.approx(whole_j)
    first = data["functions"][0]
    assert (first["name"], first["line"], first["status"]) == ("burn", 4, "estimated")
    assert data["measurement"]["total"]["status"] == "estimated"
    (energy, *_) = json.loads((program / "out.json").read_text())["profiles"]
    assert math.fsum(energy["weights"]) == pytest.approx(whole_j)
    assert "burn (train.py:4)" in (program / "out.html").read_text()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("--html", "train.py"), "train.py is the program"),
        (("--html", "./one", "--speedscope", "one"), "one is written twice"),
        (("--speedscope", "."), ". is a folder"),
    ],
)
def test_files_that_would_be_lost_are_refused_before_the_program_runs(
    program, joulelab, files, said
):
    code, out, err = joulelab("profile", *QUICK, *files, "--", "train.py")
    assert (code, out) == (2, "")
    assert said in err
    assert (program / "train.py").read_text() == PROGRAM


def test_files_are_written_though_nobody_reads_the_answer(program):
    reading, writing = os.pipe()
    os.close(reading)
    files = ("--html", "out.html", "--speedscope", "out.json")
    line = [sys.executable, "-m", "joulelab", "profile", *QUICK, *files, "--", "-c", "pass"]
    subprocess.run(line, stdout=subprocess.DEVNULL, stderr=writing, check=False)
    os.close(writing)
    assert "<!DOCTYPE html>" in (program / "out.html").read_text()
    assert json.loads((program / "out.json").read_text())["profiles"]


def test_phases_have_a_table(program, joulelab):
    (program / "phases.py").write_text(
        "import joulelab\n"
        "with joulelab.phase('load'):\n    sum(range(1_000_000))\n"
        "with joulelab.phase('train'):\n    sum(range(2_000_000))\n"
    )
    code, _, err = joulelab("profile", *QUICK, "--", "phases.py")
    assert code == 0
    assert re.search(r"^train +[\d.]+ +[\d.]+ % +.* 1 +estimated", err, re.M)


def test_energy_of_a_sensor_is_measured_and_its_division_estimated(powercap, program, joulelab):
    _, out, _ = joulelab("profile", *QUICK, "--json", "--meter", "rapl", "--", "train.py")
    data = json.loads(out)
    assert data["measurement"]["total"]["status"] == "measured"
    assert {one["status"] for one in data["functions"]} == {"estimated"}
    whole_j = data["measurement"]["total"]["gross_j"]
    assert math.fsum(one["self_j"] for one in data["functions"]) == pytest.approx(whole_j)


def test_a_program_that_is_too_short_is_said_to_be(program, joulelab):
    (program / "short.py").write_text("")
    code, _, err = joulelab("profile", *QUICK, "--rate", "1", "--", "short.py")
    assert code == 0
    assert "Too short for a profile" in err
    assert err.startswith("About ")


def test_an_error_is_shown_before_the_profile(program, joulelab):
    (program / "fails.py").write_text("raise ValueError('bad')")
    code, _, err = joulelab("profile", *QUICK, "--", "fails.py")
    assert code == 1
    assert err.startswith("Traceback (most recent call last):\n  File ")
    assert err.index("ValueError: bad") < err.index("Too short")


def test_a_profile_in_a_profile_is_refused(program, joulelab):
    (program / "again.py").write_text(
        "import sys\n"
        "from joulelab.cli import main\n"
        "sys.argv = ['joulelab', 'profile', 'train.py']\n"
        "main()\n"
    )
    code, _, err = joulelab("profile", *QUICK, "--", "again.py")
    assert code == 2
    assert "again.py is being profiled already" in err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("./nowhere",), 127, "./nowhere does not exist"),
        (("--rate", "0", "--", "train.py"), 2, "a rate of 0 samples in a second is not possible"),
        (("--html", "nowhere/out.html", "--", "train.py"), 2, "no folder nowhere"),
        (("--meter", "nvml?index=99", "--", "train.py"), 2, "nvml"),
        (("-m", "nowhere"), 1, "no module named nowhere"),
    ],
)
def test_what_is_not_possible_is_said_before_the_program_runs(program, joulelab, words, code, said):
    got, out, err = joulelab("profile", *QUICK, *words)
    assert (got, out) == (code, "")
    assert said in err
    assert len(err.splitlines()) <= 2


def test_an_unreadable_meter_leaves_the_program_its_shares_of_time(program, joulelab, powercap):
    (program / "loses.py").write_text(
        f"open({str(powercap / 'energy_uj')!r}, 'w').close()\n{PROGRAM}"
    )
    code, out, err = joulelab("profile", *QUICK, "--meter", "rapl", "--", "loses.py")
    assert (code, out) == (3, "trained []\n")
    assert "cpu:0" in err


def test_a_program_that_ends_without_returning_has_its_profile(program):
    (program / "leaves.py").write_text(
        "import os, time\n"
        "if os.fork() == 0:\n    os._exit(0)\n"
        "os.wait()\n"
        "time.sleep(0.05)\n"
        "print('out', flush=True)\n"
        "os._exit(4)\n"
    )
    run = process("--json", "--", "leaves.py")
    out, err = run.communicate(timeout=60)
    assert (run.returncode, json.loads(out)["exit_code"]) == (4, 4)
    assert err == "out\n"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)]
)
def test_a_program_that_a_signal_ends_has_its_profile(program, number, code):
    (program / "waits.py").write_text(
        "import time\n"
        "def waits():\n"
        "    time.sleep(0.3)\n"  # to be seen before the signal
        "    open('begun', 'w').close()\n"
        "    time.sleep(60)\n"
        "waits()\n"
    )
    run = process("--", "waits.py")
    deadline_s = time.monotonic() + 60
    while not (program / "begun").exists() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    os.kill(run.pid, number)
    _, err = run.communicate(timeout=60)
    assert run.returncode == code
    assert "waits (waits.py:2) takes" in err or "Too short" in err
    assert ("KeyboardInterrupt" in err) == (number == signal.SIGINT)


def test_a_process_that_the_program_forks_ends_like_the_program(program):
    (program / "forks.py").write_text(
        "import os, sys\n"
        "child = os.fork()\n"
        "if child:\n    status = os.waitpid(child, 0)[1]\n"
        "    sys.exit(os.waitstatus_to_exitcode(status))\n"
        "print('child')\n"
        "sys.exit(7)\n"
    )
    run = process("--", "forks.py")
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (7, "child\n")
    assert err.count(" J") + err.count("mJ") >= 1
    assert err.count("estimated, could") <= 1


def test_a_program_may_replace_and_close_its_streams(program, joulelab):
    (program / "closes.py").write_text(
        "import io, os, sys\n"
        "print('before')\n"
        "os.dup2(os.open(os.devnull, os.O_WRONLY), 2)\n"
        "sys.stdout, sys.stderr = io.StringIO(), None\n"
    )
    code, out, err = joulelab("profile", *QUICK, "--", "closes.py")
    assert (code, out) == (0, "before\n")
    assert err.startswith("About ")
