"""Images, models and sessions for the tests of serving."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from joulelab.serving.session import ServingSession
from joulelab.serving.tasks import ImageSource, ModelSource, ServingTask

MODELS = str(Path(__file__).parent)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """Three small images, upright, lying and square, of random pixels."""
    folder = tmp_path_factory.mktemp("photographs")
    pixels = np.random.default_rng(5)
    files = []
    for name, shape in (("upright", (40, 33)), ("lying", (36, 51)), ("square", (32, 32))):
        file = folder / f"{name}.png"
        Image.fromarray(pixels.integers(0, 256, (*shape, 3), np.uint8)).save(file)
        files.append(str(file))
    return ImageSource(tuple(files), resize=32, crop=24)


@pytest.fixture(scope="session")
def session():
    """One for all tests, since a server takes seconds to start; it starts when a task is loaded."""
    with ServingSession() as session:
        yield session


@pytest.fixture(scope="session")
def tiny_model():
    """A function that names a model of `serving_models`."""
    return lambda name, **options: ModelSource(f"serving_models:{name}", options, path=(MODELS,))


@pytest.fixture(scope="session")
def serving_task(photographs, tiny_model):
    """A function that gives a quick task, changed as told."""

    def make(model="null", options=None, **changes):
        task = ServingTask(
            tiny_model(model, **(options or {})),
            "greedy(8)",
            "poisson(400)",
            requests=60,
            images=photographs,
            seed=3,
            capacity=64,
            warm_up_batches=1,
            warm_up_size=2,
        )
        return replace(task, **changes)

    return make
