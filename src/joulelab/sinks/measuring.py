"""A measured block of code that is sent to sinks while it runs."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from joulelab.energy.measured_block import Measuring
from joulelab.energy.measurement import Measurement
from joulelab.energy.open_meters import OpenMeters
from joulelab.sinks.feed import Feed
from joulelab.sinks.named import Named, named_sinks


class SentMeasuring(Measuring):
    """A measured block that is sent to sinks.

    Args:
        meters: returns those that measure it.
        label: what is measured.
        to: see `joulelab.sinks.named.named_sinks`.

    Raises:
        UsageError: as `named_sinks`; on entry, if a sink cannot be opened.
    """

    def __init__(self, meters: Callable[[], OpenMeters], label: str, to: Named) -> None:
        super().__init__(meters, label)
        self._feed: Feed | None = Feed(named_sinks(to), label)
        self._failed = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._failed = error is not None
        super().__exit__(kind, error, traceback)

    def start(self) -> None:
        """Open sinks, then the window."""
        if self._opened is not None or self._feed is None:
            super().start()
            return
        self._failed = False
        self._meters()  # what cannot be measured is said first
        self._feed.open()
        try:
            super().start()
        except BaseException:
            self._feed.end(failed=True)
            raise
        self._feed.begin(self.so_far)

    def stop(self) -> Measurement:
        """Close the window, and send the result."""
        if self._opened is None or self._feed is None:
            return super().stop()
        self._feed.pause()
        try:
            measurement = super().stop()
        except BaseException:
            self._feed.end(failed=True)
            raise
        self._feed.end(self.of_node, failed=self._failed)
        return measurement

    def __getstate__(self) -> dict[str, Any]:
        """A copy has no sinks."""
        return {**super().__getstate__(), "_feed": None}
