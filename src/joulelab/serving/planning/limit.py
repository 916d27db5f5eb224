"""The limit of the response time that a plan keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from joulelab.errors import UsageError
from joulelab.formats import duration


@dataclass(frozen=True)
class ResponseLimit:
    """So many percent of the requests are answered within so many seconds.

    Args:
        percentile: above 0 and below 100.
        seconds: above 0.

    Raises:
        UsageError: a number is impossible.
    """

    percentile: float
    seconds: float

    def __post_init__(self) -> None:
        if not 0 < self.percentile < 100:  # noqa: PLR2004
            raise UsageError(
                f"a limit for p{self.percentile:g}: the percentile must be above 0 and below 100",
                "a maximum cannot be promised; write 99 or 99.9",
            )
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise UsageError(
                f"a limit of {self.seconds:g} s: it must be above 0", "write seconds: 0.2"
            )

    @property
    def name(self) -> str:
        """The percentile: ``p99``."""
        return f"p{self.percentile:g}"

    def __str__(self) -> str:
        return f"{self.name} within {duration(self.seconds)}"
