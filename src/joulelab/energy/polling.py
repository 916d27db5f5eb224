"""A meter for slow sensors: over a network, or through a slow tool.

The recorder needs a sample within milliseconds, also at the edges of a window. So such a meter
polls in its own thread, and `sample` returns the last answer at once while it is recent enough.

::

    thread    ask...answer      ask....answer     ask......................no answer   ask.answer
    sample      none    old old old old    new new new new too old too old too old         new
              |-- poll_s -------|-- poll_s -------|

Deadlines do not drift: request k is due at start + k * poll_s; late ones are skipped. Failures do
not stop polling: the next request is sent when due, so a sensor that returns is read again. Answers
older than `max_age_s` since their request are not used: this plus the update interval of the sensor
is the ``tick_s`` of the channels.
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
    """Wait for successive deadlines in the calling thread.

    Deadlines do not drift: deadline k is at start + k * interval_s, and missed ones are skipped.
    Deadline 0 is the start.

    Args:
        interval_s: between two deadlines, in seconds.
        stop: ends the waiting.
    """
    if hasattr(signal, "pthread_sigmask"):
        # Signals are for the main thread, whose waiting they interrupt.
        signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_MAIN_THREAD)
    start_s, tick = time.monotonic(), 0
    while not stop.wait(max(0.0, start_s + tick * interval_s - time.monotonic())):
        yield tick
        tick = max(tick + 1, int((time.monotonic() - start_s) / interval_s) + 1)


@dataclass(frozen=True)
class _Latest:
    """The last answer, the time of its request, and why there is no newer one."""

    samples: Sequence[Sample] = ()
    asked_s: float = 0.0
    failure: str = ""


class PollingMeter(Meter):
    """Polls a slow sensor in the background; subclasses define how.

    A subclass implements `channels` and `ask`, and calls `start_polling` when ready. `interrupt`
    and `describe` are optional.

    Args:
        poll_s: time between requests in seconds.
        max_age_s: largest age of a used answer in seconds; default: twice `poll_s`, so one late or
            failed request does not leave a gap.
    """

    def __init__(self, poll_s: float, max_age_s: float | None = None) -> None:
        self.poll_s = poll_s
        self.max_age_s = AGE_POLLS * poll_s if max_age_s is None else max_age_s
        # Read twice as often as it polls, so that no answer is missed.
        self.interval_s = poll_s / 2
        # One thread writes it and any thread reads it, always as a whole: no lock is needed, so a
        # forked process never finds one held.
        self._latest = _Latest()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._closed = False

    @abstractmethod
    def ask(self) -> Sequence[Sample]:
        """Poll the sensor, however long it takes; always called from the same thread.

        Returns:
            One sample for each channel, in the order of `channels`.

        Raises:
            MeterError: no answer; its message becomes the reason of the samples. Other exceptions
                have the same effect, with their name.
        """

    def interrupt(self) -> None:
        """Abort a running request; called by `close` from another thread."""

    def start_polling(self, first: Sequence[Sample] = (), asked_s: float | None = None) -> None:
        """Start polling.

        Args:
            first: an answer of the sensor, if already polled.
            asked_s: its time on the monotonic clock; default: now.
        """
        if first:
            self._latest = _Latest(first, time.monotonic() if asked_s is None else asked_s)
        name = f"joulelab-{self.name}-poll"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def sample(self) -> Sequence[Sample]:
        """The last answer, at once; samples with a reason if it is too old."""
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
        """Stop polling; does not wait for a slow answer."""
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is None or os.getpid() != self._process:
            return  # the thread and its resources belong to the parent process
        self._stop.set()
        self.interrupt()
        thread.join(CLOSE_S)

    @property
    def failure(self) -> str:
        """Why the last request failed; empty where it did not."""
        return self._latest.failure

    def older_than(self, age_s: float) -> str:
        """Why there is no answer as new as this; empty where there is one.

        Args:
            age_s: since its request, in seconds.
        """
        latest = self._latest
        old_s = time.monotonic() - latest.asked_s
        if latest.samples and old_s <= age_s:
            return ""
        return latest.failure or (f"no answer for {old_s:.2f} s" if latest.samples else "no answer")

    def poll_now(self) -> None:
        """Poll once in the calling thread; `ask` must then be safe from two threads."""
        now = self._asked()
        if now.asked_s >= self._latest.asked_s:  # else another thread has asked since
            self._latest = now

    def _run(self) -> None:
        for _ in deadlines(self.poll_s, self._stop):
            self.poll_now()

    def _asked(self) -> _Latest:
        asked_s = time.monotonic()
        try:
            samples = tuple(self.ask())
            if len(samples) != len(self.channels):
                raise MeterError(f"{len(samples)} values for {len(self.channels)} channels")
        except MeterError as error:
            return replace(self._latest, failure=error.message)
        except Exception as error:  # a failed request must not stop polling
            return replace(self._latest, failure=f"{type(error).__name__}: {error}")
        return _Latest(samples, asked_s)
