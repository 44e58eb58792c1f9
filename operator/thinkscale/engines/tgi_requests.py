"""TGI's request dialect (3.3), as read from its router; it does not run on our machines.

What it lacks: token ids in its OpenAI routes, a reasoning parser (tags stay in the text), a native
budget, a minimum, template arguments, more than one choice. What makes budgets possible all the
same: exactly one event a token, so events are counted; `/chat_tokenize` renders a chat, and a
continuation goes on behind that text. Traps:

- a refusal comes inside HTTP 200, as an event (`overloaded` is never a 429 on a stream);
- `max_tokens` above 1,024 is overshot to the next multiple: see `overshoots`;
- `model` names a LoRA adapter, unless it is `tgi`; `max_tokens` and `max_completion_tokens` at once
  are a duplicate field, hence refused;
- `/v1/completions` has a default of 100 tokens, an empty finish reason on every chunk but the last,
  its usage in that one, and shows the end-of-sequence token as text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from thinkscale.engines.alike import Streaming, number_of, refusal_told, text_of, without
from thinkscale.engines.dialect import (
    TAG_TEXTS,
    Chunk,
    Prompt,
    Question,
    Reader,
    Route,
    Tags,
    read_chunk,
    tag_tokens,
)
from thinkscale.engines.load import EngineLoad
from thinkscale.engines.text_reader import TextReader, openai_error
from thinkscale.engines.tgi_metrics import parse_load
from thinkscale.engines.vllm_requests import CHAT_ONLY_FIELDS, bound_tokens
from thinkscale.model.gateway_config import NUDGE

MODEL: Final = "tgi"
_UNKNOWN: Final = frozenset({"min_tokens", "return_token_ids", "stop_token_ids", "n", "best_of"})
_REWRITTEN: Final = frozenset({"prompt", "stream", "stream_options", "max_tokens"})
_HELLO: Final = ({"role": "user", "content": "hello"},)
_STATUS: Final[Mapping[str, tuple[str, int]]] = {
    "overloaded": ("Service Unavailable", 503),
    "validation": ("BadRequestError", 422),
    "template_error": ("BadRequestError", 422),
    "missing_template_variable": ("BadRequestError", 422),
    "tool_error": ("BadRequestError", 422),
}
"""OpenAI's kind and code of TGI's error types; all others are failures of the server."""
_OVERLOADED: Final = "Model is overloaded"


class TgiRequests(Streaming):
    """`Dialect` of TGI."""

    has_native_budget: bool = False
    serves_by_name: bool = False

    def _ask_for_counts(self, out: dict[str, Any]) -> None:
        """The usage at the end, which a completion tells unasked."""
        if "messages" in out:
            out["stream_options"] = {"include_usage": True}

    def plain_body(
        self,
        body: Mapping[str, Any],
        *,
        model: str,
        native_budget: int | None,
        most_tokens: int | None,
    ) -> dict[str, Any]:
        """As the client sent it, but for the limits. There is no native budget to send."""
        out = without(body, _UNKNOWN)
        out["model"] = MODEL
        if most_tokens is not None:
            bound_tokens(out, most_tokens)
        limits = [
            limit
            for name in ("max_completion_tokens", "max_tokens")
            if isinstance(limit := out.pop(name, None), int)
        ]
        if limits:
            out["max_tokens"] = min(limits)
        return out

    def continuation_body(
        self,
        body: Mapping[str, Any],
        *,
        model: str,
        prompt: str | Sequence[int],
        max_tokens: int | None,
        generated: int,
    ) -> dict[str, Any]:
        """Go on behind this text."""
        out = without(body, CHAT_ONLY_FIELDS | _REWRITTEN | _UNKNOWN)
        out.update(model=MODEL, prompt=prompt, max_tokens=max_tokens, stream=True)
        return out

    def refuses_native_budget(self, status: int, message: str) -> bool:
        """None is ever sent."""
        return False

    def refusal(self, status: int, body: bytes) -> bytes:
        """From `{"error": TEXT, "error_type": TYPE}`."""
        return refusal_told(status, body, _error)

    def reader(self, route: Route, body: Mapping[str, Any], tags: Tags) -> Reader:
        """Neither route shows ids."""
        return TgiReader(route, body, tags)

    def tag_questions(self, model: str, nudge: str = NUDGE) -> tuple[Question, ...]:
        """The four texts, the longest context, and how a chat is rendered."""
        return (
            *(self.ids_question(text, model=model) for text in (*TAG_TEXTS, nudge)),
            Question(path="/info"),
            Question(path="/chat_tokenize", body={"model": MODEL, "messages": _HELLO}),
        )

    def tags(self, answers: Sequence[Any]) -> Tags:
        """What a template opens, it opens for every chat: it takes no arguments."""
        *texts, info, rendered = answers
        prompt = text_of(rendered, "templated_text")
        return replace(
            tag_tokens([self.ids(answer) for answer in texts]),
            context_tokens=number_of(info, "max_total_tokens"),
            template_opens=prompt is not None and leaves_open(prompt),
            renders=prompt is not None,
        )

    def spell_question(self, ids: Sequence[int], *, model: str) -> Question | None:
        """It cannot; nor does a chunk ever hold more than one token."""
        return None

    def spelled(self, answer: Any) -> str | None:
        """Never asked."""
        return None

    def ids_question(self, text: str, *, model: str) -> Question:
        """`/tokenize` always puts special tokens around the text."""
        return Question(path="/tokenize", body={"inputs": text})

    def ids(self, answer: Any) -> list[int]:
        """The tokens that cover some text: those put around it cover none."""
        if not isinstance(answer, list):
            return []
        return [token["id"] for token in answer if token["stop"] > token["start"]]

    def parse_load(self, text: str) -> EngineLoad | None:
        """See `tgi_metrics`."""
        return parse_load(text)


class TgiReader(TextReader):
    """One request's."""

    overshoots = True
    """It goes on to the next multiple of 1,024 tokens behind `max_tokens`."""

    def __init__(self, route: Route, body: Mapping[str, Any], tags: Tags) -> None:
        prompt = body.get("prompt")
        opened, resumable = tags.template_opens, tags.renders
        if route is Route.COMPLETIONS:
            opened = isinstance(prompt, str) and leaves_open(prompt)
            resumable = isinstance(prompt, str)
        super().__init__(tags, opened=opened, resumable=resumable)
        self._body = body
        self._raw = prompt if route is Route.COMPLETIONS and isinstance(prompt, str) else None

    def read(self, payload: Mapping[str, Any]) -> Chunk:
        """One event is one token."""
        chunk = read_chunk(payload)
        if chunk.error is not None:
            chunk.error = _error(payload)
            return chunk
        if not chunk.choices:
            return chunk
        self._begin(chunk)
        match chunk.finish_reason:
            case "":
                chunk.finish_reason = None
            case "eos_token":
                chunk.finish_reason, chunk.text = "stop", ""
            case "stop_sequence":
                chunk.finish_reason, chunk.stop_reason = "stop", "stop_sequence"
        chunk.token_ids = self.handles(chunk.text, 1)
        return chunk

    def prompt_questions(self, said: Sequence[int], model: str) -> tuple[Question, ...]:
        """How the chat is rendered; of a raw prompt only its tokens are not known."""
        if self._raw is not None:
            return (Question(path="/tokenize", body={"inputs": self._raw}),)
        kept = ("messages", "tools", "tool_choice", "tool_prompt", "response_format")
        body = {name: self._body[name] for name in kept if name in self._body}
        return (Question(path="/chat_tokenize", body={"model": MODEL, **body}),)

    def prompt(self, said: Sequence[int], answers: Sequence[Any]) -> Prompt | None:
        """The text; a beginning-of-sequence token in it would come twice."""
        (answer,) = answers
        if self._raw is not None:
            text = self._raw  # those that are put around it are tokens of the prompt too
            tokens = len(answer) if isinstance(answer, list) else len(text) // 4
        else:
            rendered = text_of(answer, "templated_text")
            if rendered is None:
                return None
            text, tokens = rendered, len(answer.get("tokenize_response") or ())
            for begin in ("<s>", "<｜begin▁of▁sentence｜>", "<|begin_of_text|>", "<bos>"):
                text = text.removeprefix(begin)
        return Prompt(value=text + self.text(said), tokens=tokens)


def leaves_open(prompt: str) -> bool:
    """Whether a prompt ends inside an open thought."""
    opened, closed = (prompt.rfind(tag) for tag in TAG_TEXTS[:2])
    return opened > closed


def _error(payload: Mapping[str, Any]) -> dict[str, Any]:
    """From either shape: a text and its type, or an object with a message."""
    said = payload["error"]
    message = str(said.get("message") if isinstance(said, dict) else said)
    kind = str(payload.get("error_type") or "")
    if not kind and isinstance(said, dict) and said.get("http_status_code") in (400, 413, 422):
        kind = "validation"  # its chat route says so of every error
    if message.startswith(_OVERLOADED):
        kind = "overloaded"
    elif message.startswith(("Request failed during generation", "Incomplete generation")):
        kind = "generation"
    return openai_error(message, *_STATUS.get(kind, ("InternalServerError", 500)))
