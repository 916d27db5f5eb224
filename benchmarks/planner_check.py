"""The planner beside the real queue: the same arrivals, simulated and served, cell by cell.

    python benchmarks/planner_check.py [--models shufflenet_v2_x0_5 resnet18] [--seconds 20]
        [--repeats 3] [--patience 120] [--device auto] [--threads 1]
        [--json FILE]

Per model batches are measured first, as `joulelab batch` does it. Then each policy is served at a
rate that loads the server by a known share, in windows whose order is shuffled in each repeat; and
each window is simulated with the very arrivals it was served with, so that chance is not what is
compared. A cell agrees where both mean response and gross energy per request are within 15 %:
medians over the windows.

After the last cell, batches of one image are measured again: how far the machine itself has moved
in the meantime. Nothing else should run.

Two columns say where a miss comes from. *Batch time*: what the batches that were served should have
taken by the table, over what they took; a batch that wakes the server up takes longer than one that
follows another. *Response, mended*: the response ratio once the table is scaled by that; what is
left is the queue's own.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from figures import machine, spread, table, versions

from joulelab.energy.detection import open_recorder
from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Total
from joulelab.kinds.inference.batch_table import SizeProfile, batch_costs
from joulelab.kinds.inference.executor import ServingExecutor, ServingJob
from joulelab.kinds.inference.models import find_model
from joulelab.kinds.inference.schedule import Patience, Schedule
from joulelab.kinds.inference.table_measuring import BatchWork
from joulelab.serving.images import shipped_photographs
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.planning.simulation import most_per_s, simulate
from joulelab.serving.policies import parse_policy
from joulelab.serving.results import Served
from joulelab.serving.tasks import BatchTask, ImageSource, ServingTask
from joulelab.study.accounting import counted
from joulelab.study.device import Device, find_device

MODELS = ("shufflenet_v2_x0_5", "resnet18")
CELLS = (
    ("fixed(1)", 0.5),
    ("fixed(8)", 0.3),
    ("fixed(8, wait_ms=100)", 0.5),
    ("greedy(32)", 0.7),
)
"""Policies, and which share of what each can answer is offered."""

LARGEST = 32
WITHIN = 0.15
ENOUGH = 6
LEAST_REQUESTS = 100


@dataclass
class Cell:
    """A model under a policy: a figure a window, simulated over measured or by itself."""

    model: str
    policy: str
    load: float
    rate_per_s: float
    response_s: list[float] = field(default_factory=list)
    response_ratio: list[float] = field(default_factory=list)
    gross_j: list[float] = field(default_factory=list)
    gross_ratio: list[float] = field(default_factory=list)
    net_ratio: list[float] = field(default_factory=list)
    batch_mean: list[float] = field(default_factory=list)
    batch_mean_simulated: list[float] = field(default_factory=list)
    batch_s_ratio: list[float] = field(default_factory=list)
    response_ratio_mended: list[float] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether simulated response and energy are near the measured ones."""
        ratios = (self.response_ratio, self.gross_ratio)
        return all(abs(statistics.median(one) - 1) <= WITHIN for one in ratios)


class Bench:
    """One model, its costs, and the executor that serves it."""

    def __init__(self, name: str, executor: ServingExecutor, device: Device, threads: int) -> None:
        model = find_model(name, "random")
        files = tuple(map(str, shipped_photographs()))
        self.name, self._executor, self._device, self._threads = name, executor, device, threads
        self._source = model.source
        self._images = ImageSource(files, model.resize, model.crop)

    def measure(self, patience_s: float, largest: int) -> Sequence[SizeProfile]:
        """Windows with batches of each size."""
        batches = BatchTask(self._source, self._images, 1, 0.0)
        job = ServingJob("batches", self._device.name, self._threads, batches)
        patience = Patience(patience_s, largest)
        measured = Schedule(self._executor, BatchWork(job), patience, self.total, say).run()
        for remark in measured.remarks:
            say(remark)
        if measured.interrupted:
            raise KeyboardInterrupt
        return measured.windows

    def total(self, measurement: Measurement) -> Total:
        """The energy that counts."""
        return counted(measurement, None, self._device.domain)

    def serve(self, cell: Cell, costs: BatchCosts, seconds: float, seed: int) -> None:
        """Serve a window, and simulate the same arrivals."""
        task = ServingTask(
            self._source,
            cell.policy,
            f"poisson({cell.rate_per_s:.6g})",
            max(LEAST_REQUESTS, round(cell.rate_per_s * seconds)),
            self._images,
            seed,
            capacity=4096,
            warm_up_batches=2,
            warm_up_size=LARGEST,
        )
        job = ServingJob(f"{self.name} {cell.policy}", self._device.name, self._threads, task)
        self._executor.load(job)
        outcome = self._executor.run(job, lambda _: None)
        if outcome.state == "interrupted":
            raise KeyboardInterrupt
        served = outcome.result
        if not isinstance(served, Served):
            raise SystemExit(f"{self.name} {cell.policy}: {outcome.error}")
        energy = self.total(outcome.measurement)
        simulated = simulate(task.due_s(), parse_policy(cell.policy), costs, seed=seed)
        cell.response_s.append(float(served.response_s.mean()))
        cell.response_ratio.append(simulated.response_mean_s / cell.response_s[-1])
        cell.batch_mean.append(served.answered / len(served.batch_sizes))
        cell.batch_mean_simulated.append(simulated.batch_mean)
        took_s = float((served.batch_answered_s - served.batch_started_s).sum())
        expected_s = sum(costs.seconds_of(int(size)) for size in served.batch_sizes)
        cell.batch_s_ratio.append(expected_s / took_s)
        mended = replace(costs, seconds=tuple(one * took_s / expected_s for one in costs.seconds))
        again = simulate(task.due_s(), parse_policy(cell.policy), mended, seed=seed)
        cell.response_ratio_mended.append(again.response_mean_s / cell.response_s[-1])
        if energy.gross_j and simulated.gross_j_per_request is not None:
            cell.gross_j.append(energy.gross_j / served.answered)
            cell.gross_ratio.append(simulated.gross_j_per_request / cell.gross_j[-1])
        if energy.net_j and simulated.net_j_per_request is not None:
            cell.net_ratio.append(simulated.net_j_per_request * served.answered / energy.net_j)


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, serve, simulate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--seconds", type=float, default=20.0, help="of each window")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--patience", type=float, default=120.0, help="for batches of a model")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:<n>")
    parser.add_argument(
        "--threads", type=int, default=1, help="torch's, so that the producer has a core too"
    )
    parser.add_argument("--json", type=Path, help="a file for the figures")
    args = parser.parse_args()
    where = f"{machine()}; {versions()}"
    print(f"{where}\n")
    cells: list[Cell] = []
    drifts: dict[str, float] = {}
    device, threads = find_device(args.device), args.threads
    with open_recorder() as recorder:
        executor = ServingExecutor(recorder, device.domain, 0.0, say)
        try:
            for name in args.models:
                bench = Bench(name, executor, device, threads)
                mine, drifts[name] = check(bench, args)
                cells += mine
        finally:
            executor.close()
    report(cells, drifts)
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        data = {"machine": where, "cells": [asdict(one) for one in cells], "drift": drifts}
        args.json.write_text(json.dumps({"schema_version": 1, **data}, indent=2))


def check(bench: Bench, args: argparse.Namespace) -> tuple[list[Cell], float]:
    """All cells of a model, and how much longer a batch of one image takes afterwards."""
    costs = batch_costs(pooled(bench.measure(args.patience, LARGEST)))
    if costs.largest < LARGEST:
        raise SystemExit(f"{bench.name}: batches up to {LARGEST} take more than this --patience")
    cells = []
    for policy, load in CELLS:
        rate_per_s = load * most_per_s(parse_policy(policy), costs)
        cells.append(Cell(bench.name, policy, load, rate_per_s))
    order = random.Random(0)
    for repeat in range(args.repeats):
        for cell in order.sample(cells, len(cells)):
            say(f"{bench.name}: window {repeat + 1} of {args.repeats}, {cell.policy}")
            bench.serve(cell, costs, args.seconds, seed=repeat)
    again = pooled(bench.measure(args.patience / 4, 1))
    return cells, again[0].seconds / costs.seconds_of(1)


def pooled(profiles: Sequence[SizeProfile]) -> list[SizeProfile]:
    """The windows of each size as one."""
    sizes = sorted({one.size for one in profiles})
    return [SizeProfile.pooled([one for one in profiles if one.size == size]) for size in sizes]


def report(cells: Sequence[Cell], drifts: dict[str, float]) -> None:
    """The table, and how many cells agree."""
    head = ("model", "policy", "load", "rate", "response, s", "response ratio")
    head += (
        "J/request",
        "energy ratio",
        "net ratio",
        "batch",
        "simulated",
        "batch time",
        "response, mended",
        "",
    )
    rows = []
    for one in cells:
        rows.append(
            (
                one.model,
                one.policy,
                f"{one.load:.0%}",
                f"{one.rate_per_s:.1f}/s",
                spread(one.response_s, ".3f"),
                spread(one.response_ratio, ".2f"),
                spread(one.gross_j, ".3f"),
                spread(one.gross_ratio, ".2f"),
                spread(one.net_ratio, ".2f"),
                f"{statistics.median(one.batch_mean):.2f}",
                f"{statistics.median(one.batch_mean_simulated):.2f}",
                spread(one.batch_s_ratio, ".2f"),
                spread(one.response_ratio_mended, ".2f"),
                "agrees" if one.agrees else "misses",
            )
        )
    print(table(head, rows))
    print("Ratios are simulated over measured: medians with least and greatest of the windows.")
    for name, drift in drifts.items():
        print(f"{name}: a batch of one image took {drift:.2f} times as long afterwards.")
    agreeing = sum(one.agrees for one in cells)
    wanted = ENOUGH * len(cells) / 8
    met = "met" if agreeing >= wanted else "missed"
    print(f"within {WITHIN:.0%}: {agreeing} of {len(cells)} cells (wanted {wanted:g}): {met}")


if __name__ == "__main__":
    main()
