"""What is measured of batches of images by their size.

After each batch the server waits as long as the batch took, as at half load: a batch after a wait
takes longer than a back-to-back one, because caches are cold and threads asleep, and this is the
usual case in a server. The limit is on the time of a batch.
"""

from __future__ import annotations

from dataclasses import replace

from joulelab.energy.reading import Total
from joulelab.kinds.inference.batch_table import LOAD, SizeProfile
from joulelab.kinds.inference.executor import ServingJob
from joulelab.kinds.inference.schedule import AROUND_S, Cell, Pieces, Work
from joulelab.serving.results import Batches, Served
from joulelab.serving.tasks import BatchTask
from joulelab.study.executor import Outcome

LEAST_BATCHES = 3
"""Minimum number of batches in a window."""


class BatchWork(Work[ServingJob, Served | Batches, SizeProfile]):
    """Batches of images; a window repeats one piece, a batch.

    Args:
        loading: batches of any size of the model.
    """

    window_lengths = (10, 6, 4, 2, 1)

    def size_in_words(self, size: int) -> str:
        """As in ``batches of 8``."""
        return f"batches of {size}"

    def job(self, cell: Cell, seconds: float, seed: int) -> ServingJob:
        """Batches of one size."""
        assert isinstance(self.loading.task, BatchTask), "the job is of batches"
        task = replace(
            self.loading.task,
            size=cell[0],
            seconds=seconds,
            least_batches=LEAST_BATCHES if seconds else 1,
            warm_up_batches=1,
            seed=seed,
            load=LOAD if seconds else 1.0,
        )
        return replace(self.loading, label=self.size_in_words(cell[0]), task=task)

    def remarks(self, result: Served | Batches) -> list[str]:
        """What the server has said, and whether images were replaced."""
        batches = _batches(result)
        replaced = "some images cannot be read and were replaced by others"
        return [*batches.remarks, *([replaced] if batches.unreadable else [])]

    def fits(self, cell: Cell, result: Served | Batches) -> bool:
        """Whether no batch had to be halved for want of memory."""
        return _batches(result).size == cell[0]

    def pieces_s(self, result: Served | Batches) -> Pieces:
        """The time of a batch."""
        return (float(_batches(result).durations_s.mean()),)

    def window_s(self, pieces_s: Pieces, seconds: float) -> float:
        """With a batch that warms up, and waits after batches."""
        (batch_s,) = pieces_s
        return batch_s + max(seconds, LEAST_BATCHES * batch_s / LOAD) + AROUND_S

    def limited_s(self, pieces_s: Pieces) -> float:
        """The time of a batch."""
        return pieces_s[0]

    def window(
        self, result: Served | Batches, outcome: Outcome[Served | Batches], total: Total
    ) -> SizeProfile:
        """The profile of its batches."""
        return SizeProfile.of(_batches(result), outcome.measurement.duration_s, total)


def _batches(result: Served | Batches) -> Batches:
    assert isinstance(result, Batches), "the task is of batches"
    return result
