"""What windows will cost: how they are timed, and what loading models adds."""

from types import SimpleNamespace

import numpy as np
import pytest

from joulelab.energy.reading import Status, Total
from joulelab.kinds.inference.batch_table import LOAD
from joulelab.kinds.inference.executor import ServingJob
from joulelab.kinds.inference.prediction import ModelProfile, loading_s, profile_model
from joulelab.serving.results import Batches
from joulelab.serving.tasks import BatchTask, Loaded, ServingTask
from joulelab.study.runner import Calibrator


def configurations(*models):
    return [
        SimpleNamespace(key=("batching", f"{model}{number}"), model=model, weights="auto")
        for number, model in enumerate(models)
    ]


def profiles(some, **loads_s):
    return {one.key: ModelProfile(loads_s[one.model], ()) for one in some}


def test_a_model_that_is_alone_is_loaded_once_and_before_the_first_run():
    some = configurations("a", "a", "a")
    assert set(loading_s(some, profiles(some, a=None)).values()) == {0.0}


def test_a_model_is_loaded_where_the_run_before_had_another():
    some = configurations("a", "a", "b", "b")
    # Of the three others that may come before, two have the other model.
    found = loading_s(some, profiles(some, a=3.0, b=6.0))
    assert list(found.values()) == pytest.approx([2.0, 2.0, 4.0, 4.0])


def test_the_first_model_of_a_process_takes_as_long_as_the_slowest_of_the_others():
    some = configurations("a", "b", "c")
    found = loading_s(some, profiles(some, a=None, b=1.0, c=2.0))
    assert list(found.values()) == [2.0, 1.0, 2.0]


class Served(Calibrator):
    """Notes what is timed, and answers at once."""

    def __init__(self):
        self.tasks = []

    def prepare(self, executor, job):
        executor.loaded = Loaded(bool(self.tasks), 0.0 if self.tasks else 7.0, 0.1, 10)
        return SimpleNamespace(error=None)

    def calibrate(self, executor, job):
        self.tasks.append(job.task)
        batches = Batches(job.task.size, job.task.size, *np.full((3, 4), 0.01), 0, ())
        return SimpleNamespace(result=batches, measurement=SimpleNamespace(duration_s=0.1))


def timed(task, loaded=None):
    served = Served()
    energy = Total(Status.MEASURED, 2.0, 1.0, 0.1, ("cpu",), ("x",))
    executor = SimpleNamespace(loaded=loaded)
    profile = profile_model(ServingJob("x", "cpu", 1, task), executor, served, lambda _: energy)
    return profile, served.tasks


WINDOW = ServingTask(None, "greedy(4)", "poisson(9)", requests=5, images=None, seed=0)
BATCHES = BatchTask(model=None, images=None, size=8, seconds=1.0, with_images=False)


def test_batches_of_a_queue_are_timed_with_waits_and_others_without():
    _, tasks = timed(WINDOW)
    assert [(task.size, task.load) for task in tasks] == [(1, LOAD), (4, LOAD)]
    _, tasks = timed(BATCHES)
    assert [task.load for task in tasks] == [1.0, 1.0]


def test_how_long_a_model_loads_is_unknown_where_its_process_was_started_for_it():
    assert timed(WINDOW)[0].load_s is None
    assert timed(WINDOW, loaded=Loaded(True, 0.0, 0.1, 10))[0].load_s == 7.0


@pytest.mark.parametrize("failing", ["prepare", "calibrate"])
def test_a_model_that_fails_has_an_empty_profile(failing):
    failed = SimpleNamespace(error="never finished", result=None)
    served = Served()
    setattr(served, failing, lambda *_: failed)
    executor = SimpleNamespace(loaded=Loaded(True, 0.0, 0.1, 10))
    profile = profile_model(ServingJob("x", "cpu", 1, WINDOW), executor, served, None)
    assert profile.sizes == ()
    assert profile.costs(4) is None
