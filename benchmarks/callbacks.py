"""What following a training costs, and by how much a budget is overshot.

    python benchmarks/callbacks.py [--pairs 10] [--epochs 10] [--budgets 10] [--only NAME ...]

1. A loop with `joulelab.track`, and a training by each framework with its callback, against the
   same without, in turns. Steps and epochs wait instead of computing: what they need of the
   processor is then the framework's and joulelab's own, whatever else the machine does::

       without  with  without  with ...      trainings of some epochs of 1 s, one pair each

   The cost is processor time, of the thread that trains (which delays it) and of all threads
   (recording included), start and end of the measurement included. All trainings run at the same
   time, each in a process of its own.
2. Budgets of joules and seconds: of `joulelab measure`, of loops with steps of several lengths, and
   of callbacks. What was spent in the end is held against the budget, and against one step.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, redirect_stdout
from functools import partial
from multiprocessing import get_context
from typing import Any

import simulated
from figures import machine, median_interval, quantile, spread, table, versions

import joulelab
from joulelab.budget import parse_budget

TARGET = 0.005
EPOCH_S = 1.0
BATCHES = 10
STEPS_S = (0.001, 0.01, 1.0)
BUDGET_STEPS_S = (0.001, 0.02, 0.2)
NEVER = "1 MJ"
"""A budget that is not spent, but watched."""
BUDGETS = ("1 kJ", "5 kJ", "5 s")
"""The simulated processor and GPU draw some 230 W together, and their counters move in steps."""
MANY = 1000
"""Epochs, more than any budget lasts."""
AT_ONCE = 8
"""Budgets that are kept at the same time: all of them wait."""

Costs = tuple[list[float], list[float]]
"""Of each pair, processor time with less without, as a share: of the thread, of all threads."""
Run = Callable[[bool], Any]
"""A training, with a callback or without; returns the callback."""


def main() -> None:
    """Measure both and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=10, help="of 1 s, of a training")
    parser.add_argument("--budgets", type=int, default=10, help="runs of each budget")
    parser.add_argument("--only", nargs="+", choices=list(FRAMEWORKS), default=list(FRAMEWORKS))
    args = parser.parse_args()
    print(f"{machine()}; {versions()}\n")
    print_costs(args.pairs, args.epochs, args.only)
    if args.budgets:
        print_budgets(args.budgets, [name for name in args.only if name in IN_EPOCHS])


def print_costs(pairs: int, epochs: int, only: list[str]) -> None:
    """Print the table of processor time."""
    steps = {f"track, steps of {1e3 * step_s:g} ms": partial(tracked, step_s) for step_s in STEPS_S}
    installed = [name for name in only if importlib.util.find_spec(MODULES[name])]
    settings = steps | {f"{name}, epochs of 1 s": FRAMEWORKS[name] for name in installed}
    with ExitStack() as stack:
        spawned = get_context("spawn")
        futures = {
            name: stack.enter_context(ProcessPoolExecutor(1, mp_context=spawned)).submit(
                costs, made, pairs, epochs
            )
            for name, made in settings.items()
        }
        found = {name: future.result() for name, future in futures.items()}
    rows = []
    for name, (thread, every) in found.items():
        low, high = median_interval(thread)
        judged = "met" if high <= TARGET else "missed" if low > TARGET else "undecided"
        rows.append([name, *map(_share, (thread, every)), f"{100 * TARGET:g} %: {judged}"])
    print(f"### Processor time, {pairs} pairs of {epochs} s each\n")
    print(table(["training", "of its thread (95 %)", "of all threads (95 %)", "target"], rows))


def _share(values: list[float]) -> str:
    low, high = median_interval(values)
    return f"{100 * quantile(values, 0.5):.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def print_budgets(runs: int, only: list[str]) -> None:
    """Print the table of what was spent of budgets."""
    settings: list[tuple[str, float | str | None]] = [
        (budget, step_s) for budget in BUDGETS for step_s in (None, *BUDGET_STEPS_S)
    ]
    settings += [(BUDGETS[1], name) for name in only if importlib.util.find_spec(MODULES[name])]
    with ProcessPoolExecutor(AT_ONCE, mp_context=get_context("spawn")) as workers:
        futures = {one: [workers.submit(overshoot, *one) for _ in range(runs)] for one in settings}
        found = {one: [each.result() for each in those] for one, those in futures.items()}
    rows = []
    for (budget, step_s), those in found.items():
        name = f"measure --budget {budget.replace(' ', '')}"
        in_steps = "-"
        if step_s is not None:
            name = f"{step_s}, {budget}"
            if isinstance(step_s, float):
                name = f"track, {budget}, steps of {1e3 * step_s:g} ms"
            in_steps = spread([steps for _, steps in those], "+.1f")
        rows.append([name, f"{spread([100 * share for share, _ in those], '+.2f')} %", in_steps])
    print(f"### Overshoot of budgets, {runs} runs each: median (least to greatest)\n")
    print(table(["budget", "overshoot", "in steps"], rows))


# What follows runs in processes of their own.


def overshoot(budget: str, step_s: float | str | None) -> tuple[float, float]:
    """By which share of a budget it is overshot, and by how many steps.

    Args:
        budget: of joules or seconds.
        step_s: length of a step of a loop, or the name of a framework; None for a command.
    """
    simulated.draw(simulated.Trace("noise"), simulated.H100)
    amount = parse_budget(budget).amount
    if step_s is None:
        return spent_by_command(budget) / amount - 1, 0.0
    if isinstance(step_s, str):
        loop = followed(step_s, budget)
    else:
        loop = joulelab.track(itertools.count(), budget, quiet=True)
        for _ in loop:
            time.sleep(step_s)
    found = loop.result
    spent = found.duration_s if budget.endswith("s") else found.energy_j or 0.0
    return spent / amount - 1, (spent - amount) / (spent / loop.steps)


def followed(name: str, budget: str) -> Any:  # noqa: ANN401 - what has a result, and steps
    """What has followed a training by a framework until its budget was spent."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        callback = IN_EPOCHS[name](MANY, budget)(True)
        os.chdir("/")
    return callback.follower


def spent_by_command(budget: str) -> float:
    """What ``joulelab measure`` lets a command spend that would wait for a minute."""
    line = [sys.executable, "-m", "joulelab", "measure", "--json", "--idle", "0"]
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    done = subprocess.run(
        [*line, "--budget", budget.replace(" ", ""), "--", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(done.stdout)["measurement"]
    return float(told["duration_s"] if budget.endswith("s") else told["total"]["gross_j"])


def costs(made: Callable[[int], Run], pairs: int, epochs: int) -> Costs:
    """Processor time of a training with a callback less without, as a share of its duration."""
    warnings.simplefilter("ignore")
    simulated.draw(simulated.Trace("noise"), simulated.H100)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run = made(1)
        for followed in (False, True):  # imports, compiles, opens the meters
            run(followed)
        run = made(epochs)
        taken = [(_used(run, followed=False), _used(run, followed=True)) for _ in range(pairs)]
        os.chdir("/")
    thread, every = (
        [(after[which] - before[which]) / after[2] for before, after in taken] for which in (0, 1)
    )
    return thread, every


def _used(run: Run, *, followed: bool) -> tuple[float, float, float]:
    """Processor time of this thread and of all, and duration, in seconds."""
    began = time.thread_time(), time.process_time(), time.monotonic()
    run(followed)
    ended = time.thread_time(), time.process_time(), time.monotonic()
    thread, every, lasted = (after - before for before, after in zip(began, ended, strict=True))
    return thread, every, lasted


def tracked(step_s: float, epochs: int) -> Run:
    """A loop of steps that wait."""
    steps = range(round(epochs * EPOCH_S / step_s))

    def run(followed: bool) -> None:
        loop = joulelab.track(steps, budget=NEVER, quiet=True) if followed else steps
        for _ in loop:
            time.sleep(step_s)

    return run


def _batch() -> None:
    time.sleep(EPOCH_S / BATCHES)


def lightning(epochs: int, budget: str = NEVER) -> Run:
    """Lightning, with its logger of CSV files."""
    import logging

    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.loggers import CSVLogger

    from joulelab.callbacks.lightning import EnergyCallback

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            _batch()
            return self.layer(batch[0]).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    data = torch.utils.data.TensorDataset(torch.zeros(4 * BATCHES, 4))

    def run(followed: bool) -> EnergyCallback:
        callback = EnergyCallback(budget)
        trainer = Trainer(
            max_epochs=epochs,
            callbacks=[callback] if followed else [],
            logger=CSVLogger("."),
            accelerator="cpu",
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Module(), torch.utils.data.DataLoader(data, batch_size=4))
        return callback

    return run


def transformers(epochs: int, budget: str = NEVER) -> Run:
    """Hugging Face's Trainer."""
    import torch
    from transformers import Trainer, TrainingArguments

    from joulelab.callbacks.transformers import EnergyCallback

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            _batch()
            return {"loss": (self.layer(x) - labels).square().mean()}

    data = [{"x": torch.zeros(4), "labels": torch.zeros(1)}] * (4 * BATCHES)

    def run(followed: bool) -> EnergyCallback:
        arguments = TrainingArguments(
            output_dir="out",
            num_train_epochs=epochs,
            per_device_train_batch_size=4,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            log_level="error",
        )
        trainer = Trainer(Model(), arguments, train_dataset=data)
        callback = EnergyCallback(trainer, budget)
        if followed:
            trainer.add_callback(callback)
        with redirect_stdout(io.StringIO()):
            trainer.train()
        return callback

    return run


def keras(epochs: int, budget: str = NEVER) -> Run:
    """Keras, on torch."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import numpy as np

    from joulelab.callbacks.keras import EnergyCallback

    x, y = np.zeros((4 * BATCHES, 4), "float32"), np.zeros((4 * BATCHES, 1), "float32")
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")

    def run(followed: bool) -> EnergyCallback:
        callback = EnergyCallback(budget)
        waits = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: _batch())
        own = [callback] if followed else []
        model.fit(x, y, epochs=epochs, batch_size=4, verbose=0, callbacks=[waits, *own])
        return callback

    return run


def xgboost(epochs: int, budget: str = NEVER) -> Run:
    """XGBoost, with rounds of 10 ms."""
    import numpy as np
    from xgboost import DMatrix, train
    from xgboost.callback import TrainingCallback

    from joulelab.callbacks.xgboost import EnergyCallback

    class Waits(TrainingCallback):
        def after_iteration(self, model: object, epoch: int, evals_log: object) -> bool:
            time.sleep(0.01)
            return False

    data = DMatrix(np.arange(64.0).reshape(16, 4), np.arange(16.0))
    rounds = round(100 * epochs * EPOCH_S)

    def run(followed: bool) -> EnergyCallback:
        callback = EnergyCallback(budget)
        own = [callback] if followed else []
        most = {"num_boost_round": rounds, "verbose_eval": False}
        train({"nthread": 1}, data, **most, callbacks=[Waits(), *own])
        return callback

    return run


def sklearn(epochs: int) -> Run:
    """The wrapper of scikit-learn, around as many fits of 1 s."""
    from sklearn.base import BaseEstimator

    from joulelab.callbacks.sklearn import MeasuredEstimator

    class Waits(BaseEstimator):
        def fit(self, x: object, y: object = None) -> Waits:
            time.sleep(EPOCH_S)
            return self

    def run(followed: bool) -> None:
        for _ in range(epochs):
            (MeasuredEstimator(Waits()) if followed else Waits()).fit([[0.0]])

    return run


IN_EPOCHS: dict[str, Callable[..., Run]] = {
    "Lightning": lightning,
    "Hugging Face Trainer": transformers,
    "Keras": keras,
    "XGBoost": xgboost,
}
FRAMEWORKS: dict[str, Callable[..., Run]] = {**IN_EPOCHS, "scikit-learn": sklearn}
MODULES = {
    "Lightning": "lightning",
    "Hugging Face Trainer": "transformers",
    "Keras": "keras",
    "XGBoost": "xgboost",
    "scikit-learn": "sklearn",
}


if __name__ == "__main__":
    simulated.run(main)
