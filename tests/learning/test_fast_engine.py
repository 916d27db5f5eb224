"""The fast engine as a whole: its promises, precisions, and what it does where memory is short."""

import logging
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from fast_training import (
    engine_with,
    key_of,
    made_up_images,
    stack_of,
    task_of,
    threads,
    worst_difference,
)

from joulelab.errors import TrainingError, UsageError
from joulelab.learning.conformance import check_engine
from joulelab.learning.engine import Hyperparameters, Member, Precision, engines
from joulelab.learning.fast import group_training, hardware
from joulelab.learning.fast.engine import FastEngine
from joulelab.learning.fast.layers import Arithmetic
from joulelab.learning.fast.schedule import Arrangement, Schedule, ScheduleFile
from joulelab.learning.fast.stack_training import StackTraining
from joulelab.learning.reference import ReferenceEngine

IMAGES = made_up_images((1, 8, 8), train=100, test=50)
TASK = task_of("SimpleCNN", None, 8, batch_size=30)

TOLERANCE = 1e-3
"""Relative, of losses: members of a stack are summed in another order than alone."""


def _engine():
    return FastEngine(schedules=ScheduleFile(None))


@pytest.mark.parametrize("cores", [1, pytest.param(2, marks=pytest.mark.long)])
def test_it_keeps_the_promises_of_an_engine(cores, tmp_path):
    """Its schedules are tried once and remembered."""
    file = ScheduleFile(tmp_path / "schedules.json")
    with threads(cores):
        check_engine(lambda: FastEngine(schedules=file), tolerance=TOLERANCE)


def test_it_is_registered_as_fast():
    assert engines.get("fast") is FastEngine
    assert FastEngine.name == "fast"


def test_the_same_schedule_gives_the_same_results(tmp_path):
    task = replace(TASK, epochs=1)
    first, second = (
        engine_with(Schedule(), task, IMAGES, tmp_path / name).train(task, IMAGES, "cpu")
        for name in ("one", "two")
    )
    assert first == second


def test_impossible_hyperparameters_are_refused_before_anything_is_tried(monkeypatch):
    monkeypatch.setattr(FastEngine, "prepare", lambda *_: pytest.fail("it was tried"))
    task = TASK.with_members([Member(1), Member(2, Hyperparameters(beta1=1.0))])
    with pytest.raises(UsageError, match=r"beta1 = 1\.0"):
        _engine().train(task, IMAGES, "cpu")


def test_a_device_that_is_not_there_is_a_usage_error():
    with pytest.raises(UsageError, match="no device cuda:99"):
        _engine().train(TASK, IMAGES, "cuda:99")
    with pytest.raises(UsageError, match="no device cuda:99"):
        _engine().obstacle(TASK, IMAGES, "cuda:99")


@pytest.mark.parametrize(
    "changes",
    [{"network": "nonsense"}, {"network_options": {"layers": 3}}, {"protocol": "nonsense"}],
    ids=lambda changes: next(iter(changes)),
)
def test_unknown_names_are_the_references_errors(changes):
    task = replace(TASK, **changes)
    with pytest.raises(Exception, match=r"nonsense|layers") as expected:
        ReferenceEngine().train(task, IMAGES, "cpu")
    with pytest.raises(type(expected.value)) as caught:
        _engine().train(task, IMAGES, "cpu")
    assert str(caught.value) == str(expected.value)


def test_images_are_placed_once_for_one_engine(caplog, tmp_path):
    engine = engine_with(Schedule(), TASK, IMAGES, tmp_path / "schedules.json")
    other = made_up_images((1, 8, 8), train=60, test=50)
    with caplog.at_level(logging.INFO, logger="joulelab"):
        for images in (IMAGES, IMAGES, other):
            engine.train(replace(TASK, max_steps=1), images, "cpu")
    placed = [r.getMessage() for r in caplog.records if "resident on cpu" in r.getMessage()]
    assert len(placed) == 2


# Precision


@pytest.fixture
def with_bf16(monkeypatch):
    """A processor that multiplies bfloat16; torch does, slowly, on any."""
    monkeypatch.setattr("joulelab.learning.fast.hardware.has_bf16", lambda: True)


@pytest.mark.usefixtures("with_bf16")
@pytest.mark.parametrize(
    ("network", "channels_last", "wide"),
    [
        ("DensePolyNN", False, False),
        ("DenseLinearNN", False, False),
        ("SimpleCNN", False, False),
        ("SimpleCNN", True, False),
        ("SimpleCNN", True, True),
    ],
)
def test_bf16_trains_with_nearly_the_losses_of_fp32(network, channels_last, wide, tmp_path):
    """Within 3 percent over two epochs. Measured: up to 1 percent; bfloat16 rounds by 0.4."""
    exact = task_of(network, None, 2, batch_size=30)
    task = replace(exact, precision="bf16")
    schedule = Schedule(channels_last=channels_last, wide_convolutions=wide)
    engine = engine_with(schedule, task, IMAGES, tmp_path / "schedules.json")
    results = engine.train(task, IMAGES, "cpu")
    expected = ReferenceEngine().train(exact, IMAGES, "cpu")
    for one, other in zip(results, expected, strict=True):
        assert one.precision == Precision.BF16
        assert one.extra["wide_convolutions"] == int(wide), "the results say what was computed how"
        assert other.precision == Precision.FP32
        difference = worst_difference(one.train_losses, other.train_losses)
        assert 1e-6 < difference < 0.03
        assert one.accuracy == pytest.approx(other.accuracy, abs=0.2)


@pytest.mark.usefixtures("with_bf16")
def test_parameters_and_adam_stay_in_float32():
    stack = stack_of(TASK, IMAGES, Arithmetic(torch.bfloat16, own_kernels=True, channels_last=True))
    stack.train_epoch()
    learnt = [tensor for tensor in stack._learnt() if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in learnt} == {torch.float32, torch.float64}
    assert [t.shape for t in learnt if t.dtype == torch.float64] == [(8,)]  # the sums of losses


CPUINFO = "processor\t: 0\nmodel name\t: A Processor\nflags\t\t: fpu sse avx2 {flag}\n"


@pytest.fixture
def cpuinfo(monkeypatch, tmp_path):
    """Lets /proc/cpuinfo be another file."""

    def become(text):
        path = tmp_path / "cpuinfo"
        path.write_text(text)
        real = hardware.Path
        monkeypatch.setattr(
            hardware, "Path", lambda name: path if name == "/proc/cpuinfo" else real(name)
        )
        hardware.processor.cache_clear()

    yield become
    hardware.processor.cache_clear()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CPUINFO.format(flag="avx512_bf16"), True),
        (CPUINFO.format(flag="amx_bf16 amx_tile"), True),
        ("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n", True),
        (CPUINFO.format(flag="avx512f"), False),
        (CPUINFO.format(flag="notbf16"), False),
        ("", False),
    ],
)
def test_bf16_is_read_off_the_flags_of_the_processor(cpuinfo, text, expected):
    cpuinfo(text)
    assert hardware.has_bf16() is expected


def test_the_processor_is_its_model_and_flags(cpuinfo):
    cpuinfo(CPUINFO.format(flag="x") + "cpu MHz\t: 3000\n" + CPUINFO.format(flag="x"))
    assert hardware.processor() == "flags\t\t: fpu sse avx2 x\nmodel name\t: A Processor"
    cpuinfo("")
    assert hardware.processor().strip()


def test_bf16_on_a_processor_without_it_is_a_usage_error(cpuinfo):
    cpuinfo(CPUINFO.format(flag="avx512f"))
    task = replace(TASK, precision="bf16")
    for ask in (_engine().obstacle, _engine().split, _engine().prepare, _engine().train):
        with pytest.raises(UsageError, match="this processor has no bf16 arithmetic"):
            ask(task, IMAGES, "cpu")


def test_tf32_on_the_cpu_is_a_usage_error():
    with pytest.raises(UsageError, match="tf32 is a mode of NVIDIA GPUs"):
        _engine().train(replace(TASK, precision="tf32"), IMAGES, "cpu")


@pytest.mark.parametrize("precision", ["fp16", "torch-default", "", "FP32"])
def test_an_unknown_precision_is_a_usage_error(precision):
    with pytest.raises(UsageError, match=f"precision = '{precision}' is not possible"):
        _engine().train(replace(TASK, precision=precision), IMAGES, "cpu")


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_the_reference_refuses_all_but_fp32(precision):
    task = replace(TASK, precision=precision)
    for ask in (ReferenceEngine().obstacle, ReferenceEngine().train):
        with pytest.raises(UsageError, match=f"does not train in {precision}"):
            ask(task, IMAGES, "cpu")


# Memory


class _Small:
    """A device on which stacks of more than so many members fail in their second step."""

    def __init__(self, monkeypatch, most, error):
        self.tried = []
        real = StackTraining._step_on

        def step(stack, rows):
            members = len(stack._task.members)
            if not self.tried or self.tried[-1] != members:
                self.tried.append(members)
            if members > most and stack.steps > 0:
                raise error
            return real(stack, rows)

        monkeypatch.setattr(StackTraining, "_step_on", step)


CUDA_FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
CPU_FULL = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ...")


@pytest.mark.parametrize("error", [CUDA_FULL, CPU_FULL, MemoryError()], ids=["cuda", "cpu", "host"])
def test_every_error_of_full_memory_halves(error, monkeypatch, tmp_path):
    small = _Small(monkeypatch, 3, error)
    task = replace(TASK, max_steps=5)  # the second epoch begins with the fifth
    engine_with(Schedule(), task, IMAGES, tmp_path / "schedules.json").train(task, IMAGES, "cpu")
    assert small.tried == [8, 4, 2]


def test_a_group_that_does_not_fit_is_halved_said_once_and_remembered(
    monkeypatch, tmp_path, caplog
):
    path = tmp_path / "schedules.json"
    expected = engine_with(Schedule(), TASK, IMAGES, path).train(TASK, IMAGES, "cpu")
    small = _Small(monkeypatch, 3, CPU_FULL)
    engine = engine_with(Schedule(), TASK, IMAGES, path)
    with caplog.at_level(logging.WARNING, logger="joulelab"):
        results = engine.train(TASK, IMAGES, "cpu")
    assert small.tried == [8, 4, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "8 trainings of SimpleCNN do not fit into the memory of cpu together: from now on "
        f"{largest} are trained at a time"
        for largest in (4, 2)
    ]
    assert [result.seed for result in results] == [member.seed for member in TASK.members]
    for one, other in zip(results, expected, strict=True):
        assert one.extra["stack_size"] == 2
        assert worst_difference(one.train_losses, other.train_losses) < TOLERANCE
        assert one.accuracy == pytest.approx(other.accuracy, abs=0.04)

    caplog.clear()
    small.tried.clear()
    with caplog.at_level(logging.WARNING, logger="joulelab"):
        assert engine.train(TASK, IMAGES, "cpu") == results
        fresh = FastEngine(schedules=ScheduleFile(path))
        assert fresh.schedule(TASK, IMAGES, "cpu") == Schedule(largest_stack=2)
        assert fresh.train(TASK, IMAGES, "cpu") == results
    assert small.tried == [2]
    assert not caplog.records


def test_shares_are_halved_as_well(monkeypatch, tmp_path):
    path = tmp_path / "schedules.json"
    with threads(2):
        small = _Small(monkeypatch, 2, CPU_FULL)
        engine = engine_with(Schedule(Arrangement.SHARES), TASK, IMAGES, path)
        results = engine.train(TASK, IMAGES, "cpu")
        assert ScheduleFile(path).get(key_of(TASK, IMAGES), 8).largest_stack == 2
    assert small.tried == [4, 2]
    assert {result.extra["stack_size"] for result in results} == {2}
    assert {result.extra["workers"] for result in results} == {2}


def test_one_member_that_does_not_fit_is_the_references_error(monkeypatch, tmp_path, caplog):
    small = _Small(monkeypatch, 0, CPU_FULL)
    engine = engine_with(Schedule(), TASK, IMAGES, tmp_path / "schedules.json")
    with pytest.raises(TrainingError, match="SimpleCNN does not fit into the memory of cpu") as one:
        engine.train(TASK, IMAGES, "cpu")
    assert "choose a smaller batch_size" in one.value.hint
    assert one.value.__cause__ is CPU_FULL
    assert small.tried == [8, 4, 2, 1]


def test_another_error_is_no_reason_to_halve(monkeypatch, tmp_path):
    small = _Small(monkeypatch, 0, RuntimeError("something else"))
    engine = engine_with(Schedule(), TASK, IMAGES, tmp_path / "schedules.json")
    with pytest.raises(RuntimeError, match="something else"):
        engine.train(TASK, IMAGES, "cpu")
    assert small.tried == [8]
    assert engine.schedule(TASK, IMAGES, "cpu") == Schedule()


REAL_LIMIT = """
import logging, resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from fast_training import engine_with, made_up_images, task_of
from joulelab.learning.fast.schedule import Schedule
logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
images = made_up_images((1, 16, 16), train=800, test=20)
task = task_of("SimpleCNN", {"conv_layers": 2}, 16, batch_size=400, epochs=1)
engine = engine_with(Schedule(), task, images, Path(sys.argv[2]))
engine.train(task.with_members(task.members[:1]), images, "cpu")  # libraries take what they need
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
# One activation of one member: 400 x 9 x 8 x 8 and 400 x 3 x 16 x 16 float32, some MB in all.
resource.setrlimit(resource.RLIMIT_AS, (used + 60_000_000,) * 2)
results = engine.train(task, images, "cpu")
print(len(results), results[0].extra["stack_size"])
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limit of address space")
def test_a_real_limit_of_memory_is_met_by_halving(tmp_path, request):
    run = subprocess.run(
        [sys.executable, "-c", REAL_LIMIT, str(request.path.parent), str(tmp_path / "file.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    *warnings, last = run.stdout.splitlines()
    assert warnings
    assert all("do not fit into the memory of cpu together" in line for line in warnings)
    members, size = map(int, last.split())
    assert members == 16
    assert 1 <= size < 16


def test_progress_is_told_from_the_first_epoch_of_the_halves_on(monkeypatch, tmp_path):
    _Small(monkeypatch, 4, CPU_FULL)
    engine = engine_with(Schedule(), TASK, IMAGES, tmp_path / "schedules.json")
    reported = []
    engine.train(TASK, IMAGES, "cpu", lambda *done: reported.append(done))
    assert reported[-2:] == [(1, 2), (2, 2)]


def test_the_last_stack_may_be_smaller(monkeypatch, tmp_path):
    engine = engine_with(Schedule(largest_stack=3), TASK, IMAGES, tmp_path / "schedules.json")
    sizes = []

    class Noting(StackTraining):
        def __init__(self, network, task, *others):
            sizes.append(len(task.members))
            super().__init__(network, task, *others)

    monkeypatch.setattr(group_training, "StackTraining", Noting)
    results = engine.train(TASK, IMAGES, "cpu")
    assert sizes == [3, 3, 2]
    assert {result.extra["stack_size"] for result in results} == {3}
