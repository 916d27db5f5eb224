"""Integration alone, without clocks or sensors: a power trace sampled exactly every tenth second.

    python benchmarks/integration.py [--draws 60] [--seconds 60]

What is left is what sampling itself loses. Between two samples nobody knows when a jump happened,
so a rule cannot do better than half an interval at each jump, and power that swings as fast as it
is sampled cannot be integrated at all. So each trace is drawn with periods about 20, 5 and 1 s
(drawn within 5 %, so that no lucky multiple of the interval is hit) at random phases.

Three rules integrate the same samples:

    hold          each value stands until the next: `joulelab.energy.trace.integrate`
    trapezoids    values are joined by lines
    deduplicated  trapezoids after repeated values were dropped, the rule of Zeus's PowerMonitor
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from figures import quantile, table
from numpy.typing import NDArray
from simulated import SHAPES, Shape, Trace, exact_energy_j, exact_power_w

from joulelab.energy.trace import integrate

INTERVAL_S = 0.1
PERIODS_S = (20.0, 5.0, 1.0)
WITHIN = 0.05
TWO = 2
ROUNDING_J = 1e-6
BOUNDED = tuple((shape, period_s) for shape in SHAPES for period_s in PERIODS_S)
Floats = NDArray[np.float64]
Rule = Callable[[Floats, Floats], float]


def main() -> None:
    """Print the errors of the three rules."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    print_integration(args.draws, args.seconds)


def print_integration(draws: int, seconds: float) -> None:
    """Print a table of the absolute errors, and one of the rules.

    Args:
        draws: periods and phases of each trace.
        seconds: length of the window.
    """
    print(f"Exact samples every {INTERVAL_S:g} s over {seconds:g} s, {draws} draws of period and")
    print("phase: median error and that of the worst draw, of the absolute value, in %.\n")
    head = ["trace", *(f"hold, period about {period_s:g} s" for period_s in PERIODS_S)]
    head += ["trapezoids, 5 s", "deduplicated, 5 s"]
    rows = []
    for shape in SHAPES:
        cells = [_cell(errors(shape, period_s, held, draws, seconds)) for period_s in PERIODS_S]
        cells += [_cell(errors(shape, 5.0, rule, draws, seconds)) for rule in (joined, thinned)]
        rows.append([shape, *cells])
    print(table(head, rows))
    held_up = [within_bound(shape, period_s, draws, seconds) for shape, period_s in BOUNDED]
    print(f"The bound that `integrate` gives beside the energy held in {sum(held_up)} of")
    print(f"{draws * len(held_up)} draws.\n")


def errors(shape: Shape, period_s: float, rule: Rule, draws: int, seconds: float) -> list[float]:
    """Relative errors of a rule, one for each draw; the same draws for each rule.

    Args:
        shape: of the trace.
        period_s: about which periods are drawn.
        rule: from moments (n,) in seconds and power (n,) in watts to joules.
        draws: how many.
        seconds: length of the window.
    """
    return [
        rule(moments, power_w) / exact_j - 1
        for moments, power_w, exact_j in samples(shape, period_s, draws, seconds)
    ]


def within_bound(shape: Shape, period_s: float, draws: int, seconds: float) -> int:
    """In how many draws our integral is off by no more than the bound that it gives itself."""
    integrals = [
        (integrate(moments, power_w, moments[0], moments[-1]), exact_j)
        for moments, power_w, exact_j in samples(shape, period_s, draws, seconds)
    ]
    return sum(
        one is not None and abs(one.energy_j - exact_j) <= one.error_j + ROUNDING_J
        for one, exact_j in integrals
    )


def samples(
    shape: Shape, period_s: float, draws: int, seconds: float
) -> Iterator[tuple[Floats, Floats, float]]:
    """For each draw moments (n,) in seconds, power (n,) in watts, and the exact joules."""
    generator = random.Random(f"{shape} {period_s}")
    moments = np.linspace(0.0, seconds, round(seconds / INTERVAL_S) + 1)
    for _ in range(draws):
        drawn_s = period_s * generator.uniform(1 - WITHIN, 1 + WITHIN)
        trace = replace(
            Trace(shape), period_ms=round(drawn_s * 1e3), seed=generator.randrange(1000)
        )
        phase_s = generator.uniform(0.0, 10 * drawn_s)
        power_w = np.array([exact_power_w(trace, phase_s + t) for t in moments])
        yield moments, power_w, exact_energy_j(trace, phase_s, phase_s + seconds)


def held(moments: Floats, power_w: Floats) -> float:
    """Ours."""
    integral = integrate(moments, power_w, moments[0], moments[-1])
    if integral is None:
        raise RuntimeError("no integral of a whole trace")
    return integral.energy_j


def joined(moments: Floats, power_w: Floats) -> float:
    """Trapezoids."""
    return float(np.trapezoid(power_w, moments))


def thinned(moments: Floats, power_w: Floats) -> float:
    """Trapezoids over the values that differ from the one before; 0 for fewer than two."""
    new = np.concatenate(([True], np.diff(power_w) != 0))
    if new.sum() < TWO:
        return 0.0
    return joined(moments[new], power_w[new])


def _cell(relative: list[float]) -> str:
    absolute = [100 * abs(error) for error in relative]
    return f"{statistics.median(absolute):.3f} ({quantile(absolute, 1.0):.3f})"


if __name__ == "__main__":
    main()
