"""The gateway's HTTP server on real sockets: framing, limits, order, and who is let go when."""

import asyncio
import contextlib
import functools
import gc
import gzip
import json
import tracemalloc
import weakref
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import aiohttp
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from thinkscale.gateway.http import connection as connections
from thinkscale.gateway.http import reader as readers
from thinkscale.gateway.http import server as servers
from thinkscale.gateway.http.connection import Connection
from thinkscale.gateway.http.message import Reply, Request, head, header_lines
from thinkscale.gateway.http.server import HttpServer


def refusal(status: int, message: str) -> Reply:
    return Reply(status=status, body=json.dumps({"error": message}).encode())


def on_uvloop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """It is what the gateway is served with."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        uvloop.run(test(*arguments, **named))

    return run


class Host:
    """Echoes what it was asked; `/stream` streams it, `/slow` takes its time, `/broken` breaks."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.asked = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.release = asyncio.Event()

    async def __call__(self, request: Request, connection: Connection) -> Reply | None:
        self.seen.append(request)
        self.asked.set()
        if request.path == "/slow":
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if request.path == "/broken":
            raise ZeroDivisionError
        if request.path not in ("/stream", "/half", "/abandoned"):
            return Reply(body=request.body, headers={"X-Path": request.path})
        connection.begin(header_lines({"Content-Type": "text/event-stream"}))
        connection.write(b"one ")
        if request.path == "/half":
            raise ZeroDivisionError
        connection.write(b"two")
        if request.path == "/stream":
            connection.end()
        return None


@contextlib.asynccontextmanager
async def served(host: Host, **options: Any) -> AsyncIterator[tuple[HttpServer, int]]:
    server = HttpServer(host, refusal, **options)
    try:
        yield server, await server.listen("127.0.0.1", 0)
    finally:
        await server.close(0.1)


async def said(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """All that the server answers to this until it closes, or says nothing for half a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        while data := await asyncio.wait_for(reader.read(65536), 0.5):
            answer += data
    except (TimeoutError, ConnectionError):
        answer += b"<open>"
    writer.close()
    return answer


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


POST = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /stream HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
)


@on_uvloop
async def test_requests_on_one_connection_are_answered_in_their_order() -> None:
    async with served(Host()) as (_, port):
        answer = await said(port, POST + CHUNKED + POST.replace(b"hello", b"there"))
    assert statuses(answer) == [200, 200, 200]
    assert answer.endswith(b"there<open>")
    one, two, three = answer.split(b"HTTP/1.1 ")[1:]
    assert b"Content-Length: 5\r\n" in one
    assert one.endswith(b"\r\n\r\nhello")
    assert b"Transfer-Encoding: chunked\r\n" in two
    assert two.endswith(b"\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")
    assert b"\r\nDate: " in three


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: +4\r\n\r\nfour",
        b"POST / HTTP/1.1\r\nContent-Length : 4\r\n\r\nfour",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n",
        b"POST / HTTP/1.1\r\nA: b\r\n c: d\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nA: b\x00c\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\nContent-Length: 0\n\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
    ],
)
@on_uvloop
async def test_what_two_readers_could_frame_differently_is_refused(request_bytes: bytes) -> None:
    host = Host()
    async with served(host) as (_, port):
        answer = await said(port, request_bytes + POST)
    assert statuses(answer) == [400]
    assert not answer.endswith(b"<open>")
    assert not host.seen


@on_uvloop
async def test_what_came_before_nonsense_is_answered_first() -> None:
    async with served(Host()) as (_, port):
        answer = await said(port, POST + b"nonsense\r\n\r\n")
    assert statuses(answer) == [200, 400]
    assert not answer.endswith(b"<open>")


@on_uvloop
async def test_a_head_without_an_end_is_refused() -> None:
    async with served(Host()) as (_, port):
        endless = b"GET / HTTP/1.1\r\nA: " + b"a" * 300_000
        assert statuses(await said(port, endless)) == [431]
        assert statuses(await said(port, b"GET /" + b"a" * 300_000)) == [431]
        trailers = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"a" * 300_000
        assert statuses(await said(port, trailers)) == [431]


@on_uvloop
async def test_a_body_that_is_too_long_is_refused_as_soon_as_that_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readers, "MAX_BODY_BYTES", 1000)
    host = Host()
    async with served(host) as (_, port):
        told = await said(port, b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n")
        assert statuses(told) == [413]
        assert b"longer than 1000 bytes" in told
        piece = b"1f4\r\n" + b"a" * 500 + b"\r\n"
        counted = await said(
            port, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", *[piece] * 9
        )
        assert statuses(counted) == [413]
        assert not counted.endswith(b"<open>")
        whole = await said(port, b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n" + b"a" * 1000)
        assert statuses(whole) == [200]
    assert len(host.seen) == 1


def door(request: Request) -> Reply | None:
    return refusal(401, "no") if request.header(b"key") is None else None


@on_uvloop
async def test_what_is_refused_by_its_head_keeps_its_connection_if_its_body_is_short() -> None:
    host = Host()
    async with served(host, door=door) as (_, port):
        answer = await said(port, POST + POST.replace(b"Host: a", b"Key: a"))
        assert statuses(answer) == [401, 200]
        endless = b"POST / HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n"
        closed = await said(port, endless, *[b"a" * 65536] * 5)
    assert statuses(closed) == [401]
    assert not closed.endswith(b"<open>")
    assert len(host.seen) == 1


@on_uvloop
async def test_a_client_that_asks_before_it_sends_its_body_is_told() -> None:
    expecting = POST.replace(b"Host: a", b"Expect: 100-continue")
    ask, body = expecting[:-5], expecting[-5:]
    async with served(Host()) as (_, port):
        assert statuses(await said(port, ask, body, pause=0.05)) == [100, 200]
    async with served(Host()) as (_, port):  # there is no 100 in HTTP/1.0
        assert statuses(await said(port, expecting.replace(b"/1.1", b"/1.0"))) == [200]
    async with served(Host(), door=door) as (_, port):
        refused = await said(port, ask)
    assert statuses(refused) == [401]
    assert not refused.endswith(b"<open>")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /echo HTTP/1.0\r\n\r\n", 200),
        (b"GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200),
        (b"GET /echo HTTP/1.1\r\nConnection: close\r\n\r\n", 200),
        (b"GET /echo\r\n\r\n", 505),
        (b"CONNECT a.b:443 HTTP/1.1\r\n\r\n" + POST, 200),
        (b"GET /broken HTTP/1.1\r\n\r\n", 500),
    ],
)
@on_uvloop
async def test_some_responses_are_their_connections_last(
    request_bytes: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(Host()) as (_, port):
        answer = await said(port, request_bytes)
    assert statuses(answer) == [status]
    assert b"Connection: close\r\n" in answer
    assert not answer.endswith(b"<open>")
    assert bool(caplog.records) == (status == 500)


@pytest.mark.parametrize("pause", [0.0, 0.02])
@on_uvloop
async def test_who_asks_for_another_protocol_is_served_in_this_one(pause: float) -> None:
    asking = b"Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA"
    counted, chunked = POST.replace(b"Host: a", asking), CHUNKED.replace(b"/stream", b"/echo")
    chunked = chunked.replace(b"Transfer", asking + b"\r\nTransfer")
    bare = b"GET /bare HTTP/1.1\r\n" + asking + b"\r\n\r\n"
    host = Host()
    async with served(host) as (_, port):
        for requests in (bare, counted, chunked, bare, counted, POST), (chunked[:-9], chunked[-9:]):
            host.seen.clear()
            answer = await said(port, *requests, pause=pause)
            assert {*statuses(answer)} == {200}
            assert answer.endswith(b"<open>")
            bodies = [b"" if part.startswith(b"GET") else b"hello" for part in requests]
            assert [request.body for request in host.seen] == bodies[: len(host.seen)]
            assert len(host.seen) == b"".join(requests).count(b"HTTP/1.1")


def coded(coding: str, body: bytes) -> bytes:
    head = f"POST /echo HTTP/1.1\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("request_bytes", "status", "told"),
    [
        (coded("gzip", gzip.compress(b"hello")), 200, b"hello"),
        (coded("GZIP", gzip.compress(b"")), 200, b""),
        (coded("deflate", zlib.compress(b"hello")), 200, b"hello"),
        (coded("deflate", zlib.compress(b"hello", wbits=-15)), 200, b"hello"),
        (coded("identity", b"hello"), 200, b"hello"),
        (coded("br", b"hello"), 415, b"gzip and deflate"),
        (coded("gzip, gzip", b"hello"), 415, b"gzip and deflate"),
        (coded("gzip", b"hello"), 400, b"is not gzip"),
        (coded("gzip", b""), 400, b"is not gzip"),
        (coded("gzip", gzip.compress(b"hello")[:-1]), 400, b"is not gzip"),
        (coded("gzip", gzip.compress(b"hello") + b"more"), 400, b"is not gzip"),
        (coded("deflate", b""), 400, b"is not deflate"),
        (coded("gzip", gzip.compress(b"a" * 100_001)), 413, b"100000 bytes"),
    ],
)
@on_uvloop
async def test_a_body_is_read_in_its_coding_or_refused(
    request_bytes: bytes, status: int, told: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MAX_BODY_BYTES", 100_000)
    last = POST.replace(b"Host: a", b"Connection: close").replace(b"hello", b"after")
    async with served(Host()) as (_, port):
        answer = await said(port, request_bytes + last)
    assert statuses(answer) == [status, 200]
    assert told in answer.partition(b"\r\n\r\n")[2].partition(b"HTTP/1.1")[0]
    assert answer.endswith(b"after")


@on_uvloop
async def test_a_stream_for_http_1_0_has_no_chunks() -> None:
    async with served(Host()) as (_, port):
        answer = await said(port, b"GET /stream HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\none two")
    assert b"Transfer-Encoding" not in answer


@on_uvloop
async def test_a_head_request_gets_the_length_and_no_body() -> None:
    async with served(Host()) as (_, port):
        answer = await said(port, POST.replace(b"POST", b"HEAD") + POST)
    assert answer.count(b"Content-Length: 5\r\n") == 2
    assert answer.count(b"hello") == 1


def test_a_header_goes_on_as_it_came() -> None:
    for value in (b"plain", "clé".encode(), b"cl\xe9"):
        told = Request("GET", "/", {b"a": value}).header(b"a")
        assert told is not None
        assert head(200, header_lines({"A": told})).endswith(b"A: " + value + b"\r\n\r\n")


@on_uvloop
async def test_a_door_that_breaks_is_no_fault_of_the_clients(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(request: Request) -> Reply | None:
        raise ZeroDivisionError

    async with served(Host(), door=broken) as (_, port):
        answer = await said(port, POST)
    assert statuses(answer) == [500]
    assert not answer.endswith(b"<open>")
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("path", [b"/half", b"/abandoned"])
@on_uvloop
async def test_a_stream_that_breaks_never_looks_whole(
    path: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(Host()) as (_, port):
        answer = await said(port, b"GET " + path + b" HTTP/1.1\r\n\r\n")
    assert b"one " in answer
    assert b"\r\n0\r\n\r\n" not in answer


@on_uvloop
async def test_a_client_that_leaves_cancels_its_request() -> None:
    host = Host()
    async with served(host) as (_, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /slow HTTP/1.1\r\n\r\n")
        await host.asked.wait()
        writer.close()
        await asyncio.wait_for(host.cancelled.wait(), 0.1)


@on_uvloop
async def test_who_sends_more_and_more_before_the_first_answer_is_made_to_wait() -> None:
    host = Host()
    async with served(host) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /slow HTTP/1.1\r\n\r\n")
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 4000:
                writer.write(b"GET /next HTTP/1.1\r\nA: " + b"a" * 10_000 + b"\r\n\r\n")
                await asyncio.wait_for(writer.drain(), 0.3)
                sent += 1
        assert sent < 4000  # 40 MB: what waits is in the sockets' buffers
        host.release.set()
        answers = 0
        while answers < sent:
            answers += (await asyncio.wait_for(reader.read(65536), 5)).count(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize(
    ("beginning", "limit", "status"),
    [
        (b"GET / HT", "HEAD_SECONDS", 408),
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab", "BODY_SILENCE_SECONDS", 408),
        (POST, "IDLE_SECONDS", 200),
        (b"", "IDLE_SECONDS", None),
    ],
)
@on_uvloop
async def test_who_is_silent_for_too_long_is_let_go(
    beginning: bytes, limit: str, status: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "SWEEP_SECONDS", 0.05)
    async with served(Host()) as (_, port):
        assert (await said(port, beginning)).endswith(b"<open>")
    monkeypatch.setattr(servers, limit, 0.1)
    async with served(Host()) as (_, port):
        answer = await said(port, beginning)
    assert statuses(answer) == ([] if status is None else [status])
    assert not answer.endswith(b"<open>")


@on_uvloop
async def test_a_response_that_is_never_taken_is_thrown_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(servers, "UNTAKEN_SECONDS", 0.2)
    async with served(Host()) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        size = 20_000_000
        writer.write(f"POST / HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode() + b"a" * size)
        await writer.drain()
        async with asyncio.timeout(5):
            await server._empty.wait()
        writer.close()


@on_uvloop
async def test_an_answer_that_is_never_taken_is_thrown_away_though_others_wait_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(servers, "UNTAKEN_SECONDS", 0.2)
    host = Host()
    async with served(host) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        size = 8_000_000
        writer.write(f"POST / HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode() + b"a" * size)
        writer.write(POST)
        await writer.drain()
        async with asyncio.timeout(5):
            await server._empty.wait()
        assert len(host.seen) == 1
        writer.close()


@on_uvloop
async def test_who_is_made_to_wait_is_not_blamed_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(servers, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(servers, "BODY_SILENCE_SECONDS", 0.2)
    slow = b"GET /slow HTTP/1.1\r\n\r\n"
    for cut in (-3, 20):  # in the body, and in the head
        host = Host()
        async with served(host) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(slow + POST * connections.MOST_KEPT + POST[:cut])
            await host.asked.wait()
            writer.write(POST[cut:])
            await asyncio.sleep(0.3)
            host.release.set()
            answer, whole = b"", connections.MOST_KEPT + 2
            while len(statuses(answer)) < whole or not answer.endswith((b"\r\n\r\n", b"hello")):
                piece = await asyncio.wait_for(reader.read(65536), 2)
                assert piece, statuses(answer)
                answer += piece
            assert statuses(answer) == [200] * whole
            writer.close()


@on_uvloop
async def test_bodies_sent_ahead_are_bounded_by_their_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readers, "MAX_BODY_BYTES", 3_000_000)
    host = Host()
    long = b"POST /echo HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n" + b"a" * 3_000_000
    async with served(host) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /slow HTTP/1.1\r\n\r\n" + long * 8)
        await asyncio.sleep(0.3)
        (connection,) = server._connections
        assert sum(len(request.body) for request, _ in connection._kept) == 3_000_000
        host.release.set()
        got = 0
        while got < 8 * 3_000_000:
            got += len(await asyncio.wait_for(reader.read(1_000_000), 2))
        writer.close()
    assert [len(request.body) for request in host.seen] == [0, *[3_000_000] * 8]


@on_uvloop
async def test_the_smallest_chunks_take_no_more_memory_than_their_bytes() -> None:
    host = Host()
    async with served(host) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        await writer.drain()
        tracemalloc.start()
        try:
            for _ in range(20):
                writer.write(b"2\r\nab\r\n" * 2_500)
                await writer.drain()
                await asyncio.sleep(0)
            await asyncio.sleep(0.1)
            (connection,) = server._connections
            assert connection._reader._body_bytes == 100_000
            assert tracemalloc.get_traced_memory()[0] < 1_000_000
        finally:
            tracemalloc.stop()
        writer.write(b"0\r\n\r\n")
        await host.asked.wait()
        assert host.seen[0].body == b"ab" * 50_000
        writer.close()


@on_uvloop
async def test_a_request_under_way_outlives_the_listener_and_an_idle_connection_does_not() -> None:
    host = Host()
    server = HttpServer(host, refusal)
    port = await server.listen("127.0.0.1", 0)
    busy = asyncio.create_task(said(port, b"GET /slow HTTP/1.1\r\n\r\n"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await host.asked.wait()
    server.stop_listening()
    with pytest.raises(OSError, match="refused"):
        await asyncio.open_connection("127.0.0.1", port)
    host.release.set()
    closing = asyncio.create_task(server.close(1.0))
    assert await asyncio.wait_for(reader.read(), 0.5) == b""
    assert statuses(await busy) == [200]
    await closing
    writer.close()


@on_uvloop
async def test_who_is_still_taking_its_answer_gets_all_of_it_when_the_server_closes() -> None:
    server = HttpServer(Host(), refusal)
    port = await server.listen("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    size = 8_000_000
    writer.write(f"POST / HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode() + b"a" * size)
    await reader.readuntil(b"\r\n\r\n")
    closing = asyncio.create_task(server.close(0.1))
    await asyncio.sleep(1.3)
    assert len(await asyncio.wait_for(reader.read(), 2)) == size
    await asyncio.wait_for(closing, 1)
    writer.close()


@pytest.mark.parametrize("leaves", [True, False])
@on_uvloop
async def test_nothing_is_left_of_a_connection_that_is_closed(leaves: bool) -> None:
    host = Host()
    async with served(host) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        path = b"/slow" if leaves else b"/stream"
        writer.write(b"GET " + path + b" HTTP/1.1\r\nConnection: close\r\n\r\n")
        await host.asked.wait()
        (connection,) = map(weakref.ref, server._connections)
        gc.collect()
        gc.disable()
        try:
            if not leaves:
                await reader.read()
            writer.close()
            await asyncio.wait_for(server._empty.wait(), 1)
            await asyncio.sleep(0.05)
            assert connection() is None
        finally:
            gc.enable()


@on_uvloop
async def test_aiohttp_reads_what_it_writes() -> None:
    async with served(Host()) as (_, port), aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.post(f"http://127.0.0.1:{port}/stream?a=b", data=b"x") as answer:
                assert await answer.text() == "one two"
            async with session.post(f"http://127.0.0.1:{port}/a%20b?c", data=b"x" * 300_000) as one:
                assert len(await one.read()) == 300_000
                assert one.headers["X-Path"] == "/a%20b"


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb"])
def test_a_header_cannot_carry_another_one(value: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        header_lines({"X": value})


class Wire:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True

    abort = close

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_any_chunking_of_the_same_bytes_is_the_same_requests(sizes: list[int]) -> None:
    last = b"POST http://a.b/stream?x HTTP/1.1\r\nA: 1\r\na: 2\r\nConnection: close\r\n"
    last += b"Content-Length: 0\r\n\r\n"

    async def run(steps: list[int]) -> tuple[list[Any], bytes]:
        host, wire = Host(), Wire()
        server = HttpServer(host, refusal)
        server.date = lambda: ""
        connection = Connection(server, asyncio.get_running_loop())
        connection.connection_made(wire)  # type: ignore[arg-type]
        data, turn = POST + CHUNKED + last, 0
        while data:
            step = steps[turn % len(steps)]
            connection.data_received(data[:step])
            data, turn = data[step:], turn + 1
        for _ in range(30):
            await asyncio.sleep(0)
        return [(r.method, r.path, r.raw, r.body) for r in host.seen], wire.written

    whole = asyncio.run(run([10_000]))
    assert [each[1] for each in whole[0]] == ["/echo", "/stream", "/stream"]
    assert whole[0][2][2][b"a"] == b"1, 2"
    assert asyncio.run(run(sizes)) == whole
