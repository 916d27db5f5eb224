"""Jobs that generate text, and the executor that runs and measures them."""

from __future__ import annotations

from dataclasses import dataclass

from joulelab.kinds.inference.executor import SessionExecutor, SessionJob
from joulelab.serving.generation.tasks import Generated, GenerationTask
from joulelab.study.executor import Progress


@dataclass(frozen=True)
class GenerationJob(SessionJob):
    """Parts of a generation.

    Attributes:
        task: the task of the server.
    """

    task: GenerationTask


class GenerationExecutor(SessionExecutor[GenerationJob, Generated]):
    """Generates text."""

    def _carry_out(self, job: GenerationJob, progress: Progress) -> Generated:
        return self._ready().generate(job.task, progress)
