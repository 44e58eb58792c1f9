"""Undoes the coding of a request's body (`Content-Encoding`). Pure.

NB: a few bytes may stand for gigabytes, so no more is ever written than a body may have.
"""

import zlib
from typing import Final

_GZIP: Final = 16 + zlib.MAX_WBITS
_DEFLATED: Final = 8
CODINGS: Final = ("gzip", "deflate")


class Undecodable(Exception):
    """The body cannot be read; `status` is what the client is told."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def decoded(body: bytes, coding: str, most_bytes: int) -> bytes:
    """Raises `Undecodable`."""
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in CODINGS:
        known = " and ".join(CODINGS)
        raise Undecodable(415, f"the request's body is coded as {coding}: known are {known}")
    decoder = zlib.decompressobj(_GZIP if coding == "gzip" else _window(body))
    try:
        plain = decoder.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise Undecodable(400, f"the request's body is not {coding}: {error}") from error
    if len(plain) > most_bytes:
        raise Undecodable(413, f"the request's body is longer than {most_bytes} bytes")
    if not decoder.eof or decoder.unused_data:
        raise Undecodable(400, f"the request's body is not {coding} from its beginning to its end")
    return plain


def _window(body: bytes) -> int:
    """Some clients leave away what zlib puts around a deflated body."""
    wrapped = body and body[0] & 0xF == _DEFLATED
    return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS
