"""API keys of the clients: which id a presented key has, if any. Pure; `key_source` reads them.

Only hashes are kept, and a presented key is compared with every one of them in constant time, so
neither a dump of the memory nor a stopwatch tells a key. Key ids are names that people chose and
may be shown; a key never is, and neither is a line that could not be read, since it may be one.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final

SCHEME: Final = "bearer"
KEY_ID: Final = re.compile(r"[-._A-Za-z0-9]{1,253}")
"""What a Secret allows as a key of its data."""


class ApiKeys:
    """The keys that are valid now. None at all: nobody may ask."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        """`keys`: key by id. Of ids that share a key the first in alphabetical order counts."""
        self._ids = {_digest(key): name for name, key in sorted(keys.items(), reverse=True)}

    def __len__(self) -> int:
        return len(self._ids)

    def holder(self, authorization: str | None) -> str | None:
        """The id of the key in an `Authorization` header; None: there is no valid key in it."""
        scheme, _, presented = (authorization or "").strip().partition(" ")
        asked = _digest(presented.strip())
        found = None
        for digest, name in self._ids.items():
            if hmac.compare_digest(digest, asked):
                found = name
        return found if scheme.lower() == SCHEME else None


def keys_of_lines(text: str) -> tuple[dict[str, str], list[int]]:
    """Keys by id out of lines `ID=KEY`; and the numbers of the lines that make no sense. Empty
    lines and those that begin with `#` are skipped.
    """
    keys: dict[str, str] = {}
    wrong: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, key = (part.strip() for part in line.partition("="))
        if KEY_ID.fullmatch(name) and key and name not in keys:
            keys[name] = key
        else:
            wrong.append(number)
    return keys, wrong


def keys_of_files(files: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Keys by id out of (file name, content), as a Secret is mounted. Empty ones are no keys."""
    return {name: text.strip() for name, text in files if text.strip() and name[0] != "."}


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
