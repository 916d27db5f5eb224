"""Real stores of seconds, and what is done to copies of them."""

import json
import shutil
import sqlite3
from contextlib import closing

from joulelab.study.study import Study
from joulelab.study.study_file import check_spec

LAYERS = {
    "kind": "architecture",
    "network": "SimpleCNN",
    "rounds": 1,
    "repetitions": 2,
    "vary": {"conv_layers": [1, 2], "relu": [False, True], "linear_layers": [1, 2]},
    "space": {"learning_rate": {"type": "continuous", "low": 1e-4, "high": 1e-2}},
}


def layers(folder, **changes):
    """Eight small networks on digits, trained twice each, into a folder."""
    plain = {
        "name": "layers",
        "dataset": "digits",
        "train_images": 100,
        "test_images": 50,
        "epochs": 1,
        "batch_size": 50,
        "threads": 1,
        "energy": {"meters": ["estimate"], "idle_s": 0, "traces": False},
        "experiment": {"layers": LAYERS},
        **changes,
    }
    Study(check_spec(plain)).run(folder)
    return folder


def copied(folder, to, manifest=None, sql=()):
    """A copy of a results folder with another manifest, or with other runs."""
    shutil.copytree(folder, to)
    path = to / "manifest.json"
    if manifest:
        told = json.loads(path.read_text())
        manifest(told)
        path.write_text(json.dumps(told))
    with closing(sqlite3.connect(to / "runs.sqlite")) as connection, connection:
        for statement in sql:
            connection.execute(statement)
    return to


def on_a_card(told):
    """As if a card had trained."""
    device = {"name": "cuda:0", "domain": "gpu:0", "model": "NVIDIA H200"}
    for conditions in [told, *(one["conditions"] for one in told["sessions"])]:
        conditions["device"] = device
