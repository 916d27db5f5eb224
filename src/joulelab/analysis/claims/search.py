"""Claims about search strategies, decided over configurations.

The unit of evidence is a configuration (network, number of hyperparameters, data set): each
strategy searched each once, so the optima of two strategies are paired. Six configurations are few:
against two rivals, even six wins of six are not significant (p = 2 x 2 / 2^6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.claims.claim import PAPER, SIGNIFICANT_P, Claim, Effect, Verdict, below
from joulelab.analysis.comparison import mean_interval
from joulelab.analysis.convergence import convergence
from joulelab.analysis.posthoc import holm
from joulelab.analysis.rounding import without_noise
from joulelab.analysis.two_samples import rank_biserial, shift, wilcoxon_p

WITHIN = 27
"""Mean round at which the paper finds the optimum of Bayesian search."""
FEWEST_ROUNDS = 2 * WITHIN
"""In a shorter search, a uniformly distributed optimum is within 27 rounds on average."""
SUBSTANTIAL = 0.005
"""An increase in accuracy below this is not a substantial one."""
EQUIVALENT = 0.01
"""Strategies whose optima differ by less, on average, count as equal."""


@dataclass(frozen=True)
class Searches:
    """The optimum of each strategy on each configuration.

    Attributes:
        accuracy: optimum accuracy, one row per configuration, one column per strategy;
            configurations without a strategy are dropped.
        rounds: the same of the optimum round, from 1.
        rounds_tolerant: the same for the first round within half a point of the optimum.
        length: rounds of the shortest search.
        dropped: number of dropped configurations.
    """

    accuracy: pd.DataFrame
    rounds: pd.DataFrame
    rounds_tolerant: pd.DataFrame
    length: int
    dropped: int


def searches(
    rounds: pd.DataFrame, strategy: str, configuration: Sequence[str], score: str = "score"
) -> Searches:
    """The optima of every strategy on every configuration.

    Args:
        rounds: one row per round, from `joulelab.analysis.convergence.score_rounds`.
        strategy: column of the strategies.
        configuration: the other columns that identify a configuration.
        score: column of the accuracy of a round.

    Raises:
        UsageError: a column is absent, or a round occurs twice.
    """
    by = [*configuration, strategy]
    rounds = rounds.assign(energy_mean_j=np.nan)
    exact = convergence(rounds, by=by, score=score)
    tolerant = convergence(rounds, by=by, score=score, tolerance=SUBSTANTIAL)

    def wide(table: pd.DataFrame, column: str) -> pd.DataFrame:
        # Without other columns there is one configuration.
        index = list(configuration) or ["one"]
        frame = table.assign(one=0) if not configuration else table
        return frame.astype({column: float}).pivot(index=index, columns=strategy, values=column)

    accuracy = wide(exact, "optimum_accuracy")
    accuracy[:] = without_noise(accuracy)  # means that differ only in the last digits are tied
    whole = accuracy.notna().all(axis=1)
    return Searches(
        accuracy[whole],
        wide(exact, "optimum_round").reindex(accuracy.index)[whole],
        wide(tolerant, "optimum_round").reindex(accuracy.index)[whole],
        int(exact["rounds"].min()) if len(exact) else 0,
        int((~whole).sum()),
    )


def search_claims(
    rounds: pd.DataFrame, strategy: str, configuration: Sequence[str], score: str = "score"
) -> list[Claim]:
    """The paper's three findings about search strategies, on these rounds.

    Args:
        rounds: one row per round, from `joulelab.analysis.convergence.score_rounds`.
        strategy: column of the strategies.
        configuration: the other columns that identify a configuration, the unit of the tests.
        score: column of the accuracy of a round.

    Raises:
        UsageError: a column is absent, or a round occurs twice.

    One network and two rounds decide nothing:

    >>> rounds = pd.DataFrame({"strategy": ["bayesian", "grid", "random"] * 2, "network": "CNN",
    ...     "round": [0, 0, 0, 1, 1, 1], "score": [0.5, 0.6, 0.5, 0.8, 0.6, 0.7]})
    >>> wins, within, random_against_grid = search_claims(rounds, "strategy", ["network"])
    >>> wins.words, wins.effect.value > 0
    ('cannot be decided with n = 1 configuration', True)
    """
    found = searches(rounds, strategy, configuration, score)
    return [_bayesian_wins(found), _within(found), _random_against_grid(found)]


def _bayesian_wins(found: Searches) -> Claim:
    accuracy, bayesian = found.accuracy, _named(found.accuracy, "bayesian")
    rivals = [str(name) for name in accuracy if not str(name).startswith("bayesian")]
    n = len(accuracy)
    effect, test, p, said = Effect("advantage in optimum accuracy"), "", np.nan, _lacking(found)
    verdict = Verdict.UNDECIDED
    if bayesian and rivals and n:
        ranks = accuracy.rank(axis=1, ascending=False).mean()
        rival = str(ranks[rivals].idxmin())
        gains = {name: (accuracy[bayesian] - accuracy[name]).to_numpy(float) for name in rivals}
        against = holm(np.array([wilcoxon_p(gain) for gain in gains.values()]))
        # By the ranks, like the test: the median can be 0 even if all differences favour one side.
        ahead = np.array([rank_biserial(gain)[0] > 0 for gain in gains.values()])
        p = float(against.max())
        if p < SIGNIFICANT_P and ahead.all():
            verdict = Verdict.HOLDS
        elif (against[~ahead] < SIGNIFICANT_P).any():
            verdict = Verdict.FAILS
        name = f"{bayesian} minus {rival}, optimum accuracy"
        effect = Effect.of(name, shift(gains[rival]), 0.0)
        test = (
            "Wilcoxon signed-rank over configurations, exact, Holm over "
            f"{formats.count(len(rivals), 'rival')}: largest p {formats.p_value(p)}"
        )
        wins = int((accuracy[bayesian] >= accuracy.max(axis=1)).sum())
        listed = formats.listing(
            [f"{name} {ranks[name]:.2f}" for name in ranks.sort_values().index]
        )
        said = (
            f"{bayesian} has the best optimum in {wins} of "
            f"{formats.count(n, 'configuration')}; mean ranks: {listed}."
            f"{_other_bayesian(accuracy, bayesian)}{_too_few(n, len(rivals))}"
        )
    return Claim(
        "bayesian-wins",
        "Bayesian search reaches the best accuracy.",
        f"{PAPER}section VI-A",
        verdict,
        "Holds if it beats every other strategy over the configurations, p < 0.05; does not hold "
        "if another beats it.",
        test,
        p,
        effect,
        n,
        "configurations",
        said,
    )


def _within(found: Searches) -> Claim:
    bayesian = _named(found.rounds, "bayesian")
    n = len(found.rounds)
    effect, said, verdict = Effect("mean optimum round"), _lacking(found), Verdict.UNDECIDED
    if bayesian and n:
        values = found.rounds[bayesian].to_numpy(float)
        mean = mean_interval([float(value) for value in values])
        effect = Effect.of(f"mean optimum round of {bayesian}", mean, WITHIN)
        tolerant = int((found.rounds_tolerant[bayesian] <= WITHIN).sum())
        said = (
            f"{int((values <= WITHIN).sum())} of {n:,} optima lie within {WITHIN} rounds; "
            f"{tolerant} where an increase below {100 * SUBSTANTIAL:g} points does not count."
            f"{_other_bayesian(found.rounds, bayesian)}"
        )
        if found.length >= FEWEST_ROUNDS:
            verdict = below(effect)
        else:
            said += (
                f" A search of {found.length} rounds is too short to decide: below {FEWEST_ROUNDS} "
                f"rounds, even a random optimum round is within {WITHIN} on average."
            )
    return Claim(
        "bayesian-27-rounds",
        f"Bayesian search is at its optimum within about {WITHIN} rounds, on average.",
        f"{PAPER}section VI-A",
        verdict,
        f"Holds if the interval of the mean optimum round lies below {WITHIN}, does not if it lies "
        "above.",
        "Student's t interval of the optimum rounds over configurations",
        np.nan,
        effect,
        n,
        "configurations",
        said,
    )


def _random_against_grid(found: Searches) -> Claim:
    accuracy = found.accuracy
    random, grid = _named(accuracy, "random"), _named(accuracy, "grid")
    n, p = len(accuracy), np.nan
    effect = Effect("random minus grid, optimum accuracy", reference=0.0)
    test, said, verdict = "", _lacking(found), Verdict.UNDECIDED
    if random and grid and n:
        gain = (accuracy[random] - accuracy[grid]).to_numpy(float)
        p = wilcoxon_p(gain)
        effect = Effect.of(f"{random} minus {grid}, optimum accuracy", shift(gain), 0.0)
        if p < SIGNIFICANT_P:
            verdict = Verdict.FAILS
        elif effect.low > -EQUIVALENT and effect.high < EQUIVALENT:
            verdict = Verdict.HOLDS
        test = f"Wilcoxon signed-rank over configurations, exact: p {formats.p_value(p)}"
        said = (
            f"{random} is better in {int((gain > 0).sum())}, {grid} in {int((gain < 0).sum())} of "
            f"{formats.count(n, 'configuration')}.{_too_few(n, 1)}"
        )
    return Claim(
        "random-against-grid",
        "Between random and grid search there is no winner.",
        f"{PAPER}section VI-A",
        verdict,
        f"Holds if the interval of the difference lies within {100 * EQUIVALENT:g} point of 0, "
        "does not if one beats the other, p < 0.05, by however little.",
        test,
        p,
        effect,
        n,
        "configurations",
        said,
    )


def _too_few(n: int, rivals: int) -> str:
    """Says that not even winning everywhere would be significant, if so."""
    if rivals * 2.0 ** (1 - n) < SIGNIFICANT_P:
        return ""
    return f" Not even {n} wins of {n} would be significant: take more networks or data sets."


def _named(table: pd.DataFrame, name: str) -> str | None:
    """The column of a strategy: its name, or the first that starts with it."""
    return next((str(column) for column in table if str(column).startswith(name)), None)


def _other_bayesian(table: pd.DataFrame, taken: str) -> str:
    """Mentions other Bayesian strategies, which are not compared."""
    others = [str(name) for name in table if str(name).startswith("bayesian") and name != taken]
    if not others:
        return ""
    return f" {taken} stands for Bayesian search; not compared: {formats.listing(others)}."


def _lacking(found: Searches) -> str:
    if not len(found.accuracy):
        return "No configuration has been searched by every strategy."
    return (
        "The compared strategies were not all searched; these data have only "
        f"{formats.listing(list(map(str, found.accuracy)))}."
    )
