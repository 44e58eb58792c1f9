"""How things end: an engine that breaks off or falls silent, one that drains, and the gateway's own
end.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.unit.gateway.asking import chat


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    parser = ["--reasoning-parser", "deepseek_r1"]
    return [parser, [*parser, "--shutdown-timeout", "20"], [*parser, "--coalesce", "2"]]


async def test_a_draining_engine_that_answers_500_costs_no_request(setup: Any) -> None:
    await setup.arrange("b")
    kept = asyncio.create_task(setup.stream(**chat(1500, 5)))
    await setup.until(lambda s: s["phases"]["thinking"] == 1)
    setup.emulators[1].terminate()
    await asyncio.sleep(0.1)
    # It still looks ready; with somebody else to turn to, nobody notices.
    await setup.replicas("bc")
    await setup.direct(cordoned=["c"])
    answers = await asyncio.gather(*(setup.stream(**chat(3, 3)) for _ in range(3)))
    assert [answer.status for answer in answers] == [500] * 3  # only the cordoned one is left
    await setup.direct()
    answers = [await setup.stream(**chat(3, 3)) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert {answer.headers["x-thinkscale-replica"] for answer in answers} == {"c"}
    whole = await kept
    assert len(whole.content.split()) == 5


@pytest.fixture
def impatient(processes: Any, tmp_path: Path) -> Iterator[Any]:
    """A second gateway that gives up on silence soon."""
    first, _ = processes
    gateway = type(first)(
        tmp_path, "--idle-timeout-seconds", "0.5", "--first-token-timeout-seconds", "0.5",
        "--connect-timeout-seconds", "0.5",
    )  # fmt: skip
    yield gateway
    gateway.stop()


async def until_ready(session: aiohttp.ClientSession, url: str, path: str = "/readyz") -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            async with session.get(url + path) as response:
                if response.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            pass
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@asynccontextmanager
async def engine_of(handler: Any) -> AsyncIterator[str]:
    """A server with one behaviour, which no real engine can be made to show; its address."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Accept, and break off before the first byte of the body."""
    response = web.StreamResponse()
    await response.prepare(request)
    assert request.transport is not None
    request.transport.close()
    return response


async def test_a_stream_that_breaks_before_its_first_byte_is_tried_elsewhere(setup: Any) -> None:
    await setup.arrange("c")
    async with engine_of(hang_up) as url:
        listed = [{"name": "aa", "url": url}, {"name": "c", "url": setup.emulators[2].url}]
        setup.gateway.write("replicas.json", listed)
        await setup.until(lambda s: "aa" in s["replicas"])
        answer = await setup.stream(**chat(5, 3))
    assert len(answer.content.split()) == 3
    assert answer.done


async def test_one_that_breaks_everywhere_ends_with_an_error_inside_the_stream(setup: Any) -> None:
    await setup.arrange("c")
    async with engine_of(hang_up) as url:
        setup.gateway.write("replicas.json", [{"name": "aa", "url": url}])
        await setup.until(lambda s: set(s["replicas"]) == {"aa"})
        streamed = await setup.stream(**chat(5, 3))
        whole = await setup.post(**{**chat(5, 3), "stream": False})
    assert streamed.status == 200
    assert [event["error"]["code"] for event in streamed.events] == [502]
    assert whole.status == 502


async def test_an_engine_that_dies_alone_ends_its_streams_with_an_error_event(
    setup: Any, impatient: Any
) -> None:
    impatient.write("config.json", {"service": "n/s", "model": "tiny", "seatsPerReplica": 1})
    impatient.write("replicas.json", [{"name": "a", "url": setup.emulators[0].url}])
    await until_ready(setup.session, impatient.admin)
    setup.gateway, other = impatient, setup.gateway
    try:
        broken = asyncio.create_task(setup.stream(**chat(5000, 5)))
        await setup.until(lambda s: s["phases"]["thinking"] == 1)
        setup.emulators[0].stop()
        answer = await asyncio.wait_for(broken, 5)
        assert answer.status == 200
        assert answer.events[-1]["error"]["code"] == 502
        assert (await setup.signals())["counters"]["failed"] == 1
    finally:
        setup.gateway = other


async def test_a_silent_engine_does_not_hold_a_client_for_ever(setup: Any, impatient: Any) -> None:
    gone = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'data: {"choices":[{"index":0,"delta":{"reasoning":"x"}}]}\n\n')
        try:
            await asyncio.sleep(30)
        finally:
            gone.set()
        return response

    impatient.write("config.json", {"service": "n/s", "model": "tiny", "seatsPerReplica": 1})
    async with engine_of(silent) as url:
        impatient.write("replicas.json", [{"name": "r", "url": url}])
        await until_ready(setup.session, impatient.admin)
        async with setup.session.post(
            impatient.url + "/v1/chat/completions", json=chat(1, 1)
        ) as response:
            text = await asyncio.wait_for(response.text(), 5)
        assert '"code":502' in text
        await asyncio.wait_for(gone.wait(), 1)


async def test_on_sigterm_streams_finish_and_no_new_connection_is_taken(
    setup: Any, processes: Any, tmp_path: Path
) -> None:
    first, emulators = processes
    gateway = type(first)(tmp_path)
    gateway.write("replicas.json", [{"name": "c", "url": emulators[2].url}])
    gateway.write("config.json", {"service": "n/s", "model": "tiny", "seatsPerReplica": 8})
    try:
        await until_ready(setup.session, gateway.admin)
        setup.gateway, other = gateway, setup.gateway
        try:
            stream = asyncio.create_task(setup.stream(**chat(1200, 5)))
            await setup.until(lambda s: s["phases"]["thinking"] == 1)
        finally:
            setup.gateway = other
        gateway.terminate()
        await asyncio.sleep(0.1)
        async with setup.session.get(gateway.admin + "/readyz") as response:
            assert response.status == 503
        await asyncio.sleep(0.3)
        async with aiohttp.ClientSession() as fresh:
            with pytest.raises(aiohttp.ClientConnectionError):
                await fresh.get(gateway.url + "/v1/models")
        assert not stream.done()
        answer = await stream
        assert len(answer.content.split()) == 5
        assert answer.done
        assert await asyncio.to_thread(gateway.process.wait, 5) == 0
    finally:
        gateway.stop()


async def test_clients_with_connection_pools_do_not_hold_up_the_end(
    setup: Any, processes: Any, tmp_path: Path
) -> None:
    first, emulators = processes
    gateway = type(first)(tmp_path)
    gateway.write("replicas.json", [{"name": "c", "url": emulators[2].url}])
    gateway.write("config.json", {"service": "n/s", "model": "tiny", "seatsPerReplica": 8})
    told: list[str | None] = []

    async def insist(session: aiohttp.ClientSession, delay: float) -> None:
        await asyncio.sleep(delay)
        body = {**chat(30, 5), "stream": False}
        while True:
            async with session.post(gateway.url + "/v1/chat/completions", json=body) as response:
                assert response.status == 200
                await response.read()
                told.append(response.headers.get("Connection"))

    try:
        await until_ready(setup.session, gateway.admin)
        async with aiohttp.ClientSession() as session:  # its connections are kept alive
            clients = [asyncio.create_task(insist(session, i * 0.02)) for i in range(3)]
            await asyncio.sleep(0.3)
            gateway.terminate()
            assert await asyncio.to_thread(gateway.process.wait, 5) == 0
            ends = await asyncio.gather(*clients, return_exceptions=True)
        # Every answer came whole; what comes after the last one finds nobody listening, or is
        # still in the listener's backlog when it closes.
        assert all(isinstance(end, aiohttp.ClientOSError) for end in ends)
        assert told[0] is None
        assert told[-1] == "close"
    finally:
        gateway.stop()


@pytest.mark.parametrize("extra", [{}, {"stream": False}, {"stream": False, "echo": True}])
async def test_an_engine_that_hangs_before_its_headers_ends_in_a_502(
    setup: Any, impatient: Any, extra: Any
) -> None:
    calls = 0

    async def hang(_: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        await asyncio.sleep(30)
        return web.Response()

    impatient.write("config.json", {"service": "n/s", "model": "tiny", "seatsPerReplica": 1})
    async with engine_of(hang) as url:
        impatient.write("replicas.json", [{"name": "r", "url": url}])
        await until_ready(setup.session, impatient.admin)
        async with setup.session.post(
            impatient.url + "/v1/chat/completions", json={**chat(1, 1), **extra}
        ) as response:
            text = await asyncio.wait_for(response.text(), 5)
        assert response.status == 502
        assert '"code":502' in text
        assert calls == 1  # it may be at work on it: no second engine is burdened


async def test_a_dead_replica_that_is_still_listed_costs_a_wait_and_no_request(setup: Any) -> None:
    await setup.arrange("c")
    before = (await setup.signals())["counters"]["failed"]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # never listens
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        setup.gateway.write("replicas.json", [{"name": "dead", "url": url}])
        await setup.until(lambda s: set(s["replicas"]) == {"dead"})
        requests = [asyncio.create_task(setup.stream(**chat(5, 3))) for _ in range(3)]
        await asyncio.sleep(2.5)
        assert not any(request.done() for request in requests)
        assert (await setup.signals())["held"] >= 1
        await setup.replicas("c")
        answers = await asyncio.wait_for(asyncio.gather(*requests), 5)
    assert [answer.status for answer in answers] == [200] * 3
    assert all(answer.done for answer in answers)
    assert (await setup.signals())["counters"]["failed"] == before


async def test_when_nobody_can_be_reached_the_client_gets_a_502(setup: Any, impatient: Any) -> None:
    impatient.write("config.json", {"service": "n/s", "model": "tiny", "seatsPerReplica": 1})
    impatient.write("replicas.json", [{"name": "aa", "url": "http://127.0.0.1:9"}])
    await until_ready(setup.session, impatient.admin)
    body = {**chat(5, 3), "stream": False}
    async with setup.session.post(impatient.url + "/v1/chat/completions", json=body) as response:
        answer = await response.json()
    assert response.status == 502
    assert answer["error"]["code"] == 502


async def test_a_gateway_is_ready_once_it_knows_its_configuration_and_its_fleet(
    setup: Any, impatient: Any
) -> None:
    async def readiness() -> tuple[int, str]:
        async with setup.session.get(impatient.admin + "/readyz") as response:
            return response.status, await response.text()

    await until_ready(setup.session, impatient.admin, "/healthz")
    assert await readiness() == (503, "no configuration yet\n")
    impatient.write("config.json", {"service": "n/s", "model": "tiny", "seatsPerReplica": 1})
    await asyncio.sleep(0.3)
    assert await readiness() == (503, "no list of replicas yet\n")
    impatient.write("replicas.json", [])  # scaled to zero: it is for the gateway to hold requests
    await until_ready(setup.session, impatient.admin)


async def test_what_breaks_in_the_gateway_itself_counts_as_failed(setup: Any) -> None:
    async def babble(request: web.Request) -> web.StreamResponse:
        chunk = 'data: {"choices":[{"index":0,"delta":{"content":5}}]}\n\n'  # a number for a text
        return web.Response(text=chunk, content_type="text/event-stream")

    await setup.arrange("c")
    before = (await setup.signals())["counters"]
    async with engine_of(babble) as url:
        setup.gateway.write("replicas.json", [{"name": "babel", "url": url}])
        await setup.until(lambda s: set(s["replicas"]) == {"babel"})
        with pytest.raises(aiohttp.ClientPayloadError):
            await setup.stream(**chat(5, 3))
    after = (await setup.signals())["counters"]
    assert after["failed"] == before["failed"] + 1
    assert after["cancelled"] == before["cancelled"]
