"""Jobs that serve, and the executor that has them served by another process and measures them."""

from __future__ import annotations

from dataclasses import dataclass

from joulelab.kinds.inference.spec import Task
from joulelab.serving.results import Batches, Served
from joulelab.serving.session import ServingSession
from joulelab.serving.tasks import Loaded, ServingTask
from joulelab.study.executor import Executor, Job, Progress


@dataclass(frozen=True)
class ServingJob(Job):
    """A window of requests, or batches of one size.

    Attributes:
        task: what the server is asked to do.
    """

    task: Task


class ServingExecutor(Executor[ServingJob, Served | Batches]):
    """Serves on this machine, in processes of its own that are kept between jobs.

    `prepare` loads the model and warms it up; `run` is the window alone. Where a model could not be
    loaded, `run` fails with the reason. Arguments are as for `Executor`.

    Attributes:
        loaded: what the last `prepare` has loaded; ``None`` where it failed.
    """

    loaded: Loaded | None = None
    _session: ServingSession | None = None
    _trouble: Exception | None = None

    def close(self) -> None:
        """End the processes."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _prepare(self, job: ServingJob) -> bool:
        self.loaded, self._trouble = None, None
        if self._session is None:
            self._session = ServingSession(job.device, job.threads)
        try:
            self.loaded = self._session.load(job.task)
        except Exception as error:
            self._trouble = error
            raise
        return True

    def _carry_out(self, job: ServingJob, progress: Progress) -> Served | Batches:
        if self._trouble is not None:
            raise self._trouble  # what could not be loaded is a run that failed
        if self._session is None:
            raise RuntimeError("prepare a job before running it")
        if isinstance(job.task, ServingTask):
            return self._session.serve(job.task, progress)
        return self._session.run_batches(job.task, progress)
