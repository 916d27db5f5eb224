"""Captured steps: on a GPU where there is one, else with a stand-in for CUDA graphs.

The stand-in records every operation of torch's that a step makes, below autograd, with the tensors
that it reads and writes; a replay makes the same operations on the same tensors, and nothing of
the Python around them runs again. As on a GPU, recording leaves no trace in any tensor.
"""

import contextlib
import logging

import pytest
import torch
from fast_training import (
    ARITHMETICS,
    CPU,
    made_up_images,
    stack_of,
    task_of,
    trained_in_a_stack,
    worst_difference,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from joulelab.learning.conformance import check_engine
from joulelab.learning.engine import Hyperparameters, Member
from joulelab.learning.fast.capture import WARM_UP_STEPS, Capture
from joulelab.learning.fast.engine import FastEngine
from joulelab.learning.fast.schedule import Schedule, ScheduleFile
from joulelab.learning.fast.stack_training import StackTraining
from joulelab.learning.reference import ReferenceEngine

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
IMAGES = made_up_images((1, 8, 8), train=50, test=20)


class _Recorder(TorchDispatchMode):
    """Notes operations, and puts back what they change."""

    def __init__(self):
        super().__init__()
        self.operations = []
        self.before = []
        self.written = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        self._keep_what_is_written(function, args, kwargs)
        results = function(*args, **kwargs)
        self.operations.append((function, args, kwargs, results))
        return results

    def _keep_what_is_written(self, function, args, kwargs):
        for place, argument in enumerate(function._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            for tensor in tree_leaves(value):
                if isinstance(tensor, torch.Tensor):
                    self.before.append((tensor, tensor.detach().clone()))

    def undo(self):
        for tensor, before in reversed(self.before):
            tensor.detach().copy_(before)
        self.before.clear()


class _Graph:
    """Stands in for torch.cuda.CUDAGraph."""

    def __init__(self):
        self.operations = []
        self.replays = 0

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        for function, args, kwargs, results in self.operations:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(results), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.detach().copy_(new)


@contextlib.contextmanager
def _recording(graph):
    """Stands in for torch.cuda.graph."""
    recorder = _Recorder()
    try:
        with recorder:
            yield
    finally:
        recorder.undo()
    graph.operations = recorder.operations


class _Stream:
    def __init__(self, device=None):
        pass

    def wait_stream(self, other):
        pass


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that were captured, in order; nothing of CUDA is needed."""
    made = []

    def make():
        made.append(_Graph())
        return made[-1]

    monkeypatch.setattr(torch.cuda, "CUDAGraph", make)
    monkeypatch.setattr(torch.cuda, "graph", _recording)
    monkeypatch.setattr(torch.cuda, "Stream", _Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", _Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    return made


class _Captured:
    """A stack on the CPU whose steps go through a capture, as on a GPU."""

    def __init__(self, task, images, arithmetic=None):
        self.stack = stack_of(task, images, arithmetic)
        self.task = task
        self.capture = Capture(self.stack._step_on)
        self.losses = []

    def epoch(self, steps=None):
        """The mean losses of an epoch, (N,)."""
        stack = self.stack
        order = torch.stack([one.next_order() for one in stack._orders])
        stack._total.zero_()
        self.capture.run(
            order,
            self.task.batch_size,
            stack.steps_an_epoch if steps is None else steps,
            stack._learnt,
            self.losses.append,
            stack._before_step,
        )
        stack.steps += stack.steps_an_epoch
        return stack._total / order.shape[1]


@pytest.mark.parametrize(
    ("network", "arithmetic", "protocol"),
    [
        ("DensePolyNN", "torch", "default"),
        ("SimpleCNN", "torch", "yarally2023"),
        ("SimpleCNN", "channels last", "default"),
    ],
)
def test_captured_steps_have_the_losses_of_eager_ones(network, protocol, arithmetic, graphs):
    """Three epochs of two full batches and a short one."""
    task = task_of(network, None, 3, batch_size=20, epochs=3, protocol=protocol)
    captured = _Captured(task, IMAGES, ARITHMETICS[arithmetic])
    eager = stack_of(task, IMAGES, ARITHMETICS[arithmetic])
    expected = []
    for _ in range(3):
        mean = captured.epoch()
        assert torch.equal(mean, eager.train_epoch(None, expected.append))
    assert torch.equal(torch.stack(captured.losses), torch.stack(expected))
    for name, values in eager.state.items():
        assert torch.equal(captured.stack.state[name], values), name
    assert torch.equal(captured.stack.scores(), eager.scores())
    assert [graph.replays for graph in graphs] == [6, 3]


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_captured_step_follows_the_schedule_of_the_learning_rate(optimiser, graphs):
    """It reads the learning rate from a tensor, as on a GPU; so does what it is compared with."""
    others = {"schedule": "cosine", "optimiser": optimiser, "epochs": 3, "batch_size": 20}
    task = task_of("DensePolyNN", None, 2, **others)
    members = [Member(seed, Hyperparameters(5e-3, momentum=0.9, nesterov=True)) for seed in (1, 2)]
    task = task.with_members(members)
    captured, eager = _Captured(task, IMAGES), stack_of(task, IMAGES)
    for stack in (captured.stack, eager):
        for group in stack._optimiser._optimiser.param_groups:
            group["lr"] = torch.tensor(group["lr"])
    expected = []
    for _ in range(3):
        captured.epoch()
        eager.train_epoch(None, expected.append)
    assert torch.equal(torch.stack(captured.losses), torch.stack(expected))
    plain = trained_in_a_stack(task, IMAGES)
    got = torch.stack(captured.losses).T.tolist()
    assert max(worst_difference(a, b.losses) for a, b in zip(got, plain, strict=True)) < 1e-5
    assert [graph.replays for graph in graphs] == [6, 3]


def test_warm_up_and_capture_leave_what_was_learnt_as_it_was(graphs):
    """At first, where there are no moments yet; and later, for a batch of another size."""
    task = task_of("SimpleCNN", None, 2, batch_size=20)
    captured = _Captured(task, IMAGES)
    stack = captured.stack
    captured.capture._order = torch.stack([one.next_order() for one in stack._orders])
    captured.capture._position = torch.zeros((), dtype=torch.int64)
    before = {name: values.detach().clone() for name, values in stack.state.items()}
    captured.capture._captured(20, stack._learnt)
    for name, values in stack.state.items():
        assert torch.equal(values, before[name]), name
    assert stack._optimiser.state()
    assert not any(values.any() for values in stack._optimiser.state())
    assert not stack._total.any()

    stack.train_epoch()
    learnt = [tensor.detach().clone() for tensor in stack._learnt()]
    captured.capture._captured(10, stack._learnt)
    for now, then in zip(stack._learnt(), learnt, strict=True):
        assert torch.equal(now, then)
    assert len(graphs) == 2


def test_each_size_of_a_batch_is_captured_once_the_largest_first(graphs, monkeypatch):
    sizes = []
    real = Capture._captured

    def noting(self, size, learnt):
        sizes.append(size)
        return real(self, size, learnt)

    monkeypatch.setattr(Capture, "_captured", noting)
    captured = _Captured(task_of("DensePolyNN", None, 2, batch_size=20), IMAGES)
    captured.epoch(steps=2)
    assert sizes == [20]
    captured.epoch()
    captured.epoch()
    assert sizes == [20, 10]
    assert [graph.replays for graph in graphs] == [2 + 2 + 2, 2]


def test_images_come_in_their_order_and_each_once_an_epoch(graphs):
    """What a step is given, seen from inside the graph."""
    seen = torch.zeros(2, 12, dtype=torch.int64)
    place = torch.zeros((), dtype=torch.int64)

    def step(rows):
        places = (place + torch.arange(rows.shape[1])) % 12
        seen.index_copy_(1, places, rows)
        place.add_(rows.shape[1])
        return rows.sum(1).float()

    capture = Capture(step)
    losses = []
    for epoch in range(2):
        order = torch.stack([torch.randperm(12) + 100 * epoch, torch.randperm(12)])
        place.zero_()
        capture.run(order, 5, 3, lambda: [seen, place], losses.append)
        assert torch.equal(seen, order)
        expected = [order[:, :5], order[:, 5:10], order[:, 10:]]
        for one, rows in zip(losses[-3:], expected, strict=True):
            assert torch.equal(one, rows.sum(1).float())


@pytest.mark.parametrize("batch", [26, 30, 49, 50, 80])
def test_a_batch_of_more_than_half_of_the_images_can_be_warmed_up(batch, graphs, caplog):
    """Two steps of warming up then need more images than there are."""
    task = task_of("DensePolyNN", None, 2, batch_size=batch)
    captured = _Captured(task, IMAGES)
    captured.epoch()
    expected = []
    stack_of(task, IMAGES).train_epoch(None, expected.append)
    assert torch.equal(torch.stack(captured.losses), torch.stack(expected))
    assert not caplog.records


def test_losses_of_a_step_are_not_overwritten_by_the_next(graphs):
    captured = _Captured(task_of("DensePolyNN", None, 2, batch_size=10), IMAGES)
    captured.epoch()
    assert len(captured.losses) == 5
    assert len({tuple(losses.tolist()) for losses in captured.losses}) == 5


def test_warm_up_steps_come_before_the_capture(graphs):
    """Libraries allocate in their first steps, which a capture would not survive."""
    calls = []

    def step(rows):
        calls.append(bool(graphs))
        return rows.sum(1).float()

    Capture(step).run(torch.arange(6).view(1, 6), 3, 2, list)
    assert calls == [False] * WARM_UP_STEPS + [True]


def test_a_step_that_cannot_be_captured_is_made_without(graphs, caplog):
    """It asks the device for a number; the losses are the same."""
    task = task_of("DensePolyNN", None, 2, batch_size=20)
    captured = _Captured(task, IMAGES)
    real = captured.stack._step_on

    def waiting(rows):
        losses = real(rows)
        float(losses[0])
        return losses

    captured.capture = Capture(waiting)
    with caplog.at_level(logging.WARNING, logger="joulelab"):
        captured.epoch()
    assert all("cannot be captured" in record.getMessage() for record in caplog.records)
    assert caplog.records
    expected = []
    stack_of(task, IMAGES).train_epoch(None, expected.append)
    assert torch.equal(torch.stack(captured.losses), torch.stack(expected))
    assert sum(graph.replays for graph in graphs) == 0


def test_too_little_memory_for_a_capture_is_not_taken_for_a_step_that_waits(graphs, monkeypatch):
    def full(graph):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "graph", full)
    captured = _Captured(task_of("DensePolyNN", None, 2, batch_size=20), IMAGES)
    with pytest.raises(torch.OutOfMemoryError):
        captured.epoch()


# On a GPU


@needs_cuda
def test_it_keeps_the_promises_of_an_engine_on_a_gpu():
    check_engine(lambda: FastEngine(schedules=ScheduleFile(None)), "cuda:0", tolerance=2e-3)


@needs_cuda
@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_optimisers_and_schedules_on_a_gpu(optimiser):
    others = {"schedule": "cosine", "optimiser": optimiser, "epochs": 3, "batch_size": 20}
    task = task_of("DensePolyNN", None, 3, **others)
    on_cpu = trained_in_a_stack(task, IMAGES)
    on_gpu = trained_in_a_stack(task, IMAGES, device=torch.device("cuda", 0))
    for one, other in zip(on_gpu, on_cpu, strict=True):
        assert worst_difference(one.losses, other.losses) < 1e-2


@needs_cuda
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("network", ["DensePolyNN", "SimpleCNN"])
def test_steps_on_a_gpu_have_the_losses_of_those_on_the_cpu(network, channels_last):
    """Two epochs with a short last batch; captured, and not."""
    task = task_of(network, None, 3, batch_size=20)
    gpu = torch.device("cuda", 0)
    arithmetic = Schedule(channels_last=channels_last).arithmetic("fp32", gpu)
    on_cpu = trained_in_a_stack(task, IMAGES)
    captured = trained_in_a_stack(task, IMAGES, arithmetic, gpu)
    stack = stack_of(task, IMAGES, arithmetic, gpu)
    stack._capture = None
    eager = []
    for _ in range(2):
        stack.train_epoch(None, lambda losses: eager.append(losses.tolist()))
    for index, (one, other) in enumerate(zip(captured, on_cpu, strict=True)):
        assert worst_difference(one.losses, other.losses) < 1e-2
        assert worst_difference(one.losses, [losses[index] for losses in eager]) < 1e-3


@needs_cuda
def test_warm_up_and_capture_on_a_gpu_leave_what_was_learnt_as_it_was():
    task = task_of("SimpleCNN", None, 2, batch_size=20)
    stack = stack_of(task, IMAGES, device=torch.device("cuda", 0))
    before = {name: values.detach().clone() for name, values in stack.state.items()}
    order = torch.stack([one.next_order() for one in stack._orders]).cuda()
    stack._capture.run(order, 20, 0, stack._learnt)
    stack._capture._captured(20, stack._learnt)
    torch.cuda.synchronize()
    for name, values in stack.state.items():
        assert torch.equal(values, before[name]), name
    assert not any(values.any() for values in stack._optimiser.state())
    assert not stack._total.any()


@needs_cuda
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_precisions_on_a_gpu(precision):
    task = task_of("SimpleCNN", None, 3, batch_size=20, precision=precision)
    results = FastEngine(schedules=ScheduleFile(None)).train(task, IMAGES, "cuda:0")
    expected = ReferenceEngine().train(task_of("SimpleCNN", None, 3, batch_size=20), IMAGES, "cpu")
    for one, other in zip(results, expected, strict=True):
        assert one.precision == precision
        assert worst_difference(one.train_losses, other.train_losses) < 0.03
    before = torch.backends.cuda.matmul.fp32_precision
    assert before != "tf32"


@needs_cuda
def test_a_group_too_large_for_a_gpu_is_halved(monkeypatch):
    real = StackTraining._step_on

    def step(stack, rows):
        if len(stack._task.members) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(stack, rows)

    monkeypatch.setattr(StackTraining, "_step_on", step)
    task = task_of("SimpleCNN", None, 5, batch_size=20)
    results = FastEngine(schedules=ScheduleFile(None)).train(task, IMAGES, "cuda:0")
    assert len(results) == 5
    assert all(result.extra["stack_size"] <= 2 for result in results)


def test_on_the_cpu_nothing_is_captured():
    assert stack_of(task_of("DensePolyNN"), IMAGES, device=CPU)._capture is None
