"""SGLang's request dialect (0.5.20 and later), as read from its source; it does not run here.

`/v1/completions` takes and shows token ids as vLLM does. A chat's stream shows none: the running
usage counts its tokens, and a continuation begins with the chat as `/tokenize` renders it. The
native budget is `custom_params.thinking_budget`, which holds only with `--enable-strict-thinking`
and is ignored in silence without; top-level fields of that name are dropped by its schema.
`custom_logit_processor` is a pickle, hence remote code execution: the gateway never lets it pass.
Errors are flat objects. A natural end has `matched_stop` too: the id of the end token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from thinkscale.engines.alike import number_of, refusal_told, text_of
from thinkscale.engines.dialect import (
    Chunk,
    IdReader,
    Prompt,
    Question,
    Reader,
    Route,
    Tags,
    read_chunk,
    tag_tokens,
)
from thinkscale.engines.load import EngineLoad
from thinkscale.engines.sglang_metrics import parse_load
from thinkscale.engines.text_reader import CLOSE, OPEN, TextReader, openai_error
from thinkscale.engines.vllm_requests import VllmRequests
from thinkscale.model.gateway_config import NUDGE

_TEMPLATE_FIELDS: Final = (
    "messages",
    "tools",
    "tool_choice",
    "reasoning_effort",
    "continue_final_message",
    "chat_template_kwargs",
)
_HELLO: Final = ({"role": "user", "content": "hello"},)
_SWITCHES: Final = ("enable_thinking", "thinking")
"""Models differ in which of them their template reads."""


class SglangRequests(VllmRequests):
    """`Dialect` of SGLang: vLLM's but for what is said here."""

    def _ask_for_counts(self, out: dict[str, Any]) -> None:
        """A chat is counted by its running usage."""
        super()._ask_for_counts(out)
        if "messages" in out:
            del out["return_token_ids"]
            out["stream_options"]["continuous_usage_stats"] = True

    def plain_body(
        self,
        body: Mapping[str, Any],
        *,
        model: str,
        native_budget: int | None,
        most_tokens: int | None,
    ) -> dict[str, Any]:
        """The native budget is a custom parameter."""
        out = super().plain_body(body, model=model, native_budget=None, most_tokens=most_tokens)
        if native_budget is not None:
            out["custom_params"] = {"thinking_budget": native_budget}
        return out

    def refuses_native_budget(self, status: int, message: str) -> bool:
        """It ignores a budget that it cannot hold, and refuses none."""
        return False

    def refusal(self, status: int, body: bytes) -> bytes:
        """From `{"object": "error", "message": TEXT, ...}`."""

        def read(said: Any) -> dict[str, Any]:
            inner = said.get("error", said)
            return openai_error(str(inner["message"]), str(inner.get("type") or ""), status)

        return refusal_told(status, body, read)

    def reader(self, route: Route, body: Mapping[str, Any], tags: Tags) -> Reader:
        """Only completions show ids."""
        if route is Route.COMPLETIONS:
            return IdReader(tags, _read_completion)
        return SglangReader(body, tags)

    def tag_questions(self, model: str, nudge: str = NUDGE) -> tuple[Question, ...]:
        """The four texts, the longest context, whether tags are taken out, and whether a chat
        begins inside a thought, as usual and with thinking switched off: some templates ignore it.
        """
        hello = {"model": model, "messages": _HELLO}
        return (
            *super().tag_questions(model, nudge),
            Question(path="/v1/models"),
            Question(path="/get_server_info"),
            Question(path="/tokenize", body=hello),
            Question(
                path="/tokenize",
                body={**hello, "chat_template_kwargs": dict.fromkeys(_SWITCHES, False)},
            ),
        )

    def tags(self, answers: Sequence[Any]) -> Tags:
        """NB: `/tokenize` tells the tokenizer's longest text, which is not the server's."""
        *texts, models, server, rendered, switched_off = answers
        tags = tag_tokens([self.ids(answer) for answer in texts])
        parser = server.get("reasoning_parser") if isinstance(server, dict) else None
        return replace(
            tags,
            context_tokens=_longest(models),
            parses=bool(parser),
            template_opens=bool(tags.opens(self.ids(rendered))),
            opens_when_off=bool(tags.opens(self.ids(switched_off))),
            renders=bool(self.ids(rendered)),
        )

    def spell_question(self, ids: Sequence[int], *, model: str) -> Question | None:
        """Special tokens are text here too."""
        body = {"model": model, "tokens": list(ids), "skip_special_tokens": False}
        return Question(path="/detokenize", body=body)

    def spelled(self, answer: Any) -> str | None:
        """The text."""
        return text_of(answer, "text")

    def parse_load(self, text: str) -> EngineLoad | None:
        """See `sglang_metrics`."""
        return parse_load(text)


class SglangReader(TextReader):
    """A chat's, all stages. Where the parser takes the tags out, they are put back among the
    handles, so that a continuation says them and nobody counts them as thinking.
    """

    counts_by_usage = True

    def __init__(self, body: Mapping[str, Any], tags: Tags) -> None:
        template = body.get("chat_template_kwargs")
        template = template if isinstance(template, Mapping) else {}
        is_off = any(template.get(switch) is False for switch in _SWITCHES)
        self._parses = tags.parses and body.get("separate_reasoning") is not False
        self._in_prompt = tags.opens_when_off if is_off else tags.template_opens
        opened = self._in_prompt and not self._parses
        super().__init__(tags, opened=opened, resumable=tags.renders)
        self._body = body
        self._counted = 0
        self._thought = 0
        self._thinks: bool | None = None
        """None: no text yet."""

    def read(self, payload: Mapping[str, Any]) -> Chunk:
        """As many tokens as the running usage has grown by."""
        chunk = _read_completion(payload)
        if chunk.error is not None or not chunk.choices or chunk.index:
            return chunk
        self._begin(chunk)
        if chunk.token_ids is not None:  # of a later stage, a completion
            chunk.token_ids = self.handles(chunk.text, len(chunk.token_ids))
            return chunk
        text = chunk.thinking + chunk.text
        if text or chunk.tool:
            chunk.token_ids = self._counted_text(chunk, text)
        else:
            natural = chunk.finish_reason == "stop" and chunk.stop_reason is None
            chunk.token_ids = self.handles("", 1) if natural else ()
        return chunk

    def _counted_text(self, chunk: Chunk, text: str) -> tuple[int, ...]:
        """Of a step with a thought's end and the answer's begin two chunks tell the same sum: what
        of it was thought is told apart.
        """
        usage = chunk.usage or {}
        tag = self._hidden_tag(chunk)
        tokens = (usage.get("completion_tokens") or 0) - self._counted - len(tag)
        if chunk.thinking and usage.get("reasoning_tokens"):
            tokens = min(tokens, usage["reasoning_tokens"] - self._thought)
        ids = self.handles(text, max(1 if text else 0, tokens))
        self._counted += len(tag) + len(ids)
        self._thought += len(ids) if chunk.thinking else 0
        return (*tag, *ids)

    def _hidden_tag(self, chunk: Chunk) -> tuple[int, ...]:
        """The tag that the parser took out before this text, if it did."""
        before, thinks = self._thinks, bool(chunk.thinking)
        self._thinks = thinks
        if not self._parses:
            return ()
        if thinks:
            return (OPEN,) if before is None and not self._in_prompt else ()
        closed = before or (before is None and self._in_prompt)
        return (CLOSE,) if closed else ()

    def prompt_questions(self, said: Sequence[int], model: str) -> tuple[Question, ...]:
        """How the chat is rendered, and how what was said is tokenized."""
        asked = SglangRequests()
        body = {name: self._body[name] for name in _TEMPLATE_FIELDS if name in self._body}
        return (
            Question(path="/tokenize", body={"model": model, **body}),
            asked.ids_question(self.text(said), model=model),
        )

    def prompt(self, said: Sequence[int], answers: Sequence[Any]) -> Prompt | None:
        """Ids: special tokens of the template have no safe text."""
        rendered, spoken = (SglangRequests().ids(answer) for answer in answers)
        if not rendered or (not spoken and self.text(said)):
            return None
        return Prompt(value=[*rendered, *spoken], tokens=len(rendered))


def _read_completion(payload: Mapping[str, Any]) -> Chunk:
    chunk = read_chunk(payload)
    if chunk.finish_reason is not None and chunk.choices:
        matched = payload["choices"][0].get("matched_stop")
        chunk.stop_reason = matched if isinstance(matched, str) else None
    return chunk


def _longest(models: Any) -> int | None:
    cards = models.get("data") if isinstance(models, dict) else None
    return number_of(cards[0], "max_model_len") if cards else None
