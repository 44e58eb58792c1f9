"""A request as it was read, a reply as it is to be written, and the head of one. Values."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

JSON: Final = "application/json"
REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


class Request:
    """A request whose head is there, and then its body."""

    __slots__ = ("body", "key_id", "last", "method", "old", "path", "raw")

    def __init__(self, method: str, path: str, raw: Mapping[bytes, bytes]) -> None:
        self.method = method
        self.path = path
        """Without the query."""
        self.raw = raw
        """The headers by their names in lower case; several of one name are joined by commas. Few
        are ever looked at.
        """
        self.body = b""
        self.last = False
        """The connection ends with its response."""
        self.old = False
        """Of HTTP/1.0: its client knows no chunks."""
        self.key_id: str | None = None
        """Of the API key that it came with; None: no keys are needed."""

    def header(self, name: bytes) -> str | None:
        """One header's value; `name` in lower case. What is not UTF-8 in it is so again when it is
        written.
        """
        value = self.raw.get(name)
        return None if value is None else value.decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that is written as a whole."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class Date:
    """The header that says when: made once a second."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._line = ""

    def line(self) -> str:
        """`Date: ...`, with its end."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._line = f"Date: {formatdate(now, usegmt=True)}\r\n"
        return self._line


def header_lines(headers: Mapping[str, str]) -> str:
    """As they are written. Raises `ValueError` if a header's value has a line of its own, which
    would be a header in disguise.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError("a header of more than one line")
    return lines


def head(status: int, lines: str) -> bytes:
    """The head of a response."""
    return f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\n{lines}\r\n".encode(
        "utf-8", "surrogateescape"
    )
