"""Record a table of learning curves with the energy of every epoch, by the fast engine.

    python benchmarks/learning_curves.py --data-dir data --folder curves --estimate
    python benchmarks/learning_curves.py --data-dir data --folder curves

Every point of a grid is trained, some repetitions each: repetition r has seed r, in every
configuration, so that configurations can be compared in pairs. Trainings of one architecture and
batch size form units of at most `TOGETHER`, which are trained together (`Population`); a unit is
stored when it is complete. A command that was killed goes on after the last complete unit. When all
units are there, they are packed into one Parquet file.

On Linux convolutions take a fifth less time where memory is not returned to the system at every
layer: MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=2000000000.

Columns, one row for each epoch of each training:

=======================  ==========================================================================
network                  registered name
learning_rate ...        the configuration; empty where the network has no such option
repetition               from 0; also the seed
epoch                    from 1
validation_accuracy      after the epoch, on the training images that are held out
test_accuracy            the same on test images, for judging only: it is not part of any cost
loss                     mean cross entropy of the epoch, nats; NaN once the training diverged
seconds                  wall-clock time of the epoch and its validation; members of a unit share it
processor_s              the same of processor time, which does not depend on other programs
energy_j                 energy of the epoch and its validation, shared equally in a unit
energy_status            "measured", "partly estimated", "estimated" or "missing"
stack_size, unit_size    trainings of a stack, and of the unit
=======================  ==========================================================================
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from figures import machine, versions
from pyarrow import parquet

import joulelab
from joulelab.energy.shared_meters import shared_meters
from joulelab.files import FileLock, write_whole
from joulelab.learning.engine import Hyperparameters, Member, TrainingTask
from joulelab.learning.fast.population import Population, Segment
from joulelab.learning.fast.schedule import ScheduleFile
from joulelab.learning.images import Images, load_images, thinned
from joulelab.learning.placement import Shelf

LEARNING_RATES = tuple(float(f"{rate:.2g}") for rate in np.geomspace(3e-5, 1e-1, 8))
BATCH_SIZES = (32, 128, 512, 2048)
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "DensePolyNN": {
        "linear_layers": (1, 2, 3, 5),
        "batch_size": BATCH_SIZES,
        "learning_rate": LEARNING_RATES,
        "beta1": (0.5, 0.9),
    },
    "SimpleCNN": {
        "conv_layers": (1, 2),
        "batch_size": BATCH_SIZES,
        "learning_rate": LEARNING_RATES,
        "beta1": (0.5, 0.9),
    },
}
"""Levels of each variable: 256 and 128 configurations."""

OPTIONS = ("linear_layers", "conv_layers")
"""Variables that are options of a network; a stack has one level of them and of the batch size."""

TOGETHER = 32
"""Most trainings of a unit."""

LICENCE = "MIT"
OWN_FILE = Path("src/joulelab/tuning/tables/fashion-mnist-10k.parquet")

TYPES = {
    "network": pa.dictionary(pa.int8(), pa.string()),
    "linear_layers": pa.int16(),
    "conv_layers": pa.int16(),
    "batch_size": pa.int32(),
    "learning_rate": pa.float64(),
    "beta1": pa.float64(),
    "repetition": pa.int16(),
    "epoch": pa.int16(),
    "validation_accuracy": pa.float32(),
    "test_accuracy": pa.float32(),
    "loss": pa.float32(),
    "seconds": pa.float32(),
    "processor_s": pa.float32(),
    "energy_j": pa.float32(),
    "energy_status": pa.dictionary(pa.int8(), pa.string()),
    "stack_size": pa.int16(),
    "unit_size": pa.int16(),
}


@dataclass(frozen=True)
class Unit:
    """Trainings that are recorded together.

    Attributes:
        network: registered name.
        option: the variable that is an option of the network.
        level: of that variable.
        batch_size: images of a step.
        number: of this unit among those of the same stack.
        trainings: learning rate, beta1 and repetition of each.
    """

    network: str
    option: str
    level: int
    batch_size: int
    number: int
    trainings: tuple[tuple[float, float, int], ...]

    @property
    def name(self) -> str:
        """For instance ``DensePolyNN-linear_layers-3-batch-512-0``."""
        parts = (self.network, self.option, self.level, "batch", self.batch_size, self.number)
        return "-".join(map(str, parts))

    def population(self, args: argparse.Namespace, images: Images, shelf: Shelf) -> Population:
        """Its trainings before the first epoch."""
        task = TrainingTask(
            self.network,
            {self.option: self.level},
            args.protocol,
            args.epochs,
            self.batch_size,
            members=(),
        )
        file = ScheduleFile(args.folder / "schedules.json")
        population = Population(task, images, args.device, shelf=shelf, schedules=file)
        population.prepare(len(self.trainings))
        return population

    def segments(self, to_epoch: int) -> list[Segment]:
        """All trainings up to an epoch."""
        return [
            Segment(key, Member(key[2], Hyperparameters(key[0], key[1])), to_epoch)
            for key in self.trainings
        ]


def grid_of(args: argparse.Namespace, network: str) -> dict[str, tuple[float, ...]]:
    """The levels that are recorded: all, or the least and the greatest of each variable."""
    step = {name: len(levels) - 1 if args.quick else 1 for name, levels in GRIDS[network].items()}
    return {name: levels[:: step[name]] for name, levels in GRIDS[network].items()}


def units(args: argparse.Namespace) -> list[Unit]:
    """All units, network after network."""
    found = []
    for network in args.networks:
        grid = grid_of(args, network)
        (option,) = set(grid) & set(OPTIONS)
        for level, batch_size in itertools.product(grid[option], grid["batch_size"]):
            all_of_stack = [
                (rate, beta1, repetition)
                for repetition in range(args.repetitions)
                for rate, beta1 in itertools.product(grid["learning_rate"], grid["beta1"])
            ]
            starts = range(0, len(all_of_stack), TOGETHER)
            pieces = [tuple(all_of_stack[start : start + TOGETHER]) for start in starts]
            found += [
                Unit(network, option, int(level), int(batch_size), number, trainings)
                for number, trainings in enumerate(pieces)
            ]
    return found


def record(unit: Unit, args: argparse.Namespace, images: Images, test: Images) -> pa.Table:
    """Train a unit; its rows, ordered by training and epoch."""
    population = unit.population(args, images, args.shelf)
    rows: list[dict[str, Any]] = []
    size = len(unit.trainings)
    for epoch in range(1, args.epochs + 1):
        with joulelab.measure(unit.name) as measuring:
            began_s = time.process_time()
            curves = population.train(unit.segments(epoch))
            processor_s = (time.process_time() - began_s) / size
        energy = measuring.result.total
        scores = population.scores(unit.trainings, test.test)
        for key, (test_accuracy, _) in zip(unit.trainings, scores, strict=True):
            (one,) = curves[key]
            rows.append(
                {
                    "network": unit.network,
                    unit.option: unit.level,
                    "batch_size": unit.batch_size,
                    **dict(zip(("learning_rate", "beta1", "repetition"), key, strict=True)),
                    "epoch": epoch,
                    "validation_accuracy": one.accuracy,
                    "test_accuracy": test_accuracy,
                    "loss": one.loss,
                    "seconds": one.training_s + one.evaluation_s,
                    "processor_s": processor_s,
                    "energy_j": None if energy.gross_j is None else energy.gross_j / size,
                    "energy_status": str(energy.status),
                    "stack_size": one.stack_size,
                    "unit_size": size,
                }
            )
    position = {key: number for number, key in enumerate(unit.trainings)}
    rows.sort(key=lambda row: position[row["learning_rate"], row["beta1"], row["repetition"]])
    return pa.Table.from_pylist(rows, schema=pa.schema(list(TYPES.items())))


def pack(args: argparse.Namespace, facts: Mapping[str, Any]) -> Path:
    """One file of all units, with where it comes from in its metadata.

    The checksum is SHA-256 over the rows: of each column its name, then its values as little-endian
    numbers, or as lines of text; missing numbers are NaN.
    """
    files = [args.folder / f"{unit.name}.parquet" for unit in units(args)]
    parts = [parquet.read_table(file) for file in files]
    table = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
    dates = sorted(json.loads(part.schema.metadata[b"unit"])["recorded"] for part in parts)
    about = {**facts, "recorded": [dates[0], dates[-1]], "sha256": checksum(table)}
    table = table.replace_schema_metadata({"joulelab": json.dumps(about)})
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(args.out, as_parquet(table))
    return args.out


def checksum(table: pa.Table) -> str:
    """SHA-256 of the rows of a table; `pack` says over what."""
    digest = hashlib.sha256()
    for name in table.column_names:
        column = table[name].combine_chunks()
        digest.update(name.encode())
        if pa.types.is_dictionary(column.type):
            digest.update("\n".join(column.to_pylist()).encode())
        else:
            values = np.asarray(column.to_numpy(zero_copy_only=False))
            digest.update(np.ascontiguousarray(values, "<f8").data)
    return digest.hexdigest()


def as_parquet(table: pa.Table) -> bytes:
    """The bytes of a Parquet file."""
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd", compression_level=19)
    return sink.getvalue()


def facts_of(args: argparse.Namespace, images: Images, test: Images) -> dict[str, Any]:
    """What the table is of; a folder holds units of one such description."""
    return {
        "table": "learning curves with the energy of every epoch",
        "command": command_of(args),
        "licence": LICENCE,
        "dataset": args.dataset,
        "training_images": len(images.train),
        "validation_images": len(images.test),
        "test_images": len(test.test),
        "images_sha256": images.checksum(),
        "protocol": args.protocol,
        "epochs": args.epochs,
        "repetitions": args.repetitions,
        "optimiser": "adam",
        "precision": "fp32",
        "levels": {network: grid_of(args, network) for network in args.networks},
        "score": "validation_accuracy, higher is better",
        "cost": "energy_j, seconds: of the epoch and its validation",
    }


def command_of(args: argparse.Namespace) -> str:
    """The command that records the table, without the folders of this machine."""
    memory = [f"{name}={value}" for name, value in os.environ.items() if "MALLOC" in name]
    given = {
        f"--{name.replace('_', '-')}": getattr(args, name)
        for name in (
            "dataset",
            "networks",
            "train_images",
            "validation_images",
            "test_images",
            "repetitions",
            "epochs",
            "protocol",
            "device",
        )
    }
    words = [
        part
        for name, value in given.items()
        for part in (name, *(value if isinstance(value, list) else [str(value)]))
    ]
    quick = ["--quick"] if args.quick else []
    program = ["python", "benchmarks/learning_curves.py", "--folder", "curves"]
    return shlex.join([*sorted(memory), *program, *words, *quick])


def estimate(args: argparse.Namespace, images: Images, test: Images) -> None:
    """Train one epoch of a few units of each network, and print how long everything will take."""
    for network in args.networks:
        own = [unit for unit in units(args) if unit.network == network]
        tried = own[:: max(1, len(own) // args.tried)]
        busy_s, wall_s = [], []
        for unit in tried:
            population = unit.population(args, images, args.shelf)
            began = time.process_time(), time.perf_counter()
            population.train(unit.segments(1))
            population.scores(unit.trainings, test.test)
            busy_s.append((time.process_time() - began[0]) / len(unit.trainings))
            wall_s.append((time.perf_counter() - began[1]) / len(unit.trainings))
            print(
                f"  {unit.name}: {busy_s[-1]:.3f} s of processor time, {wall_s[-1]:.3f} s of time"
            )
        epochs = args.epochs * sum(len(unit.trainings) for unit in own)
        cores = torch.get_num_threads()
        print(
            f"{network}: {epochs:,} epochs; {np.mean(busy_s) * epochs / cores / 60:.0f} min on "
            f"{cores} quiet cores, {np.mean(wall_s) * epochs / 60:.0f} min as busy as now",
            flush=True,
        )


def meters() -> list[str]:
    """What energies come from on this machine."""
    channels = shared_meters().recorder.describe()["channels"]
    return [
        " ".join(filter(None, (one["domain"], one["status"], one["remark"]))) for one in channels
    ]


def run(args: argparse.Namespace, images: Images, test: Images) -> None:
    """Record all units that are missing, then pack them."""
    facts = facts_of(args, images, test)
    for network in args.networks:
        settings = args.folder / f"{network}.json"
        kept = json.dumps({**facts, "command": None, "levels": facts["levels"][network]}, indent=1)
        if settings.exists() and settings.read_text("utf-8") != kept:
            sys.exit(f"{args.folder} holds units of other settings: choose another folder")
        write_whole(settings, kept)
    wanted = units(args)
    missing = [unit for unit in wanted if not (args.folder / f"{unit.name}.parquet").exists()]
    print(f"{len(wanted) - len(missing)} of {len(wanted)} units are there", flush=True)
    for number, unit in enumerate(missing, 1):
        began_s = time.perf_counter()
        table = record(unit, args, images, test)
        about = {"recorded": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", "machine": machine()}
        table = table.replace_schema_metadata({"unit": json.dumps(about)})
        write_whole(args.folder / f"{unit.name}.parquet", as_parquet(table))
        best = max(table["validation_accuracy"].to_pylist())
        print(
            f"{datetime.now(UTC):%H:%M} {number} of {len(missing)} {unit.name}: "
            f"{time.perf_counter() - began_s:.0f} s, best {best:.3f}",
            flush=True,
        )
    here = {
        "hardware": machine(),
        "meters": meters(),
        "versions": f"{versions()}, torch {torch.__version__}",
    }
    out = pack(args, {**facts, **here})
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Record the table, or estimate how long that takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="folder of the data set")
    parser.add_argument("--folder", type=Path, required=True, help="folder of the units")
    parser.add_argument("--out", type=Path, default=OWN_FILE, help="the table")
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--networks", nargs="+", default=list(GRIDS), choices=GRIDS)
    parser.add_argument("--train-images", type=int, default=10_000)
    parser.add_argument("--validation-images", type=int, default=2_000)
    parser.add_argument("--test-images", type=int, default=2_000)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--protocol", default="default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--estimate", action="store_true", help="only say how long it takes")
    parser.add_argument("--tried", type=int, default=1, help="units of a network for --estimate")
    parser.add_argument("--quick", action="store_true", help="two levels of every variable")
    args = parser.parse_args(arguments)
    args.folder.mkdir(parents=True, exist_ok=True)
    args.shelf = Shelf()
    kept = args.train_images + args.validation_images
    whole = thinned(load_images(args.dataset, args.data_dir), kept, args.test_images, seed=0)
    images = whole.validation_split(args.validation_images, seed=0)
    if args.estimate:
        estimate(args, images, whole)
        return
    with FileLock(args.folder / "lock"):
        run(args, images, whole)


if __name__ == "__main__":
    main()
