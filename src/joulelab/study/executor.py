"""The interface of an executor, and the one that works on this machine.

The runner hands over a `Job` and gets an `Outcome`; both are plain data, so that an executor may
send them to another machine, where the meters are. An executor never touches the store.

::

    lock the device ─ open window ─ prepare ─ close window ─ unlock      once a group
      └ Preparation.waiting           └ Preparation.measurement
    count FLOPs ─ lock the device ─ wait until it is at idle ─ open window ─ train ─ close, unlock
      └ Outcome.waiting                                          └ Outcome.measurement
"""

from __future__ import annotations

import contextlib
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from joulelab.energy.idle import wait_until_idle
from joulelab.energy.lock import DeviceLock
from joulelab.energy.reading import Measurement
from joulelab.energy.recorder import Recorder, Window
from joulelab.energy.traces.trace_file import TraceAbout
from joulelab.energy.utilisation import Utilisation, utilisation
from joulelab.errors import JoulelabError, StoreError
from joulelab.learning.engine import Engine, TrainingResult, TrainingTask, engines
from joulelab.learning.flops import FlopCount, count_flops
from joulelab.learning.images import Images, load_images, thinned

SIGN_INTERVAL_S = 2.0


@dataclass(frozen=True)
class ImagesRequest:
    """Which images, from where, and how many, or below 1 which share, of them."""

    name: str
    data_dir: str | None
    train_images: float | None
    test_images: float | None
    seed: int

    def load_whole(self) -> Images:
        """The whole data set.

        Raises:
            DatasetError: it cannot be had.
        """
        return load_images(self.name, Path(self.data_dir) if self.data_dir else None)

    def part_of(self, whole: Images) -> Images:
        """As many images of the whole data set as are wanted."""
        return thinned(whole, self.train_images, self.test_images, self.seed)


@dataclass(frozen=True)
class Job:
    """One part of a group, to be trained and measured.

    Attributes:
        label: of the window.
        task: what is trained.
        images: on what.
        engine: registered name.
        device: ``"cpu"`` or ``"cuda:<index>"``.
        threads: torch's threads on the CPU.
    """

    label: str
    task: TrainingTask
    images: ImagesRequest
    engine: str
    device: str
    threads: int


@dataclass(frozen=True)
class SignOfLife:
    """What a job has done and used so far."""

    epochs_done: int
    epochs: int
    measurement: Measurement


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        state: ``"interrupted"`` after Ctrl-C; the measurement is what was used until then.
        results: one for each member; empty unless finished.
        measurement: energy and duration of the training.
        waiting: of the time before it, spent on the lock and on cooling down.
        trace: columns of the power trace.
        trace_about: what belongs to it beside the samples.
        utilisation: how busy the device that trains was over the same window.
        flops: of one image in a training of the network.
        train_images: how many images an epoch had.
        error: type and message, where it failed.
        details: the traceback.
    """

    state: Literal["finished", "failed", "interrupted"]
    results: tuple[TrainingResult, ...]
    measurement: Measurement
    waiting: Measurement
    trace: Mapping[str, Any]
    trace_about: TraceAbout
    utilisation: Utilisation
    flops: FlopCount
    train_images: int
    error: str | None = None
    details: str | None = None


@dataclass(frozen=True)
class Preparation:
    """What became of the preparation of a group.

    Attributes:
        state: ``"interrupted"`` after Ctrl-C.
        done: the engine did something; otherwise it only found that nothing was to be done.
        waiting: for the lock.
        measurement: of the rest; ``None`` where it was interrupted before it had the lock.
        error: the message, where it failed.
    """

    state: Literal["finished", "failed", "interrupted"]
    done: bool
    waiting: Measurement
    measurement: Measurement | None
    error: str | None = None


class Executor(ABC):
    """Carries out jobs, one measured job at a time on a device."""

    @abstractmethod
    def obstacle(self, job: Job) -> str | None:
        """Why the engine cannot train this, in words; ``None`` where it can.

        Raises:
            UsageError: what is asked for is impossible whatever the network.
        """

    @abstractmethod
    def prepares(self, job: Job) -> bool:
        """Whether the engine ever has anything to prepare."""

    @abstractmethod
    def prepare(self, job: Job) -> Preparation:
        """Let the engine prepare for a group; what it raises is an outcome, not an error."""

    @abstractmethod
    def split(self, job: Job) -> Sequence[TrainingTask]:
        """The parts of a group that the engine trains together; `prepare` comes before."""

    @abstractmethod
    def run(self, job: Job, on_sign: Callable[[SignOfLife], None]) -> Outcome:
        """Train and measure one part; a training that raises is an outcome, not an error.

        Args:
            job: what to do.
            on_sign: called every two seconds, from a thread of its own.
        """


class LocalExecutor(Executor):
    """Works on this machine, with the recorder that it is given.

    Args:
        recorder: started; its meters read the device that trains.
        domain: energy domain of that device, ``"cpu"`` or ``"gpu:<n>"``.
        cool_down_s: longest wait for idle power before a training.
        on_wait: told, in words, what is being waited for.
    """

    def __init__(
        self,
        recorder: Recorder,
        domain: str,
        cool_down_s: float,
        on_wait: Callable[[str], None],
    ) -> None:
        self._recorder = recorder
        self._domain = domain
        self._cool_down_s = cool_down_s
        self._on_wait = on_wait
        self._engines: dict[str, Engine] = {}
        self._whole: tuple[ImagesRequest, Images] | None = None
        self._images: tuple[ImagesRequest, Images] | None = None

    def images(self, request: ImagesRequest) -> Images:
        """The images of a request; the last ones are kept, and the data set they are from."""
        if self._images is None or self._images[0] != request:
            source = replace(request, train_images=None, test_images=None)
            if self._whole is None or self._whole[0] != source:
                self._whole = (source, source.load_whole())
            self._images = (request, request.part_of(self._whole[1]))
        return self._images[1]

    def obstacle(self, job: Job) -> str | None:
        """Why the engine cannot train this."""
        return self._engine(job.engine).obstacle(job.task, self.images(job.images), job.device)

    def prepares(self, job: Job) -> bool:
        """Whether the engine has a `prepare` of its own."""
        return type(self._engine(job.engine)).prepare is not Engine.prepare

    def prepare(self, job: Job) -> Preparation:
        """Let the engine prepare for a group on this machine."""
        import torch

        torch.set_num_threads(job.threads)
        images = self.images(job.images)
        state: Literal["finished", "failed", "interrupted"] = "finished"
        done, error = False, None
        waiting = self._recorder.open("waiting")
        window = None
        try:
            with DeviceLock(self._domain) as lock:
                lock.acquire(wait=True, on_wait=self._on_wait)
                window = waiting.lap(job.label)
                done = self._engine(job.engine).prepare(job.task, images, job.device)
        except KeyboardInterrupt:
            state = "interrupted"
        except Exception as raised:
            state, error = "failed", _message(raised)
        measurement = window.close() if window is not None else None
        return Preparation(state, done, waiting.close(), measurement, error)

    def split(self, job: Job) -> Sequence[TrainingTask]:
        """The parts of a group that the engine trains together."""
        return self._engine(job.engine).split(job.task, self.images(job.images), job.device)

    def run(self, job: Job, on_sign: Callable[[SignOfLife], None]) -> Outcome:
        """Train and measure one part on this machine."""
        import torch

        torch.set_num_threads(job.threads)
        images = self.images(job.images)
        waiting = self._recorder.open("waiting")
        flops = count_flops(
            job.task.network, job.task.network_options, images.shape, images.classes
        )
        with DeviceLock(self._domain) as lock:
            lock.acquire(wait=True, on_wait=self._on_wait)
            if self._cool_down_s:
                wait_until_idle(self._recorder, self._domain, limit_s=self._cool_down_s)
            waited = waiting.close()
            return self._measured(job, images, flops, waited, on_sign)

    def _measured(
        self,
        job: Job,
        images: Images,
        flops: FlopCount,
        waited: Measurement,
        on_sign: Callable[[SignOfLife], None],
    ) -> Outcome:
        state: Literal["finished", "failed", "interrupted"] = "finished"
        results: Sequence[TrainingResult] = ()
        error = details = None
        window = self._recorder.open(job.label)
        try:
            with _signs_of_life(window, job.task.epochs, on_sign) as progress:
                results = self._engine(job.engine).train(job.task, images, job.device, progress)
        except KeyboardInterrupt:
            state = "interrupted"
        except StoreError:
            window.close()
            raise
        except Exception as raised:
            state = "failed"
            error = _message(raised)
            details = traceback.format_exc()
        measurement = window.close()
        about = TraceAbout.of(self._recorder, job.label, window.started_at)
        return Outcome(
            state,
            tuple(results),
            measurement,
            waited,
            window.trace_columns(),
            about,
            utilisation(window.stretches, self._domain),
            flops,
            len(images.train),
            error,
            details,
        )

    def _engine(self, name: str) -> Engine:
        if name not in self._engines:
            self._engines[name] = engines.get(name)()
        return self._engines[name]


def _message(raised: Exception) -> str:
    return raised.message if isinstance(raised, JoulelabError) else repr(raised)


@contextlib.contextmanager
def _signs_of_life(
    window: Window, epochs: int, on_sign: Callable[[SignOfLife], None]
) -> Iterator[Callable[[int, int], None]]:
    """Report every two seconds from a thread; yields what the engine tells of its epochs."""
    done = 0
    stop = threading.Event()
    failed: list[Exception] = []

    def report() -> None:
        on_sign(SignOfLife(done, epochs, window.so_far()))

    def pulse() -> None:
        while not stop.wait(SIGN_INTERVAL_S):
            try:
                report()
            except Exception as error:
                failed.append(error)
                return

    def progress(epochs_done: int, _: int) -> None:
        nonlocal done
        done = epochs_done

    thread = threading.Thread(target=pulse, name="joulelab-sign-of-life", daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        stop.set()
        thread.join()
    if failed:
        raise failed[0]
