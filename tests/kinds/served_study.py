"""A batching study to report on: windows of a simulated server, drawn by a seed."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from reported_study import FakeResults, ledger_of, readings_of, whole

FACTORS = ["model", "policy", "arrivals"]
IDLE_W = 9.0
# Seconds and joules above idle of a batch: once, and for each image in it.
MODELS = {
    "shufflenet_v2_x0_5": (0.012, 0.0035, 0.35, 0.06),
    "alexnet": (0.045, 0.0060, 2.2, 0.15),
    "densenet121": (0.060, 0.034, 1.4, 0.95),
    "convnext_base": (0.070, 0.120, 1.1, 4.1),
    "vit_b_16": (0.050, 0.130, 0.9, 4.4),
}
POLICIES = ["fixed(1)", "fixed(8)", "fixed(32)", "fixed(128)", "greedy(128)"]


def window(model, policy, rate_per_s, random, requests=512):
    """One window: a single server that takes batches as the policy says."""
    once_s, each_s, once_j, each_j = MODELS[model]
    kind, _, rest = policy.partition("(")
    size = int(rest.split(",")[0].rstrip(")"))
    wait_s = float(rest.split("wait_ms=")[1].rstrip(")")) / 1e3 if "wait_ms" in rest else np.inf
    due_s = np.cumsum(random.uniform(0.8, 1.2, requests) / rate_per_s)
    done_s, sizes, now, first = np.empty(requests), [], 0.0, 0
    energy_j = 0.0
    while first < requests:
        now = max(now, due_s[first])
        if kind == "fixed":
            full = due_s[min(first + size, requests) - 1]
            now = max(now, min(full, due_s[first] + wait_s))
        waiting = int(np.searchsorted(due_s, now, "right")) - first
        taken = max(1, min(size, waiting))
        now += (once_s + each_s * taken) * random.normal(1, 0.03)
        energy_j += once_j + each_j * taken
        done_s[first : first + taken] = now
        first += taken
        sizes.append(int(taken))
    response_s = done_s - due_s
    offered = requests / due_s[-1]
    served = requests / done_s[-1]
    saturated = size / (once_s + each_s * size) < rate_per_s
    p50, p95, p99 = np.percentile(response_s, [50, 95, 99])
    counts = {int(size): sizes.count(size) for size in sorted(set(sizes))}
    words = f"offered {rate_per_s:g}/s, served {served:.1f}/s: the queue grew without bound"
    return {
        "energy_net_j": energy_j * random.normal(1, 0.015),
        "duration_s": done_s[-1],
        "requests": requests,
        "answered": requests,
        "dropped": 0,
        "dropped_full": 0,
        "unreadable": 0,
        "offered_per_s": rate_per_s,
        "sent_per_s": offered,
        "throughput_per_s": served,
        "response_mean_s": response_s.mean(),
        "response_p50_s": p50,
        "response_p95_s": p95,
        "response_p99_s": p99,
        "response_max_s": response_s.max(),
        "batch_mean": np.mean(sizes),
        "batches": len(sizes),
        "saturated": int(saturated),
        "saturation": words if saturated else "",
        "batch_histogram": counts,
        "remarks": "",
    }


def served(
    folder: Path,
    models=tuple(MODELS),
    policies=tuple(POLICIES),
    rates=(16,),
    repetitions=3,
    seed=3,
) -> FakeResults:
    """A row a window; the energies are measured."""
    random = np.random.default_rng(seed)
    rows = []
    levels = itertools.product(models, policies, rates, range(repetitions))
    for model, policy, rate, repetition in levels:
        arrivals = f"uniform-jitter({rate}, 0.2)"
        row = {"model": model, "policy": policy, "arrivals": arrivals, "repetition": repetition}
        row["configuration"] = f"model={model}, policy={policy}, arrivals={arrivals}"
        rows.append(row | window(model, policy, rate, random))
    runs = pd.DataFrame(rows)
    runs["energy_idle_j"] = IDLE_W * runs["duration_s"]
    runs["energy_gross_j"] = runs["energy_net_j"] + runs["energy_idle_j"]
    runs["energy_error_j"] = 0.02 * runs["energy_gross_j"]
    runs = whole(runs, experiment="batching", kind="batching", energy_status="measured")
    runs["run_id"] = [f"run-{number}" for number in range(len(runs))]
    runs["position"], runs["round"] = range(len(runs)), 0
    return FakeResults(folder, runs, readings_of(runs), ledger_of(runs), {"batching": FACTORS})
