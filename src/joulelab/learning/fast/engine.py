"""The fast engine; the package's docstring draws its parts.

If a network has a layer that cannot be stacked, the reference engine trains it, and the log says
why. If a stack does not fit into the device's memory, it is halved repeatedly; this is logged once
and stored in the schedule.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict

from joulelab.learning.engine import (
    Progress,
    TrainingResult,
    TrainingTask,
    check_hyperparameters,
)
from joulelab.learning.fast.group_training import NAME, train_group
from joulelab.learning.fast.schedule import Schedule, ScheduleFile
from joulelab.learning.fast.scheduling import Schedules, stacked
from joulelab.learning.fast.stacking import NotStackableError
from joulelab.learning.images import Images
from joulelab.learning.placement import Shelf
from joulelab.learning.reference import ReferenceEngine
from joulelab.learning.training_loop import checked_device

log = logging.getLogger("joulelab")


class FastEngine(ReferenceEngine):
    """Trains the members of a task together, or with the reference engine if that is impossible.

    The last data set stays on the device between calls.

    Args:
        shelf: holds the images; a new one where ``None``.
        schedules: store of schedules; ``None`` for the user's file.
    """

    name = NAME

    def __init__(self, shelf: Shelf | None = None, schedules: ScheduleFile | None = None) -> None:
        super().__init__(shelf)
        self._schedules = Schedules(self._shelf, schedules)

    def obstacle(self, task: TrainingTask, images: Images, device: str) -> str | None:
        """The layer that cannot be stacked, or another obstacle; ``None`` if there is none.

        Raises:
            UsageError: a precision that the device does not have.
        """
        try:
            stacked(task, images, checked_device(device))
        except NotStackableError as error:
            return error.message
        return None

    def split(self, task: TrainingTask, images: Images, device: str) -> Sequence[TrainingTask]:
        """The whole task; for the reference engine, member by member."""
        if self.obstacle(task, images, device) is not None:
            return super().split(task, images, device)
        return [task]

    def prepare(self, task: TrainingTask, images: Images, device: str) -> bool:
        """Find the fastest schedule, unless known for this machine."""
        try:
            return self._schedules.prepare(task, images, checked_device(device))
        except NotStackableError:
            return False

    def train(
        self,
        task: TrainingTask,
        images: Images,
        device: str,
        progress: Progress | None = None,
    ) -> Sequence[TrainingResult]:
        """Train and evaluate every member of the task; see `Engine.train`.

        Raises:
            TrainingError: the network cannot be built for these images, fails on a batch, or
                does not fit into the memory of the device.
            UsageError: hyperparameters that no optimiser takes, an unknown protocol or
                network, a precision that the device does not have, or a missing device.
        """
        for member in task.members:
            check_hyperparameters(asdict(member.hyperparameters))
        obstacle = self.obstacle(task, images, device)
        if obstacle is not None:
            log.warning(
                "the fast engine cannot train %s: %s; the reference engine trains it",
                task.network,
                obstacle,
            )
            return super().train(task, images, device, progress)
        self.prepare(task, images, device)
        on = checked_device(device)
        network = stacked(task, images, on)
        placed = self._shelf.place(images, on)
        return self._schedules.run(
            task,
            images,
            on,
            lambda schedule: train_group(network, task, placed, schedule, progress),
        )

    def schedule(self, task: TrainingTask, images: Images, device: str) -> Schedule | None:
        """The schedule of a task; ``None`` before `prepare`, and if it cannot be stacked."""
        try:
            return self._schedules.get(task, images, checked_device(device))
        except NotStackableError:
            return None
