"""The bytes that a client's stream is made of: the engine's own, cleaned of what only the gateway
asked for, and the gateway's where it speaks itself (continuations, the end, the usage).

Sans-I/O, and without a decision: `Exchange` says what is written, this says how. Text and usage of
every stage appear under the one original id.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from thinkscale.engines.dialect import THINK_CLOSE, Chunk, Reader
from thinkscale.gateway.accounting import Basis, TokenAccount
from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.request import ClientRequest
from thinkscale.gateway.shape import ChunkShape
from thinkscale.gateway.splitter import Parts
from thinkscale.gateway.sse import DONE, encode
from thinkscale.gateway.strip import without_ids, without_usage


class Wording:
    """One request's."""

    __slots__ = ("_account", "_budget", "_reader", "_request", "shape")

    def __init__(
        self,
        request: ClientRequest,
        reader: Reader,
        account: TokenAccount,
        budget: BudgetMachine,
        *,
        model: str,
    ) -> None:
        self._request = request
        self._reader = reader
        self._account = account
        self._budget = budget
        self.shape = ChunkShape(request.route, model)

    def clean(self, raw: bytes) -> bytes:
        """The engine's event without what the client did not ask for."""
        if self._reader.counts_by_usage and not self._request.wants_running_usage:
            raw = without_usage(raw)
        return raw if self._request.wants_ids else without_ids(raw)

    def rebuild(self, chunk: Chunk, parts: Parts) -> bytes:
        """A continuation's chunk, as if the first stage had sent it."""
        text = parts.thinking_text or parts.answer_text
        if not text and chunk.finish_reason is None and not parts.closed:
            return b""
        answer = parts.answer_text
        if parts.closed and not self.shape.spelling:
            answer = THINK_CLOSE + answer
        return self.text(
            thinking=parts.thinking_text,
            answer=answer,
            finish_reason=chunk.finish_reason,
            stop_reason=chunk.stop_reason,
            ids=chunk.token_ids,
        )

    def text(
        self,
        *,
        thinking: str = "",
        answer: str = "",
        finish_reason: str | None = None,
        stop_reason: int | str | None = None,
        ids: Sequence[int] | None = None,
    ) -> bytes:
        """A chunk of our own."""
        return self.shape.text(
            thinking=thinking,
            answer=answer,
            finish_reason=finish_reason,
            stop_reason=stop_reason,
            ids=ids if self._request.wants_ids and self._reader.own_ids else None,
            usage=self._account.usage() if self._request.wants_running_usage else None,
        )

    def engines_usage(self, usage: Mapping[str, Any], raw: bytes) -> bytes:
        """The engine's last chunk, with the thinking tokens put in where it does not tell them."""
        if not self._request.wants_usage:
            return b""
        if self._tells_reasoning(usage):
            return raw if self._request.wants_ids else without_ids(raw)
        payload = orjson.loads(raw[6:])
        payload["usage"] = {
            **usage,
            "completion_tokens_details": {
                **(usage.get("completion_tokens_details") or {}),
                "reasoning_tokens": self._account.thinking,
            },
        }
        return encode(orjson.dumps(payload))

    def usage(self) -> bytes:
        """The usage in a chunk of its own, and why the thought was cut if we cut it; empty if the
        client does not want it.
        """
        if not self._request.wants_usage:
            return b""
        usage = self._account.usage()
        if self._budget.cut:
            cause = "load" if self._budget.cut_by_load else "budget"
            usage["completion_tokens_details"]["thinking_cut_by"] = cause
        return self.shape.usage(usage)

    def end(self, *, of_continuation: bool) -> bytes:
        """The end mark, behind the usage if the engine's own tells of the last stage alone."""
        return (self.usage() if of_continuation else b"") + encode(DONE)

    def _tells_reasoning(self, usage: Mapping[str, Any]) -> bool:
        details = usage.get("completion_tokens_details") or {}
        told = details.get("reasoning_tokens") or 0
        return bool(told) or not self._account.thinking or self._account.basis is not Basis.IDS
