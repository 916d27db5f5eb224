"""How often intervals hold the truth: of the rank-biserial correlation, and of tests their size.

    python benchmarks/coverage.py [--draws 2000]

Everything is drawn by a seed, from populations whose true value is known:

- matched pairs whose differences are normal, for which the rank-biserial correlation of the whole
  population is 2 P(d_i + d_j > 0) - 1;
- a factor within networks that lie far apart, for the size and the power of Kruskal-Wallis with the
  other factors held fixed, of the one over all runs, and of aligned ranks.
"""

from __future__ import annotations

import argparse
import itertools
import math

import numpy as np
import pandas as pd
from scipy.special import ndtr

from joulelab.analysis.interaction import interactions
from joulelab.analysis.kruskal import kruskal
from joulelab.analysis.stratified import stratified
from joulelab.analysis.two_samples import rank_biserial

SIZES = (6, 8, 10, 15, 20, 30, 60)
SHIFTS = (0.0, 0.25, 0.5, 1.0)
"""Of the differences, in their standard deviations."""
ALPHA = 0.05


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000)
    draws = parser.parse_args().draws
    truths = [population_value(shift) for shift in SHIFTS]
    print(f"| pairs | {' | '.join(f'r = {truth:.2f}' for truth in truths)} |")
    print(f"|---{'|---' * len(SHIFTS)}|")
    for n in SIZES:
        shares = [coverage(n, shift, draws) for shift in SHIFTS]
        print(f"| {n} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |")
    print()
    print("| effect | others held fixed | alone | aligned ranks |")
    print("|---|---|---|---|")
    for scatter, effect in itertools.product(("equal", "proportional"), (0.0, 1.0)):
        shares = rejections(effect, scatter, max(draws // 4, 1))
        name = f"{effect:g}, {scatter} scatter"
        print(f"| {name} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |")


def population_value(shift: float) -> float:
    """The rank-biserial correlation of all normal differences about `shift`, of variance 1.

    >>> population_value(0.0)
    0.0
    """
    return 2 * float(ndtr(math.sqrt(2) * shift)) - 1


def coverage(n: int, shift: float, draws: int) -> float:
    """The share of intervals of n pairs that hold the population's value."""
    random, truth, held = np.random.default_rng((n, int(100 * shift))), population_value(shift), 0
    for _ in range(draws):
        _, low, high = rank_biserial(random.normal(shift, 1.0, n))
        held += low <= truth <= high
    return held / draws


def rejections(effect: float, scatter: str, draws: int) -> tuple[float, float, float]:
    """How often each test finds a factor of that effect, in standard deviations of a run."""
    random, found = np.random.default_rng((int(effect), len(scatter))), np.zeros(3)
    cells = list(itertools.product((0, 1), range(5), range(4)))
    for _ in range(draws):
        runs = pd.DataFrame(cells, columns=["relu", "network", "repetition"])
        noise = 1.0 if scatter == "equal" else 1.0 + 5.0 * runs["network"]
        runs["energy_net_j"] = 100.0 * (1 + runs["network"]) + noise * (
            effect * runs["relu"] + random.normal(size=len(runs))
        )
        found += (
            stratified(runs, ["relu", "network"])["p"][0] < ALPHA,
            kruskal(runs, "relu")["p"][0] < ALPHA,
            interactions(runs, ["relu", "network"], most=1)["art_p"][0] < ALPHA,
        )
    return tuple(map(float, found / draws))


if __name__ == "__main__":
    main()
