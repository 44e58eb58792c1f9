"""The HTTP client for engines, against servers that write what a test tells them, byte by byte."""

import asyncio
import gc
import socket
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest

from thinkscale.gateway import engine_http
from thinkscale.gateway.engine_http import EngineHttp, Unconnected
from thinkscale.gateway.engine_response import HIGH_WATER_BYTES, BrokenOff, EngineResponse

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Hearing:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ended = asyncio.get_running_loop().create_future()

    def data(self, data: bytes) -> None:
        self.pieces.append(data)

    def over(self, error: BrokenOff | None) -> None:
        self.ended.set_result(error)


@asynccontextmanager
async def served(script: Script) -> AsyncIterator[tuple[EngineHttp, str, list[bytes]]]:
    """A client, the server's URL, and the head of each connection's first request."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(2)
        try:
            await script(reader, writer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = EngineHttp()
    try:
        yield client, f"http://127.0.0.1:{port}/v1/x", heads
    finally:
        client.close()
        server.close()
        await server.wait_closed()


async def body_of(response: EngineResponse) -> bytes:
    pieces = []
    while piece := await response.readany():
        pieces.append(piece)
    return b"".join(pieces)


async def test_nothing_is_left_of_a_connection_that_is_closed() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"3\r\nabc\r\n")
        await asyncio.sleep(0.1)

    async with served(script) as (client, url, _):
        response = await client.post(url, b"{}", {})
        (connection,) = map(weakref.ref, client._open)
        gc.collect()
        gc.disable()
        try:
            response.close()
            del response
            await asyncio.sleep(0.05)
            assert connection() is None
        finally:
            gc.enable()


async def test_a_request_is_sent_whole_and_its_body_is_read() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    async with served(script) as (client, url, heads):
        response = await client.post(url, b"{}", {"X-One": "1"})
        assert (response.status, response.content_type) == (200, "text/event-stream")
        assert await body_of(response) == b"abcde"
    lines = heads[0].decode().split("\r\n")
    assert lines[0] == "POST /v1/x HTTP/1.1"
    assert {"X-One: 1", "Content-Length: 2"} < set(lines)


@pytest.mark.parametrize(
    ("given", "sent"),
    [({}, "Basic bWU6YSBi"), ({"Authorization": "Bearer x"}, "Bearer x")],
    ids=["alone", "the client has its own"],
)
async def test_credentials_in_the_url_are_sent(given: dict[str, str], sent: str) -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"0\r\n\r\n")

    async with served(script) as (client, url, heads):
        await client.post(url.replace("//", "//me:a%20b@"), b"{}", given)
    lines = heads[0].decode().split("\r\n")
    assert [line for line in lines if line.startswith("Auth")] == [f"Authorization: {sent}"]
    assert not any("me" in line for line in lines if line.startswith("Host"))


async def test_a_listener_hears_what_was_kept_and_each_piece_as_it_comes() -> None:
    go_on = asyncio.Event()

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"1\r\na\r\n")
        await go_on.wait()
        for letter in b"bcd":
            writer.write(b"1\r\n%c\r\n" % letter)
            await asyncio.sleep(0.02)
        writer.write(b"0\r\n\r\n")

    async with served(script) as (client, url, _):
        response = await client.post(url, b"{}", {})
        await asyncio.sleep(0.05)
        hearing = Hearing()
        response.listen(hearing)
        assert hearing.pieces == [b"a"]
        go_on.set()
        assert await hearing.ended is None
        assert hearing.pieces == [b"a", b"b", b"c", b"d"]


async def test_a_connection_serves_again_when_the_body_was_complete() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            writer.write(HEAD + b"1\r\na\r\n0\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")

    async with served(script) as (client, url, heads):
        for _ in range(3):
            assert await body_of(await client.post(url, b"{}", {})) == b"a"
        assert len(heads) == 1


async def test_a_connection_that_nobody_wants_any_more_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"0\r\n\r\n")
        await reader.read()
        gone.set()

    monkeypatch.setattr(engine_http, "KEEPALIVE_SECONDS", 0.05)
    async with served(script) as (client, url, _):
        assert await body_of(await client.post(url, b"{}", {})) == b""
        await asyncio.wait_for(gone.wait(), 1)


WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"


@pytest.mark.parametrize("early", [3, 30, len(WHOLE), len(WHOLE) + 2, len(WHOLE) + 4])
async def test_what_comes_behind_a_response_never_reaches_the_next_request(early: int) -> None:
    stray = WHOLE + b"evil"

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(WHOLE + b"good" + stray[:early])
        await reader.readuntil(b"\r\n\r\n")
        writer.write(stray[early:] + WHOLE + b"good")

    async with served(script) as (client, url, heads):
        for _ in range(2):
            assert await body_of(await client.post(url, b"{}", {})) == b"good"
        assert len(heads) == 2


async def test_a_server_that_answers_before_it_has_read_gets_the_next_request_anew() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too much\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        await asyncio.sleep(0.3)

    async with served(script) as (client, url, heads):
        for _ in range(2):
            response = await asyncio.wait_for(client.post(url, b"x" * 16_000_000, {}), 2)
            assert (response.status, await body_of(response)) == (413, b"no")
        assert len(heads) == 2


async def test_a_response_that_is_closed_early_takes_its_connection_along() -> None:
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"1\r\na\r\n")
        await reader.read()
        gone.set()

    async with served(script) as (client, url, heads):
        response = await client.post(url, b"{}", {})
        response.close()
        with pytest.raises(BrokenOff):
            await body_of(response)
        await asyncio.wait_for(gone.wait(), 0.1)
        await client.post(url, b"{}", {})
        assert len(heads) == 2


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (HEAD + b"3\r\nab", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "closed the connection"),
        (HEAD + b"zz\r\nab", "not HTTP"),
    ],
)
async def test_a_body_that_is_cut_off_or_garbled_is_told(sent: bytes, why: str) -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)

    async with served(script) as (client, url, _):
        with pytest.raises(BrokenOff, match=why):
            await body_of(await client.post(url, b"{}", {}))


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 ", HEAD + b"0\r\nX: "])
async def test_a_line_without_an_end_is_not_kept_for_ever(begun: bytes) -> None:
    sent = 0

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(begun)
        for _piece in range(300):
            writer.write(b"y" * 65_536)
            await writer.drain()
            sent += 65_536

    async with served(script) as (client, url, _):
        with pytest.raises(BrokenOff, match="without an end"):
            await body_of(await client.post(url, b"{}", {}))
    assert sent < 300 * 65_536


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 101 No\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 40_000 + b"\r\n",
    ],
)
async def test_what_is_no_head_of_a_response_is_told(sent: bytes) -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)

    async with served(script) as (client, url, _):
        with pytest.raises(BrokenOff):
            await client.post(url, b"{}", {})


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\n\r\nfull")

    async with served(script) as (client, url, _):
        response = await client.post(url, b"{}", {})
        assert (response.status, await body_of(response)) == (503, b"full")


async def test_an_engine_waits_for_a_body_that_nobody_takes() -> None:
    piece, sent = b"x" * 65_536, 0

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(HEAD)
        for _piece in range(400):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            sent += len(piece)
        writer.write(b"0\r\n\r\n")

    async with served(script) as (client, url, _):
        response = await client.post(url, b"{}", {})
        await asyncio.sleep(0.3)
        assert sent < 400 * len(piece) / 2
        assert response._size < HIGH_WATER_BYTES + 10 * len(piece)
        assert len(await body_of(response)) == 400 * len(piece)


async def test_nobody_who_listens_is_a_replica_that_was_not_reached() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(Unconnected, match=str(port)):
        await EngineHttp().post(f"http://127.0.0.1:{port}/v1/x", b"{}", {})


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 7\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
async def test_a_body_that_no_header_bounds_ends_with_its_connection(head: bytes) -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head + b"all of it")

    async with served(script) as (client, url, _):
        response = await client.post(url, b"{}", {})
        assert response.status == 200
        assert await body_of(response) == b"all of it"


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"gzip, chunked"])
async def test_a_body_in_pieces_that_lacks_the_last_is_not_whole(coding: bytes) -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + coding + b"\r\n\r\n3\r\nabc\r\n")

    async with served(script) as (client, url, _):
        response = await client.post(url, b"{}", {})
        with pytest.raises(BrokenOff):
            await body_of(response)


async def test_spaces_behind_the_size_of_a_piece_do_no_harm() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"3  \r\nabc\r\n2 \r\nde\r\n0  \r\n\r\n")

    async with served(script) as (client, url, _):
        response = await client.post(url, b"{}", {})
        assert await body_of(response) == b"abcde"


@contextmanager
def silent_address() -> Iterator[tuple[str, int]]:
    """Where a connection is neither taken nor refused: a listener whose queue is full."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.2", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(3):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield address


def closed_address() -> tuple[str, int]:
    """Where a connection is refused."""
    with socket.socket() as unbound:
        unbound.bind(("127.0.0.2", 0))
        address: tuple[str, int] = unbound.getsockname()
    return address


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Every name has these addresses, in this order."""

    def known(*_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", known)


async def say_ok(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"2\r\nok\r\n0\r\n\r\n")


def address_of(url: str) -> tuple[str, int]:
    host, _, port = url.split("/")[2].partition(":")
    return host, int(port)


async def test_a_names_silent_first_address_costs_a_quarter_of_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with served(say_ok) as (client, url, _):
        with silent_address() as silent:
            resolve(monkeypatch, silent, address_of(url))
            began = time.monotonic()
            response = await client.post("http://engine.example/v1/x", b"{}", {})
            took = time.monotonic() - began
            assert await body_of(response) == b"ok"
    assert 0.2 < took < 2


async def test_behind_a_names_address_that_refuses_the_next_is_tried_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_http, "NEXT_ADDRESS_SECONDS", 60)
    async with served(say_ok) as (client, url, _):
        resolve(monkeypatch, closed_address(), address_of(url))
        response = await client.post("http://engine.example/v1/x", b"{}", {})
        assert await body_of(response) == b"ok"


async def test_where_every_address_of_a_name_is_silent_there_is_no_connection_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_http, "CONNECT_SECONDS", 0.5)
    with silent_address() as one, silent_address() as other:
        resolve(monkeypatch, one, other)
        with pytest.raises(Unconnected, match="no connection in time"):
            await EngineHttp().post("http://engine.example/v1/x", b"{}", {})


@pytest.mark.parametrize(
    "url",
    [
        "http://a..b/v1",
        f"http://{'a' * 64}.example/v1",
        "http://engine:99999/v1",
        "http://engine:one/v1",
        "http://[::1/v1",
        "http:///v1",
        "http://engine\0/v1",
    ],
)
async def test_an_address_that_none_can_be_is_one_that_is_not_reached(url: str) -> None:
    with pytest.raises(Unconnected):
        await EngineHttp().post(url, b"{}", {})
