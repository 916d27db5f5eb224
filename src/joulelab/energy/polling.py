"""A meter for a sensor that answers late: over a network, or by way of a slow tool.

The recorder wants a sample within milliseconds, at the edges of a window too. So such a meter asks
in a thread of its own and `sample` gives the last answer at once, while it is young enough.

::

    thread    ask...answer      ask....answer     ask......................no answer   ask.answer
    sample      none    old old old old    new new new new too old too old too old         new
              |-- poll_s -------|-- poll_s -------|

Deadlines do not drift: question k is due at start + k * poll_s, and one that comes too late is left
out. A failure ends nothing: the next question is asked when it is due, so a sensor that comes back
is read again. No answer is handed out that was asked for longer ago than `max_age_s`: this, and how
often the sensor itself takes a new value, is the ``tick_s`` of the channels.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from joulelab.energy.meter import Meter, Sample
from joulelab.errors import MeterError

AGE_POLLS = 2
CLOSE_S = 0.5
_FOR_THE_MAIN_THREAD = {
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGCHLD")
    if hasattr(signal, name)
}


def deadlines(interval_s: float, stop: threading.Event) -> Iterator[int]:
    """Wait for one deadline after the other, in the thread that is to meet them.

    They do not drift: deadline k is at start + k * interval_s, and those that were missed meanwhile
    are left out. The first one, 0, is the start itself.

    Args:
        interval_s: between two deadlines, in seconds.
        stop: ends the waiting.
    """
    if hasattr(signal, "pthread_sigmask"):
        # Signals are for the main thread, which they wake from its waiting.
        signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_MAIN_THREAD)
    start_s, tick = time.monotonic(), 0
    while not stop.wait(max(0.0, start_s + tick * interval_s - time.monotonic())):
        yield tick
        tick = max(tick + 1, int((time.monotonic() - start_s) / interval_s) + 1)


@dataclass(frozen=True)
class _Latest:
    """The last answer, when it was asked for, and why there has been none since."""

    samples: Sequence[Sample] = ()
    asked_s: float = 0.0
    failure: str = ""


class PollingMeter(Meter):
    """Asks a slow sensor in the background; a subclass says how.

    A subclass has `channels` and `ask`, and calls `start_polling` when it is ready to be asked.
    `interrupt` and `describe` are up to it.

    Args:
        poll_s: time between two questions in seconds.
        max_age_s: how old an answer may be that is still given, in seconds; twice `poll_s` where
            not given, so that one question that is answered late or refused leaves no hole.
    """

    def __init__(self, poll_s: float, max_age_s: float | None = None) -> None:
        self.poll_s = poll_s
        self.max_age_s = AGE_POLLS * poll_s if max_age_s is None else max_age_s
        # Read twice as often as it asks, so that no answer is passed over.
        self.interval_s = poll_s / 2
        # One thread writes it, any thread reads it, always as a whole: this needs no lock, and so
        # a process that was forked meanwhile finds none held.
        self._latest = _Latest()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._closed = False

    @abstractmethod
    def ask(self) -> Sequence[Sample]:
        """Ask the sensor, for as long as it takes; always called by one and the same thread.

        Returns:
            One sample for each channel, in the order of `channels`.

        Raises:
            MeterError: there is no answer; its message becomes the reason of the samples. Any other
                exception does the same, with its name.
        """

    def interrupt(self) -> None:
        """Make a question that is under way end soon; called by `close` from another thread."""

    def start_polling(self, first: Sequence[Sample] = (), asked_s: float | None = None) -> None:
        """Begin to ask.

        Args:
            first: what the sensor has said, if it was asked already.
            asked_s: when that was, on the monotonic clock; just now where not given.
        """
        if first:
            self._latest = _Latest(first, time.monotonic() if asked_s is None else asked_s)
        self._thread = threading.Thread(target=self._run, name=f"{self.name}-poll", daemon=True)
        self._thread.start()

    def sample(self) -> Sequence[Sample]:
        """The last answer, at once; samples with a reason where it is too old."""
        latest, reason = self._latest, ""
        age_s = time.monotonic() - latest.asked_s
        if self._closed:
            reason = "closed"
        elif os.getpid() != self._process:
            reason = "it belongs to the parent process, from which this one was forked"
        elif not latest.samples:
            reason = latest.failure or "no answer yet"
        elif age_s > self.max_age_s:
            reason = latest.failure or f"no answer for {age_s:.1f} s"
        return [Sample(None, reason) for _ in self.channels] if reason else latest.samples

    def close(self) -> None:
        """Stop asking; does not wait for an answer that is long in coming."""
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is None or os.getpid() != self._process:
            return  # the thread, and what it holds, are those of the process this was forked from
        self._stop.set()
        self.interrupt()
        thread.join(CLOSE_S)

    def _run(self) -> None:
        for _ in deadlines(self.poll_s, self._stop):
            self._latest = self._asked()

    def _asked(self) -> _Latest:
        asked_s = time.monotonic()
        try:
            samples = tuple(self.ask())
            if len(samples) != len(self.channels):
                raise MeterError(f"{len(samples)} values for {len(self.channels)} channels")
        except MeterError as error:
            return replace(self._latest, failure=error.message)
        except Exception as error:  # a broken question must not end the asking
            return replace(self._latest, failure=f"{type(error).__name__}: {error}")
        return _Latest(samples, asked_s)
