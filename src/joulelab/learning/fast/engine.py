"""The fast engine; the package's docstring draws its parts.

If a network has a layer that cannot be stacked, the reference engine trains it, and the log says
why. If a stack does not fit into the device's memory, it is halved repeatedly; this is logged once
and stored in the schedule.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace

import torch

from joulelab.learning.augmentation import OF_PROTOCOL
from joulelab.learning.engine import (
    Progress,
    TrainingResult,
    TrainingTask,
    check_hyperparameters,
)
from joulelab.learning.fast.group_training import NAME, train_group
from joulelab.learning.fast.hardware import check_precision, libraries_set_to
from joulelab.learning.fast.schedule import (
    Schedule,
    ScheduleFile,
    arithmetics,
    arrangements,
    circumstances,
)
from joulelab.learning.fast.stacking import NotStackableError, StackedNetwork, stack_layers
from joulelab.learning.fast.trial import Trial
from joulelab.learning.images import Images
from joulelab.learning.placement import Shelf
from joulelab.learning.protocol import protocols
from joulelab.learning.reference import ReferenceEngine
from joulelab.learning.training_loop import checked_device, does_not_fit, is_out_of_memory

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
        self._schedules = ScheduleFile.of_user() if schedules is None else schedules
        self._known: dict[tuple[str, int], Schedule] = {}

    def obstacle(self, task: TrainingTask, images: Images, device: str) -> str | None:
        """The layer that cannot be stacked, or another obstacle; ``None`` if there is none.

        Raises:
            UsageError: a precision that the device does not have.
        """
        try:
            self._stacked(task, images, checked_device(device))
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
        on = checked_device(device)
        try:
            network, key = self._stacked(task, images, on)
        except NotStackableError:
            return False
        if self._recalled(key, len(task.members)) is not None:
            return False
        self._remember(key, len(task.members), self._choose(network, task, images, on))
        return True

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
        network, key = self._stacked(task, images, on)
        placed = self._shelf.place(images, on)
        while True:
            schedule = self._recalled(key, len(task.members)) or Schedule()
            try:
                with libraries_set_to(task.precision, on):
                    return train_group(network, task, placed, schedule, progress)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                halved = schedule.halved(len(task.members), torch.get_num_threads())
                if halved is None:
                    raise does_not_fit(task, device) from error
            if on.type == "cuda":
                torch.cuda.empty_cache()
            log.warning(
                "%d trainings of %s do not fit into the memory of %s together: from now on %d are "
                "trained at a time",
                len(task.members),
                task.network,
                device,
                halved.largest_stack,
            )
            self._remember(key, len(task.members), halved)

    def schedule(self, task: TrainingTask, images: Images, device: str) -> Schedule | None:
        """The schedule of a task; ``None`` before `prepare`, and if it cannot be stacked."""
        try:
            _, key = self._stacked(task, images, checked_device(device))
        except NotStackableError:
            return None
        return self._recalled(key, len(task.members))

    def _choose(
        self, network: StackedNetwork, task: TrainingTask, images: Images, device: torch.device
    ) -> Schedule:
        placed = self._shelf.place(images, device)
        threads = torch.get_num_threads()
        trial = Trial(network, task, placed)
        ways = arithmetics(network, task.precision, device)
        chosen = ways[0]
        with libraries_set_to(task.precision, device):
            if len(ways) > 1:
                chosen = trial.fastest(ways, members=1, threads=1)
            choices = [
                replace(chosen, arrangement=arrangement)
                for arrangement in arrangements(len(task.members), threads, device)
            ]
            chosen = trial.fastest(choices, members=len(task.members), threads=threads)
        log.info("%s x %d on %s: %s", task.network, len(task.members), device, chosen)
        return chosen

    def _stacked(
        self, task: TrainingTask, images: Images, device: torch.device
    ) -> tuple[StackedNetwork, str]:
        """The layers of a task, and the key of its schedule.

        Raises:
            NotStackableError: the reference engine has to train it.
            UsageError: a precision that the device does not have.
        """
        check_precision(task.precision, device)
        if protocols.get(task.protocol).augmentation_for(task.augmentation) is not None:
            which = (
                f"the protocol {task.protocol}"
                if task.augmentation == OF_PROTOCOL
                else f"the augmentation {task.augmentation}"
            )
            raise NotStackableError(f"{which} changes training images at random")
        shape = images.shape
        network = stack_layers(task.network, shape, images.classes, task.network_options)
        return network, circumstances(network, shape, task.batch_size, task.precision, device)

    def _recalled(self, key: str, members: int) -> Schedule | None:
        if (key, members) not in self._known:
            remembered = self._schedules.get(key, members)
            if remembered is None:
                return None
            self._known[key, members] = remembered
        return self._known[key, members]

    def _remember(self, key: str, members: int, schedule: Schedule) -> None:
        self._known[key, members] = schedule
        self._schedules.put(key, members, schedule)
