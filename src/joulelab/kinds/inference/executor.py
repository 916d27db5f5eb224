"""Jobs of a serving session, and the executors that run and measure them in separate processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from joulelab.energy.lock import DeviceLocks
from joulelab.kinds.inference.spec import Task
from joulelab.serving.results import Batches, Served
from joulelab.serving.session import ServingSession
from joulelab.serving.session import Task as SessionTask
from joulelab.serving.tasks import Loaded, ServingTask
from joulelab.study.executor import Executor, Job, Progress


@dataclass(frozen=True)
class SessionJob(Job):
    """The work of a serving session.

    Attributes:
        task: of the session.
    """

    task: SessionTask


@dataclass(frozen=True)
class ServingJob(SessionJob):
    """A window of requests, or batches of one size.

    Attributes:
        task: the task of the server.
    """

    task: Task


SessionJobT = TypeVar("SessionJobT", bound=SessionJob)
Result = TypeVar("Result")


class SessionExecutor(Executor[SessionJobT, Result]):
    """Works on this machine, in processes that are kept between jobs.

    `prepare` loads the model and warms it up; `run` is only the window. If a model could not be
    loaded, `run` fails with the reason, and `load` raises it. Arguments are as for `Executor`.

    Attributes:
        loaded: result of the last `prepare`; ``None`` if it failed.
    """

    loaded: Loaded | None = None
    _session: ServingSession | None = None
    _trouble: Exception | None = None

    def close(self) -> None:
        """End the processes."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def load(self, job: SessionJobT) -> None:
        """Prepare a job, and raise errors.

        Raises:
            UsageError: the model cannot be imported.
            ServingError: it cannot be built, or it fails.
            KeyboardInterrupt: Ctrl-C.
        """
        if self.prepare(job).state == "interrupted":
            raise KeyboardInterrupt
        if self._trouble is not None:
            raise self._trouble

    @property
    def tick_s(self) -> float:
        """Tick of the slowest sensor."""
        return max((channel.tick_s for channel in self._recorder.channels), default=0.0)

    @property
    def idle_error_w(self) -> Mapping[str, float]:
        """Bounds of the error of idle power in watts by domain."""
        return self._recorder.idle_error_w

    def measure_idle(self, seconds: float) -> Mapping[str, float]:
        """Measure idle power in watts by domain, while holding the locks of its devices.

        Args:
            seconds: duration.
        """
        with DeviceLocks(self._devices) as locks:
            locks.acquire(on_wait=self._on_wait)
            return self._recorder.measure_idle(seconds)

    def _prepare(self, job: SessionJobT) -> bool:
        self.loaded, self._trouble = None, None
        if self._session is None:
            self._session = ServingSession(job.device, job.threads)
        try:
            self.loaded = self._session.load(job.task)
        except Exception as error:
            self._trouble = error
            raise
        return True

    def _ready(self) -> ServingSession:
        """The session with the model of the last `prepare`."""
        if self._trouble is not None:
            raise self._trouble  # if loading failed, the run failed
        if self._session is None:
            raise RuntimeError("prepare a job before running it")
        return self._session


class ServingExecutor(SessionExecutor[ServingJob, Served | Batches]):
    """Serves windows of requests, and batches."""

    def _carry_out(self, job: ServingJob, progress: Progress) -> Served | Batches:
        if isinstance(job.task, ServingTask):
            return self._ready().serve(job.task, progress)
        return self._ready().run_batches(job.task, progress)
