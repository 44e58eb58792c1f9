"""Gateways followed over real HTTP: what is heard, what is missing, and what survives a restart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from thinkscale.model.reading import Absent, Failed, Value
from thinkscale.model.signals import Counters, GatewaySignals, PhaseCounts, ReplicaSignals
from thinkscale.signals.source import MISSING_AFTER_SECONDS, GatewayAddress, GatewaySource


class Gateway:
    """A server of `/signals` whose state the test sets."""

    def __init__(self) -> None:
        self.body: Any = None
        self.status = 200
        self._moved = asyncio.Event()
        app = web.Application()
        app.router.add_get("/signals", self._signals)
        self.server = TestServer(app)
        self._sequence = 0
        self.say()

    def say(
        self,
        *,
        boot: str = "one",
        arrivals: int = 0,
        thinking: int = 0,
        queued: int = 0,
        service: str = "ns/s",
        serving: bool = True,
    ) -> None:
        self._sequence += 1
        self.body = GatewaySignals(
            boot_id=boot,
            sequence=self._sequence,
            gateway="g",
            service=service,
            uptime_seconds=1,
            phases=PhaseCounts(thinking=thinking, queued=queued),
            counters=Counters(arrivals=arrivals),
            replicas={"r": ReplicaSignals(ready=serving, cordoned=False)},
        ).model_dump(by_alias=True, mode="json")
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def _signals(self, request: web.Request) -> web.Response:
        if int(request.query.get("since", 0)) >= self.body.get("sequence", 0):
            try:
                async with asyncio.timeout(float(request.query.get("wait", 0))):
                    await self._moved.wait()
            except TimeoutError:
                pass
        return web.json_response(self.body, status=self.status)

    def address(self, *, expected: bool = True) -> GatewayAddress:
        return GatewayAddress(url=str(self.server.make_url("")).rstrip("/"), expected=expected)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jumps() -> list[str]:
    return []


@pytest.fixture
async def source(clock: Clock, jumps: list[str]) -> AsyncIterator[GatewaySource]:
    async with GatewaySource(jumps.append, clock=clock) as made:
        yield made


@pytest.fixture
async def gateways() -> AsyncIterator[list[Gateway]]:
    made = [Gateway(), Gateway()]
    for gateway in made:
        await gateway.server.start_server()
    yield made
    for gateway in made:
        await gateway.server.close()


async def until(check: Callable[[], bool]) -> None:
    """Wait for the background to do it."""
    async with asyncio.timeout(5):
        while not check():  # noqa: ASYNC110 - the pollers have no event to wait for
            await asyncio.sleep(0.01)


def arrivals(source: GatewaySource) -> int:
    reading = source.read("ns/s").signals
    return reading.value.counters.arrivals if isinstance(reading, Value) else -1


async def test_two_gateways_are_one_complete_reading(
    source: GatewaySource, gateways: list[Gateway]
) -> None:
    for gateway in gateways:
        gateway.say(arrivals=5, thinking=2)
    source.follow("ns/s", {"a": gateways[0].address(), "b": gateways[1].address()})
    await until(lambda: source.read("ns/s").heard == 2)
    reading = source.read("ns/s").signals
    assert isinstance(reading, Value)
    assert reading.complete
    assert (reading.value.counters.arrivals, reading.value.phases.depth) == (10, 4)


async def test_a_gateway_that_falls_silent_makes_the_reading_partial_and_its_counts_stay(
    source: GatewaySource, gateways: list[Gateway], clock: Clock
) -> None:
    for gateway in gateways:
        gateway.say(arrivals=5, thinking=2)
    source.follow("ns/s", {"a": gateways[0].address(), "b": gateways[1].address()})
    await until(lambda: source.read("ns/s").heard == 2)
    await gateways[1].server.close()
    clock.now += MISSING_AFTER_SECONDS + 1
    gateways[0].say(arrivals=6, thinking=2)
    await until(lambda: arrivals(source) == 11)
    seen = source.read("ns/s")
    assert isinstance(seen.signals, Value)
    assert not seen.signals.complete
    assert (seen.expected, seen.heard) == (2, 1)
    assert seen.signals.value.phases.depth == 2, "its present is not known"


async def test_totals_never_fall_when_a_gateway_restarts_or_goes(
    source: GatewaySource, gateways: list[Gateway]
) -> None:
    first, second = gateways
    first.say(boot="one", arrivals=100)
    source.follow("ns/s", {"a": first.address()})
    await until(lambda: arrivals(source) == 100)
    first.say(boot="two", arrivals=3)
    await until(lambda: arrivals(source) == 103)
    second.say(arrivals=1)
    source.follow("ns/s", {"b": second.address()})
    await until(lambda: arrivals(source) == 104)


async def test_no_gateway_is_absent_and_a_deaf_one_is_a_failure(source: GatewaySource) -> None:
    assert isinstance(source.read("ns/s").signals, Absent)
    nobody = GatewayAddress(url="http://127.0.0.1:1", expected=True)
    source.follow("ns/s", {"a": nobody})
    await until(lambda: isinstance(source.read("ns/s").signals, Failed))
    await until(lambda: "127.0.0.1" in str(source.read("ns/s").signals))
    assert source.read("ns/s").expected == 1


async def test_a_gateway_that_is_only_starting_is_not_missed(
    source: GatewaySource, gateways: list[Gateway]
) -> None:
    nobody = GatewayAddress(url="http://127.0.0.1:1", expected=False)
    source.follow("ns/s", {"a": gateways[0].address(), "b": nobody})
    await until(lambda: source.read("ns/s").heard == 1)
    reading = source.read("ns/s").signals
    assert isinstance(reading, Value)
    assert reading.complete


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"schemaVersion": 2, "bootId": "x", "sequence": 1, "phases": {}},
        {"schemaVersion": 1, "bootId": "x", "sequence": 1, "phases": {"queued": "many"}},
    ],
)
async def test_what_is_not_the_agreed_schema_is_a_failure_and_not_a_zero(
    source: GatewaySource, gateways: list[Gateway], body: dict[str, Any]
) -> None:
    gateways[0].body = body
    source.follow("ns/s", {"a": gateways[0].address()})
    await until(lambda: "signals" in str(source.read("ns/s").signals))
    assert isinstance(source.read("ns/s").signals, Failed)


async def test_a_wrong_value_deep_inside_is_a_failure_when_it_is_read(
    source: GatewaySource, gateways: list[Gateway]
) -> None:
    gateways[0].body["counters"]["arrivals"] = -5
    source.follow("ns/s", {"a": gateways[0].address()})
    await until(lambda: "arrivals" in str(source.read("ns/s").signals))
    assert isinstance(source.read("ns/s").signals, Failed)


async def test_a_jump_of_depth_is_told_at_once_and_a_ripple_is_not(
    source: GatewaySource, gateways: list[Gateway], jumps: list[str]
) -> None:
    source.follow("ns/s", {"a": gateways[0].address()})
    await until(lambda: jumps == ["ns/s"])
    gateways[0].say(thinking=2, arrivals=1)
    await until(lambda: arrivals(source) == 1)
    assert jumps == ["ns/s"]
    gateways[0].say(thinking=9, arrivals=2)
    await until(lambda: arrivals(source) == 2)
    assert jumps == ["ns/s", "ns/s"]


async def test_a_gateway_that_hangs_and_is_no_longer_ready_is_missed_and_not_read_as_zero(
    source: GatewaySource, gateways: list[Gateway], clock: Clock
) -> None:
    for gateway in gateways:
        gateway.say(thinking=20)
    both = {"a": gateways[0].address(), "b": gateways[1].address()}
    source.follow("ns/s", both)
    await until(lambda: source.read("ns/s").heard == 2)
    source.follow("ns/s", both | {"b": gateways[1].address(expected=False)})
    await gateways[1].server.close()
    clock.now += MISSING_AFTER_SECONDS + 1
    gateways[0].say(thinking=20, arrivals=1)
    await until(lambda: arrivals(source) == 1)
    seen = source.read("ns/s")
    assert isinstance(seen.signals, Value)
    assert not seen.signals.complete
    assert (seen.expected, seen.heard) == (2, 1)


async def test_a_gateway_that_was_ready_once_is_missed_though_it_was_never_heard(
    source: GatewaySource, gateways: list[Gateway]
) -> None:
    deaf = "http://127.0.0.1:1"
    both = {"a": gateways[0].address(), "b": GatewayAddress(url=deaf, expected=True)}
    source.follow("ns/s", both)
    source.follow("ns/s", both | {"b": GatewayAddress(url=deaf, expected=False)})
    await until(lambda: source.read("ns/s").heard == 1)
    reading = source.read("ns/s").signals
    assert isinstance(reading, Value)
    assert not reading.complete


async def test_a_gateway_with_a_new_address_is_asked_there_and_counted_once(
    source: GatewaySource, gateways: list[Gateway]
) -> None:
    old, new = gateways
    old.say(arrivals=5)
    source.follow("ns/s", {"a": old.address()})
    await until(lambda: arrivals(source) == 5)
    new.say(arrivals=7)
    source.follow("ns/s", {"a": new.address()})
    await until(lambda: arrivals(source) == 7)
    old.say(arrivals=6)
    new.say(boot="two", arrivals=1)
    await until(lambda: arrivals(source) == 8)


async def test_a_gateway_without_an_address_for_a_moment_is_still_expected(
    source: GatewaySource, gateways: list[Gateway]
) -> None:
    gateways[0].say(arrivals=5)
    source.follow("ns/s", {"a": gateways[0].address()})
    await until(lambda: arrivals(source) == 5)
    source.follow("ns/s", {"a": GatewayAddress(url=None, expected=False)})
    assert (source.read("ns/s").expected, arrivals(source)) == (1, 5)


async def test_a_gateway_of_another_service_at_the_same_address_is_not_believed(
    source: GatewaySource, gateways: list[Gateway]
) -> None:
    gateways[0].say(arrivals=5, service="ns/other")
    source.follow("ns/s", {"a": gateways[0].address()})
    await until(lambda: "ns/other" in str(source.read("ns/s").signals))
    assert isinstance(source.read("ns/s").signals, Failed)


async def test_a_single_request_that_no_replica_serves_is_told_at_once(
    source: GatewaySource, gateways: list[Gateway], jumps: list[str]
) -> None:
    gateways[0].say(serving=False)
    source.follow("ns/s", {"a": gateways[0].address()})
    await until(lambda: jumps == ["ns/s"])
    gateways[0].say(queued=1, arrivals=1, serving=False)
    await until(lambda: jumps == ["ns/s", "ns/s"])
    gateways[0].say(queued=2, arrivals=2, serving=False)
    await until(lambda: arrivals(source) == 2)
    assert jumps == ["ns/s", "ns/s"], "it is known that they wait"


async def test_an_epoch_is_one_life_of_the_source(jumps: list[str]) -> None:
    assert GatewaySource(jumps.append).epoch != GatewaySource(jumps.append).epoch
