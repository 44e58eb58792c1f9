"""Reads the API keys from a file or a mounted Secret, and again whenever they change.

A Secret is mounted rather than watched: a gateway then needs no right on Secrets, and the operator,
which may only grant what it has, needs none either. The kubelet brings a change within about a
minute. What cannot be read takes no key away; what can be read and holds no key takes all of them.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

from thinkscale.errors import ThinkscaleError
from thinkscale.gateway.keys import ApiKeys, keys_of_files, keys_of_lines

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 1.0
_Stamp = tuple[tuple[str, int, int, int], ...]


class KeysUnreadable(ThinkscaleError):
    """The keys cannot be read; the message names the path and never its content."""


class KeySource:
    """The keys at a path: a file of lines `ID=KEY`, or a directory with a file for each id."""

    def __init__(self, path: Path) -> None:
        """Reads them. Raises `KeysUnreadable`."""
        self._path = path
        self._stamp: _Stamp = ()
        self.keys = ApiKeys({})
        self._stamp = self._look()
        self._read()

    async def watch(self) -> None:
        """Read them again when they change, for ever."""
        said = ""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                stamp = self._look()
                if stamp != self._stamp:
                    self._read()
                    self._stamp, said = stamp, ""
            except KeysUnreadable as error:
                if str(error) != said:
                    said = str(error)
                    logger.warning("Kept the API keys that were known: %s", said)

    def _read(self) -> None:
        try:
            if self._path.is_dir():
                files = ((path.name, path.read_text()) for path in self._files())
                self.keys = ApiKeys(keys_of_files(files))
            else:
                keys, wrong = keys_of_lines(self._path.read_text())
                self.keys = ApiKeys(keys)
                if wrong:
                    logger.warning("Ignored lines that are not ID=KEY lines=%s", wrong)
        except (OSError, UnicodeDecodeError) as error:
            raise self._unreadable(error) from None
        logger.info("Read the API keys count=%d", len(self.keys))

    def _files(self) -> list[Path]:
        return [path for path in sorted(self._path.iterdir()) if path.is_file()]

    def _look(self) -> _Stamp:
        """Changes when a file does. Of a mounted Secret it is the inodes behind the links."""
        try:
            files = self._files() if self._path.is_dir() else [self._path]
            stats = [(path.name, path.stat()) for path in files]
        except OSError as error:
            raise self._unreadable(error) from None
        return tuple((name, s.st_ino, s.st_mtime_ns, s.st_size) for name, s in stats)

    def _unreadable(self, error: OSError | UnicodeDecodeError) -> KeysUnreadable:
        # NB: a UnicodeDecodeError's own text quotes the content.
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        return KeysUnreadable(f"cannot read the API keys at {self._path}: {reason}")
