"""The shapes of TGI's replies: its OpenAI routes, and its own.

One event is one token, the end-of-sequence token too. Ids are empty; a completion's finish reason
is an empty string until the last event, which has the usage and shows the end token as text.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

import orjson

from thinkscale.emulator.choice import Choice, Piece
from thinkscale.emulator.chunks import DONE
from thinkscale.emulator.requests import Generation
from thinkscale.emulator.vocabulary import EOS, SILENT, decode

VERSION: Final = "3.3.7"
FINGERPRINT: Final = f"{VERSION}-emulated"
_LOGPROB: Final = -0.01


class TgiRoute(Enum):
    """Which of its shapes is meant."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    GENERATE = "generate"
    COMPATIBLE = "compatible"
    """`generate`, in a list."""


class TgiReplies:
    """Shapes the replies of one request."""

    def __init__(self, generation: Generation, route: TgiRoute, model: str, created: int) -> None:
        self._generation = generation
        self._route = route
        self._head = {
            "id": "",
            "created": created,
            "model": model,
            "system_fingerprint": FINGERPRINT,
        }
        self._texts: dict[int, list[str]] = {}

    def first(self, choice: Choice, prompt: Sequence[int]) -> bytes:
        """Nothing goes ahead of the tokens."""
        return b""

    def piece(self, choice: Choice, piece: Piece, prompt: Sequence[int]) -> bytes:
        """One token's event."""
        match self._route:
            case TgiRoute.CHAT:
                payload = self._chat(choice, piece)
            case TgiRoute.COMPLETIONS:
                payload = self._completion(choice, piece, len(prompt))
            case _:
                payload = self._token(choice, piece, len(prompt))
        return b"data: " + orjson.dumps(payload) + b"\n\n"

    def end(self, choices: Sequence[Choice], prompt_tokens: int) -> bytes:
        """A chat's usage if it was asked for; its own route has no end mark."""
        if self._route not in (TgiRoute.CHAT, TgiRoute.COMPLETIONS):
            return b""
        if self._route is TgiRoute.COMPLETIONS or not self._generation.include_usage:
            return DONE
        payload = {
            "object": "chat.completion.chunk",
            **self._head,
            "choices": [],
            "usage": _usage(prompt_tokens, sum(choice.generated for choice in choices)),
        }
        return b"data: " + orjson.dumps(payload) + b"\n\n" + DONE

    def whole(
        self,
        choices: Sequence[Choice],
        pieces: Sequence[Sequence[Piece]],
        prompts: Sequence[Sequence[int]],
    ) -> bytes:
        """The answer at once."""
        texts = ["".join(piece.content or "" for piece in own) for own in pieces]
        if self._route in (TgiRoute.GENERATE, TgiRoute.COMPATIBLE):
            answer: dict[str, Any] = {"generated_text": texts[0]}
            if self._generation.body.get("details"):
                answer["details"] = self._details(choices[0], pieces[0][-1], len(prompts[0]))
                answer["details"] |= {"prefill": [], "tokens": []}
            return orjson.dumps([answer] if self._route is TgiRoute.COMPATIBLE else answer)
        generated = sum(choice.generated for choice in choices)
        counted = sum(len(prompt) for prompt in prompts)
        made = [
            self._made(choice, text, own[-1])
            for choice, text, own in zip(choices, texts, pieces, strict=True)
        ]
        chat = self._route is TgiRoute.CHAT
        kind = "chat.completion" if chat else "text_completion"
        usage = _usage(counted, generated)
        return orjson.dumps({"object": kind, **self._head, "choices": made, "usage": usage})

    def _made(self, choice: Choice, text: str, last: Piece) -> dict[str, Any]:
        if self._route is TgiRoute.CHAT:
            message = {"role": "assistant", "content": text}
            reason = _reason(last, eos="stop")
            return {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        return {
            "finish_reason": _reason(last, eos="stop"),
            "index": choice.index,
            "logprobs": None,
            "text": text,
        }

    def _chat(self, choice: Choice, piece: Piece) -> dict[str, Any]:
        delta = {"role": "assistant", "content": piece.content or ""}
        made = {
            "index": choice.index,
            "delta": delta,
            "logprobs": None,
            "finish_reason": _reason(piece, eos="stop"),
        }
        kind = "chat.completion.chunk"
        return {"object": kind, **self._head, "choices": [made], "usage": None}

    def _completion(self, choice: Choice, piece: Piece, prompt_tokens: int) -> dict[str, Any]:
        made = {
            "finish_reason": _reason(piece) or "",
            "index": choice.index,
            "logprobs": None,
            "text": _shown(piece),
        }
        payload = {"object": "text_completion", **self._head, "choices": [made]}
        if piece.finish_reason is not None:
            payload["usage"] = _usage(prompt_tokens, choice.generated)
        return payload

    def _token(self, choice: Choice, piece: Piece, prompt_tokens: int) -> dict[str, Any]:
        texts = self._texts.setdefault(choice.index, [])
        texts.append(piece.content or "")
        token = piece.token_ids[-1]
        ended = piece.finish_reason is not None
        wants = ended and self._generation.body.get("details")
        return {
            "index": choice.generated,
            "token": {
                "id": token,
                "text": _shown(piece),
                "logprob": _LOGPROB,
                "special": token in SILENT,
            },
            "generated_text": "".join(texts) if ended else None,
            "details": self._details(choice, piece, prompt_tokens) if wants else None,
        }

    def _details(self, choice: Choice, last: Piece, prompt_tokens: int) -> dict[str, Any]:
        return {
            "finish_reason": _reason(last),
            "generated_tokens": choice.generated,
            "seed": self._generation.body.get("seed"),
            "input_length": prompt_tokens,
        }


def _usage(prompt: int, generated: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
    }


def _reason(piece: Piece, eos: str = "eos_token") -> str | None:
    if piece.finish_reason != "stop":
        return piece.finish_reason
    return eos if piece.stop_reason is None else "stop_sequence"


def _shown(piece: Piece) -> str:
    """Special tokens are text outside of chats."""
    if piece.token_ids and piece.token_ids[-1] == EOS:
        return (piece.content or "") + decode([EOS])
    return piece.content or ""
