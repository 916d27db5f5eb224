"""The change of phase that a training may still have before it, as a prior.

Fine-tuning trains the new head first, with the base frozen, and the whole network after some
epochs. The second phase draws more, for the backward pass runs through the whole network, but where
the device was at its limit already. With u the place of the change as a share of the run, r the
ratio of the levels after and before, f what was seen, and m the probability that a change which
has happened was not noticed::

    ln u ~ N(ln u_0, s_u^2)        ln r ~ N(mu, tau^2)
    S(f) = P(u > f)                                             the change lies ahead
    q(f) = S(f) / (S(f) + m (1 - S(f)))                         Bayes, where none was noticed

`FINE_TUNING` is what the traces of del Rey et al. (SEAA 2023, arXiv 2307.05520) show: a phase with
the base frozen in each of 40 runs, of five networks on two machines. The levels differ by a factor
of 0.92 to 1.5; ln r has a mean of 0.13 and a standard deviation of 0.12; the change comes after 4
to 22 % of a run. m is (0 + 1/2) / (40 + 1), Jeffreys' estimate where none of 40 changes was missed.
A training in one phase has no such prior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PhaseChange:
    """When a training changes its level once, and by how much.

    Attributes:
        place: median of u, the share of the run at which the change comes.
        place_spread: s_u, standard deviation of ln u.
        log_ratio: mu, mean of ln r.
        log_ratio_spread: tau, its standard deviation.
        missed: m, probability that a change in what was seen is not noticed.
    """

    place: float
    place_spread: float
    log_ratio: float
    log_ratio_spread: float
    missed: float

    def ahead(self, fraction: float) -> float:
        """The probability q that the change is still to come, where none was noticed.

        Args:
            fraction: of the run that was seen, above 0.

        >>> round(FINE_TUNING.ahead(0.1), 2), round(FINE_TUNING.ahead(0.5), 2)
        (0.98, 0.0)
        """
        later = (math.log(fraction) - math.log(self.place)) / self.place_spread
        survival = 0.5 * math.erfc(later / math.sqrt(2.0))
        return survival / (survival + self.missed * (1.0 - survival))


FINE_TUNING = PhaseChange(
    place=0.085, place_spread=0.45, log_ratio=0.13, log_ratio_spread=0.12, missed=0.012
)
