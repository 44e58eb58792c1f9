"""Talks HTTP to the model servers: one shared connection pool, nothing retried in here.

NB: vLLM closes idle connections after exactly 5.0 s; a pool that keeps them as long meets closing
transports now and then, so ours drops them earlier.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import orjson

from thinkscale.engines.dialect import CLOSING, NUDGE, THINK_CLOSE, THINK_OPEN, Dialect, Tags
from thinkscale.gateway.routing import Replica

KEEPALIVE_SECONDS: Final = 4.0
CONNECT_SECONDS: Final = 5.0
_SIDE_CALL: Final = aiohttp.ClientTimeout(total=5.0)
_JSON: Final = {"Content-Type": "application/json"}

Unconnected = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""What a call raises when no connection came about: nothing was sent."""
Unreachable = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, OSError)
"""What a call raises when the replica cannot be reached, or breaks off."""


class Upstream:
    """The gateway's HTTP client."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            auto_decompress=False,
        )
        self._tags: dict[str, asyncio.Task[Tags]] = {}

    async def close(self) -> None:
        """Close the pool."""
        for task in self._tags.values():
            task.cancel()
        await self._session.close()

    async def post(
        self, replica: Replica, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        """Send a request; returns when the response's headers are there."""
        return await self._session.post(
            replica.url + path, data=orjson.dumps(body), headers={**headers, **_JSON}
        )

    async def text(self, replica: Replica, path: str) -> str:
        """GET a page of text."""
        async with self._session.get(replica.url + path, timeout=_SIDE_CALL) as response:
            response.raise_for_status()
            return await response.text()

    async def tags(self, replica: Replica, dialect: Dialect, model: str) -> Tags:
        """How the model behind this replica writes the tags; asked for once per replica. An engine
        that cannot tell gives empty `Tags` (and is asked again by the next request).
        """
        task = self._tags.get(replica.name)
        if task is None or (task.done() and not _known(task)):
            task = asyncio.create_task(self._ask_tags(replica, dialect, model))
            self._tags[replica.name] = task
        return await asyncio.shield(task)

    def forget(self, names: Sequence[str]) -> None:
        """These replicas are gone."""
        for name in names:
            self._tags.pop(name, None)  # not cancelled: a request may be waiting for it

    @property
    def asked(self) -> set[str]:
        """Replicas whose tags were asked for."""
        return set(self._tags)

    async def spelled(
        self, replica: Replica, dialect: Dialect, model: str, ids: Sequence[int], whole: str
    ) -> str | None:
        """The beginning of `whole` that these ids spell; None if the engine cannot tell."""
        answer = await self._side_call(
            replica, "/detokenize", dialect.detokenize_body(ids, model=model)
        )
        text = answer.get("prompt") if answer else None
        if not isinstance(text, str):
            return None
        for candidate in (text, f" {text}"):  # some tokenizers drop a leading space
            if whole.startswith(candidate):
                return candidate
        return None

    async def _ask_tags(self, replica: Replica, dialect: Dialect, model: str) -> Tags:
        texts = (THINK_OPEN, THINK_CLOSE, CLOSING, NUDGE)
        answers = await asyncio.gather(
            *(
                self._side_call(replica, "/tokenize", dialect.tokenize_body(text, model=model))
                for text in texts
            )
        )
        opening, closing_tag, closing, nudge = (_ids(answer) for answer in answers)
        context = (answers[0] or {}).get("max_model_len")
        return Tags(
            open_id=opening[0] if len(opening) == 1 else None,
            close_id=closing_tag[0] if len(closing_tag) == 1 else None,
            closing_ids=tuple(closing),
            nudge_ids=tuple(nudge),
            context_tokens=context if isinstance(context, int) else None,
        )

    async def _side_call(
        self, replica: Replica, path: str, body: dict[str, Any]
    ) -> dict[str, Any] | None:
        try:
            async with self._session.post(
                replica.url + path, data=orjson.dumps(body), headers=_JSON, timeout=_SIDE_CALL
            ) as response:
                if response.status != 200:
                    return None
                answer = orjson.loads(await response.read())
        except (*Unreachable, aiohttp.ClientError, orjson.JSONDecodeError):
            return None
        return answer if isinstance(answer, dict) else None


def _known(task: asyncio.Task[Tags]) -> bool:
    return not task.cancelled() and task.exception() is None and bool(task.result().closing_ids)


def _ids(answer: dict[str, Any] | None) -> list[int]:
    tokens = answer.get("tokens") if answer else None
    return tokens if isinstance(tokens, list) else []
