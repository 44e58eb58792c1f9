"""The shapes of SGLang's replies, streamed and whole.

A chat's stream has every field in every delta (null where it says nothing), no token ids, no chunk
for a tag or for the end token, and a chunk of its own for the end; a completion's has ids if they
were asked for. The usage tells reasoning tokens beside the others.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from thinkscale.emulator.choice import Choice, Parser, Piece
from thinkscale.emulator.chunks import DONE
from thinkscale.emulator.requests import Generation
from thinkscale.emulator.tools import merged
from thinkscale.emulator.vocabulary import EOS


class SglangReplies:
    """Shapes the replies of one request."""

    def __init__(
        self, generation: Generation, model: str, parser: Parser, reply_id: str, created: int
    ) -> None:
        self._generation = generation
        self._thinks = generation.chat and parser is not Parser.NONE
        kind = "chat.completion.chunk" if generation.chat else "text_completion"
        self._head = {"id": reply_id, "object": kind, "created": created, "model": model}

    def first(self, choice: Choice, prompt: Sequence[int]) -> bytes:
        """The role."""
        return self._event([self._delta(choice, role="assistant", content="")], None)

    def piece(self, choice: Choice, piece: Piece, prompt: Sequence[int]) -> bytes:
        """None, one or several chunks."""
        if not self._generation.chat:
            return self._completion(choice, piece, prompt)
        usage = self._running(choice, len(prompt))
        out = b""
        if piece.reasoning:
            out += self._event([self._delta(choice, reasoning=piece.reasoning)], usage)
        if piece.content:
            out += self._event([self._delta(choice, content=piece.content)], usage)
        if piece.tool_calls:
            out += self._event([self._delta(choice, tool_calls=piece.tool_calls)], usage)
        if piece.finish_reason is not None:
            ended = self._delta(choice) | _ending(piece)
            out += self._event([ended], None)
        return out

    def end(self, choices: Sequence[Choice], prompt_tokens: int) -> bytes:
        """The usage if asked for, and the end mark."""
        if not self._generation.include_usage:
            return DONE
        return self._event([], self._usage(choices, prompt_tokens)) + DONE

    def whole(
        self,
        choices: Sequence[Choice],
        pieces: Sequence[Sequence[Piece]],
        prompts: Sequence[Sequence[int]],
    ) -> bytes:
        """The answer at once."""
        chat = self._generation.chat
        made = [
            self._made(choice, own, prompt)
            for choice, own, prompt in zip(choices, pieces, prompts, strict=True)
        ]
        counted = sum(len(prompt) for prompt in self._generation.prompts)
        answer = {
            **self._head,
            "object": "chat.completion" if chat else "text_completion",
            "choices": made,
            "usage": self._usage(choices, counted),
            "metadata": {"weight_version": "default"},
        }
        return orjson.dumps(answer)

    def _made(
        self, choice: Choice, pieces: Sequence[Piece], prompt: Sequence[int]
    ) -> dict[str, Any]:
        content = "".join(piece.content or "" for piece in pieces)
        made: dict[str, Any] = {"index": choice.index, "logprobs": None, **_ending(pieces[-1])}
        if not self._generation.chat:
            ids = [token for piece in pieces for token in piece.token_ids]
            return made | {"text": content} | self._ids(ids, prompt)
        thought = "".join(piece.reasoning or "" for piece in pieces)
        made["message"] = {
            "role": "assistant",
            "content": content,
            "reasoning_content": thought or None,
            "tool_calls": merged([c for piece in pieces for c in piece.tool_calls or ()]) or None,
        }
        return made

    def _delta(
        self,
        choice: Choice,
        *,
        role: str | None = None,
        content: str | None = None,
        reasoning: str | None = None,
        tool_calls: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        return {
            "index": choice.index,
            "delta": {
                "role": role,
                "content": content,
                "reasoning_content": reasoning,
                "tool_calls": tool_calls,
            },
            "logprobs": None,
            "finish_reason": None,
            "matched_stop": None,
        }

    def _completion(self, choice: Choice, piece: Piece, prompt: Sequence[int]) -> bytes:
        made = {
            "index": choice.index,
            "text": piece.content or "",
            "logprobs": None,
            "finish_reason": None,
            "matched_stop": None,
        }
        if piece.finish_reason is not None:
            made |= _ending(piece)
        is_first = choice.generated == len(piece.token_ids)
        made |= self._ids(piece.token_ids, prompt if is_first else None)
        return self._event([made], self._running(choice, len(prompt)))

    def _ids(self, ids: Sequence[int], prompt: Sequence[int] | None) -> dict[str, Any]:
        if not self._generation.return_token_ids:
            return {}
        shown: dict[str, Any] = {"token_ids": list(ids)}
        return shown if prompt is None else shown | {"prompt_token_ids": list(prompt)}

    def _running(self, choice: Choice, prompt_tokens: int) -> dict[str, Any] | None:
        if not self._generation.continuous_usage:
            return None
        return self._usage([choice], prompt_tokens)

    def _usage(self, choices: Sequence[Choice], prompt_tokens: int) -> dict[str, Any]:
        generated = sum(choice.generated for choice in choices)
        reasoning = sum(choice.thought for choice in choices) if self._thinks else 0
        return {
            "prompt_tokens": prompt_tokens,
            "total_tokens": prompt_tokens + generated,
            "completion_tokens": generated,
            "prompt_tokens_details": None,
            "reasoning_tokens": reasoning,
        }

    def _event(self, choices: Sequence[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
        payload = {**self._head, "choices": choices, "usage": usage}
        return b"data: " + orjson.dumps(payload) + b"\n\n"


def _ending(piece: Piece) -> dict[str, Any]:
    matched = piece.stop_reason
    if piece.told_reason == "stop" and matched is None:
        matched = EOS
    return {"finish_reason": piece.told_reason, "matched_stop": matched}
