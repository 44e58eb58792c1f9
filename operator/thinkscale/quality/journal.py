"""The record of a sweep: append-only, one JSON object a line, so that nothing paid for is lost.

`sent` is written before a request goes out, `done` with the whole reply when it came back and
`lost` when it did not; a `sent` without either was under way when the process died, and counts as
spent. Replies are on disk before anything is made of them. A line torn by a crash is the last one,
and is cut off. The head holds the settings: who goes on with others would mix two experiments.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from thinkscale.errors import ThinkscaleError
from thinkscale.quality.calls import Call, Reply
from thinkscale.quality.settings import Settings, settings_of

NAME: Final = "journal.jsonl"
VERSION: Final = 1


class JournalError(ThinkscaleError):
    """The record cannot be used."""


@dataclass(slots=True, kw_only=True)
class Past:
    """What the record says."""

    settings: Settings | None = None
    replies: dict[str, Reply] = field(default_factory=dict)
    verdicts: dict[str, bool] = field(default_factory=dict)
    """Of external graders, by `verdict_key`."""
    requests: int = 0
    tokens: int = 0
    looks: int = 0
    """How often a conclusion was drawn from a finished plan."""
    concluded: int = 0
    """Answers that the last conclusion was drawn from."""
    _open: dict[str, int] = field(default_factory=dict)

    def take(self, entry: Mapping[str, Any]) -> None:
        """One entry. KeyError, TypeError, ValueError: it is not one of ours."""
        match entry["type"]:
            case "head":
                if entry["version"] != VERSION:
                    raise ValueError(f"version {entry['version']}")
                self.settings = settings_of(entry["settings"])
            case "sent":
                self.requests += 1
                self.tokens += entry["prompt"]  # taken back when it is done or was refused
                self._open[entry["key"]] = entry["prompt"]
            case "done":
                reply = _reply(entry["reply"])
                self.tokens += reply.tokens - self._open.pop(entry["key"], 0)
                self.replies[entry["key"]] = reply
            case "lost":
                prompt = self._open.pop(entry["key"], 0)
                if not entry["processed"]:
                    self.requests -= 1
                    self.tokens -= prompt
            case "verdict":
                self.verdicts[entry["key"]] = bool(entry["right"])
            case "look":
                self.looks += 1
                self.concluded = entry["answers"]
            case other:
                raise ValueError(f"an entry of type {other!r}")


class Journal:
    """An open record; `past` is what it held and has got since."""

    def __init__(self, directory: Path) -> None:
        """JournalError: it cannot be read or written, or another sweep holds it."""
        self.path = directory / NAME
        self.past = Past()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = self.path.open("a+b")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise JournalError(f"{directory}: another sweep writes there; wait for it") from error
        except OSError as error:
            raise JournalError(
                f"{directory} cannot be written ({error.strerror}); give another --out"
            ) from error
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> None:
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break  # torn by a crash
            try:
                self.past.take(json.loads(line))
            except (KeyError, TypeError, ValueError) as error:
                raise JournalError(
                    f"{self.path}:{number}: is not a record of this version ({error}); "
                    "give another --out"
                ) from error
            whole += len(line)
        self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)

    def begin(self, settings: Settings) -> None:
        """Write the head, or compare with it. JournalError: it is another experiment's."""
        known = self.past.settings
        if known is None:
            self._add(type="head", version=VERSION, settings=settings.written())
            return
        for name, value in settings.written().items():
            if (before := known.written()[name]) != value:
                raise JournalError(
                    f"{self.path.parent} holds a sweep with {name} {before} and not {value}; "
                    "use that, or give another --out"
                )

    def sent(self, call: Call) -> None:
        """A request is about to go out."""
        self._add(type="sent", key=call.key, prompt=call.most_prompt_tokens)

    def done(self, call: Call, reply: Reply) -> None:
        """It came back: on disk when this returns."""
        self._add(type="done", key=call.key, reply=_written(reply))
        os.fsync(self._file.fileno())

    def lost(self, call: Call, reason: str, *, processed: bool) -> None:
        """It will not come back."""
        self._add(type="lost", key=call.key, reason=reason, processed=processed)

    def judged(self, key: str, *, right: bool) -> None:
        """An external grader has spoken."""
        self._add(type="verdict", key=key, right=right)

    def looked(self, answers: int) -> None:
        """A conclusion was drawn; the same data looked at again is no new look."""
        if answers != self.past.concluded:
            self._add(type="look", answers=answers)

    def _add(self, **entry: Any) -> None:
        self._file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        self.past.take(entry)

    def close(self) -> None:
        """Let go of it."""
        self._file.close()


def _written(reply: Reply) -> dict[str, Any]:
    return {name: value for name, value in asdict(reply).items() if value is not None}


def _reply(entry: Mapping[str, Any]) -> Reply:
    ids = {name: tuple(entry[name]) for name in ("prompt_ids", "token_ids") if name in entry}
    return Reply(**{"thought_tokens": None, **entry, **ids})
