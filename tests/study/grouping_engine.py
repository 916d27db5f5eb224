"""An engine that trains groups, and does what a test asks of it."""

from dataclasses import replace

from joulelab.errors import TrainingError, UsageError
from joulelab.learning.engine import engines
from joulelab.learning.reference import ReferenceEngine

NAME = "grouping-test"


@engines.register(NAME)
class GroupingEngine(ReferenceEngine):
    """Measures whole groups, or parts of `most` members, as one.

    Attributes:
        most: members of a part.
        obstacles: reasons by network.
        precisions: those that it claims to have.
        preparing: does the work of `prepare`, and is returned by it.
        prepared: tasks that it was asked to prepare for.
        trained: members of every part that it has trained, calibrations left out.
    """

    most = 100
    obstacles: dict = {}  # noqa: RUF012 - a test sets it anew
    precisions = ("fp32",)
    trained: list = []  # noqa: RUF012
    prepared: list = []  # noqa: RUF012

    @staticmethod
    def preparing(task):
        return False

    @classmethod
    def reset(cls):
        """As it is before any test."""
        cls.most, cls.obstacles, cls.precisions = 100, {}, ("fp32",)
        cls.trained, cls.prepared = [], []
        cls.preparing = staticmethod(lambda task: False)

    def obstacle(self, task, images, device):
        if task.precision not in self.precisions:
            raise UsageError(f"{device} has no {task.precision}", 'set precision = "fp32"')
        return self.obstacles.get(task.network)

    def split(self, task, images, device):
        cuts = range(0, len(task.members), self.most)
        return [task.with_members(task.members[cut : cut + self.most]) for cut in cuts]

    def prepare(self, task, images, device):
        self.prepared.append(task)
        return type(self).preparing(task)

    def train(self, task, images, device, progress=None):
        if len(task.members) > self.most:
            raise TrainingError("too many members", "split them")
        if task.max_steps is None:
            self.trained.append(task.members)
        results = super().train(replace(task, precision="fp32"), images, device, progress)
        return [replace(one, engine=NAME, precision=task.precision) for one in results]
