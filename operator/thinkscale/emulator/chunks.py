"""The shapes of replies, key by key as vLLM 0.32 sends them, streamed and whole.

A token's chunk is put together from bytes prepared once per request: this is the hot path.
Surprises that are kept: the role comes with the first token and not before; `</think>` is an empty
delta, and no chunk at all unless token ids were asked for; with `deepseek_r1` the usage counts no
reasoning tokens when the template opened the thought.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from thinkscale.emulator.choice import Choice, Parser, Piece
from thinkscale.emulator.requests import Generation
from thinkscale.emulator.tools import merged

ENGINE_VERSION: Final = "0.32.0"
FINGERPRINT: Final = f"vllm-{ENGINE_VERSION}-emulated"
DONE: Final = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyStyle:
    """What the server's options say about the shape of replies."""

    model: str
    parser: Parser
    reasoning_fields: tuple[str, ...] = ("reasoning",)
    """Some releases write the thought twice, under both names."""


class Replies:
    """Shapes the replies of one request."""

    def __init__(
        self, generation: Generation, style: ReplyStyle, reply_id: str, created: int
    ) -> None:
        self._generation = generation
        self._style = style
        self._id = reply_id
        self._created = created
        kind = "chat.completion.chunk" if generation.chat else "text_completion"
        head = {"id": reply_id, "object": kind, "created": created, "model": style.model}
        self._head = b"data: " + orjson.dumps(head)[:-1] + b',"choices":['
        self._reasoning_keys = [b'"%b":' % name.encode() for name in style.reasoning_fields]

    def first(self, choice: Choice, prompt: Sequence[int]) -> bytes:
        """The chunk that announces the role; goes out together with the first token (chat only)."""
        ids = orjson.dumps(prompt) if self._generation.return_token_ids else b"null"
        body = (
            b'{"index":%d,"delta":{"role":"assistant","content":""},'
            b'"logprobs":null,"finish_reason":null}]' % choice.index
        )
        usage = self._running_usage(choice, len(prompt), generated=0)
        tail = b',"prompt_token_ids":' + ids + b',"prompt_text":null}\n\n'
        return self._head + body + usage + tail

    def piece(self, choice: Choice, piece: Piece, prompt: Sequence[int]) -> bytes:
        """One chunk; empty if vLLM would send none."""
        chat = self._generation.chat
        if chat and not self._generation.return_token_ids and piece.is_silent:
            return b""
        body = self._chat_choice(choice, piece) if chat else self._raw_choice(choice, piece, prompt)
        usage = self._running_usage(choice, len(prompt), generated=choice.generated)
        return self._head + body + b"]" + usage + b"}\n\n"

    def end(self, choices: Sequence[Choice], prompt_tokens: int) -> bytes:
        """The usage if asked for, and the end mark."""
        if not self._generation.include_usage:
            return DONE
        usage = orjson.dumps(self.usage(choices, prompt_tokens, streamed=True))
        body = b'],"usage":%b,"system_fingerprint":%b}\n\n' % (usage, orjson.dumps(FINGERPRINT))
        return self._head + body + DONE

    def usage(
        self, choices: Sequence[Choice], prompt_tokens: int, *, streamed: bool
    ) -> dict[str, Any]:
        """The usage of these choices together."""
        generated = sum(choice.generated for choice in choices)
        usage: dict[str, Any] = {
            "prompt_tokens": prompt_tokens,
            "total_tokens": prompt_tokens + generated,
            "completion_tokens": generated,
        }
        details = None
        if self._counts_reasoning:
            details = {"reasoning_tokens": sum(c.reasoning_tokens for c in choices)}
        if not streamed:
            usage["prompt_tokens_details"] = None
        if details is not None or not streamed:
            usage["completion_tokens_details"] = details
        return usage

    def whole(
        self,
        choices: Sequence[Choice],
        pieces: Sequence[Sequence[Piece]],
        prompts: Sequence[Sequence[int]],
    ) -> bytes:
        """The reply of a request that does not stream; `prompts` by choice."""
        chat = self._generation.chat
        shape = self._whole_chat if chat else self._whole_raw
        counted = sum(len(p) for p in self._generation.prompts)
        reply: dict[str, Any] = {
            "id": self._id,
            "object": "chat.completion" if chat else "text_completion",
            "created": self._created,
            "model": self._style.model,
            "choices": [shape(c, p, q) for c, p, q in zip(choices, pieces, prompts, strict=True)],
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": self.usage(choices, counted, streamed=False),
            "kv_transfer_params": None,
        }
        if chat:
            shown = self._generation.return_token_ids
            reply["prompt_logprobs"] = None
            reply["prompt_token_ids"] = list(prompts[0]) if shown else None
        return orjson.dumps(reply)

    @property
    def _counts_reasoning(self) -> bool:
        return self._generation.chat and self._style.parser is not Parser.NONE

    def _running_usage(self, choice: Choice, prompt_tokens: int, *, generated: int) -> bytes:
        if not self._generation.continuous_usage:
            return b""
        text = b',"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d' % (
            prompt_tokens,
            prompt_tokens + generated,
            generated,
        )
        if not self._counts_reasoning:
            return text + b"}"
        reasoning = choice.reasoning_tokens if generated else 0
        return text + b',"completion_tokens_details":{"reasoning_tokens":%d}}' % reasoning

    def _chat_choice(self, choice: Choice, piece: Piece) -> bytes:
        fields = []
        if piece.reasoning is not None:
            text = orjson.dumps(piece.reasoning)
            fields += [key + text for key in self._reasoning_keys]
        if piece.content is not None:
            fields.append(b'"content":' + orjson.dumps(piece.content))
        if piece.tool_calls:
            fields.append(b'"tool_calls":' + orjson.dumps(piece.tool_calls))
        head = b'{"index":%d,"delta":{' % choice.index
        return head + b",".join(fields) + b'},"logprobs":null,' + self._ending(piece)

    def _raw_choice(self, choice: Choice, piece: Piece, prompt: Sequence[int]) -> bytes:
        text = orjson.dumps(piece.content or "")
        head = b'{"index":%d,"text":' % choice.index + text + b',"logprobs":null,'
        if self._generation.return_token_ids and choice.generated == len(piece.token_ids):
            return (
                head
                + self._ending(piece)[:-1]
                + b',"prompt_token_ids":'
                + orjson.dumps(prompt)
                + b"}"
            )
        return head + self._ending(piece)

    def _ending(self, piece: Piece) -> bytes:
        ids = orjson.dumps(piece.token_ids) if self._generation.return_token_ids else b"null"
        told = piece.told_reason
        if told is None:
            reason = b'"finish_reason":null' if self._generation.chat else _NOT_FINISHED
        else:
            reason = (b'"finish_reason":"%s","stop_reason":' % told.encode()) + orjson.dumps(
                piece.stop_reason
            )
        return reason + b',"token_ids":' + ids + b"}"

    def _whole_chat(
        self, choice: Choice, pieces: Sequence[Piece], prompt: Sequence[int]
    ) -> dict[str, Any]:
        reasoning = _join(piece.reasoning for piece in pieces)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": _join(piece.content for piece in pieces),
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "tool_calls": merged([call for piece in pieces for call in piece.tool_calls or ()]),
            **dict.fromkeys(self._style.reasoning_fields, reasoning),
        }
        return {"index": choice.index, "message": message, **self._whole_ending(pieces)}

    def _whole_raw(
        self, choice: Choice, pieces: Sequence[Piece], prompt: Sequence[int]
    ) -> dict[str, Any]:
        shown = self._generation.return_token_ids
        return {
            "index": choice.index,
            "text": _join(piece.content for piece in pieces) or "",
            **self._whole_ending(pieces),
            "prompt_logprobs": None,
            "prompt_token_ids": list(prompt) if shown else None,
        }

    def _whole_ending(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        ids = [token for piece in pieces for token in piece.token_ids]
        return {
            "logprobs": None,
            "finish_reason": pieces[-1].told_reason,
            "stop_reason": pieces[-1].stop_reason,
            "token_ids": ids if self._generation.return_token_ids else None,
        }


_NOT_FINISHED: Final = b'"finish_reason":null,"stop_reason":null'


def _join(parts: Iterable[str | None]) -> str | None:
    texts = [part for part in parts if part is not None]
    return "".join(texts) if texts else None
