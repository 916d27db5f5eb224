"""What becomes of the body of an answer: discarded, checked, or read as it arrives.

::

    begin(status, headers) -> receive(data, at) ... -> end()       a complete answer
                                      `-- the connection closes    reason: `cut_short`
"""

from __future__ import annotations

import json
from collections.abc import Mapping

MOST_CHECKED_BYTES = 4 * 1024 * 1024
SUCCESS = range(200, 300)
CLOSED = "connection closed before the answer"
NOT_JSON = "body is not JSON"
TOO_LONG = f"body over {MOST_CHECKED_BYTES >> 20} MiB, not checked as JSON"


class Body:
    """The body of one answer; this one is discarded.

    Attributes:
        cut_short: reason for which the request failed if the connection closes before the end.
        detail: what the server said about a failure; empty if nothing.
    """

    cut_short = CLOSED
    detail = ""

    def begin(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """The head has arrived.

        Args:
            status: of HTTP.
            headers: by their names in small letters.
        """

    def receive(self, data: bytes, at_s: float) -> None:
        """A part of the body has arrived, cut anywhere.

        Args:
            data: without the framing of HTTP.
            at_s: when it was read, on the clock of the event loop.
        """

    def end(self) -> str:
        """The body is complete; why a successful answer is not as expected, empty if it is."""
        return ""


class JsonBody(Body):
    """A body that must be JSON."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._success = False

    def begin(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Only a successful answer is checked."""
        self._success = status in SUCCESS

    def receive(self, data: bytes, at_s: float) -> None:
        """Keep it, up to a limit."""
        if self._success and len(self._content) <= MOST_CHECKED_BYTES:
            self._content += data

    def end(self) -> str:
        """Whether it is JSON."""
        if not self._success:
            return ""
        if len(self._content) > MOST_CHECKED_BYTES:
            return TOO_LONG
        try:
            json.loads(self._content)
        except (ValueError, RecursionError):
            return NOT_JSON
        return ""
