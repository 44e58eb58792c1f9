"""What one request has come to so far, in token ids, and how it goes on from there.

A raw continuation is sent exactly this, so it must be what the client has, no more and no less. As
soon as the client has text whose ids were not seen, there is nothing exact to go on from, and
`is_complete` says so. Nothing is remembered for requests that no continuation can carry.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from thinkscale.engines.dialect import Dialect, Prompt, Reader
from thinkscale.gateway.accounting import TokenAccount
from thinkscale.gateway.request import ClientRequest


class Transcript:
    """One request's, over all its stages."""

    __slots__ = (
        "_account",
        "_context_tokens",
        "_own_ids",
        "_request",
        "generated",
        "is_complete",
        "keeps",
        "prompt",
    )

    def __init__(
        self, request: ClientRequest, reader: Reader, account: TokenAccount, *, keeps: bool
    ) -> None:
        """`keeps`: a continuation may become necessary, and can carry this request."""
        self._request = request
        self._account = account
        self._own_ids = reader.own_ids
        self._context_tokens = reader.tags.context_tokens
        self.keeps = keeps
        self.prompt = array("I")
        self.generated = array("I")
        """All that was generated, or put in by us."""
        self.is_complete = True
        """All that the client has is among the remembered ids."""

    @property
    def is_usable(self) -> bool:
        """Another request can go on from here."""
        return self.keeps and self.is_complete and bool(self.prompt)

    def learn_prompt(self, ids: Sequence[int]) -> None:
        """The engine told the ids of the prompt."""
        if self._own_ids:
            self._account.prompt = len(ids)
        if self.keeps:
            self.prompt.extend(ids)

    def take(self, ids: Sequence[int] | None) -> None:
        """These were generated, and go to the client."""
        if self.keeps and ids:
            self.generated.extend(ids)

    def put_in(self, ids: Iterable[int]) -> None:
        """The gateway writes these itself."""
        self.generated.extend(ids)

    @property
    def tokens(self) -> int:
        """The prompt and all behind it."""
        prompt = len(self.prompt) if self._own_ids else self._account.prompt
        return prompt + len(self.generated)

    @property
    def room(self) -> int | None:
        """Tokens that may still come; None: nobody set a limit."""
        limits = []
        if self._request.max_tokens is not None:
            limits.append(self._request.max_tokens - self._account.completion)
        if self._context_tokens is not None:
            limits.append(self._context_tokens - self.tokens)
        return max(0, min(limits)) if limits else None

    def continuation(
        self, dialect: Dialect, model: str, prompt: Prompt | None = None
    ) -> dict[str, Any]:
        """The body of the next stage, for `/v1/completions`. `prompt`: where no ids were seen."""
        if prompt is not None:
            self._account.prompt = prompt.tokens
        return dialect.continuation_body(
            self._request.body,
            model=model,
            prompt=prompt.value if prompt else [*self.prompt, *self.generated],
            max_tokens=self.room,
            generated=self._account.completion,
        )
