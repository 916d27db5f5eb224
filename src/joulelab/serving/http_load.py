"""Open-loop load on an HTTP endpoint: the time of each request is fixed beforehand.

::

    due ---- begun ---- sent ........ ended        times of one request
      | late   | connect  | the server's |
      |<----------- response ----------->|         counts from the due time
                          |<- service -->|         counts from the sending

A generator that waits for an answer before the next request sends fewer requests to a slow server,
and omits those that would have waited: coordinated omission. Here answers never delay later
requests. A request that cannot be sent when due, because the maximum number of requests is open or
the generator is late by more than `LATEST_S`, is counted as not sent. So the requested rate and
count are not exceeded, and memory is bounded by the number of connections.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import UsageError
from joulelab.serving.http_body import Body, JsonBody
from joulelab.serving.http_connection import TIMED_OUT, ExchangeError, Pool, reason
from joulelab.serving.http_results import LATE, NOT_SENT, Exchanges, Record
from joulelab.serving.http_target import Request, Target

LEAD_S = 0.02
"""Time from the start of the clock to the first due time, for a thread to start."""
LATEST_S = 1.0
PROGRESS_S = 1.0

Progress = Callable[[int, int], None]
Bodies = Callable[[int], Body]
"""Makes what takes the body of the answer to each request, by its number."""


@dataclass(frozen=True)
class Limits:
    """Limits of a load.

    Attributes:
        timeout_s: from the beginning of a request to the end of its answer.
        connections: maximum number of open requests, one connection each.
        json_expected: whether an answer whose body is not JSON has failed.
        silence_s: longest time without a byte of the answer.

    Raises:
        UsageError: a number is impossible.
    """

    timeout_s: float = 10.0
    connections: int = 256
    json_expected: bool = False
    silence_s: float = math.inf

    def __post_init__(self) -> None:
        if not (self.timeout_s > 0 and math.isfinite(self.timeout_s)):
            raise UsageError(f"a timeout of {self.timeout_s:g} s is impossible", "write 10s")
        if not self.silence_s > 0:
            raise UsageError(f"a silence of {self.silence_s:g} s is impossible", "write 60s")
        if self.connections < 1:
            raise UsageError("a load needs a connection", "allow at least 1")


class HttpLoad:
    """Sends requests to one endpoint; ``with HttpLoad(...) as load`` closes its connections.

    Args:
        target: the endpoint.
        addresses: of its host, from `Target.addresses`: the name is resolved once.
        requests: what is sent; each request of a load is one of them.
        limits: see `Limits`.

    Attributes:
        requests: as given; may be replaced between two loads.
    """

    def __init__(
        self,
        target: Target,
        addresses: Sequence[str],
        requests: Sequence[Request],
        limits: Limits | None = None,
    ) -> None:
        self.requests = list(requests)
        self._limits = limits or Limits()
        self._pool = Pool(target, addresses)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()
        self._runner.close()

    def connect(self) -> None:
        """Ensure that a connection is open.

        No request is sent for this, so the requested count is never exceeded.

        Raises:
            ServingError: the endpoint cannot be reached.
        """
        self._runner.run(self._pool.probe(self._limits.timeout_s))

    def send(
        self,
        due_s: NDArray[np.float64],
        which: NDArray[np.int64],
        progress: Progress = lambda begun, under_way: None,
        bodies: Bodies | None = None,
    ) -> Exchanges:
        """Send requests when due, and wait until each is answered or has failed.

        Ctrl-C ends it: open requests count as interrupted, and the rest are not in the result.

        Args:
            due_s: (n,) seconds, never decreasing; the first counts as 0.
            which: (n,) index of the request to send.
            progress: called about once a second with the numbers of started and of open requests.
            bodies: called as each request is sent; default: bodies are discarded, or checked as the
                limits say.

        Raises:
            UsageError: the times decrease or are too few, because of a faulty arrival process.
        """
        if due_s.shape != which.shape or not (np.diff(due_s) >= 0).all():
            raise UsageError(
                f"the due times of {len(which)} requests decrease or differ in number",
                "joulelab.serving.conformance.check_arrivals checks an arrival process",
            )
        requests = [self.requests[number] for number in which]
        kept = JsonBody if self._limits.json_expected else Body
        bodies = bodies or (lambda _: kept())
        return self._runner.run(self._send(due_s - due_s[:1], requests, progress, bodies))

    def ask(self, request: Request, body: Body) -> Exchanges:
        """Send one request now, and wait.

        Args:
            request: any to the same host.
            body: takes that of the answer.
        """
        sending = self._send(np.zeros(1), [request], lambda begun, under_way: None, lambda _: body)
        return self._runner.run(sending)

    async def _send(
        self,
        due_s: NDArray[np.float64],
        requests: Sequence[Request],
        progress: Progress,
        bodies: Bodies,
    ) -> Exchanges:
        start_s = asyncio.get_running_loop().time() + LEAD_S
        sending = _Sending(self._pool, requests, bodies, self._limits, Record(due_s, start_s))
        try:
            with Pacer(due_s, start_s, sending.begin):
                while not await sending.finished_within(PROGRESS_S):
                    progress(sending.begun, len(sending.under_way))
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
        return await sending.end()


class Pacer:
    """Calls back into the running event loop at given times, within ``with Pacer(...)``.

    An event loop wakes in whole milliseconds (epoll), which is long compared with a fast answer; a
    thread that waits for a lock with a deadline wakes within tens of microseconds. It only waits
    for the clock, so slow answers never delay later requests.

    Args:
        due_s: (n,) seconds after `start_s`, never decreasing.
        start_s: on the monotonic clock, as used by the event loop.
        when_due: called in the event loop with the number of each time.
    """

    def __init__(
        self, due_s: NDArray[np.float64], start_s: float, when_due: Callable[[int], None]
    ) -> None:
        self._due_s = due_s
        self._start_s = start_s
        self._when_due = when_due
        self._loop = asyncio.get_running_loop()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="joulelab-pacing", daemon=True)

    def __enter__(self) -> Pacer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        for number, due_s in enumerate(self._due_s):
            if self._ended.wait(max(0.0, self._start_s + float(due_s) - time.monotonic())):
                return
            self._loop.call_soon_threadsafe(self._when_due, number)


class _Sending:
    """State of one call of `HttpLoad.send`: started and open requests."""

    def __init__(
        self,
        pool: Pool,
        requests: Sequence[Request],
        bodies: Bodies,
        limits: Limits,
        record: Record,
    ) -> None:
        self.begun = 0
        self.under_way: set[asyncio.Task[None]] = set()
        self._pool = pool
        self._requests = requests
        self._bodies = bodies
        self._limits = limits
        self._record = record
        self._loop = asyncio.get_running_loop()
        self._finished: asyncio.Future[None] = self._loop.create_future()
        self._look()

    def begin(self, number: int) -> None:
        """A request is due: send it, or record why not."""
        if self._finished.done():
            return
        self.begun = number + 1
        late_s = self._record.begin(number, self._loop.time())
        if late_s > LATEST_S:
            self._record.not_sent(number, LATE)
        elif len(self.under_way) >= self._limits.connections:
            self._record.not_sent(number, f"{NOT_SENT}: {len(self.under_way)} requests open")
        else:
            task = self._loop.create_task(self._exchange(number))
            self.under_way.add(task)
            task.add_done_callback(self._leave)
        self._look()

    async def finished_within(self, seconds: float) -> bool:
        """Wait until everything is answered or has failed, or the time is up."""
        await asyncio.wait([self._finished], timeout=seconds)
        return self._finished.done() and self._finished.result() is None

    async def end(self) -> Exchanges:
        """Abort open requests, and return the results."""
        if not self._finished.done():
            self._finished.set_result(None)
        tasks = list(self.under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return self._record.exchanges(self.begun, self._loop.time())

    async def _exchange(self, number: int) -> None:
        """Send a request, and record the outcome."""
        record, connection = self._record, None
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                connection = await self._pool.take()
                answer = await connection.exchange(
                    self._requests[number], self._bodies(number), self._limits.silence_s
                )
            record.answered(number, answer)
        except TimeoutError:
            record.failed(number, TIMED_OUT, self._loop.time())
        except ExchangeError as error:
            record.failed(number, str(error), self._loop.time())
        except OSError as error:
            record.failed(number, reason(error), self._loop.time())
        finally:
            if connection is not None:
                record.sent(number, connection.sent_s)
                self._pool.give_back(connection)

    def _leave(self, task: asyncio.Task[None]) -> None:
        self.under_way.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._finished.done():
            self._finished.set_exception(error)
        self._look()

    def _look(self) -> None:
        if self.begun == len(self._requests) and not self.under_way and not self._finished.done():
            self._finished.set_result(None)
