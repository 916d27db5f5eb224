"""Tasks of a serving session, as plain data for all processes.

Models are not sent between processes. The task has the name of a function and its arguments, and
the server process builds the model on its device.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import JoulelabError, ServingError, UsageError, one_line, quoted
from joulelab.registry import imported_from_user, load_plugin
from joulelab.serving.arrivals import ArrivalProcess, parse_arrivals
from joulelab.serving.policies import Policy, parse_policy

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import nn

_ARRIVALS, _IMAGES = 0, 1
"""Random streams of a task: the generator of each is ``default_rng((seed, name))``."""
_HINT = "write it as module:attribute, for instance my_models:small_network"


@dataclass(frozen=True)
class ModelSource:
    """A factory and its arguments.

    Attributes:
        factory: ``module:attribute``; called with the options it gives an ``nn.Module`` that takes
            images (n, 3, S, S), float32.
        options: keyword arguments of the factory, plain data.
        path: folders searched first for the module.
        name: for messages; default: the factory with its options.
    """

    factory: str
    options: Mapping[str, Any] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    name: str = field(default="", compare=False)

    def __str__(self) -> str:
        if self.name:
            return self.name
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{self.factory}({options})" if options else self.factory

    def load(self) -> nn.Module:
        """Import the factory and call it.

        Raises:
            UsageError: the factory cannot be imported, or does not return an ``nn.Module``.
            ServingError: the factory raises.
        """
        from torch import nn

        factory = self._import()
        try:
            model = factory(**self.options)
        except JoulelabError:
            raise
        except Exception as error:
            raise ServingError(
                f"the model {self} cannot be built: {type(error).__name__}: {one_line(error)}",
                "call the factory directly with these options to see where",
            ) from error
        if not isinstance(model, nn.Module):
            raise UsageError(
                f"the model {self} is a {type(model).__name__}, not a torch.nn.Module",
                "let the factory return the network",
            )
        return model

    def _import(self) -> Callable[..., Any]:
        name, _, attribute = self.factory.partition(":")
        if not name or not attribute:
            raise UsageError(f"the model {quoted(self.factory)} does not name a factory", _HINT)
        sys.path[:0] = [folder for folder in self.path if folder not in sys.path]
        found = imported_from_user(name, attribute, f"the model {quoted(self.factory)}")
        if not callable(found):
            raise UsageError(
                f"the model {quoted(self.factory)}: {name} has no such function", _HINT
            )
        factory: Callable[..., Any] = found
        return factory


@dataclass(frozen=True)
class ImageSource:
    """The images that requests carry.

    Attributes:
        files: encoded images; each request draws one, by the seed.
        resize: length of the shorter side before cropping, in pixels.
        crop: height and width of the model's input, in pixels.
        prepare: where images are decoded, resized, cropped and normalised: in the server's loop, or
            in the producer before they are sent. It is done again for every request.
    """

    files: tuple[str, ...]
    resize: int = 256
    crop: int = 224
    prepare: Literal["server", "producer"] = "server"

    def generator(self, seed: int) -> Generator:
        """The random generator of images for a seed."""
        return np.random.default_rng((seed, _IMAGES))

    def drawn(self, count: int, seed: int) -> NDArray[np.int64]:
        """The file of each request.

        Args:
            count: of the requests.
            seed: the same seed draws the same images.

        Returns:
            (count,) positions in `files`.
        """
        return self.generator(seed).integers(len(self.files), size=count, dtype=np.int64)

    def name(self, position: int) -> str:
        """The name of a file, without its folder."""
        return Path(self.files[position]).name

    def check(self) -> None:
        """Check the task.

        Raises:
            UsageError: there are no files, one does not exist, or a size is impossible.
        """
        if not self.files:
            raise UsageError("no images to send", "give at least one file")
        if not 1 <= self.crop <= self.resize:
            raise UsageError(
                f"images of {self.resize} pixels cannot be cropped to {self.crop}",
                "crop must be at least 1 and at most resize",
            )
        if self.prepare not in ("server", "producer"):
            raise UsageError(
                f"images cannot be prepared in the {quoted(self.prepare)}",
                "prepare is 'server' or 'producer'",
            )

    def largest_file_bytes(self) -> int:
        """The size of the largest file.

        Raises:
            UsageError: a file cannot be looked at.
        """
        try:
            return max(Path(file).stat().st_size for file in self.files)
        except OSError as error:
            raise UsageError(
                f"the image {error.filename} cannot be read: {error.strerror}",
                "give existing, readable files",
            ) from error


@dataclass(frozen=True)
class ServingTask:
    """One window: requests served through the queue.

    Attributes:
        model: the model.
        policy: how many requests are served together, for instance ``greedy(64)``.
        arrivals: when requests are sent, for instance ``poisson(50)``.
        requests: number of requests.
        images: images of the requests.
        seed: determines arrivals and images; 0 or more.
        capacity: places in the queue; a request that finds none is dropped.
        warm_up_batches: batches before the window.
        warm_up_size: images in each of them.
        plugins: Python files with the user's policies and arrival processes.
        folder: base of the relative path of a trace.
    """

    model: ModelSource
    policy: str
    arrivals: str
    requests: int
    images: ImageSource
    seed: int
    capacity: int = 1024
    warm_up_batches: int = 8
    warm_up_size: int = 32
    plugins: tuple[str, ...] = ()
    folder: str | None = None

    def parsed_policy(self) -> Policy:
        """The policy.

        Raises:
            UsageError: the name is unknown, or the arguments are invalid, or it may wait for more
                requests than the queue has places.
        """
        self._load_plugins()
        policy = parse_policy(self.policy)
        if self.capacity < policy.largest and policy.take(self.capacity, 0.0) == 0:
            raise UsageError(
                f"{policy} waits for {policy.largest} requests, but the queue has {self.capacity} "
                "places",
                f"give it at least {policy.largest} (capacity)",
            )
        return policy

    def parsed_arrivals(self) -> ArrivalProcess:
        """The arrival process.

        Raises:
            UsageError: the name is unknown, or the arguments are invalid.
        """
        self._load_plugins()
        return parse_arrivals(self.arrivals, None if self.folder is None else Path(self.folder))

    def due_s(self) -> NDArray[np.float64]:
        """When each request is due.

        Returns:
            (requests,) seconds from the start of the window.

        Raises:
            UsageError: the arrival process has too few arrivals.
        """
        generator = np.random.default_rng((self.seed, _ARRIVALS))
        return self.parsed_arrivals().times_s(self.requests, generator)

    def check(self) -> None:
        """Check the task.

        Raises:
            UsageError: a number or a name is impossible.
        """
        require_at_least(1, requests=self.requests, capacity=self.capacity)
        require_at_least(
            0, warm_up_batches=self.warm_up_batches, warm_up_size=self.warm_up_size, seed=self.seed
        )
        self.images.check()
        self.parsed_policy()
        self.parsed_arrivals()

    def _load_plugins(self) -> None:
        for file in self.plugins:
            load_plugin(Path(file))


@dataclass(frozen=True)
class BatchTask:
    """Batches of one size, one after the other, without a queue.

    Attributes:
        model: the model.
        images: its input images.
        size: images in a batch.
        seconds: duration.
        least_batches: minimum number of batches, however long they take.
        most_batches: maximum number of batches, however fast they are.
        with_images: whether images are decoded and prepared as in serving; else batches of random
            numbers are prepared.
        warm_up_batches: batches before the window.
        seed: determines the images; 0 or more.
        load: share of time spent in batches. Below 1 the server sleeps after each, like a server
            waiting for requests: a batch after a wait finds cold caches and sleeping threads.
    """

    model: ModelSource
    images: ImageSource
    size: int
    seconds: float
    least_batches: int = 3
    most_batches: int = 100_000
    with_images: bool = True
    warm_up_batches: int = 2
    seed: int = 0
    load: float = 1.0

    def check(self) -> None:
        """Check the task.

        Raises:
            UsageError: a number is impossible.
        """
        require_at_least(1, size=self.size, least_batches=self.least_batches)
        require_at_least(self.least_batches, most_batches=self.most_batches)
        require_at_least(0, warm_up_batches=self.warm_up_batches, seed=self.seed)
        if not self.seconds >= 0:
            raise UsageError(f"seconds = {self.seconds} is not a duration", "give 0 or more")
        if not 0 < self.load <= 1:
            raise UsageError(f"a load of {self.load} is impossible", "give a share of at most 1")
        self.images.check()


@dataclass(frozen=True)
class Loaded:
    """A loaded model.

    Attributes:
        kept: whether the model of the previous task was reused.
        load_s: time to build it and to move it to the device, 0 if kept.
        warm_up_s: time of the warm-up.
        parameters: of the model.
        largest: the largest batch known to fit in memory if a larger one did not; else ``None``.
        remarks: what happened on the way.
    """

    kept: bool
    load_s: float
    warm_up_s: float
    parameters: int
    largest: int | None = None
    remarks: Sequence[str] = ()


def require_at_least(least: int, /, **values: int) -> None:
    """Check whole numbers.

    Args:
        least: smallest that is possible.
        **values: by name.

    Raises:
        UsageError: one is smaller, or not a whole number.
    """
    for name, value in values.items():
        if type(value) is not int or value < least:
            raise UsageError(
                f"{name} = {quoted(value)} is impossible",
                f"give a whole number of at least {least}",
            )
