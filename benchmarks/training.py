"""The fast engine against the reference engine, in one run, paired.

    python benchmarks/training.py [--device cpu] [--repetitions 8] [--pairs 5] [--json FILE]
    python benchmarks/training.py --device cuda:0 --rounds [--json FILE]

The time of an optimiser step is that of two short trainings, divided by the steps in which they
differ: what happens once a training (weights, captures, evaluation) drops out. Reference and fast
engine are timed in turn, the ratio is taken within each pair, and printed with its median, least
and greatest. Trainings per hour follow from the step: 25 epochs of all training images in batches
of 512, as in Yarally et al., CAIN 2023.

Beside each figure stands a bound: the floating-point operations of the products and convolutions
of a step (forward and backward, as torch counts them) over the rate at which this machine
multiplies large matrices in the same precision, and the bytes that a step moves at least over the
rate at which it copies. Bytes: each parameter is read twice and written once, its gradient is
written and read, Adam reads and writes two moments; each layer's output is written, read forward,
read backward, its gradient written and read.

With ``--rounds``, meant for a GPU, whole rounds are trained, with their energy, peak memory and
accuracy; with ``--architecture`` also those of the architecture experiment. The whole paper, 18,432
and 6,144 trainings, is projected from them.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import math
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import psutil
import torch
from figures import machine, spread, table, versions
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

import joulelab
from joulelab.errors import JoulelabError
from joulelab.learning.engine import Engine, Member, TrainingResult, TrainingTask
from joulelab.learning.fast.engine import FastEngine
from joulelab.learning.fast.kernels import linear, onednn_available
from joulelab.learning.fast.schedule import ScheduleFile
from joulelab.learning.images import Images, Split, load_images, thinned
from joulelab.learning.networks import build_network, count_parameters
from joulelab.learning.reference import ReferenceEngine

DATASETS = {"fashion-mnist": (1, 28, 60_000), "cifar10": (3, 32, 50_000)}
"""Channels, side and training images."""
NETWORKS = ("DensePolyNN", "DenseLinearNN", "SimpleCNN")
BATCH = 512
EPOCHS = 25
CLASSES = 10
SHORT = 2
TUNING_TRAININGS = 3 * 2 * 64 * 8
"""Of a network and data set in the paper: strategies x spaces x rounds x repetitions."""
ARCHITECTURE_TRAININGS = 16 * 24
"""Of a configuration and data set in the paper's data: rounds x repetitions."""
ARCHITECTURES = [
    {"linear_layers": linear_layers, "conv_layers": conv_layers, "relu": relu}
    for linear_layers in (3, 7)
    for conv_layers in (1, 4)
    for relu in (False, True)
]


@dataclass
class Cell:
    """One network on one data set in one precision.

    Attributes:
        reference_ms: of a step of one training, reference engine, each pair.
        fast_ms: the same of the fast engine: of a step of the group over its members.
        ratios: of trainings per hour, each pair.
        schedule: the fast engine's.
        memory_mib: peak of the device's memory over that before the training, for one training.
        gflop: of a step of one training, 10^9.
        compute_ms: what the operations need at the rate of large products.
        memory_ms: what the bytes need at the rate of large copies.
    """

    dataset: str
    network: str
    precision: str
    repetitions: int
    reference_ms: list[float] = field(default_factory=list)
    fast_ms: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    schedule: str = ""
    memory_mib: float = 0.0
    gflop: float = 0.0
    compute_ms: float = 0.0
    memory_ms: float = 0.0

    def trainings_an_hour(self, step_ms: float) -> float:
        """Of 25 epochs on all images."""
        steps = EPOCHS * math.ceil(DATASETS[self.dataset][2] / BATCH)
        return 3.6e6 / (steps * step_ms)


@dataclass
class Round:
    """A whole round of one network on one data set, trained on a GPU.

    Attributes:
        seconds: of one training.
        joules: of one training on the GPU above idle; ``None`` where it cannot be measured.
        memory_mib: peak of the device's memory over that before the round, for one training.
    """

    dataset: str
    network: str
    options: dict[str, Any]
    engine: str
    precision: str
    repetitions: int
    seconds: float
    joules: float | None
    memory_mib: float
    accuracy: float
    accuracy_sd: float


def main() -> None:
    """Measure, print Markdown, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repetitions", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="timed in each training")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS), choices=list(DATASETS))
    parser.add_argument("--precisions", nargs="+")
    parser.add_argument("--threads", type=int, help="torch's threads on the CPU; all cores")
    parser.add_argument("--rounds", action="store_true", help="whole rounds, with their energy")
    parser.add_argument("--architecture", action="store_true", help="with --rounds: Table II too")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the rounds")
    parser.add_argument("--train-images", type=int, help="of the rounds; all")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        print("There is no CUDA device to train on: --device cpu measures the processor.")
        return
    if args.threads:
        torch.set_num_threads(args.threads)
    on_gpu = args.device.startswith("cuda")
    precisions = args.precisions or (["fp32", "tf32", "bf16"] if on_gpu else ["fp32", "bf16"])
    print(f"{hardware(args.device)}, torch {torch.__version__}, {versions()}")
    rates = Rates(args.device)
    print(f"{rates}\n", flush=True)
    cells = steps_compared(args, precisions, rates)
    print_cells(cells)
    rounds: list[Round] = []
    if args.rounds:
        joulelab.measure_idle(5.0)
        rounds = rounds_compared(args, precisions)
        print_rounds(rounds)
    if args.json:
        found = {
            "machine": hardware(args.device),
            "torch": torch.__version__,
            "versions": versions(),
            "rates": rates.to_dict(),
            "steps": [asdict(cell) for cell in cells],
            "rounds": [asdict(one) for one in rounds],
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


# Time of a step


def steps_compared(args: argparse.Namespace, precisions: list[str], rates: Rates) -> list[Cell]:
    """Every cell, reference and fast engine in turn."""
    cells = []
    for dataset in args.datasets:
        images = images_of(dataset, (SHORT + args.steps) * BATCH)
        for network in args.networks:
            for precision in precisions:
                cell = Cell(dataset, network, precision, args.repetitions)
                try:
                    measure_cell(cell, images, args)
                except JoulelabError as error:
                    print(f"{dataset}, {network}, {precision}: {error.message}", file=sys.stderr)
                    continue
                rates.bound(cell)
                cells.append(cell)
                print(f"{dataset}, {network}, {precision}: done", file=sys.stderr, flush=True)
    return cells


def measure_cell(cell: Cell, images: Images, args: argparse.Namespace) -> None:
    """Fill in the times of a cell."""
    members = tuple(Member(seed) for seed in range(args.repetitions))
    task = TrainingTask(cell.network, {}, "default", 1, BATCH, members, cell.precision)
    alone = replace(task.with_members(members[:1]), precision="fp32")
    fast, reference = FastEngine(schedules=ScheduleFile(None)), ReferenceEngine()
    obstacle = fast.obstacle(task, images, args.device)
    if obstacle is not None:
        raise AssertionError(obstacle)
    fast.prepare(task, images, args.device)
    cell.schedule = str(fast.schedule(task, images, args.device))
    with Peak(args.device) as peak:
        train_s(fast, task, images, args.device, SHORT)
    cell.memory_mib = peak.bytes / args.repetitions / 2**20
    train_s(reference, alone, images, args.device, SHORT)  # memory, threads and caches get warm
    for _ in range(args.pairs):
        reference_ms = step_ms(reference, alone, images, args)
        fast_ms = step_ms(fast, task, images, args) / args.repetitions
        cell.reference_ms.append(reference_ms)
        cell.fast_ms.append(fast_ms)
        cell.ratios.append(reference_ms / fast_ms)


def step_ms(engine: Engine, task: TrainingTask, images: Images, args: argparse.Namespace) -> float:
    """Time of a step of all members of a task."""
    short_s = train_s(engine, task, images, args.device, SHORT)
    long_s = train_s(engine, task, images, args.device, SHORT + args.steps)
    return 1e3 * max(long_s - short_s, 1e-9) / args.steps


def train_s(engine: Engine, task: TrainingTask, images: Images, device: str, steps: int) -> float:
    """Duration of a training of so many steps."""
    began_s = time.perf_counter()
    engine.train(replace(task, max_steps=steps), images, device)
    return time.perf_counter() - began_s


class Peak:
    """The most memory that is used of a device while a block runs, over what was used before.

    On the CPU it is the resident memory of this process, looked at every 5 ms.

    Attributes:
        bytes: known once the block has ended.
    """

    def __init__(self, device: str) -> None:
        self._on_gpu = device.startswith("cuda")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.bytes = 0

    def __enter__(self) -> Self:
        gc.collect()
        if self._on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
            return self
        with contextlib.suppress(OSError, AttributeError):  # what is free goes back to the system
            ctypes.CDLL(None).malloc_trim(0)
        self._before = psutil.Process().memory_info().rss
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._on_gpu:
            self.bytes = torch.cuda.max_memory_allocated() - self._before
            return
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._done.wait(0.005):
            self.bytes = max(self.bytes, process.memory_info().rss - self._before)


def print_cells(cells: list[Cell]) -> None:
    """The table, and the geometric means."""
    head = [
        "data set",
        "network",
        "precision",
        "reference, ms a step",
        "fast, ms a step",
        "trainings an hour",
        "ratio",
        "operations, ms",
        "bytes, ms",
        "of the bound",
        "MiB a training",
        "schedule",
    ]
    rows = []
    for cell in cells:
        fast_ms = statistics.median(cell.fast_ms)
        bound_ms = max(cell.compute_ms, cell.memory_ms)
        rows.append(
            [
                cell.dataset,
                cell.network,
                cell.precision,
                spread(cell.reference_ms, ".2f"),
                spread(cell.fast_ms, ".2f"),
                f"{cell.trainings_an_hour(fast_ms):.1f}",
                spread(cell.ratios, ".2f"),
                f"{cell.compute_ms:.2f}",
                f"{cell.memory_ms:.2f}",
                f"{bound_ms / fast_ms:.0%}",
                f"{cell.memory_mib:.0f}",
                cell.schedule,
            ]
        )
    print(table(head, rows))
    for precision in dict.fromkeys(cell.precision for cell in cells):
        ratios = [statistics.median(c.ratios) for c in cells if c.precision == precision]
        mean = statistics.geometric_mean(ratios)
        print(
            f"{precision}: {mean:.2f} times the trainings an hour, geometric mean of {len(ratios)}"
        )
    print(flush=True)


# What the machine can do at best


class Rates:
    """How fast a device multiplies and copies, measured."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.flops = {name: self._product_rate(name) for name in ("fp32", "tf32", "bf16")}
        self.bytes = self._copy_rate()

    def __str__(self) -> str:
        rates = ", ".join(f"{name} {rate / 1e12:.3g}" for name, rate in self.flops.items() if rate)
        return f"Large products, 10^12 operations/s: {rates}; copies: {self.bytes / 1e9:.3g} GB/s"

    def to_dict(self) -> dict[str, Any]:
        """Plain data: operations and bytes a second."""
        return {"flops": self.flops, "bytes": self.bytes}

    def bound(self, cell: Cell) -> None:
        """Fill in what a step of a cell needs at least."""
        channels, side, _ = DATASETS[cell.dataset]
        flop, moved = work_of_step(cell.network, channels, side, cell.precision)
        cell.gflop = flop / 1e9
        cell.compute_ms = 1e3 * flop / self.flops[cell.precision]
        cell.memory_ms = 1e3 * moved / self.bytes

    def _product_rate(self, precision: str) -> float:
        on_gpu = self.device.type == "cuda"
        if precision == "tf32" and not on_gpu:
            return 0.0
        size = 8192 if on_gpu else 2048
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        a, b = (torch.randn(1, size, size, device=self.device, dtype=dtype) for _ in range(2))
        if on_gpu:
            torch.backends.cuda.matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        ways = [
            False,
            *([True] if not on_gpu and precision == "fp32" and onednn_available() else []),
        ]
        seconds = min(self._seconds(lambda way=way: linear(a, b, None, onednn=way)) for way in ways)
        if on_gpu:
            torch.backends.cuda.matmul.fp32_precision = "ieee"
        return 2 * size**3 / seconds

    def _copy_rate(self) -> float:
        count = (2**30 if self.device.type == "cuda" else 2**26) // 4
        source, target = (torch.zeros(count, device=self.device) for _ in range(2))
        return 8 * count / self._seconds(lambda: target.copy_(source))

    def _seconds(self, action: Callable[[], object]) -> float:
        times = []
        for _ in range(8):
            self._wait()
            began_s = time.perf_counter()
            action()
            self._wait()
            times.append(time.perf_counter() - began_s)
        return min(times)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def work_of_step(network: str, channels: int, side: int, precision: str) -> tuple[float, float]:
    """Floating-point operations of products and convolutions, and bytes moved, of a step."""
    from joulelab.learning.images import ImageShape

    outputs = 0

    def count(_: nn.Module, __: object, output: torch.Tensor) -> None:
        nonlocal outputs
        outputs += output.numel()

    with torch.device("meta"):
        module = build_network(network, ImageShape(channels, side, side), CLASSES, {})
        for layer in module.modules():
            if not list(layer.children()) and not isinstance(layer, nn.Flatten):
                layer.register_forward_hook(count)
        batch = torch.empty(BATCH, channels, side, side)
        labels = torch.empty(BATCH, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            torch.autograd.backward(cross_entropy(module(batch), labels))
    width = 2 if precision == "bf16" else 4
    parameters = count_parameters(module)
    moved = parameters * 4 * (3 + 2 + 4) + width * (5 * outputs + 2 * batch.numel())
    return float(counter.get_total_flops()), float(moved)


# Whole rounds, on a GPU


def rounds_compared(args: argparse.Namespace, precisions: list[str]) -> list[Round]:
    """Whole rounds of the tuning experiment, and of the architecture experiment if asked for."""
    rounds = []
    for dataset in args.datasets:
        images = images_of(dataset, args.train_images)
        for network in args.networks:
            rounds.append(
                whole_round(ReferenceEngine(), dataset, network, {}, "fp32", 1, images, args)
            )
            rounds += [
                whole_round(
                    FastEngine(), dataset, network, {}, precision, args.repetitions, images, args
                )
                for precision in precisions
            ]
        for options in ARCHITECTURES if args.architecture else ():
            rounds += [
                whole_round(
                    FastEngine(), dataset, "SimpleCNN", options, precision, 24, images, args
                )
                for precision in precisions
            ]
    return rounds


def whole_round(
    engine: Engine,
    dataset: str,
    network: str,
    options: dict[str, Any],
    precision: str,
    repetitions: int,
    images: Images,
    args: argparse.Namespace,
) -> Round:
    """Train a round to its end."""
    members = tuple(Member(seed) for seed in range(repetitions))
    task = TrainingTask(network, options, "default", args.epochs, BATCH, members, precision)
    engine.prepare(task, images, args.device)
    peak = Peak(args.device)
    with joulelab.measure(f"{dataset}, {network}") as measured, peak:
        results: list[TrainingResult] = []
        for part in engine.split(task, images, args.device):
            results += engine.train(part, images, args.device)
    domain = next((r for r in measured.result.readings if r.domain.startswith("gpu")), None)
    joules = None if domain is None else domain.net_j
    accuracies = [result.accuracy for result in results]
    one = Round(
        dataset,
        network,
        options,
        results[0].engine,
        results[0].precision,
        repetitions,
        measured.duration_s / repetitions,
        None if joules is None else joules / repetitions,
        peak.bytes / repetitions / 2**20,
        statistics.fmean(accuracies),
        statistics.pstdev(accuracies),
    )
    print(one, file=sys.stderr, flush=True)
    return one


def print_rounds(rounds: list[Round]) -> None:
    """The table of rounds, ratios to the reference engine, and the whole paper."""
    head = [
        "data set",
        "network",
        "engine",
        "precision",
        "trainings",
        "s a training",
        "J a training",
        "MiB a training",
        "accuracy",
    ]
    rows = [
        [
            one.dataset,
            one.network + (f" {one.options}" if one.options else ""),
            one.engine,
            one.precision,
            str(one.repetitions),
            f"{one.seconds:.3f}",
            "unknown" if one.joules is None else f"{one.joules:.1f}",
            f"{one.memory_mib:.0f}",
            f"{one.accuracy:.3f} +- {one.accuracy_sd:.3f}",
        ]
        for one in rounds
    ]
    print(table(head, rows))
    for precision in dict.fromkeys(one.precision for one in rounds if one.engine == "fast"):
        print_ratios(precision, rounds)
        print_projection(precision, rounds)


def print_ratios(precision: str, rounds: list[Round]) -> None:
    """Trainings an hour and joules against the reference engine, geometric means."""
    tuning = [one for one in rounds if not one.options]
    reference = {(o.dataset, o.network): o for o in tuning if o.engine == "reference"}
    fast = [one for one in tuning if one.engine == "fast" and one.precision == precision]
    speed = [reference[o.dataset, o.network].seconds / o.seconds for o in fast]
    pairs = [(reference[o.dataset, o.network].joules, o.joules) for o in fast]
    print(f"{precision}: {statistics.geometric_mean(speed):.1f} times the trainings an hour")
    if all(before and after for before, after in pairs):
        energy = [before / after for before, after in pairs if before and after]
        print(f"{precision}: 1/{statistics.geometric_mean(energy):.1f} of the joules a training")


def print_projection(precision: str, rounds: list[Round]) -> None:
    """The trainings of the paper, as far as their rounds were measured."""
    fast = [one for one in rounds if one.engine == "fast" and one.precision == precision]
    counts = [ARCHITECTURE_TRAININGS if one.options else TUNING_TRAININGS for one in fast]
    hours = sum(n * one.seconds for n, one in zip(counts, fast, strict=True)) / 3600
    energies = [one.joules for one in fast]
    text = f"{precision}: {sum(counts)} trainings of the paper in {hours:.2f} h"
    if all(energy is not None for energy in energies):
        joules = sum(n * energy for n, energy in zip(counts, energies, strict=True) if energy)
        text += f" and {joules / 3.6e6:.2f} kWh on the GPU above idle"
    print(f"{text}\n", flush=True)


# Images and machine


def images_of(dataset: str, train: int | None) -> Images:
    """Real images where there are some, else made-up ones of the same shape."""
    folder = os.environ.get("JOULELAB_DATA")
    test = 256 if train else None
    if folder:
        return thinned(load_images(dataset, Path(folder)), train, test, 0)
    channels, side, full = DATASETS[dataset]
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        labels = torch.arange(count) % CLASSES
        shape = (count, channels, side, side)
        noise = torch.randint(0, 156, shape, generator=generator)
        return Split((noise + 10 * labels[:, None, None, None]).to(torch.uint8), labels)

    return Images(f"{dataset} (made up)", split(train or full), split(test or 10_000), CLASSES, "")


def hardware(device: str) -> str:
    """The device and the machine."""
    if device == "cpu":
        return f"{torch.get_num_threads()} threads, {machine()}"
    return f"{torch.cuda.get_device_name(device)}, {machine()}"


if __name__ == "__main__":
    main()
