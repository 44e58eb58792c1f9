"""More than the fleet can serve, over real HTTP: who waits, who goes first, whose thought ends."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.gateway.asking import chat

STEP = {"sequenceSeconds": 0.002, "contextTokenSeconds": 0.0, "promptTokenSeconds": 0.0}
LONG = 20_000
"""Thinking tokens that last longer than any of these tests."""


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    """Two engines of 5 ms a step; in the second each sequence more adds 2 ms."""
    flags = ["--reasoning-parser", "deepseek_r1", "--a0-milliseconds", "5"]
    return [flags, [*flags, "--a1-milliseconds", "2"]]


def brownout(**fields: Any) -> dict[str, Any]:
    until = datetime.now(UTC) + timedelta(seconds=60)
    return {
        "floorTokens": 50, "waitOnSeconds": 0.2, "cutsAllowed": 100, "until": until.isoformat(),
        **fields,
    }  # fmt: skip


async def metric(setup: Any, name: str, label: str = "") -> float:
    found = re.search(
        rf"^thinkscale_gateway_{name}\{{{label}[^}}]*\}} (\S+)", await setup.metrics(), re.MULTILINE
    )
    assert found, name
    return float(found[1])


class Crowd:
    """Streams that a test started: those that still run are hung up at its end."""

    def __init__(self, setup: Any) -> None:
        self.setup = setup
        self.finished: list[str] = []
        self.tasks: list[asyncio.Task[Any]] = []

    def start(self, name: str, thinks: int, **extra: Any) -> "asyncio.Task[Any]":
        async def run() -> Any:
            answer = await self.setup.stream(**chat(thinks, **extra))
            self.finished.append(name)
            return answer

        self.tasks.append(asyncio.create_task(run()))
        return self.tasks[-1]

    async def think(self, names: str, thinks: int = LONG) -> "list[asyncio.Task[Any]]":
        """Start these one after the other, each when the one before it thinks."""
        tasks = []
        for name in names:
            tasks.append(self.start(name, thinks))
            await self.all_think()
        return tasks

    async def all_think(self) -> None:
        count = len(self.tasks)
        await self.setup.until(lambda s: s["phases"]["thinking"] == count)

    async def leave(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.setup.until(lambda s: sum(s["phases"].values()) == 0)


@pytest.fixture
async def crowd(setup: Any) -> AsyncIterator[Crowd]:
    crowd = Crowd(setup)
    yield crowd
    await crowd.leave()


@pytest.mark.parametrize(("oldest", "order"), [(600, "abdc"), (0.5, "abcd")])
async def test_a_late_request_waits_behind_a_fresh_one_until_it_has_waited_too_long(
    setup: Any, crowd: Crowd, oldest: float, order: str
) -> None:
    await setup.arrange("a")
    await setup.direct(
        ceiling={"seats": 1}, queue={"freshSeconds": 0.4, "oldestSeconds": oldest}
    )  # fmt: skip
    await crowd.think("a", 200)
    crowd.start("b", 60)
    crowd.start("c", 5)
    await setup.until(lambda s: s["held"] == 2)
    deadline = time.monotonic() + 3
    while await metric(setup, "held_by_line", 'line="late",') < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert await metric(setup, "held_by_line", 'line="fresh",') == 0
    await crowd.tasks[0]
    crowd.start("d", 5)  # b, the first of the late, has the seat now
    await asyncio.gather(*crowd.tasks)
    assert "".join(crowd.finished) == order


async def test_the_ceiling_keeps_the_engine_at_its_seats_and_the_rest_at_the_gateway(
    setup: Any, crowd: Crowd
) -> None:
    await setup.arrange("a")
    await setup.direct(ceiling={"seats": 2})
    for number in range(5):
        crowd.start(str(number), 60)
    seen = set()
    while len(crowd.finished) < 5:
        running, waiting = await engine(setup, 0, "num_requests_running", "num_requests_waiting")
        seen.add(running + waiting)
        await asyncio.sleep(0.02)
    assert max(seen) == 2


async def engine(setup: Any, index: int, *names: str) -> list[float]:
    """An engine's own numbers, of one instant."""
    async with setup.session.get(setup.emulators[index].url + "/metrics") as response:
        text = await response.text()
    found = [re.search(rf"^vllm:{name}\{{[^}}]*\}} (\S+)", text, re.MULTILINE) for name in names]
    return [float(match[1]) for match in found if match]


async def test_the_ceiling_keeps_the_pace_that_the_directive_asks_for(
    setup: Any, crowd: Crowd
) -> None:
    """5 ms and 2 for each sequence: 13 ms allow four of them. Ten at once would take 25 ms."""
    await setup.arrange("b")
    step = {"baseSeconds": 0.005, **STEP}
    await setup.direct(ceiling={"seats": 64, "stepTime": step, "stepLimitSeconds": 0.0131})
    names = ("iteration_tokens_total_count", "generation_tokens_total")
    before = await engine(setup, 1, *names)
    for number in range(10):
        crowd.start(str(number), 60)
    await setup.until(lambda s: s["held"] == 6)
    running: list[float] = []
    deadline = time.monotonic() + 5
    while running != [4] and time.monotonic() < deadline:  # they are on their way
        await asyncio.sleep(0.01)
        running = await engine(setup, 1, "num_requests_running")
    assert running == [4]
    answers = await asyncio.gather(*crowd.tasks)
    assert all(answer.done for answer in answers)
    after = await engine(setup, 1, *names)
    steps, tokens = (now - then for now, then in zip(after, before, strict=True))
    assert tokens / steps <= 4
    assert await metric(setup, "held_seconds_count") >= 10
    assert await metric(setup, "held_seconds_sum") > 0.5


async def test_two_gateways_share_a_ceiling(setup: Any, crowd: Crowd) -> None:
    await setup.arrange("a")
    await setup.direct(ceiling={"seats": 4}, gateways=2)
    for number in range(4):
        crowd.start(str(number), 100)
    signals = await setup.until(lambda s: s["held"] == 2)
    assert signals["phases"]["queued"] + signals["phases"]["thinking"] == 4


async def test_a_brownout_closes_the_oldest_thoughts_and_their_answers_follow(
    setup: Any, crowd: Crowd
) -> None:
    await setup.arrange("a", maxTokens=25_000)
    first = await setup.signals()
    before, ends = first["budget"], sum(first["outputLifeTable"]["ends"])
    await setup.direct(ceiling={"seats": 3})
    oldest, _, _ = await crowd.think("abc")
    waiting = crowd.start("w", 5)
    await asyncio.sleep(0.5)
    assert (await setup.signals())["budget"]["cutByLoad"] == before["cutByLoad"]
    ordered = time.monotonic()
    await setup.direct(ceiling={"seats": 3}, brownout=brownout())
    answer = await oldest
    assert time.monotonic() - ordered < 1.5
    thought = len(answer.thinking.split())
    assert 50 <= thought < 1000
    assert len(answer.content.split()) == 3
    assert answer.finish_reason == "stop"
    assert answer.usage["completion_tokens_details"] == {
        "reasoning_tokens": thought,
        "thinking_cut_by": "load",
    }
    assert answer.headers["x-thinkscale-budget-tokens"] == "25000", "it was sent with all of it"
    assert (await waiting).done
    last = await setup.signals()
    after = last["budget"]
    assert sum(last["outputLifeTable"]["ends"]) == ends + 1, "an output that load cut ends nothing"
    assert after["cutByLoad"] - before["cutByLoad"] == 1
    assert after["cut"] - before["cut"] == 1
    assert after["withheldTokens"] - before["withheldTokens"] == 25_000 - thought
    assert await metric(setup, "withheld_thinking_tokens_total") == after["withheldTokens"]


async def test_a_brownout_spares_the_thoughts_of_a_tier_up_to_its_own_floor(
    setup: Any, crowd: Crowd
) -> None:
    tier = {"name": "deep", "maxTokens": 25_000, "floorTokens": 250}
    await setup.arrange("a", maxTokens=25_000, tiers=[tier])
    await setup.direct(ceiling={"seats": 2})
    deep = crowd.start("deep", LONG, reasoning_effort="deep")
    await crowd.all_think()
    (plain,) = await crowd.think("p")
    for number in range(3):
        crowd.start(str(number), LONG)
    await setup.direct(ceiling={"seats": 2}, brownout=brownout())
    thoughts = [len(answer.thinking.split()) for answer in await asyncio.gather(plain, deep)]
    assert 50 <= thoughts[0] < LONG
    assert 250 <= thoughts[1] < LONG, "it is the older one, and closed first without its floor"


async def test_a_brownout_spares_the_tier_that_would_lose_much_and_counts_what_the_other_loses(
    setup: Any, crowd: Crowd
) -> None:
    tiers = [{"name": name, "maxTokens": 25_000} for name in ("flat", "steep")]
    await setup.arrange("a", maxTokens=25_000, tiers=tiers)
    await setup.direct(ceiling={"seats": 2})
    before = await setup.signals()
    steep = crowd.start("steep", LONG, reasoning_effort="steep")
    await crowd.all_think()
    flat = crowd.start("flat", LONG, reasoning_effort="flat")
    await crowd.all_think()
    for number in range(3):
        crowd.start(str(number), 5)
    told = {
        "carried": [{"budgetTokens": 50, "replicaSeconds": 50.0}],
        "tiers": [
            {"name": "flat", "budgetTokens": [60], "lostPoints": [1.25], "pointsPerSecond": [1.0]},
            {"name": "steep", "budgetTokens": [9000], "lostPoints": [80], "pointsPerSecond": [9.0]},
        ],
    }
    await setup.direct(ceiling={"seats": 2}, brownout=brownout(**told))
    answer = await flat
    assert 60 <= len(answer.thinking.split()) < 1000
    assert answer.usage["completion_tokens_details"]["thinking_cut_by"] == "load"
    assert not steep.done(), "it is the older one, and would lose too much"
    after = await setup.signals()
    came = {
        name: after["tierArrivals"][name] - before["tierArrivals"].get(name, 0)
        for name in ("flat", "steep")
    }
    assert came == {"flat": 1, "steep": 1}
    budget, old = after["budget"], before["budget"]
    assert budget["cutByLoad"] - old["cutByLoad"] == 1
    assert budget["withheldMillipoints"] - old["withheldMillipoints"] == 1250
    points = await metric(setup, "withheld_score_points_total")
    assert points == pytest.approx(budget["withheldMillipoints"] / 1000)


async def test_a_replica_closes_no_more_thoughts_a_second_than_it_may(
    setup: Any, crowd: Crowd
) -> None:
    await setup.arrange("a", maxTokens=25_000)
    cut = (await setup.signals())["budget"]["cutByLoad"]
    await setup.direct(ceiling={"seats": 4}, queue={"freshSeconds": 60})
    await crowd.think("abcd")
    for number in range(9):
        crowd.start(str(number), LONG)
    await asyncio.sleep(0.4)
    await setup.direct(
        ceiling={"seats": 4}, queue={"freshSeconds": 60}, brownout=brownout(cutsPerReplicaSecond=1)
    )
    began = time.monotonic()
    signals = await setup.signals()
    while (elapsed := time.monotonic() - began) < 3.2:
        signals = await setup.signals()
        assert signals["budget"]["cutByLoad"] - cut <= time.monotonic() - began + 1
        await asyncio.sleep(0.02)
    assert signals["budget"]["cutByLoad"] - cut >= elapsed - 1.5
    assert signals["budget"]["effectiveMaxTokens"] == 50
    assert await metric(setup, "brownout") == 1


@pytest.mark.parametrize(
    ("fields", "on"),
    [
        ({"cutsAllowed": 0}, True),
        ({"waitOnSeconds": 100}, False),
    ],
    ids=["nothing is allowed", "nobody waits too long"],
)
async def test_nobody_is_cut(setup: Any, crowd: Crowd, fields: dict[str, Any], on: bool) -> None:
    await setup.arrange("a", maxTokens=25_000)
    before = (await setup.signals())["budget"]
    await setup.direct(ceiling={"seats": 1})
    await crowd.think("a")
    crowd.start("w", 5)
    await asyncio.sleep(0.4)
    await setup.direct(ceiling={"seats": 1}, brownout=brownout(**fields))
    await asyncio.sleep(1.3)
    assert await metric(setup, "brownout") == on
    after = (await setup.signals())["budget"]
    assert after["cut"] == before["cut"]
    assert after["effectiveMaxTokens"] == (50 if on else 25_000)


async def test_a_brownout_cuts_nobody_under_its_floor_and_ends_by_itself_when_its_author_is_silent(
    setup: Any, crowd: Crowd
) -> None:
    await setup.arrange("a", maxTokens=25_000)
    before = (await setup.signals())["budget"]["cut"]
    await setup.direct(ceiling={"seats": 1})
    await crowd.think("a")
    crowd.start("w", 5)
    await asyncio.sleep(0.3)
    until = datetime.now(UTC) + timedelta(seconds=2)
    await setup.direct(
        ceiling={"seats": 1}, brownout=brownout(floorTokens=10_000, until=until.isoformat())
    )
    await setup.until(lambda s: s["budget"]["effectiveMaxTokens"] == 10_000, within=1.5)
    await setup.until(lambda s: s["budget"]["effectiveMaxTokens"] == 25_000, within=3.5)
    assert datetime.now(UTC) >= until
    signals = await setup.signals()
    assert (signals["held"], signals["budget"]["cut"]) == (1, before)


async def test_a_thought_whose_answer_could_not_follow_is_not_closed(
    setup: Any, crowd: Crowd
) -> None:
    await setup.arrange("a", maxTokens=25_000)
    before = (await setup.signals())["budget"]["cut"]
    await setup.direct(ceiling={"seats": 1}, brownout=brownout())
    tools = [{"type": "function", "function": {"name": "f"}}]
    crowd.start("a", LONG, tools=tools)
    await setup.until(lambda s: s["phases"]["thinking"] == 1)
    crowd.start("w", 5)
    await setup.until(lambda s: s["budget"]["effectiveMaxTokens"] == 50)
    await asyncio.sleep(1.2)
    assert (await setup.signals())["budget"]["cut"] == before
