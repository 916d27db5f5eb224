"""Races: a trial is trained with another seed only while its mean may still be the highest.

The leader has a score for every seed; a challenger meets it seed by seed. With scores for n of R
seeds, mean difference d to the leader and standard deviation s of differences, the difference of
the means over all R seeds is predicted to be

    d + t s sqrt((R - n) / (n R)),   t of Student's distribution

(Hahn and Meeker, "Statistical Intervals", 1991: prediction of a finite sample's mean). The race
ends when the 97.5 % bound of that is below 0. The standard deviation is pooled over races of at
least 3 scores: it is known when a challenger has one score, and it is not that of the bad trials,
whose scores often scatter most. Racing: Maron and Moore, NIPS 1993; Birattari
et al., "A racing algorithm for configuring metaheuristics", GECCO 2002.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

CONFIDENCE = 0.975
LEAST_FREEDOM = 2
"""Degrees of freedom from which the standard deviation counts as known."""
LEAST_SCORES = 3
"""Scores of a trial from which it counts in the standard deviation."""


class Race:
    """Repeats trials as long as they may win.

    Args:
        seeds: most scores of a trial; 1 for no repetitions.

    Attributes:
        leader: number of the complete trial with the highest mean; None before any.
    """

    def __init__(self, seeds: int) -> None:
        self.leader: int | None = None
        self._seeds = seeds
        self._scores: dict[int, list[float]] = {}
        self._squares = 0.0
        self._freedom = 0

    def goes_on(self, trial: int, scores: Sequence[float]) -> bool:
        """Whether a trial should be trained with its next seed.

        Args:
            trial: its number.
            scores: for each of its seeds so far, in the order of the seeds; finite.
        """
        if len(scores) >= self._seeds:
            return False
        if self.leader in {None, trial} or self._freedom < LEAST_FREEDOM:
            return True
        from scipy.special import stdtrit

        difference = statistics.fmean(self._against_leader(scores))
        left = (self._seeds - len(scores)) / (len(scores) * self._seeds)
        deviation = math.sqrt(left * self._squares / self._freedom)
        return bool(difference + stdtrit(self._freedom, CONFIDENCE) * deviation >= 0)

    def ended(self, trial: int, scores: Sequence[float]) -> None:
        """Learn from a trial that does not go on."""
        if self.leader is not None and len(scores) >= min(LEAST_SCORES, max(self._seeds, 2)):
            differences = self._against_leader(scores)
            self._squares += statistics.variance(differences) * (len(scores) - 1)
            self._freedom += len(scores) - 1
        if len(scores) < self._seeds:
            return
        best = -math.inf if self.leader is None else statistics.fmean(self._scores[self.leader])
        if statistics.fmean(scores) > best:
            self.leader = trial
        self._scores[trial] = list(scores)

    def _against_leader(self, scores: Sequence[float]) -> list[float]:
        assert self.leader is not None
        return [own - other for own, other in zip(scores, self._scores[self.leader], strict=False)]
