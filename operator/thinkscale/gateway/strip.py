"""Takes out of a chunk what the gateway asked for and the client did not, as bytes: token ids, and
a running usage.

Parsing and writing the JSON again would cost ten times as much and change what the engine wrote.
Bytes suffice: JSON holds `"token_ids":` with bare quotes outside of strings only (inside one they
are escaped). The fast path knows the compact form that vLLM writes; anything else takes the slow
one.
"""

import re
from typing import Final

_FIELD: Final = b',"token_ids":['
_ANY: Final = re.compile(
    rb',\s*"(?:prompt_)?token_ids"\s*:\s*(?:null|\[[^\]]*\])'
    rb'|(?<=\{)\s*"(?:prompt_)?token_ids"\s*:\s*(?:null|\[[^\]]*\])\s*,?'
)


_USAGE: Final = re.compile(rb',\s*"usage"\s*:\s*\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}')


def without_usage(raw: bytes) -> bytes:
    """The same bytes with no usage, as from an engine that was not asked for a running one."""
    return _USAGE.sub(b',"usage":null', raw)


def without_ids(raw: bytes) -> bytes:
    """The same bytes without `token_ids` and `prompt_token_ids`."""
    start = raw.find(_FIELD)
    if start >= 0:
        end = raw.index(b"]", start) + 1
        raw = raw[:start] + raw[end:]
    if b"token_ids" in raw:
        return _ANY.sub(b"", raw)
    return raw
