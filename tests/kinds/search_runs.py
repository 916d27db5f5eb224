"""Searches made by hand: no training, no energy measured."""

import json

import pandas as pd

from joulelab.report.experiment import EnergyBasis, Experiment

BUDGET = "the budget of 100 epochs is spent"


def search(strategy, scores, *, seed=0, per_step_j=100.0, accuracy=None, tuner_j=10.0, **problem):
    """A search whose trials are trained to the end one by one: a run, and its steps.

    Args:
        strategy: its name.
        scores: of the trials, each after 10 epochs.
        seed: number of the repetition.
        per_step_j: joules of a trial, to which the tuner adds 1.
        accuracy: as judged; default: the best score.
        tuner_j: joules of the tuner in all.
        problem: levels of the other factors.
    """
    configuration = ", ".join([strategy, *(f"{k}={v}" for k, v in problem.items())])
    name = f"tuning/{configuration}/0/{seed}"
    rows = [
        {
            "run_id": name,
            "metric": "search",
            "step": number,
            "value": score,
            "t_s": 5.0 * (number + 1),
            "spent_j": (per_step_j + 1) * (number + 1),
            "state": "finished",
            "reason": "",
            "repetition": 0,
            "start": 0,
            "end": 10,
            "epochs": 10.0,
            "energy_j": per_step_j,
            "duration_s": 5.0,
            "values": "{}",
            "attributes": "{}",
        }
        for number, score in enumerate(scores)
    ]
    spent_j = per_step_j * len(scores) + tuner_j
    run = {
        "run_id": name,
        "configuration": configuration,
        "state": "finished",
        "strategy": strategy,
        **problem,
        "repetition": seed,
        "accuracy": max(scores) if accuracy is None else accuracy,
        "judged_sd": 0.01,
        "judged": 2,
        "score": max(scores),
        "best": json.dumps({"learning_rate": 0.01}),
        "stopped": BUDGET,
        "epochs": 10.0 * len(scores),
        "energy_gross_j": spent_j,
        "duration_s": 5.0 * len(scores),
        "search_j": spent_j - tuner_j,
        "search_s": 5.0 * len(scores),
        "tuner_j": tuner_j,
        "tuner_s": 0.1,
        "interrupted_j": 0.0,
        "interrupted_s": 0.0,
        "diverged": False,
    }
    return run, rows


def experiment(searches, *, ledger=(), pending=(), folder=None, status="measured", **table):
    """An experiment of searches that have finished."""
    runs = pd.DataFrame([{"seen": run.get("tune_on", "validation"), **run} for run, _ in searches])
    rows = pd.DataFrame([row for _, rows in searches for row in rows])
    known = {"strategy", "network", "hyperparameters", "tune_on", "table"}
    return Experiment(
        name="tuning",
        kind="green-tuning",
        protocol="default",
        factors=tuple(name for name in runs if name in known),
        runs=runs,
        planned=len(runs) + len(pending),
        failed=0,
        score="mean",
        energy=EnergyBasis("energy_gross_j", status, ()),
        table={"kind": "green-tuning", "budget": "100 epochs", **table},
        noun="search",
        curves=lambda: rows,
        ledger=lambda: pd.DataFrame(list(ledger)),
        pending=pd.DataFrame(list(pending)),
        folder=folder,
    )
