"""What the gateway needs to know of a model server's HTTP dialect, and how its stream chunks are
read.

Every engine that speaks the OpenAI API differs in the same few places: where thinking is written
(three spellings), what its native budget field is called, how token ids are asked for, and how a
thought is continued on a raw prompt. `Dialect` names those places; `read_chunk` reads one stream
chunk of either route in any spelling. What must be asked of the engine beside generating (how it
writes the tags, how text is spelled) are `Question`s, and the answers are read here too. Pure: no
HTTP, no clock; the gateway does the talking.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from thinkscale.engines.load import EngineLoad
from thinkscale.model.gateway_config import NUDGE

THINK_OPEN: Final = "<think>"
THINK_CLOSE: Final = "</think>"
CLOSING: Final = "\n</think>\n\n"
"""What is put behind a thought that was cut, so that the answer begins."""

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
    nudge: str = NUDGE
    nudge_ids: tuple[int, ...] = ()
    context_tokens: int | None = None
    template_opens: bool = False
    """The chat template opens the thought, as far as the engine could tell; only asked where it
    shows no ids of a prompt.
    """
    opens_when_off: bool = False
    """It does so even where thinking is switched off; only asked where it takes such switches."""
    renders: bool = True
    """The engine tells how a chat is rendered; only asked where it shows no ids."""
    parses: bool = False
    """The engine takes the tags out of a chat's text; only asked where it shows no ids."""

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

    @property
    def is_empty(self) -> bool:
        """No token, no text, and not the end."""
        said = self.text or self.thinking or self.tool or self.token_ids
        return not said and self.finish_reason is None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A call to the engine beside generating; its answer is JSON."""

    path: str
    body: Mapping[str, Any] | None = None
    """None: it is a GET."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a continuation goes on behind."""

    value: str | list[int]
    tokens: int
    """As the engine counts it; an estimate where it was not asked."""


class Reader(Protocol):
    """Reads the chunks of one request, over all its stages."""

    tags: Tags
    """The tags in the ids that its chunks show."""
    own_ids: bool
    """They are the model's own. False: see `text_reader`."""
    opened: bool
    """The output begins inside a thought, which no id of the prompt will tell."""
    counts_by_usage: bool
    """A running usage was asked for, to count by."""
    overshoots: bool
    """The engine may go on behind the request's `max_tokens`."""

    def read(self, payload: Mapping[str, Any]) -> Chunk:
        """Read one parsed chunk; anything unexpected reads as an empty one."""
        ...


class IdReader:
    """The reader of an engine that shows token ids."""

    __slots__ = ("read", "tags")
    own_ids = True
    opened = False
    counts_by_usage = False
    overshoots = False

    def __init__(self, tags: Tags, read: Callable[[Mapping[str, Any]], Chunk] = read_chunk) -> None:
        self.tags = tags
        self.read = read


class Dialect(Protocol):
    """What differs between engines, for one request."""

    has_native_budget: bool
    """False: none is ever sent to it."""
    serves_by_name: bool
    """Its `/v1/models` lists the name that requests must send. False: it has a name of its own."""

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
        prompt: str | Sequence[int],
        max_tokens: int | None,
        generated: int,
    ) -> dict[str, Any]:
        """The body for `/v1/completions` that goes on behind this prompt. `generated`: tokens that
        the client has of this request so far.
        """
        ...

    def refuses_native_budget(self, status: int, message: str) -> bool:
        """Whether this refusal means that the server was started without native budgets."""
        ...

    def refusal(self, status: int, body: bytes) -> bytes:
        """A refusal (an HTTP error's body) in OpenAI's shape."""
        ...

    def reader(self, route: Route, body: Mapping[str, Any], tags: Tags) -> Reader:
        """The reader of one request, made anew for each attempt."""
        ...

    def tag_questions(self, model: str, nudge: str = NUDGE) -> tuple[Question, ...]:
        """What to ask for `tags`; `nudge`: the text whose ids are among them."""
        ...

    def tags(self, answers: Sequence[Any]) -> Tags:
        """The tags from the answers to `tag_questions`; None is no answer."""
        ...

    def spell_question(self, ids: Sequence[int], *, model: str) -> Question | None:
        """What to ask for the text of these ids; None: this engine has no such route."""
        ...

    def spelled(self, answer: Any) -> str | None:
        """The text from the answer to `spell_question`."""
        ...

    def ids_question(self, text: str, *, model: str) -> Question:
        """What to ask for the ids of this text, without special tokens around it."""
        ...

    def ids(self, answer: Any) -> list[int]:
        """The ids from the answer to `ids_question`; empty: there is none."""
        ...

    def parse_load(self, text: str) -> EngineLoad | None:
        """What its `/metrics` says; None: this is another engine's page."""
        ...


def tag_tokens(ids: Sequence[Sequence[int]]) -> Tags:
    """Tags from the ids of `TAG_TEXTS` and a nudge, in that order."""
    opening, closing_tag, closing, nudge = ids
    return Tags(
        open_id=opening[0] if len(opening) == 1 else None,
        close_id=closing_tag[0] if len(closing_tag) == 1 else None,
        closing_ids=tuple(closing),
        nudge_ids=tuple(nudge),
    )


TAG_TEXTS: Final = (THINK_OPEN, THINK_CLOSE, CLOSING)
