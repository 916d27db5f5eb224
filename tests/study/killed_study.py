"""A study whose process is killed with -9 at a chosen moment."""

import os
import signal
import threading

from joulelab.study.listener import Listener
from joulelab.study.results import Results

NEVER = (0, 0.0)


class Killer(Listener):
    """Kills its process so many seconds after the n-th thing that it hears of, or at once."""

    def __init__(self, number, delay_s):
        self.left, self.delay_s = number, delay_s

    def count(self, *_):
        self.left -= 1
        if self.left == 0 and self.delay_s:
            threading.Timer(self.delay_s, kill).start()
        elif self.left == 0:
            kill()

    laid_out = loaded = doing = predicted = started = finished = count


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def run(study, out, number, delay_s):
    """Begin the study or go on with it; whether it was killed, and did not come to its end."""
    pid = os.fork()
    if not pid:
        try:
            study.run(out, Killer(number, delay_s))
            os._exit(0)
        finally:
            os._exit(1)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert ended in {0, -signal.SIGKILL}
    return ended != 0


def kept(out):
    """The finished runs with what they have used."""
    if not (out / "runs.sqlite").exists():
        return {}
    frame = Results.open(out).to_frame()
    frame = frame[frame["state"] == "finished"].set_index("run_id")
    return frame[["attempts", "energy_gross_j", "accuracy", "started_at"]].to_dict("index")
