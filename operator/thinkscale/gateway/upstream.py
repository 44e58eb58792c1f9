"""Talks HTTP to the model servers, nothing retried in here: what generates goes by `engine_http`,
which is made for streams; the small questions beside it, and pages of metrics, by aiohttp's client.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import aiohttp
import orjson

from thinkscale.engines.dialect import Dialect, Prompt, Question
from thinkscale.engines.text_reader import TextReader
from thinkscale.gateway.engine_http import CONNECT_SECONDS, KEEPALIVE_SECONDS, EngineHttp
from thinkscale.gateway.engine_response import EngineResponse
from thinkscale.gateway.routing import Replica
from thinkscale.gateway.tag_book import Lost, TagBook

_ILL: Final = 500
_SIDE_CALL: Final = aiohttp.ClientTimeout(total=5.0)
_JSON: Final = {"Content-Type": "application/json"}

Unreachable = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, OSError)
"""What a call raises when the replica cannot be reached, or breaks off."""
_Lost = (*Unreachable, aiohttp.ClientError)
"""What a question raises that got no answer: the engine was not reached, or is ill."""


class Upstream:
    """The gateway's HTTP client."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            auto_decompress=False,
        )
        self._engines = EngineHttp()
        self.tag_book = TagBook(self._found, time.monotonic)

    async def close(self) -> None:
        """Close the pool."""
        self.tag_book.close()
        self._engines.close()
        await self._session.close()

    async def post(
        self, replica: Replica, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> EngineResponse:
        """Send a request; returns when the response's headers are there. Raises `Unconnected`, and
        what is in `Unreachable`.
        """
        return await self._engines.post(replica.url + path, orjson.dumps(body), headers)

    def send(
        self, replica: Replica, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> Coroutine[Any, Any, EngineResponse]:
        """Send a request; returns at once, and the response's head is still to come. Raises
        `Unconnected`.
        """
        return self._engines.send(replica.url + path, orjson.dumps(body), headers)

    async def text(self, replica: Replica, path: str) -> str:
        """GET a page of text."""
        async with self._session.get(replica.url + path, timeout=_SIDE_CALL) as response:
            response.raise_for_status()
            return await response.text()

    async def spelled(
        self,
        replica: Replica,
        dialect: Dialect,
        model: str,
        ids: Sequence[int],
        whole: str,
        *,
        own_ids: bool = True,
    ) -> str | None:
        """The beginning of `whole` that these ids spell; None if the engine cannot tell. Not
        `own_ids`: they are no ids of the model's, so only their number counts.
        """
        if not own_ids:
            all_ids = await self._told(replica, dialect.ids_question(whole, model=model))
            ids = dialect.ids(all_ids)[: len(ids)]
        question = dialect.spell_question(ids, model=model)
        text = dialect.spelled(await self._told(replica, question)) if question and ids else None
        if text is None:
            return None
        for candidate in (text, f" {text}"):  # some tokenizers drop a leading space
            if whole.startswith(candidate):
                return candidate
        return None

    async def prompt(
        self, replica: Replica, reader: TextReader, said: Sequence[int], model: str
    ) -> Prompt | None:
        """What a continuation goes on behind, where no ids were seen; None: the engine does not
        tell.
        """
        questions = reader.prompt_questions(said, model)
        answers = await asyncio.gather(*(self._told(replica, asked) for asked in questions))
        return reader.prompt(said, answers)

    async def _told(self, replica: Replica, question: Question) -> Any:
        """The answer; None where there is none, or it was lost."""
        answer = await self._found(replica, question)
        return None if isinstance(answer, Lost) else answer

    async def _found(self, replica: Replica, question: Question) -> Any:
        """The answer, None where there is none, or `Lost`."""
        try:
            return await self._ask(replica, question)
        except _Lost as error:
            return Lost(answered=isinstance(error, aiohttp.ClientResponseError))

    async def _ask(self, replica: Replica, question: Question) -> Any:
        """The answer; None: the engine has none. Raises what is in `_Lost`."""
        async with self._session.request(
            "GET" if question.body is None else "POST",
            replica.url + question.path,
            data=None if question.body is None else orjson.dumps(question.body),
            headers=_JSON,
            timeout=_SIDE_CALL,
        ) as response:
            if response.status >= _ILL:
                response.raise_for_status()
            if response.status != 200:
                return None
            answer = await response.read()
        try:
            return orjson.loads(answer)
        except orjson.JSONDecodeError:
            return None
