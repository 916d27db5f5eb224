"""Make the finished studies that tests of reports and commands read: ``tests/data/studies``.

They are small studies that really ran. Only this script writes them; run it where a new kind of
study or a new column is to be among them::

    PYTHONPATH=src:tests/study:tests/energy python tests/data/make_studies.py [NAME ...]
    pytest tests/test_pinned.py --update-golden

The second line writes what is expected of them anew; read its difference before it is committed.
"""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import tomli_w
from powercap_tree import Tree
from test_study_store_versions import written_by
from tiny_study import TINY

from joulelab import Study

STUDIES = Path(__file__).parent / "studies"
KEPT_TRACES = 2
PLUGIN = "plugins/own_networks.py"
COMMON = {
    "seed": 7,
    "threads": 1,
    "energy": {"meters": ["estimate"], "idle_s": 0.3, "interval_s": 0.05, "cool_down_s": 0},
}
TRAINING = {
    **COMMON,
    "dataset": "digits",
    "train_images": 200,
    "test_images": 100,
    "epochs": 2,
    "batch_size": 50,
}
SPACE = {
    "learning_rate": {"type": "continuous", "low": 1e-5, "high": 1e-1},
    "beta1": {"type": "continuous", "low": 0.1, "high": 1.0, "high_exclusive": True},
    "beta2": {"type": "continuous", "low": 0.8, "high": 1.0, "high_exclusive": True},
}
LAYERS = {
    **TINY["experiment"]["architecture"],
    "network_options": {"pooling": "while-possible"},
    "vary": {"linear_layers": [3, 7], "conv_layers": [1, 4], "relu": [False, True]},
    "rounds": 2,
    "space": {**SPACE, "learning_rate": {"type": "continuous", "low": 1e-4, "high": 1e-2}},
}
WHOLE = {
    "tuning": {
        **TRAINING,
        "summary": "three strategies on two networks",
        "experiment": {
            "tuning": {
                "kind": "tuning",
                "strategies": ["grid", "random", "bayesian-pi"],
                "networks": ["DensePolyNN", "SimpleCNN"],
                "rounds": 3,
                "repetitions": 2,
                "space": SPACE,
            }
        },
    },
    "architecture": {**TRAINING, "experiment": {"layers": LAYERS}},
    "training-cost": {
        **COMMON,
        "dataset": "digits?channels=3&side=32",
        "train_images": 64,
        "test_images": 32,
        "protocol": "xu2023",
        "epochs": 1,
        "batch_size": 32,
        "experiment": {
            "cost": {
                "kind": "training-cost",
                "networks": ["shufflenet_v2_x0_5", "squeezenet1_1"],
                "bases": ["frozen", "trained"],
                "weights": "random",
                "repetitions": 3,
                "places": ["FRA", "USA/oregon", "TWN"],
            }
        },
    },
    "batching": {
        **COMMON,
        "experiment": {
            "batching": {
                "kind": "batching",
                "models": ["shufflenet_v2_x0_5", "squeezenet1_1"],
                "weights": "random",
                "policies": ["fixed(1)", "fixed(4, wait_ms=100)", "greedy(8)"],
                "arrivals": ["uniform-jitter(30, 0.2)"],
                "requests": 24,
                "repetitions": 2,
                "images": "photographs",
                "resize": 64,
                "crop": 64,
                "warm_up_batches": 1,
                "warm_up_size": 4,
                "limit_ms": 300,
                "limit_percentile": 95,
            }
        },
    },
    "timeline": {
        **COMMON,
        "experiment": {
            "timeline": {
                "kind": "timeline",
                "models": ["alexnet", "squeezenet1_1", "mobilenet_v3_small"],
                "weights": "random",
                "batch_sizes": [1, 4],
                "seconds": 0.2,
                "warm_up_batches": 1,
                "repetitions": 2,
            }
        },
    },
    "troubled": {
        **TRAINING,
        "plugins": [PLUGIN],
        "experiment": {
            "search": {
                "kind": "tuning",
                "strategies": ["random"],
                "networks": ["DensePolyNN", "fragile"],
                "rounds": 3,
                "repetitions": 2,
                "space": SPACE,
            },
            "diverging": {
                "kind": "tuning",
                "strategies": ["random"],
                "networks": ["DensePolyNN"],
                "rounds": 2,
                "repetitions": 2,
                "space": {"learning_rate": {"type": "continuous", "low": 1e29, "high": 1e30}},
            },
        },
    },
    "instruments": {
        **TRAINING,
        "energy": {**COMMON["energy"], "meters": ["rapl", "estimate"]},
        "experiment": {"layers": {**LAYERS, "vary": {"conv_layers": [1, 4]}}},
    },
    "unfinished": {
        **TRAINING,
        "plugins": [PLUGIN],
        "experiment": {
            "search": {
                "kind": "tuning",
                "strategies": ["grid", "random"],
                "networks": ["interrupting", "DensePolyNN"],
                "rounds": 3,
                "repetitions": 2,
                "space": SPACE,
            },
            "layers": {**LAYERS, "vary": {"conv_layers": [1, 2]}},
        },
    },
}
OWN_NETWORKS = '''"""Networks that sometimes cannot be built."""

import itertools

from joulelab.learning.networks import networks
from torch import nn

built = itertools.count(1)


def linear(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape.size, classes))


@networks.register("fragile")
def fragile(shape, classes):
    """One linear layer, if it can be built."""
    if next(built) % 3 == 0:
        raise ValueError("this network was never finished")
    return linear(shape, classes)


@networks.register("interrupting")
def interrupting(shape, classes):
    """One linear layer, until somebody interrupts."""
    if next(built) == 18:
        raise KeyboardInterrupt
    return linear(shape, classes)
'''


def make(name: str, work: Path) -> None:
    """Run one study, and keep what is needed of its folder."""
    out = work / name
    if name.startswith("version-"):
        (work / name).mkdir()
        written_by(int(name[-1]), work / name)
        out = work / name / "old"
    else:
        study = {"name": name, **WHOLE[name]}
        with contextlib.suppress(KeyboardInterrupt):
            Study.load(as_file(study, work)).run(out)
    keep(out, STUDIES / name)


def as_file(study: dict, work: Path) -> Path:
    """A study file beside its plug-in."""
    path = work / f"{study['name']}.toml"
    path.write_text(tomli_w.dumps(study))
    return path


def keep(made: Path, to: Path) -> None:
    """What is kept of a results folder."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    for name in ("study.toml", "manifest.json", "runs.sqlite"):
        shutil.copy(made / name, to / name)
    for folder, most in (("requests", None), ("traces", KEPT_TRACES)):
        paths = sorted((made / folder).glob("*.parquet"), key=lambda one: int(one.stem))[:most]
        for path in paths:
            (to / folder).mkdir(exist_ok=True)
            shutil.copy(path, to / folder)
    neutral(to)


NEUTRAL = {
    "commit": "0123456789ab",
    "system": "Linux-6.1",
    "processor": "Some Processor",
    "model": "Some Processor",
    "host": "a-machine",
    "pid": 4711,
    "python": "3.12.1",
    "cores": 2,
    "memory_gb": 8.0,
}
WORDS = (
    (re.compile(r"/[^ :,\"\n]*/(?=plugins/|joulelab/)"), ""),
    (re.compile(r"AMD EPYC"), "Some Processor"),
    (re.compile(r"^  File \"/.*/(?=[^/]+\")", re.MULTILINE), '  File "'),
)


def neutral(folder: Path) -> None:
    """Replace names and paths of this machine, and let the database be small."""
    study, manifest = folder / "study.toml", folder / "manifest.json"
    study.write_text(without(study.read_text()))
    told = json.loads(manifest.read_text(), object_hook=conditions)
    manifest.write_text(without(json.dumps(told, indent=1)) + "\n")
    with closing(sqlite3.connect(folder / "runs.sqlite", isolation_level=None)) as database:
        database.create_function("without", 1, lambda text: text and without(text))
        for table, column in (("ledger", "error"), ("runs", "error"), ("runs", "measurement")):
            database.execute(f"UPDATE {table} SET {column} = without({column})")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("PRAGMA page_size = 1024")
        database.execute("VACUUM")


def conditions(table: dict) -> dict:
    """A table of the manifest, with nothing of this machine."""
    return {
        key: NEUTRAL[key] if key in NEUTRAL and not isinstance(value, dict | list) else value
        for key, value in table.items()
    }


def without(text: str) -> str:
    """A text without paths and names of this machine."""
    for pattern, instead in WORDS:
        text = re.sub(pattern, instead, text)
    return text


def main() -> None:
    """Make the studies that are named, or all."""
    names = sys.argv[1:] or [*WHOLE, "version-1", "version-2"]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ["JOULELAB_LOCK_DIR"] = str(work / "locks")
        os.environ["JOULELAB_APPROVED"] = str(work / "approved")
        os.environ["JOULELAB_SCHEDULES"] = str(work / "schedules.json")
        (work / "plugins").mkdir()
        (work / PLUGIN).write_text(OWN_NETWORKS)
        os.chdir(work)
        tree = Tree(work / "powercap")
        tree.add("intel-rapl:0", "package-0")
        os.environ["JOULELAB_POWERCAP"] = str(tree.root)
        with tree.flowing({"intel-rapl:0": 30.0}):
            for name in names:
                print(name, flush=True)
                make(name, work)


if __name__ == "__main__":
    main()
