"""Signals to ``joulelab measure``: what the command gets of them, and that both stop and go on."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

from joulelab.energy.signals import PASSED_ON

MEASURE = [sys.executable, "-m", "joulelab", "measure", "--idle", "0", "--meter", "estimate"]
SENT = [
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT, signal.SIGTERM),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF),
    *(signal.SIGWINCH, signal.SIGURG, signal.SIGIO, signal.SIGXCPU, signal.SIGTSTP),
    *(signal.SIGCONT, signal.SIGPWR, signal.SIGSTKFLT),
    *(signal.SIGRTMIN, signal.SIGRTMIN + 7, signal.SIGRTMAX),
]
FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP}

LISTENER = """
import os, signal, sys
def note(number, _):
    print("got", number, flush=True)
for number in signal.valid_signals() - {signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU}:
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, note)
print("ready", os.getpid(), flush=True)
for line in sys.stdin:
    if line == "stop by default\\n":
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)
    if line == "end\\n":
        break
    print("did", line, end="", flush=True)
raise SystemExit(7)
"""


def state_of(pid):
    """One letter: T for stopped."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        return file.read().rpartition(")")[2].split()[0]


def wait_for_state(pid, wanted):
    deadline = time.monotonic() + 60
    while (state_of(pid) == "T") is not wanted:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def measured():
    """A listener that is measured, in a process group of its own; its output is on stderr."""
    process = subprocess.Popen(
        [*MEASURE, "--json", "--", sys.executable, "-c", LISTENER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def tell(process, line):
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    assert process.stderr.readline() == f"did {line}\n"


def test_every_signal_reaches_the_command_once_and_a_stop_stops_both(measured):
    command = int(measured.stderr.readline().removeprefix("ready "))
    for number in SENT:
        assert number in PASSED_ON
        measured.send_signal(number)
        assert measured.stderr.readline() == f"got {int(number)}\n"
        os.killpg(measured.pid, number)
        assert measured.stderr.readline() == f"got {int(number)}\n"
    # Each would have come before this one, had any come twice.
    measured.send_signal(signal.SIGUSR1)
    assert measured.stderr.readline() == f"got {int(signal.SIGUSR1)}\n"

    tell(measured, "stop by default")
    for send in (measured.send_signal, lambda number: os.killpg(measured.pid, number)):
        send(signal.SIGTSTP)
        os.waitid(os.P_PID, measured.pid, os.WSTOPPED)
        assert state_of(command) == "T"
        time.sleep(0.2)
        send(signal.SIGCONT)
        wait_for_state(measured.pid, wanted=False)
        tell(measured, "going on")
    out, _ = measured.communicate("end\n")
    data = json.loads(out)
    assert (measured.returncode, data["exit_code"]) == (7, 7)
    assert data["measurement"]["duration_s"] > 0.4


def test_faults_of_its_own_and_what_cannot_be_caught_are_not_passed_on():
    assert not PASSED_ON & (FAULTS | {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD})


SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
gate, opened = os.pipe()
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.read(gate, 1)
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
os.setpgid(job, job)
os.tcsetpgrp(0, job)
os.write(opened, b"x")
status = os.waitpid(job, os.WUNTRACED)[1]
os.tcsetpgrp(0, os.getpgrp())
print("job stopped" if os.WIFSTOPPED(status) else "job ended", flush=True)
input()
os.tcsetpgrp(0, job)
os.killpg(job, signal.SIGCONT)
status = os.waitpid(job, os.WUNTRACED)[1]
os.tcsetpgrp(0, os.getpgrp())
print("job's code", os.waitstatus_to_exitcode(status), flush=True)
"""
COUNTER = """
import signal, sys
signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
signal.signal(signal.SIGCONT, lambda *_: print("continued", flush=True))
print("ready", flush=True)
for line in sys.stdin:
    print("line", line, end="", flush=True)
raise SystemExit(5)
"""


def test_control_z_fg_and_control_c_in_a_terminal_act_as_if_joulelab_were_not_there():
    pid, terminal = pty.fork()
    if pid == 0:
        job = [*MEASURE, "--", sys.executable, "-c", COUNTER]
        os.execv(sys.executable, [sys.executable, "-c", SHELL, *job])
    text = b""

    def expect(words):
        nonlocal text
        while words not in text:
            text += os.read(terminal, 1000)

    try:
        expect(b"ready")
        os.write(terminal, b"\x1a")
        expect(b"job stopped")
        os.write(terminal, b"fg\n")
        expect(b"continued")
        os.write(terminal, b"\x03")
        expect(b"interrupted")
        # Whatever came twice would have come before this line.
        os.write(terminal, b"hello\n")
        expect(b"line hello")
        os.write(terminal, b"\x04")
        expect(b"job's code 5")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    assert len(re.findall(b"continued|interrupted", text)) == 2
    assert b"; estimated, could be" in text


def test_a_command_ignores_what_joulelab_was_told_to_ignore_and_may_signal_joulelab():
    program = (
        "import os, signal; print(signal.getsignal(signal.SIGHUP).name, flush=True); "
        "signal.signal(signal.SIGUSR2, signal.SIG_IGN); "
        "os.kill(os.getppid(), signal.SIGUSR2); os.kill(os.getppid(), signal.SIGHUP)"
    )
    done = subprocess.run(
        [
            "sh",
            "-c",
            "trap '' HUP CHLD; exec \"$@\"",
            "sh",
            *MEASURE,
            "--",
            sys.executable,
            "-c",
            program,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "SIG_IGN\n")
    assert "; estimated, could be" in done.stderr
