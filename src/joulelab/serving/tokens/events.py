"""Server-sent events, parsed as their bytes arrive (WHATWG HTML, section 9.2.6).

::

    : a comment            left out
    event: message         other fields are left out: the OpenAI protocol has none
    data: {"choices": ...  the lines of an event's data are joined
    data: ... }
                           an empty line ends the event

Lines end in LF, CR LF or CR, and bytes may be split anywhere, within a character too.
"""

from __future__ import annotations

MOST_EVENT_BYTES = 8 * 1024 * 1024
_DATA = b"data"
_MARK = b"\xef\xbb\xbf"


class EventTooLongError(ValueError):
    """An event has no end."""


class EventParser:
    """Parser of one stream."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._begun = False

    def feed(self, received: bytes) -> list[bytes]:
        """The data of the events that these bytes complete.

        Args:
            received: the next bytes.

        Raises:
            EventTooLongError: an event exceeds `MOST_EVENT_BYTES`.
        """
        text = self._rest + received if self._rest else received
        if not self._begun:
            if len(text) < len(_MARK) and _MARK.startswith(text):
                self._rest = text
                return []
            text = text.removeprefix(_MARK)
            self._begun = True
        if b"\r" in text:
            # The CR at the end may be half of a CR LF.
            held = b"\r" if text.endswith(b"\r") else b""
            text = text.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n") + held
        *lines, self._rest = text.split(b"\n")
        if self._size + len(self._rest) > MOST_EVENT_BYTES:
            raise EventTooLongError
        events = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data, self._size = [], 0
                continue
            name, _, value = line.partition(b":")
            if name == _DATA:
                self._data.append(value.removeprefix(b" "))
                self._size += len(value)
        return events

    def end(self) -> list[bytes]:
        """The data of an event that the end of the stream completes.

        The standard discards it; a server that forgets the last empty line has still said it.
        """
        return self.feed(b"\n\n")
