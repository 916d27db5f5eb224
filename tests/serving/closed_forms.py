"""Closed forms that the simulation is held against.

    lam     arrival rate of a Poisson process, requests per second
    s(b)    = alpha b + tau0, seconds of a batch of b; alpha, tau0 > 0
    B       size of a batch in the steady state
    p_0     probability that nobody arrives while a batch is served
    W       response time: from arrival to answer

**Batch 1.** With s(1) = D fixed, the queue is M/D/1, and by Pollaczek and Khinchine the mean wait
before service is lam D^2 / (2 (1 - lam D)).

**Dynamic batching** (greedy, without a largest batch; Inoue, "Queueing analysis of GPU-based
inference servers with dynamic batching: a closed-form characterization", Performance Evaluation
147, 2021). Those that arrive while a batch of B is served, Poisson of mean lam s(B), are the next
batch, or if nobody does, the next one to come is. So, with m = E[B] and q = E[B^2],

    m = lam (alpha m + tau0) + p_0
    q = m + lam^2 E[s(B)^2]         E[s(B)^2] = alpha^2 q + 2 alpha tau0 m + tau0^2

A request waits on average for half of the service under way at its arrival, then for its own
batch. Summed over a batch and divided by the requests in it,

    E[W] = (lam E[s(B)^2] / 2 + E[B s(B)]) / m          E[B s(B)] = alpha q + tau0 m

Putting q into E[W] leaves m alone, and E[W] falls in m:

    E[W](m) = alpha (1 + lam alpha / 2) r + tau0 (1 + lam alpha) + lam tau0^2 / (2 m)
    r = q / m = (1 + 2 lam^2 alpha tau0 + lam^2 tau0^2 / m) / (1 - lam^2 alpha^2)

Only p_0 is not known in closed form. It lies between 0 and exp(-lam s(1)), and B is at least 1:

    max(1, lam tau0 / (1 - lam alpha))  <=  m  <=  (lam tau0 + exp(-lam s(1))) / (1 - lam alpha)

The left end gives Inoue's upper bound of the mean response time, which is exact in both limits of
light and of heavy load; the right end gives a lower bound. Energy that is linear in the size,
c(b) = beta b + gamma, is beta + gamma / m for a request, so that the bounds of m bound it too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from joulelab.errors import UsageError


def md1_mean_wait_s(rate_per_s: float, service_s: float) -> float:
    """Mean time before service in an M/D/1 queue (Pollaczek and Khinchine).

    Args:
        rate_per_s: arrival rate.
        service_s: of one request.

    Raises:
        UsageError: the load is not below 1.
    """
    load = rate_per_s * service_s
    _require_stable(load)
    return load * service_s / (2 * (1 - load))


@dataclass(frozen=True)
class DynamicBatching:
    """Bounds for greedy batching without a largest batch, under Poisson arrivals.

    Args:
        rate_per_s: lam.
        alpha_s: seconds that each request adds to a batch.
        tau0_s: seconds of a batch besides.

    Raises:
        UsageError: lam alpha is not below 1, so that no batch is large enough.
    """

    rate_per_s: float
    alpha_s: float
    tau0_s: float

    def __post_init__(self) -> None:
        _require_stable(self.rate_per_s * self.alpha_s)

    @property
    def least_batch_mean(self) -> float:
        """Lower bound of the mean batch size."""
        spare = 1 - self.rate_per_s * self.alpha_s
        return max(1.0, self.rate_per_s * self.tau0_s / spare)

    @property
    def most_batch_mean(self) -> float:
        """Upper bound of the mean batch size."""
        spare = 1 - self.rate_per_s * self.alpha_s
        nobody = math.exp(-self.rate_per_s * (self.alpha_s + self.tau0_s))
        return (self.rate_per_s * self.tau0_s + nobody) / spare

    @property
    def most_response_mean_s(self) -> float:
        """Inoue's upper bound of the mean response time, in seconds."""
        return self._response_mean_s(self.least_batch_mean)

    @property
    def least_response_mean_s(self) -> float:
        """Lower bound of the mean response time, in seconds."""
        return self._response_mean_s(self.most_batch_mean)

    def most_joules_per_request(self, beta_j: float, gamma_j: float) -> float:
        """Upper bound of the energy of a request.

        Args:
            beta_j: joules that each request adds to a batch.
            gamma_j: joules of a batch besides.
        """
        return beta_j + gamma_j / self.least_batch_mean

    def least_joules_per_request(self, beta_j: float, gamma_j: float) -> float:
        """Lower bound of the energy of a request; arguments as of `most_joules_per_request`."""
        return beta_j + gamma_j / self.most_batch_mean

    def _response_mean_s(self, batch_mean: float) -> float:
        lam, alpha, tau0 = self.rate_per_s, self.alpha_s, self.tau0_s
        load = lam * alpha
        ratio = (1 + 2 * lam * load * tau0 + (lam * tau0) ** 2 / batch_mean) / (1 - load**2)
        return alpha * (1 + load / 2) * ratio + tau0 * (1 + load) + lam * tau0**2 / (2 * batch_mean)


def _require_stable(load: float) -> None:
    if not 0 < load < 1:
        raise UsageError(
            f"a load of {load:.4g} has no steady state", "the load must be above 0 and below 1"
        )
