"""A study of seconds, and what two finished studies must have in common."""

from pathlib import Path

from joulelab.study.results import Results
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec

SAME = [
    "run_id",
    "position",
    "block",
    "seed",
    "state",
    "learning_rate",
    "beta1",
    "beta2",
    "accuracy",
    "train_loss",
    "steps",
]

TINY = {
    "name": "tiny",
    "dataset": "digits",
    "train_images": 100,
    "test_images": 50,
    "epochs": 1,
    "batch_size": 50,
    "seed": 11,
    "threads": 1,
    "energy": {"meters": ["estimate"], "idle_s": 0.05, "interval_s": 0.02},
    "experiment": {
        "tuning": {
            "kind": "tuning",
            "strategies": ["grid", "random", "bayesian-pi"],
            "networks": ["DensePolyNN"],
            "rounds": 3,
            "repetitions": 2,
            "space": {
                "learning_rate": {"type": "continuous", "low": 1e-5, "high": 1e-1},
                "beta1": {
                    "type": "continuous",
                    "low": 0.1,
                    "high": 1.0,
                    "high_exclusive": True,
                },
            },
        },
        "architecture": {
            "kind": "architecture",
            "network": "SimpleCNN",
            "rounds": 1,
            "repetitions": 2,
            "vary": {"conv_layers": [1, 2], "relu": [False, True]},
            "network_options": {"linear_layers": 2},
            "space": {"learning_rate": {"type": "continuous", "low": 1e-4, "high": 1e-2}},
        },
    },
}


def tiny(**changes) -> Study:
    """The tiny study with some of its keys changed."""
    return Study(check_spec({**TINY, **changes}))


def layers_only(**changes):
    """Only the architecture experiment, with some of its keys changed."""
    return {"layers": {**TINY["experiment"]["architecture"], **changes}}


def assert_same_results(one: Results, other: Results) -> None:
    """The same plan, hyperparameters, seeds and, on the CPU, the same accuracies to the bit."""
    left, right = one.to_frame()[SAME], other.to_frame()[SAME]
    assert left.equals(right), left.compare(right)
    assert one.rounds_frame().equals(other.rounds_frame())


def as_toml(folder: Path, **changes) -> Path:
    """The tiny study as a file."""
    path = folder / "tiny.toml"
    path.write_text(tiny(**changes).spec.to_toml())
    return path
