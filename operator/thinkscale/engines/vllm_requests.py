"""vLLM's request dialect, as measured on the real server (0.32).

Facts that shaped it: unknown fields are ignored, so a client's extras pass; `/v1/completions` has a
default of 16 output tokens, so a continuation always says how many; without a reasoning parser
`thinking_token_budget` is a 400 and not a silent no-op; prompts are accepted as token ids, which is
the exact, template-free way to go on with a thought.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from thinkscale.engines.alike import Streaming, number_of, text_of, without
from thinkscale.engines.dialect import (
    TAG_TEXTS,
    IdReader,
    Question,
    Reader,
    Route,
    Tags,
    tag_tokens,
)
from thinkscale.engines.load import EngineLoad
from thinkscale.engines.vllm_metrics import parse_load
from thinkscale.model.gateway_config import NUDGE

NATIVE_BUDGET_FIELD: Final = "thinking_token_budget"

CHAT_ONLY_FIELDS: Final = frozenset(
    {
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "chat_template",
        "chat_template_kwargs",
        "add_generation_prompt",
        "continue_final_message",
        "documents",
        "reasoning",
        "reasoning_effort",
        "thinking",
        "include_reasoning",
        "max_completion_tokens",
        "top_logprobs",
        "logprobs",
        "modalities",
        "store",
        "metadata",
    }
)
_REWRITTEN_FIELDS: Final = frozenset(
    {"prompt", "stream", "stream_options", "max_tokens", "min_tokens", NATIVE_BUDGET_FIELD}
)


class VllmRequests(Streaming):
    """`Dialect` of vLLM."""

    has_native_budget: bool = True
    serves_by_name: bool = True

    def _ask_for_counts(self, out: dict[str, Any]) -> None:
        """The usage at the end, and the token ids of every chunk."""
        options = out.get("stream_options")
        out["stream_options"] = {
            **(options if isinstance(options, dict) else {}),
            "include_usage": True,
        }
        out["return_token_ids"] = True

    def plain_body(
        self,
        body: Mapping[str, Any],
        *,
        model: str,
        native_budget: int | None,
        most_tokens: int | None,
    ) -> dict[str, Any]:
        """As the client sent it, with the native budget and the most tokens, if any."""
        out = without(body, (NATIVE_BUDGET_FIELD,))
        out["model"] = model
        if native_budget is not None:
            out[NATIVE_BUDGET_FIELD] = native_budget
        if most_tokens is not None:
            bound_tokens(out, most_tokens)
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
        """Go on behind these ids: sampling parameters and the client's extras stay, what belongs
        to the chat template goes. `skip_special_tokens` is off: a `</think>` must stay visible.
        """
        out = without(body, CHAT_ONLY_FIELDS | _REWRITTEN_FIELDS)
        out.update(
            model=model,
            prompt=prompt if isinstance(prompt, str) else list(prompt),
            max_tokens=max_tokens,
            stream=True,
            stream_options={"include_usage": True},
            return_token_ids=True,
            skip_special_tokens=False,
        )
        least = body.get("min_tokens")
        if isinstance(least, int) and least > generated:
            out["min_tokens"] = least - generated
        return out

    def refuses_native_budget(self, status: int, message: str) -> bool:
        """vLLM without `--reasoning-parser` answers 400 and names the field."""
        return status == 400 and NATIVE_BUDGET_FIELD in message

    def refusal(self, status: int, body: bytes) -> bytes:
        """OpenAI's shape is vLLM's."""
        return body

    def reader(self, route: Route, body: Mapping[str, Any], tags: Tags) -> Reader:
        """Both routes show ids."""
        return IdReader(tags)

    def tag_questions(self, model: str, nudge: str = NUDGE) -> tuple[Question, ...]:
        """How it tokenizes each of the four texts."""
        return tuple(self.ids_question(text, model=model) for text in (*TAG_TEXTS, nudge))

    def tags(self, answers: Sequence[Any]) -> Tags:
        """Every answer tells the longest context, too."""
        tags = tag_tokens([self.ids(answer) for answer in answers])
        return replace(tags, context_tokens=number_of(answers[0], "max_model_len"))

    def spell_question(self, ids: Sequence[int], *, model: str) -> Question | None:
        """`/detokenize`."""
        return Question(path="/detokenize", body={"model": model, "tokens": list(ids)})

    def spelled(self, answer: Any) -> str | None:
        """It calls the text a prompt."""
        return text_of(answer, "prompt")

    def ids_question(self, text: str, *, model: str) -> Question:
        """`/tokenize`."""
        return Question(path="/tokenize", body=self.tokenize_body(text, model=model))

    def tokenize_body(self, text: str, *, model: str) -> dict[str, Any]:
        """Body for `/tokenize`."""
        return {"model": model, "prompt": text, "add_special_tokens": False}

    def ids(self, answer: Any) -> list[int]:
        """It calls the ids tokens."""
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        return tokens if isinstance(tokens, list) else []

    def parse_load(self, text: str) -> EngineLoad | None:
        """See `vllm_metrics`."""
        return parse_load(text)


def bound_tokens(body: dict[str, Any], most_tokens: int) -> None:
    """Lower what the client asks. A completion that asks for nothing has the default of 16."""
    names = [name for name in ("max_completion_tokens", "max_tokens") if name in body]
    if not names and "messages" in body:
        names = ["max_tokens"]
    for name in names:
        asked = body.get(name)
        body[name] = min(asked, most_tokens) if isinstance(asked, int) else most_tokens
