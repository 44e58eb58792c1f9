"""A client that does not read: the engine waits, the gateway's memory does not grow, and nothing is
lost when the client reads on. And one that is of another time.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.unit.gateway.in_process import USUAL, Engine, chat, emulated, front_of, served
from thinkscale.gateway.patience import Patience

EVENTS = 40_000
EVENT = (
    'data: {{"id":"c","created":1,"model":"tiny","choices":[{{"index":0,"delta":'
    '{{"content":"{text}"}},"finish_reason":null,"token_ids":[{token}]}}]}}\n\n'
)
PADDING = "x" * 400
HUGE = "x" * 12_000_000
"""More than sockets and buffers take at once."""


class Torrent:
    """An engine that sends as fast as it can."""

    def __init__(self) -> None:
        self.sent = 0
        self.gone = asyncio.Event()

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        return app

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for number in range(EVENTS):
                text = EVENT.format(text=f"{number} {PADDING}", token=1000 + number)
                await response.write(text.encode())
                self.sent = number + 1
                if number % 100 == 0:
                    await asyncio.sleep(0)
            await response.write(b"data: [DONE]\n\n")
        except ConnectionError:
            self.gone.set()
        except asyncio.CancelledError:
            self.gone.set()
            raise
        return response


@asynccontextmanager
async def torrent_before_a_client(
    patience: Patience = USUAL, **body: Any
) -> AsyncIterator[tuple[Torrent, asyncio.StreamReader, asyncio.StreamWriter]]:
    """The client has sent its request and reads nothing."""
    torrent = Torrent()
    async with (
        served(torrent.application()) as url,
        front_of(Engine("vllm", url), patience=patience) as front,
    ):
        port = int(front.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
        data = json.dumps({"stream": True, "messages": [], **body}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n"
        writer.write(head.encode() + b"\r\n" + data)
        try:
            yield torrent, reader, writer
        finally:
            writer.close()


async def stalled_at(torrent: Torrent) -> int:
    """How much the engine had sent when it could send no more."""
    before = -1
    while torrent.sent != before or not before:
        before = torrent.sent
        await asyncio.sleep(0.3)
    return before


@pytest.mark.parametrize("body", [{}, {"return_token_ids": True}], ids=["plain", "with ids"])
async def test_a_client_that_does_not_read_stalls_its_engine_and_loses_nothing(
    body: dict[str, Any],
) -> None:
    async with torrent_before_a_client(**body) as (torrent, reader, _):
        # What lies in sockets and buffers is megabytes by the kernel's will, and not all of it.
        assert await stalled_at(torrent) < EVENTS * 0.9
        data = bytearray()
        while b"[DONE]" not in data[-200:]:
            piece = await reader.read(2**20)
            assert piece
            data += piece
        seen = [int(number) for number in re.findall(rb'"content":"(\d+) x', bytes(data))]
        assert seen == list(range(EVENTS))


class Overrunner(Torrent):
    """An engine whose third token is megabytes, and which goes on beyond every budget."""

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        def event(token: int, text: str) -> str:
            told = EVENT.format(text=text, token=token)
            return told.replace('"content"', '"reasoning_content"')

        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        first = [event(1, "1 "), event(2, "2 "), event(3, "3 " + HUGE), event(4, "4 ")]
        await response.write("".join(first).encode())
        for token in range(5, 60):
            await response.write(event(token, f"{token} ").encode())
            await asyncio.sleep(0.01)
        return response


async def test_a_thought_ends_at_its_budget_though_the_client_is_behind_just_then() -> None:
    async with (
        served(Overrunner().application()) as url,
        front_of(Engine("vllm", url), on_exhausted="Stop") as front,
        front.session.post(
            front.url + "/v1/chat/completions",
            json={"stream": True, "messages": [], "thinking_token_budget": 3},
        ) as response,
    ):
        await asyncio.sleep(0.3)
        data = await response.read()
    seen = re.findall(rb'"reasoning_content":"(\d+) ', data)
    assert seen == [b"1", b"2", b"3"]
    assert b'"finish_reason":"length"' in data
    assert data.endswith(b"data: [DONE]\n\n")


async def test_a_client_that_takes_nothing_of_what_ends_its_thought_gives_its_seat_up() -> None:
    body = {"stream": True, "messages": [], "thinking_token_budget": 3}
    async with (
        served(Overrunner().application()) as url,
        front_of(Engine("vllm", url), patience=Patience(idle=0.3), on_exhausted="Stop") as front,
        front.session.post(front.url + "/v1/chat/completions", json=body),
    ):
        async with asyncio.timeout(3):
            await front.gateway.idle()


async def test_a_client_that_hangs_up_while_it_is_behind_frees_its_engine() -> None:
    async with torrent_before_a_client() as (torrent, _, writer):
        assert await stalled_at(torrent) < EVENTS * 0.9
        writer.transport.abort()
        await asyncio.wait_for(torrent.gone.wait(), 1)


async def test_a_client_that_takes_nothing_for_too_long_frees_its_engine_which_is_not_to_blame(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with torrent_before_a_client(Patience(idle=0.5)) as (torrent, reader, _):
        await asyncio.wait_for(torrent.gone.wait(), 5)
        assert b"silent" not in await asyncio.wait_for(reader.read(), 5)
    assert not caplog.records


async def test_a_client_that_does_not_take_the_end_of_a_response_holds_no_seat() -> None:
    async def say(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(80):
            await response.write(EVENT.format(text=PADDING * 100, token=1000 + number).encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", say)
    body = json.dumps({"input": "hello", "stream": True}).encode()
    async with served(app) as url, front_of(Engine("vllm", url)) as front:
        port = int(front.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
        head = f"POST /v1/responses HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        said = b""
        while b"response.output_text.done" not in said:
            piece = await asyncio.wait_for(reader.read(65536), 5)
            assert piece
            said = said[-100:] + piece
        await asyncio.sleep(0.1)
        assert front.gateway.ledger.in_flight == front.gateway.router.in_flight("a") == 0
        while b"response.completed" not in said or not said.endswith(b"\r\n0\r\n\r\n"):
            piece = await asyncio.wait_for(reader.read(65536), 5)
            assert piece
            said = said[-100:] + piece if b"response.completed" not in said else said + piece
        writer.close()


async def test_a_client_of_http_1_0_gets_its_stream_without_chunks() -> None:
    async with emulated("vllm") as engine, front_of(engine) as front:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(front.url.rpartition(":")[2])
        )
        data = json.dumps(chat(5, 5, stream=True)).encode()
        head = f"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        answer, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert b"chunked" not in answer.lower()
    assert body.startswith(b"data: ")
    assert body.endswith(b"data: [DONE]\n\n")
    assert all(not line or line.startswith(b"data: ") for line in body.split(b"\n"))
