"""The queue beside itself: the producer's pace, the cost of a request, and what idle costs.

    python benchmarks/serving.py [--seconds 20] [--repeats 3] [--json FILE]

1. Pace: requests at 500/s to a server that has nothing to do, and to one that always computes.
2. Overhead: a server with a model that does nothing. The queue is filled first, and then emptied in
   batches of n: the time of the server by that of requests. Beside it torch's own time for the same
   call.
3. Response: the same server where requests are so far apart that each has to wake it, by its parts.
   Beside it what the system and torch take for their share alone.
4. Idle: processor time of both processes while they wait for a request.

Images have 8 x 8 pixels, so that decoding them is not what is measured, and come prepared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import torch
from figures import machine, spread, table, verdict, versions
from PIL import Image
from serving_models import Null

from joulelab.serving.results import Served
from joulelab.serving.session import ServingSession
from joulelab.serving.summary import gap_errors_s, sent_per_s
from joulelab.serving.tasks import ImageSource, ModelSource, ServingTask

SIDE = 8
RATE_PER_S = 500
BUSY_BATCH_S = 0.05
FILL_PER_S = 4000
SIZES = (1, 8, 32)
CALLS = 20_000
WAKES = 300
RATES_PER_S = (100, 1000)
LISTENER = """
import json, os, time
heard = []
print(flush=True)
while os.read(0, 1):
    heard.append(time.monotonic())
print(json.dumps(heard))
"""
LIMITS = {"rate": 0.01, "gap_s": 2e-3, "overhead_s": 200e-6, "idle": 0.01}
Figures = dict[str, list[float]]


def main() -> None:
    """Measure all of it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each window")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="a file for the figures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    where = f"{machine()}; {versions()}, torch {torch.__version__}"
    print(f"{where}\n")
    with TemporaryDirectory(prefix="joulelab-benchmark-") as folder, ServingSession() as session:
        task = null_task(Path(folder))
        figures = {
            "pace": print_pace(session, task, args.seconds, args.repeats),
            "overhead": print_overhead(session, task, args.seconds, args.repeats),
            "response": print_response(session, task, args.seconds, args.repeats),
            "idle": print_idle(session, task, args.seconds, args.repeats),
        }
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"schema_version": 1, "machine": where, **figures}))


def null_task(folder: Path) -> ServingTask:
    """A window of which only the queue takes time."""
    file = folder / "image.png"
    pixels = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    Image.fromarray(pixels).save(file)
    images = ImageSource((str(file),), SIDE, SIDE, "producer")
    return ServingTask(
        model("Null"), "greedy(128)", "poisson(100)", 100, images, seed=1, capacity=4096
    )


def model(name: str, **options: float) -> ModelSource:
    """One of `serving_models`."""
    return ModelSource(f"serving_models:{name}", options, (str(Path(__file__).parent),))


def window(session: ServingSession, task: ServingTask) -> Served:
    """Load and serve; every request must be answered."""
    session.load(task)
    served = session.serve(task)
    if served.answered != task.requests:
        raise SystemExit(f"{task.requests - served.answered} requests were not answered")
    return served


def print_pace(
    session: ServingSession, task: ServingTask, seconds: float, repeats: int
) -> dict[str, Figures]:
    """Print how well the producer keeps its times."""
    task = replace(
        task, arrivals=f"uniform-jitter({RATE_PER_S})", requests=int(RATE_PER_S * seconds)
    )
    servers = {"idle": task, "busy": replace(task, model=model("Busy", batch_s=BUSY_BATCH_S))}
    figures: dict[str, Figures] = {}
    rows = []
    for name, one in servers.items():
        windows, others = paced(session, one, repeats)
        figures[name] = pace(windows) | {"others_cores": others}
        off, p99 = figures[name]["rate_off"], figures[name]["gap_p99_s"]
        met = max(off) <= LIMITS["rate"] and max(p99) <= LIMITS["gap_s"]
        late = [figures[name][key] for key in ("gap_p50_s", "gap_p99_s", "gap_max_s", "late_p99_s")]
        rows.append(
            [
                name,
                spread(others, ".2f"),
                spread(figures[name]["rate_per_s"], ".2f"),
                spread([100 * one for one in off], ".4f"),
                *(spread([1e3 * value for value in values], ".3f") for values in late),
                "met" if met else "missed",
            ]
        )
    print(f"### Pace of the producer at {RATE_PER_S}/s, {repeats} windows of {seconds:g} s\n")
    head = [
        "server",
        "cores others used",
        "sent per s",
        "off by %",
        "gap error p50, ms",
        "p99, ms",
        "largest, ms",
        "late p99, ms",
        "1 % and 2 ms",
    ]
    print(table(head, rows))
    return figures


def paced(
    session: ServingSession, task: ServingTask, repeats: int
) -> tuple[list[Served], list[float]]:
    """Windows, and how many cores other programs used meanwhile."""
    windows, others = [], []
    for seed in range(repeats):
        one = replace(task, seed=seed)
        session.load(one)
        with Others(session.pids) as beside:
            windows.append(session.serve(one))
        others.append(beside.cores)
    return windows, others


class Others:
    """How much of the machine programs that are not measured have used meanwhile.

    Args:
        pids: of the processes that are measured, beside this one.

    Attributes:
        cores: processor time by time.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = (os.getpid(), *pids)
        self.cores = 0.0

    def __enter__(self) -> Others:
        self._begun_s, self._used_s = time.monotonic(), self._others_s()
        return self

    def __exit__(self, *_: object) -> None:
        used_s = self._others_s() - self._used_s
        self.cores = max(0.0, used_s / (time.monotonic() - self._begun_s))

    def _others_s(self) -> float:
        times = psutil.cpu_times()
        busy_s = sum(times) - times.idle - getattr(times, "iowait", 0.0)
        return busy_s - sum(processor_time_s(pid) for pid in self._pids)


def pace(windows: Sequence[Served]) -> Figures:
    """Rate and errors of each window."""
    figures: Figures = {}
    for served in windows:
        errors_s, late_s = gap_errors_s(served), served.sent_s - served.due_s
        rate_per_s = sent_per_s(served)
        due_per_s = (len(served.due_s) - 1) / (served.due_s[-1] - served.due_s[0])
        assert rate_per_s is not None
        for name, value in {
            "rate_per_s": rate_per_s,
            "rate_off": abs(rate_per_s / due_per_s - 1),
            "gap_p50_s": np.percentile(errors_s, 50),
            "gap_p99_s": np.percentile(errors_s, 99),
            "gap_max_s": errors_s.max(),
            "late_p99_s": np.percentile(late_s, 99),
        }.items():
            figures.setdefault(name, []).append(float(value))
    return figures


def print_overhead(
    session: ServingSession, task: ServingTask, seconds: float, repeats: int
) -> dict[str, Figures]:
    """Print what the queue and the server add to the time of a model."""
    requests = max(16 * SIZES[-1], min(task.capacity, int(FILL_PER_S * seconds / 2)))
    # Long enough for all to arrive while the first batch is under way.
    filling_s = 1.0 + 2 * requests / FILL_PER_S
    figures: dict[str, Figures] = {}
    rows = []
    for size in SIZES:
        one = replace(
            task,
            policy=f"fixed({size})",
            arrivals=f"uniform-jitter({FILL_PER_S})",
            requests=requests,
            warm_up_batches=0,
        )
        served_s = []
        for seed in range(repeats):  # another model each time, so that its first batch is slow
            null = model("Null", first_s=filling_s + 1e-6 * (size + seed))
            served_s.append(emptying_s(window(session, replace(one, model=null, seed=seed))))
        alone_s = [call_s(size) / size for _ in range(repeats)]
        added_s = [a - b for a, b in zip(served_s, alone_s, strict=True)]
        figures[str(size)] = {"served_s": served_s, "torch_s": alone_s}
        rows.append(
            [
                str(size),
                *(spread([1e6 * s for s in values], ".1f") for values in (served_s, alone_s)),
                spread([1e6 * s for s in added_s], ".1f"),
                verdict(max(added_s), LIMITS["overhead_s"]),
            ]
        )
    print(f"### Time of a request with a null model, {repeats} times {requests} requests\n")
    head = ["batch", "served, us", "torch's own call, us", "added, us", "under 200 us"]
    print(table(head, rows))
    return figures


def print_response(
    session: ServingSession, task: ServingTask, seconds: float, repeats: int
) -> dict[str, Figures]:
    """Print the response of a server that has to be woken, and what of it is not ours."""
    figures: dict[str, Figures] = {}
    rows = []
    for rate_per_s in RATES_PER_S:
        one = replace(
            task, arrivals=f"uniform-jitter({rate_per_s})", requests=int(rate_per_s * seconds)
        )
        found: Figures = {name: [] for name in ("response", "started", "model", "pipe", "torch")}
        for seed in range(repeats):
            served = window(session, replace(one, seed=seed))
            found["response"].append(float(np.median(served.response_s)))
            found["started"].append(float(np.median(served.started_s - served.sent_s)))
            found["model"].append(float(np.median(served.model_s)))
            found["pipe"].append(pipe_s(1 / rate_per_s))
            found["torch"].append(call_after_s(1 / rate_per_s))
        figures[str(rate_per_s)] = found
        micros = (spread([1e6 * s for s in values], ".0f") for values in found.values())
        rows.append([f"{rate_per_s}/s", *micros])
    print(f"### Median response with a null model, {repeats} windows of {seconds:g} s\n")
    head = [
        "requests",
        "response, us",
        "until it is taken, us",
        "in the model, us",
        "a pipe alone wakes a process in, us",
        "torch's own call after such a pause, us",
    ]
    print(table(head, rows))
    return figures


def pipe_s(pause_s: float) -> float:
    """Median time in which a byte in a pipe wakes a process that sleeps in between."""
    command = [sys.executable, "-c", LISTENER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as listener:
        assert listener.stdin is not None
        assert listener.stdout is not None
        listener.stdout.readline()
        sent_s = []
        for _ in range(WAKES):
            time.sleep(pause_s)
            sent_s.append(time.monotonic())
            listener.stdin.write(b"\0")
        listener.stdin.close()
        heard_s = json.loads(listener.stdout.read())
    return statistics.median(a - b for a, b in zip(heard_s, sent_s, strict=True))


def call_after_s(pause_s: float) -> float:
    """Median time of torch for one call of the null model after a pause."""
    null, images = Null().eval(), torch.rand(1, 3, SIDE, SIDE)
    took_s = []
    for _ in range(WAKES):
        time.sleep(pause_s)
        started_s = time.perf_counter()
        with torch.inference_mode():
            null(images)
        took_s.append(time.perf_counter() - started_s)
    return statistics.median(took_s)


def emptying_s(served: Served) -> float:
    """Time of the server by request, after the first batch that found all others waiting."""
    after = served.batch_started_s > served.sent_s[-1]
    if after.sum() < 2:  # noqa: PLR2004 - one begins the time, one ends it
        raise SystemExit("requests still arrived while the queue was emptied: let less else run")
    answered_s = served.batch_answered_s[after]
    return float((answered_s[-1] - answered_s[0]) / served.batch_sizes[after][1:].sum())


def call_s(size: int) -> float:
    """Time of torch for one call of the null model."""
    null, images = Null().eval(), torch.rand(size, 3, SIDE, SIDE)
    started_s = time.perf_counter()
    for _ in range(CALLS):
        with torch.inference_mode():
            null(images)
    return (time.perf_counter() - started_s) / CALLS


def print_idle(
    session: ServingSession, task: ServingTask, seconds: float, repeats: int
) -> dict[str, Figures]:
    """Print the processor time of both processes while nothing arrives."""
    task = replace(task, arrivals=f"uniform-jitter({1 / seconds}, 0)", requests=1)
    figures: dict[str, Figures] = {"idle": {"server": [], "producer": []}}
    for _ in range(repeats):
        session.load(task)
        before_s = [processor_time_s(pid) for pid in session.pids]
        served = session.serve(task)
        for name, pid, begun_s in zip(figures["idle"], session.pids, before_s, strict=True):
            share = (processor_time_s(pid) - begun_s) / served.duration_s
            figures["idle"][name].append(share)
    print(f"### Processor time while nothing arrives, {repeats} times {seconds:g} s\n")
    rows = [
        [
            name,
            spread([100 * share for share in shares], ".3f"),
            verdict(statistics.median(shares), LIMITS["idle"]),
        ]
        for name, shares in figures["idle"].items()
    ]
    print(table(["process", "% of one core", "under 1 %"], rows))
    return figures


def processor_time_s(pid: int) -> float:
    """Of a process, in steps of 10 ms."""
    return float(sum(psutil.Process(pid).cpu_times()[:2]))


if __name__ == "__main__":
    main()
