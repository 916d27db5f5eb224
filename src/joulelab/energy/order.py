"""Errors of calls in the wrong order: the same for all that is started and stopped.

::

    start()    so_far() ...    stop()    result
"""

from __future__ import annotations

from joulelab.errors import MeterError


def not_started(label: str) -> MeterError:
    """The error of asking for what was never started."""
    return MeterError(f"{_named(label)} has not been measured yet", "start it, or enter the block")


def not_ended(label: str) -> MeterError:
    """The error of asking for the result too early."""
    return MeterError(f"{_named(label)} has not ended", "stop it, or use so_far()")


def already_started(label: str) -> MeterError:
    """The error of starting twice."""
    return MeterError(f"{_named(label)} is already being measured", "stop it first")


def already_ended(label: str, another: str) -> MeterError:
    """The error of going on after the end, for what measures once.

    Args:
        label: what was measured.
        another: how to measure again.
    """
    return MeterError(f"{_named(label)} has ended", another)


def _named(label: str) -> str:
    return repr(label) if label else "the window"
