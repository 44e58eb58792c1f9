"""What an exchange asks of the shell around it: how a stage ended, and what follows.

Values. A stage is one upstream response. It ends by the gateway's decision (`Turn`), or because the
engine cannot go on (`Trouble`); otherwise the engine ends it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

TOO_MANY: Final = 429
UNAVAILABLE: Final = 503


class Next(Enum):
    """What follows a stage that the gateway ended."""

    ANSWER = "answer"
    """Close the thought and let the answer come."""
    THINK = "think"
    """Let the thought go on."""
    RESUME = "resume"
    """Go on from what the client has, in the phase where that is."""
    END = "end"
    """Nothing: finish_reason is `length`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trim:
    """A chunk straddles the cut: only the text of these ids may go out."""

    ids: tuple[int, ...]
    text: str
    is_thinking: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The stage is over by the gateway's decision."""

    next: Next
    trim: Trim | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """The engine said that it cannot go on, or nothing that can be understood."""

    why: str
    raw: bytes
    """Its own words for the client, if nobody else can go on; empty: they are of no use."""
    is_full: bool = False
    """It has no room."""


def trouble_of(error: Mapping[str, Any], raw: bytes) -> Trouble | None:
    """What an error inside a stream means; None: the client is to blame, and gets it as it is."""
    code = error.get("code")
    if isinstance(code, int) and 400 <= code < 500 and code != TOO_MANY:
        return None
    why = f"the model server failed: {error.get('message')}"
    return Trouble(why=why, raw=raw, is_full=code in (TOO_MANY, UNAVAILABLE))
