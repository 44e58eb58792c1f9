"""An incremental parser of server-sent events that never loses or changes a byte.

`b"".join(event.raw)` of all events plus the rest is the input, so that a gateway can pass on what
it need not change. Any chunking of the same bytes gives the same events. Sans-I/O. Lines end in LF
or CRLF (a bare CR, which the standard allows, is sent by no model server).
"""

import re
from dataclasses import dataclass
from typing import Final

_BOUNDARY: Final = re.compile(rb"\n\r?\n")
DONE: Final = b"[DONE]"


@dataclass(slots=True)
class SseEvent:
    """One event: its bytes with the blank line, and its data (None for comments and the like)."""

    raw: bytes
    data: bytes | None


class SseParser:
    """Feed bytes, get the events that they complete."""

    __slots__ = ("_buffer", "_scanned")

    def __init__(self) -> None:
        self._buffer = b""
        self._scanned = 0

    @property
    def rest(self) -> bytes:
        """Bytes of an event that has not ended yet."""
        return self._buffer

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that end in these bytes."""
        buffer = self._buffer + data if self._buffer else data
        events: list[SseEvent] = []
        start = 0
        search = self._scanned
        if b"\r" in buffer:
            while (match := _BOUNDARY.search(buffer, search)) is not None:
                raw = buffer[start : match.end()]
                events.append(SseEvent(raw, _data(raw)))
                start = search = match.end()
        else:
            while (end := buffer.find(b"\n\n", search)) >= 0:
                start, raw = end + 2, buffer[start : end + 2]
                events.append(SseEvent(raw, _data(raw)))
                search = start
        self._buffer = buffer[start:]
        # A boundary may have begun in the last two bytes; what lies before them is done with.
        self._scanned = max(0, len(self._buffer) - 2)
        return events


def _data(raw: bytes) -> bytes | None:
    if raw.startswith(b"data: ") and raw.find(b"\n", 0, len(raw) - 2) == -1:
        return raw[6:-2]
    lines = []
    for line in raw.replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"data:"):
            value = line[5:]
            lines.append(value[1:] if value.startswith(b" ") else value)
    return b"\n".join(lines) if lines else None


def encode(data: bytes) -> bytes:
    """One event with this data (which holds no newline)."""
    return b"data: " + data + b"\n\n"
