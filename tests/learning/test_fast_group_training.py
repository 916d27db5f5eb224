"""Worker threads: order, failures, interruption, and what they leave behind."""

import signal
import threading
import time

import pytest
import torch
from fast_training import engine_with, made_up_images, task_of, threads
from torch import nn

from joulelab.learning.fast.group_training import Workers
from joulelab.learning.fast.schedule import Arrangement, Schedule
from joulelab.learning.fast.stack_training import StackTraining
from joulelab.learning.networks import networks

SOON_S = 60.0
"""Far less than the trainings here would take, far more than a busy machine delays a thread."""

ENDLESS = 1_000_000
"""Epochs that nobody waits for."""

IMAGES = made_up_images((1, 8, 8), train=50, test=20)


def _check_no_worker_is_left():
    """One that is in the middle of a step ends soon."""
    end_s = time.monotonic() + SOON_S
    while alive := [one.name for one in threading.enumerate() if "joulelab-worker" in one.name]:
        assert time.monotonic() < end_s, alive
        time.sleep(0.01)


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory):
    """The first step of a process loads libraries for seconds, which is not to be measured."""
    with threads(1):
        engine, task = _training(tmp_path_factory.mktemp("warm"), epochs=1)
        engine.train(task, IMAGES, "cpu")


@pytest.fixture(autouse=True)
def no_worker_is_left():
    yield
    _check_no_worker_is_left()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_are_in_the_order_of_the_items(count):
    def slow_first(item):
        time.sleep(0.05 if item == 0 else 0.0)
        return item * item

    with Workers(count) as workers:
        assert workers.map(slow_first, list(range(7))) == [0, 1, 4, 9, 16, 25, 36]
        assert workers.map(slow_first, []) == []


def test_workers_run_at_the_same_time_and_one_runs_in_the_calling_thread():
    barrier = threading.Barrier(2, timeout=SOON_S)
    with Workers(2) as workers:
        workers.map(lambda _: barrier.wait(), [0, 1])  # alone, each would wait for ever
    with Workers(1) as workers:
        assert workers.map(lambda _: threading.current_thread(), [0]) == [threading.main_thread()]


def test_each_worker_has_one_thread_of_torchs_and_the_caller_has_its_own_again():
    with threads(2):
        with Workers(2) as workers:
            assert workers.map(lambda _: torch.get_num_threads(), [0, 1]) == [1, 1]
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), Workers(2) as workers:
            workers.map({}.__getitem__, [0, 1])
        assert torch.get_num_threads() == 2


def test_a_failure_is_raised_and_stops_the_others():
    class OwnError(Exception):
        pass

    stopped = []

    def work(item):
        if item == 0:
            time.sleep(0.1)
            raise OwnError
        try:
            while True:
                workers.check()
                time.sleep(0.001)
        except BaseException:
            stopped.append(item)
            raise

    with pytest.raises(OwnError), Workers(2) as workers:
        workers.map(work, list(range(4)))
    assert stopped


def test_what_waits_behind_a_failure_does_not_begin_in_earnest():
    """It gives up at its first check."""
    went_on = []

    def work(item):
        if item == 0:
            raise ValueError("broken")
        while item == 1:
            workers.check()
            time.sleep(0.001)
        workers.check()
        went_on.append(item)

    with pytest.raises(ValueError, match="broken"), Workers(2) as workers:
        workers.map(work, list(range(6)))
    assert len(went_on) <= 4  # those that the second thread began before the failure was seen


def _training(tmp_path, network="DensePolyNN", arrangement=Arrangement.WORKERS, epochs=ENDLESS):
    task = task_of(network, None, 5, batch_size=20, epochs=epochs)
    schedule = Schedule(arrangement)
    return engine_with(schedule, task, IMAGES, tmp_path / "schedules.json"), task


def _interrupt_until(thread, training, ended):
    """Once, and again long after it should have helped: Python may lose one within a destructor."""
    training.wait()
    wait_s = 0.0
    while not ended.wait(wait_s):
        signal.pthread_kill(thread, signal.SIGINT)
        wait_s = SOON_S / 2


@pytest.mark.parametrize("arrangement", list(Arrangement))
def test_an_interruption_ends_a_training_that_has_no_end(arrangement, tmp_path, monkeypatch):
    """As Ctrl-C does, in the main thread, while workers compute."""
    training = threading.Event()
    real = StackTraining._step_on

    def step(stack, rows):
        if stack.steps:  # in the second epoch
            training.set()
        return real(stack, rows)

    monkeypatch.setattr(StackTraining, "_step_on", step)
    with threads(2 if arrangement in {"workers", "shares"} else 1):
        count = torch.get_num_threads()
        engine, task = _training(tmp_path, arrangement=arrangement)
        state = torch.random.get_rng_state()
        ended = threading.Event()
        interrupt = threading.Thread(
            target=_interrupt_until, args=(threading.get_ident(), training, ended)
        )
        interrupt.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                engine.train(task, IMAGES, "cpu")
        finally:
            ended.set()
            training.set()
        interrupt.join()
        assert torch.get_num_threads() == count
        assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.usefixtures("own_parts")
def test_an_error_in_one_member_ends_the_training_of_all_soon(tmp_path):
    """The network is refused on the CPU only, once it is built for real."""

    class Breaking(nn.Sequential):
        def __init__(self, shape, classes):
            super().__init__(nn.Flatten(), nn.Linear(shape.size, classes))
            weight = self[1].weight
            if not weight.is_meta and weight[0, 0] > broken_above:
                raise RuntimeError("broken")

    broken_above = 2.0
    networks.register("breaking")(Breaking)
    with threads(2):
        engine, task = _training(tmp_path, "breaking")
        broken_above = 0.0
        began_s = time.monotonic()
        with pytest.raises(Exception, match=r"the network breaking cannot be built.*broken"):
            engine.train(task, IMAGES, "cpu")
        assert time.monotonic() - began_s < SOON_S
        assert torch.get_num_threads() == 2


def test_an_error_in_what_is_told_of_progress_ends_the_training(tmp_path):
    def fail(*_):
        raise LookupError("told")

    with threads(2):
        engine, task = _training(tmp_path)
        with pytest.raises(LookupError, match="told"):
            engine.train(task, IMAGES, "cpu", fail)


@pytest.mark.parametrize("arrangement", list(Arrangement))
def test_progress_rises_by_one_to_the_last_epoch_and_torch_is_left_as_it_was(arrangement, tmp_path):
    """The number of threads, and the generator, from which workers draw weights in turn."""
    reported = []
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    with threads(2 if arrangement in {"workers", "shares"} else 1):
        count = torch.get_num_threads()
        engine, task = _training(tmp_path, "SimpleCNN", arrangement, epochs=3)
        engine.train(task, IMAGES, "cpu", lambda *done: reported.append(done))
        assert torch.get_num_threads() == count
    assert reported == [(1, 3), (2, 3), (3, 3)]
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.usefixtures("own_parts")
def test_members_draw_their_weights_one_after_the_other(tmp_path):
    """Their seeds go through torch's one generator: two at a time would mix them up."""
    inside, most = [], []

    class Watched(nn.Sequential):
        def __init__(self, shape, classes):
            inside.append(self.__class__)
            most.append(len(inside))
            time.sleep(0.01)
            super().__init__(nn.Flatten(), nn.Linear(shape.size, classes))
            time.sleep(0.01)
            inside.pop()

    networks.register("watched")(Watched)
    with threads(2):
        engine, task = _training(tmp_path, "watched", epochs=1)
        engine.train(task, IMAGES, "cpu")
    assert max(most) == 1
