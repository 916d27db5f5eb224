"""How large a study may be: found by arithmetic, before anything is laid out or allocated."""

from __future__ import annotations

import math

from joulelab.errors import SpecError
from joulelab.settings import load_limits
from joulelab.study.design import Configuration
from joulelab.study.spec import StudySpec

GB = 10**9
MANY = 10**15
"""From here on a number is written as a power of ten."""


def check_size(spec: StudySpec) -> None:
    """Refuse a study of more runs than this machine lays out; nothing is laid out for it.

    Raises:
        SpecError: names the experiment, what makes so many, and the limit.
    """
    limits, total = load_limits(), 0
    for name, experiment in spec.experiments().items():
        levels = [len(factor.levels) for factor in experiment.factors()]
        counts = experiment.counts()
        total += math.prod(levels) * math.prod(counts.values())
        if total > limits.runs:
            made_of = [f"{_many(math.prod(levels))} configurations"]
            made_of += [f"{_many(count)} {what}" for what, count in counts.items()]
            raise SpecError(
                f"{name} has {' x '.join(made_of)}, which makes {_many(total)} runs in all; at "
                f"most {limits.runs:,} are laid out",
                f"take fewer of them, or {limits.raised('runs')}",
            )


def check_memory(one: Configuration, needed: int) -> None:
    """Refuse a configuration of which a run needs more memory than this machine gives it.

    Args:
        one: the configuration.
        needed: bytes that a run takes at least.

    Raises:
        SpecError: says how much, and the limit.
    """
    limits = load_limits()
    if needed > limits.memory_gb * GB:
        raise SpecError(
            f"{one.experiment}: {one.name} needs {_many(needed // GB)} GB of memory at least; the "
            f"limit is {limits.memory_gb:,.1f} GB",
            f"take smaller batches, images or networks, or {limits.raised('memory_gb')}",
        )


def _many(number: int) -> str:
    return f"{number:,}" if number < MANY else f"10^{math.log10(number):.0f}"
