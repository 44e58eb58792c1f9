"""What the gateway needs to know of a model server's HTTP dialect, and how its stream chunks are
read.

Every engine that speaks the OpenAI API differs in the same few places: where thinking is written
(three spellings), what its native budget field is called, how token ids are asked for, and how a
thought is continued on a raw prompt. `Dialect` names those places; `read_chunk` reads one stream
chunk of either route in any spelling. Pure: no HTTP, no clock; the gateway does the talking.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

THINK_OPEN: Final = "<think>"
THINK_CLOSE: Final = "</think>"
CLOSING: Final = "\n</think>\n\n"
"""What is put behind a thought that was cut, so that the answer begins."""
NUDGE: Final = "\nWait,"
"""What is put behind a thought that ended too early (s1's word), so that it goes on."""

REASONING_FIELDS: Final = ("reasoning", "reasoning_content")


class Route(StrEnum):
    """The two generating routes; the value is the path."""

    CHAT = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """How the model behind an engine writes the tags, in its own token ids.

    `open_id` and `close_id` are None when the tag is not one single token: phases are then told by
    text alone, and a minimum budget cannot be held.
    """

    open_id: int | None = None
    close_id: int | None = None
    closing_ids: tuple[int, ...] = ()
    nudge_ids: tuple[int, ...] = ()
    context_tokens: int | None = None

    def opens(self, prompt_ids: Sequence[int]) -> bool | None:
        """Whether the prompt ends inside an open thought; None: cannot be told."""
        if self.open_id is None or self.close_id is None:
            return None
        for token in reversed(prompt_ids):
            if token == self.close_id:
                return False
            if token == self.open_id:
                return True
        return False


@dataclass(slots=True, kw_only=True)
class Chunk:
    """One stream chunk, read. `thinking` is text from a reasoning field, `text` is content (chat)
    or text (completions), which may hold thinking between tags.
    """

    identity: str = ""
    created: int = 0
    choices: int = 0
    index: int = 0
    thinking: str = ""
    thinking_field: str = ""
    text: str = ""
    tool: bool = False
    token_ids: Sequence[int] | None = None
    prompt_token_ids: Sequence[int] | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    usage: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None


def read_chunk(payload: Mapping[str, Any]) -> Chunk:
    """Read one parsed chunk. Anything unexpected reads as an empty chunk: it is passed on."""
    error = payload.get("error")
    if error is not None:
        return Chunk(error=error if isinstance(error, dict) else {"message": str(error)})
    chunk = Chunk(
        identity=payload.get("id") or "",
        created=payload.get("created") or 0,
        usage=payload.get("usage"),
        prompt_token_ids=payload.get("prompt_token_ids"),
    )
    choices = payload.get("choices")
    if choices:
        _read_choice(chunk, choices)
    return chunk


def _read_choice(chunk: Chunk, choices: Sequence[Mapping[str, Any]]) -> None:
    choice = choices[0]
    chunk.choices = len(choices)
    chunk.index = choice.get("index") or 0
    chunk.finish_reason = choice.get("finish_reason")
    chunk.stop_reason = choice.get("stop_reason")
    chunk.token_ids = choice.get("token_ids")
    if chunk.prompt_token_ids is None:
        chunk.prompt_token_ids = choice.get("prompt_token_ids")
    delta = choice.get("delta")
    if delta is None:
        chunk.text = choice.get("text") or ""
        return
    chunk.text = delta.get("content") or ""
    for name in REASONING_FIELDS:
        text = delta.get(name)
        if text:
            chunk.thinking, chunk.thinking_field = text, name
            break
    if delta.get("tool_calls"):
        chunk.tool = True


class Dialect(Protocol):
    """What differs between engines, for one request."""

    def first_body(
        self,
        body: Mapping[str, Any],
        *,
        model: str,
        native_budget: int | None,
        most_tokens: int | None,
    ) -> dict[str, Any]:
        """The body of the first upstream request: always streaming, with usage and token ids.
        `most_tokens`: of one choice's thought and answer together, whatever the client asks.
        """
        ...

    def plain_body(
        self,
        body: Mapping[str, Any],
        *,
        model: str,
        native_budget: int | None,
        most_tokens: int | None,
    ) -> dict[str, Any]:
        """The body of a request that cannot be streamed: as the client sent it, but for limits."""
        ...

    def continuation_body(
        self,
        body: Mapping[str, Any],
        *,
        model: str,
        prompt: Sequence[int],
        max_tokens: int | None,
        generated: int,
    ) -> dict[str, Any]:
        """The body for `/v1/completions` that goes on behind these ids. `generated`: tokens that
        the client has of this request so far.
        """
        ...

    def refuses_native_budget(self, status: int, message: str) -> bool:
        """Whether this refusal means that the server was started without native budgets."""
        ...

    def tokenize_body(self, text: str, *, model: str) -> dict[str, Any]:
        """The body for `/tokenize`, without special tokens around the text."""
        ...

    def detokenize_body(self, ids: Sequence[int], *, model: str) -> dict[str, Any]:
        """The body for `/detokenize`."""
        ...
