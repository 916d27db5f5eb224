"""Simulated loads on language models whose energy is known, for tests and benchmarks."""

from dataclasses import dataclass

import numpy as np

from joulelab.serving.tokens.flow import Flow

IDLE_W = 60.0
STEP_S, PROMPT_S, TOKEN_S = 8e-3, 40e-6, 0.4e-3
TICK_S, NOISE = 0.1, 0.02
MOST_BATCHED = 32
LENGTHS = {"prompt": (200.0, 0.8), "output": (60.0, 0.6)}
"""Median, and standard deviation of the logarithm."""


@dataclass(frozen=True)
class Course:
    """The energy of a domain, as the energy room gives it."""

    domain: str
    times_s: np.ndarray
    joules: np.ndarray
    status: str = "measured"
    tick_s: float = TICK_S
    error_j: float | None = 0.0
    idle_w: float | None = None
    idle_error_w: float | None = 0.0
    counts: bool = True


@dataclass(frozen=True)
class Load:
    """Poisson arrivals at a server with known costs, in joules beside power at idle."""

    rate_per_s: float = 4.0
    duration_s: float = 120.0
    prompt_j: float = 0.02
    output_j: float = 0.4
    step_j: float = 0.0
    same_lengths: bool = False


def constant(power_w, duration_s, start_s=0.0, domain="gpu:0", **settings):
    """A constant power."""
    times_s = np.arange(0.0, duration_s + 0.05, 0.1)
    return Course(domain, start_s + times_s, power_w * times_s, **settings)


def even(count, gap_s=0.5, prompt=50.0, output=20, to_first_s=0.1, answer_s=1.0):
    """Requests at equal distances, each with a chunk for each token."""
    due_s = gap_s * np.arange(count)
    first_s, last_s = due_s + to_first_s, due_s + answer_s
    chunk_s = first_s[:, None] + np.linspace(0, answer_s - to_first_s, output)[None, :]
    prompts, outputs = np.full(count, prompt), np.full(count, float(output))
    ends_s = float(due_s[-1]), float(last_s[-1])
    chunks = chunk_s.ravel(), np.ones(count * output)
    return Flow(due_s, due_s, first_s, last_s, last_s, prompts, outputs, *ends_s, *chunks)


def served(load, seed):
    """One load: its requests, and what a counter says that ticks every 100 ms, with noise.

    The server batches continuously: a step takes up the next prompt that waits, if any, and brings
    one token of every request under way.
    """
    random = np.random.default_rng(seed)
    count = int(load.rate_per_s * load.duration_s)
    due_s = np.cumsum(random.exponential(1 / load.rate_per_s, count))
    due_s -= due_s[0]
    prompt, output = (
        np.ceil(random.lognormal(np.log(middle), 0.0 if load.same_lengths else spread, count))
        for middle, spread in LENGTHS.values()
    )
    first_s, last_s, left = np.zeros(count), np.zeros(count), output.copy()
    now_s, spent_j, waiting, under_way = 0.0, 0.0, 0, []
    steps = [(0.0, 0.0, 0.0)]
    while waiting < count or under_way:
        if not under_way and due_s[waiting] > now_s:
            now_s = float(due_s[waiting])
            steps.append((now_s, spent_j, 0.0))
        taken = -1
        if waiting < count and due_s[waiting] <= now_s and len(under_way) < MOST_BATCHED:
            taken, waiting = waiting, waiting + 1
            under_way.append(taken)
        tokens = prompt[taken] if taken >= 0 else 0.0
        now_s += STEP_S + PROMPT_S * tokens + TOKEN_S * len(under_way)
        spent_j += load.step_j + load.prompt_j * tokens + load.output_j * len(under_way)
        steps.append((now_s, spent_j, float(len(under_way))))
        if taken >= 0:
            first_s[taken] = now_s
        left[under_way] -= 1
        last_s[under_way] = now_s
        under_way = [one for one in under_way if left[one] > 0]
    times_s, joules, chunks = np.array(steps).T
    ends_s = float(due_s[-1]), float(last_s.max())
    lengths = prompt, output
    flow = Flow(due_s, due_s, first_s, last_s, last_s, *lengths, *ends_s, times_s, chunks)
    ticks_s = np.arange(-1.0, times_s[-1] + 1.0, TICK_S)
    at_j = np.interp(ticks_s, times_s, joules) + IDLE_W * (ticks_s - ticks_s[0])
    steps_j = np.diff(at_j) * (1 + NOISE * random.normal(size=len(ticks_s) - 1))
    # The counter shows a tick when it is read next.
    read_s = ticks_s + random.uniform(0, TICK_S)
    shown_j = np.concatenate(([0.0], np.cumsum(steps_j)))
    return flow, Course("gpu:0", read_s, shown_j, idle_w=IDLE_W)


def mean_length(which):
    """The mean of a lognormal distribution of lengths, rounded up to whole tokens."""
    middle, spread = LENGTHS[which]
    drawn = np.random.default_rng(1).lognormal(np.log(middle), spread, 2_000_000)
    return float(np.ceil(drawn).mean())


def net_truth_j(load):
    """Net joules per output token in the long run, where steps cost nothing."""
    return load.output_j + load.prompt_j * mean_length("prompt") / mean_length("output")
