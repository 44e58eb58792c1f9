"""How many tokens a prompt has, before any engine has seen it: an estimate that learns.

Admission must know a prompt's size when the request arrives. Token ids are counted; text is
measured in UTF-8 bytes, and the bytes of a token are learnt from what engines say of the prompts
that they were sent. Exact numbers replace the estimate as soon as they come. Sans-I/O.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

PRIOR_BYTES_PER_TOKEN: Final = 4.0
PRIOR_TOKENS: Final = 200.0
"""The weight of the prior, in tokens seen."""
MOST_TOKENS: Final = 200_000.0
"""What was seen longer ago than this many tokens fades: the mix of languages changes."""
MESSAGE_BYTES: Final = 16
"""What a chat template writes around one message."""


@dataclass(frozen=True, slots=True)
class PromptSize:
    """A prompt as it came."""

    ids: int = 0
    """Tokens that the client counted itself."""
    text_bytes: int = 0


class PromptSizes:
    """Turns sizes into tokens."""

    __slots__ = ("_bytes", "_tokens")

    def __init__(self) -> None:
        self._tokens = PRIOR_TOKENS
        self._bytes = PRIOR_TOKENS * PRIOR_BYTES_PER_TOKEN

    def tokens(self, size: PromptSize) -> int:
        """The estimate, at least 1.

        With 4 bytes a token, 10 ids and 100 bytes are 35 tokens.
        """
        return max(1, size.ids + round(size.text_bytes * self._tokens / self._bytes))

    def learn(self, size: PromptSize, tokens: int) -> None:
        """An engine counted this prompt. Prompts that are ids, or that the engine knows nothing
        of, teach nothing.
        """
        spelled = tokens - size.ids
        if spelled <= 0 or size.text_bytes <= 0:
            return
        self._tokens += spelled
        self._bytes += size.text_bytes
        if self._tokens > MOST_TOKENS:
            self._tokens, self._bytes = self._tokens / 2, self._bytes / 2


def size_of(body: Mapping[str, Any]) -> PromptSize:
    """The size of a request's prompt: messages and tools, or prompts of text or ids."""
    messages = body.get("messages")
    if isinstance(messages, list):
        tools = body.get("tools")
        described = len(orjson.dumps(tools)) if tools else 0
        return PromptSize(text_bytes=described + sum(_message_bytes(m) for m in messages))
    prompt = body.get("prompt")
    prompts = prompt if isinstance(prompt, list) else [prompt]
    ids = text_bytes = 0
    for part in prompts:
        if isinstance(part, str):
            text_bytes += len(part.encode(errors="replace"))
        elif isinstance(part, list):
            ids += len(part)
        elif part is not None:
            ids += 1
    return PromptSize(ids, text_bytes)


def _message_bytes(message: Any) -> int:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return MESSAGE_BYTES + len(content.encode(errors="replace"))
    parts = content if isinstance(content, list) else ()
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return MESSAGE_BYTES + sum(len(t.encode(errors="replace")) for t in texts if isinstance(t, str))
