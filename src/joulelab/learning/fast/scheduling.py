"""The schedules of tasks on this machine: found by trial, stored, smaller where memory is short."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch

from joulelab.learning.augmentation import OF_PROTOCOL
from joulelab.learning.engine import TrainingTask
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
from joulelab.learning.training_loop import does_not_fit, is_out_of_memory

log = logging.getLogger("joulelab")

R = TypeVar("R")


def stacked(task: TrainingTask, images: Images, device: torch.device) -> StackedNetwork:
    """The layers of a task.

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
    return stack_layers(task.network, images.shape, images.classes, task.network_options)


class Schedules:
    """Finds the schedule of a task and remembers it.

    Args:
        shelf: holds the images.
        file: store of schedules; ``None`` for the user's file.
    """

    def __init__(self, shelf: Shelf, file: ScheduleFile | None = None) -> None:
        self._shelf = shelf
        self._file = ScheduleFile.of_user() if file is None else file
        self._known: dict[tuple[str, int], Schedule] = {}

    def get(self, task: TrainingTask, images: Images, device: torch.device) -> Schedule | None:
        """The schedule of a task; ``None`` before `prepare`.

        Raises:
            NotStackableError, UsageError: see `stacked`.
        """
        return self._recalled(_key(task, images, device), len(task.members))

    def prepare(self, task: TrainingTask, images: Images, device: torch.device) -> bool:
        """Find the fastest schedule, unless known for this machine; whether anything was done.

        Raises:
            NotStackableError, UsageError: see `stacked`.
        """
        if self.get(task, images, device) is not None:
            return False
        self._remember(
            _key(task, images, device), len(task.members), self._choose(task, images, device)
        )
        return True

    def run(
        self,
        task: TrainingTask,
        images: Images,
        device: torch.device,
        train: Callable[[Schedule], R],
    ) -> R:
        """Train a task under its schedule, in ever smaller stacks until they fit into memory.

        Args:
            task: what is trained; its schedule is known.
            images: the data set.
            device: the one that trains.
            train: trains it under a schedule, from the beginning.

        Raises:
            TrainingError: one member does not fit into the memory of the device.
        """
        key, members = _key(task, images, device), len(task.members)
        while True:
            schedule = self._recalled(key, members) or Schedule()
            try:
                with libraries_set_to(task.precision, device):
                    return train(schedule)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                halved = schedule.halved(members, torch.get_num_threads())
                if halved is None:
                    raise does_not_fit(task, str(device)) from error
            if device.type == "cuda":
                torch.cuda.empty_cache()
            log.warning(
                "%d trainings of %s do not fit into the memory of %s together: from now on %d are "
                "trained at a time",
                members,
                task.network,
                device,
                halved.largest_stack,
            )
            self._remember(key, members, halved)

    def _choose(self, task: TrainingTask, images: Images, device: torch.device) -> Schedule:
        network = stacked(task, images, device)
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

    def _recalled(self, key: str, members: int) -> Schedule | None:
        if (key, members) not in self._known:
            remembered = self._file.get(key, members)
            if remembered is None:
                return None
            self._known[key, members] = remembered
        return self._known[key, members]

    def _remember(self, key: str, members: int, schedule: Schedule) -> None:
        self._known[key, members] = schedule
        self._file.put(key, members, schedule)


def _key(task: TrainingTask, images: Images, device: torch.device) -> str:
    """What the schedule of a task is stored by, apart from the number of members."""
    network = stacked(task, images, device)
    return circumstances(network, images.shape, task.batch_size, task.precision, device)
