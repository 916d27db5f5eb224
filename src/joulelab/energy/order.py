"""What is started and stopped, by itself or as a ``with`` block; errors of a wrong order.

::

    start()    so_far() ...    stop()    result
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import ClassVar, Self

from joulelab.errors import MeterError


class Block(ABC):
    """Started on entry of a ``with`` block, and stopped on exit.

    Attributes:
        label: what the block is, for errors.
    """

    label: str
    does: ClassVar[str] = "measuring"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        except Exception as own:
            # The error of the block is more important than one of measuring it.
            if error is None:
                raise
            error.add_note(f"{self.does} {self.label!r} failed too: {own}")

    @abstractmethod
    def start(self) -> None:
        """Begin, for use without ``with``."""

    @abstractmethod
    def stop(self) -> object:
        """End; returns the result, and a second call returns the same."""


def not_started(label: str) -> MeterError:
    """The error of asking for what was never started."""
    return MeterError(f"{_named(label)} has not been measured yet", "start it, or enter the block")


def no_result(label: str, *, started: bool) -> MeterError:
    """The error of asking for the result too early.

    Args:
        label: what is measured.
        started: whether it is being measured.
    """
    if not started:
        return not_started(label)
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
