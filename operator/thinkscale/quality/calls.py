"""What is asked of an endpoint, and what it says: the values that plans, journal and shell share.

A call's key says what it is for (row, sample, purpose) and never where it is sent: with the same
settings the same key is the same question, so an answer once paid for is found by it. A reply keeps
what any level may need of it, as small as it can be: no text of a thought.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from thinkscale.engines.dialect import REASONING_FIELDS, THINK_CLOSE, Route
from thinkscale.errors import ThinkscaleError

CHARACTERS_A_TOKEN: Final = 4
"""Where nobody counts for us."""


class ReplyError(ThinkscaleError):
    """An answer of the endpoint that is not OpenAI's shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request that may have to be paid for."""

    key: str
    route: Route
    body: Mapping[str, Any]
    """Without the model."""
    most_output_tokens: int
    most_prompt_tokens: int

    @property
    def most_tokens(self) -> int:
        """That it may cost."""
        return self.most_output_tokens + self.most_prompt_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back."""

    text: str
    """Content, or the completion; with the thought in it where the endpoint does not part them."""
    finish_reason: str
    prompt_tokens: int
    output_tokens: int
    thought_tokens: int | None
    """As the endpoint counts it; None: it does not."""
    thought_characters: int
    """Of a thought that came apart from the content."""
    prompt_ids: tuple[int, ...] | None = None
    token_ids: tuple[int, ...] | None = None

    @property
    def tokens(self) -> int:
        """What was paid."""
        return self.prompt_tokens + self.output_tokens


def sample_key(row_key: str, sample: int) -> str:
    """The key of one sample of a row."""
    return f"{row_key}#{sample}"


def reply_of(payload: Any) -> Reply:
    """Read a whole answer of either route. ReplyError."""
    try:
        choice = payload["choices"][0]
        usage = payload.get("usage") or {}
        message = choice.get("message")
        text = choice.get("text") if message is None else message.get("content")
        thought = "" if message is None else _thought_of(message)
        details = usage.get("completion_tokens_details") or {}
        counted = details.get("reasoning_tokens")
        prompt_ids = payload.get("prompt_token_ids") or choice.get("prompt_token_ids")
        ids = choice.get("token_ids")
        spoken = len(text or "") + len(thought)
        return Reply(
            text=text or "",
            finish_reason=choice.get("finish_reason") or "",
            prompt_tokens=int(usage.get("prompt_tokens") or len(prompt_ids or ())),
            output_tokens=int(usage.get("completion_tokens") or _output(ids, spoken)),
            thought_tokens=counted if isinstance(counted, int) else None,
            thought_characters=len(thought),
            prompt_ids=None if prompt_ids is None else tuple(prompt_ids),
            token_ids=None if ids is None else tuple(ids),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ReplyError(f"the endpoint's answer has not OpenAI's shape ({error!r})") from error


def _thought_of(message: Mapping[str, Any]) -> str:
    for name in REASONING_FIELDS:
        if isinstance(text := message.get(name), str):
            return text
    return ""


def _output(ids: Sequence[int] | None, characters: int) -> int:
    return len(ids) if ids is not None else characters // CHARACTERS_A_TOKEN


def answer_text(text: str) -> str:
    """What stands behind the last closing tag; all of it without one."""
    return text.rpartition(THINK_CLOSE)[2].strip()
