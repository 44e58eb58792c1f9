"""A stream breaks off, is garbled or falls silent: another replica goes on from what the client
has, and the client reads one stream. What the engine says is a function of the ids before it, so a
single token that was lost or came twice would show.
"""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.unit.gateway.asking import PLAN, chat
from tests.unit.gateway.faulty_wire import Wire, wire_to

ENGINES = {
    "a": ["--reasoning-parser", "deepseek_r1"],
    "b": ["--reasoning-parser", "none", "--coalesce", "3"],
    "c": ["--reasoning-parser", "deepseek_r1"],
    "d": ["--reasoning-parser", "deepseek_r1", "--hang-on-terminate"],
}
THINKS, ANSWERS = 90, 60
TURNS = itertools.count()
IN_THOUGHT, IN_ANSWER = 40, 120
"""Tokens behind which a stream breaks."""


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    return list(ENGINES.values())


@pytest.fixture(scope="module")
def gateway_flags() -> list[str]:
    return ["--idle-timeout-seconds", "0.8", "--connect-timeout-seconds", "2"]


def long_chat(**extra: Any) -> dict[str, Any]:
    return chat(THINKS, ANSWERS, **extra)


async def undisturbed(setup: Any, engine: str, **extra: Any) -> tuple[str, str]:
    """(thinking, content) of the same request, straight from an engine."""
    url = setup.emulators[ord(engine) - ord("a")].url + "/v1/chat/completions"
    body = {key: value for key, value in long_chat(**extra).items() if not key.startswith("stream")}
    async with setup.session.post(url, json=body) as response:
        message = (await response.json())["choices"][0]["message"]
    return message["reasoning"] or "", message["content"]


@asynccontextmanager
async def two_ways(setup: Any, engine: str, **fields: Any) -> AsyncIterator[Wire]:
    """Two replicas, of which the first one, behind a wire, gets the next request. One process is
    behind both.
    """
    await setup.arrange(engine, **{"maxTokens": 5000, **fields})
    well = setup.emulators[ord(engine) - ord("a")]
    async with wire_to(well.port) as wire:
        turn = next(TURNS)  # names are new, so that both are as empty as can be
        urls = {f"bad{turn}": wire.url, f"good{turn}": well.url}
        listed = [{"name": name, "url": url} for name, url in urls.items()]
        setup.gateway.write("replicas.json", listed)
        await setup.until(lambda s: set(s["replicas"]) == set(urls))
        yield wire


async def count(setup: Any, name: str) -> int:
    found = re.search(rf"gateway_{name}[^}}]*\}} (\S+)", await setup.metrics())
    assert found is not None
    return int(float(found[1]))


RESUMED = r'retries_total\{reason="resumed"'
AWAY = r'retries_total\{reason="away"'


@pytest.mark.parametrize("phase", ["thinking", "answering"])
@pytest.mark.parametrize("engine", ["a", "b"])
async def test_a_stream_that_is_cut_goes_on_elsewhere_as_if_nothing_had_been(
    setup: Any, engine: str, phase: str
) -> None:
    async with two_ways(setup, engine) as wire:
        before = await count(setup, RESUMED)
        after = IN_THOUGHT if phase == "thinking" else IN_ANSWER
        wire.arm("cut", after // (3 if engine == "b" else 1))
        answer = await setup.stream(**long_chat())
        assert (answer.thinking, answer.content) == await undisturbed(setup, engine)
        assert await count(setup, RESUMED) == before + 1
        found = await setup.signals()
    assert answer.finish_reason == "stop"
    assert answer.done
    assert len({event["id"] for event in answer.events}) == 1
    assert b"token_ids" not in answer.raw
    usage = answer.usage
    assert usage["completion_tokens_details"]["reasoning_tokens"] == THINKS
    assert usage["completion_tokens"] == THINKS + ANSWERS + 3  # </think>, blank line, end
    said = re.findall(rb"^: resumed by (\w+) behind (\d+) tokens\n\n", answer.raw, re.MULTILINE)
    assert [name[:4] for name, _ in said] == [b"good"]
    assert (int(said[0][1]) > THINKS) == (phase == "answering")
    assert [r["contextTokens"] for r in found["replicas"].values()] == [0, 0]


@pytest.mark.parametrize("fault", ["half-closed", "stalled", "garbled", "oversized"])
async def test_so_does_one_that_breaks_in_any_other_way(setup: Any, fault: str) -> None:
    async with two_ways(setup, "a") as wire:
        before = await count(setup, RESUMED)
        wire.arm(fault, IN_THOUGHT)
        answer = await setup.stream(**long_chat())
        assert (answer.thinking, answer.content) == await undisturbed(setup, "a")
        assert answer.finish_reason == "stop"
        assert await count(setup, RESUMED) == before + 1


@pytest.mark.parametrize("fault", ["cut", "half-closed"])
async def test_one_that_breaks_when_all_was_said_is_complete(setup: Any, fault: str) -> None:
    async with two_ways(setup, "a") as wire:
        before = await count(setup, RESUMED)
        wire.arm(fault, THINKS + ANSWERS + 3)  # all tokens, and not the usage
        answer = await setup.stream(**long_chat())
        assert (answer.thinking, answer.content) == await undisturbed(setup, "a")
        assert answer.done
        assert answer.usage["completion_tokens"] == THINKS + ANSWERS + 3
        assert await count(setup, RESUMED) == before


@pytest.mark.parametrize("extra", [{}, {"logprobs": True}], ids=["plain", "not to be continued"])
async def test_one_that_breaks_behind_the_role_alone_begins_anew_elsewhere(
    setup: Any, extra: dict[str, Any]
) -> None:
    """Nothing of substance was said, so nothing need be gone on from."""
    async with two_ways(setup, "a") as wire:
        resumed, retried = await count(setup, RESUMED), await count(setup, AWAY)
        wire.arm("cut behind an event", 0)
        answer = await setup.stream(**long_chat(**extra))
        assert await count(setup, RESUMED) == resumed
        assert await count(setup, AWAY) == retried + 1
    assert (answer.thinking, answer.content) == await undisturbed(setup, "a")
    assert answer.done
    assert answer.usage["completion_tokens"] == THINKS + ANSWERS + 3
    assert len({event["id"] for event in answer.events}) == 1
    roles = [c["delta"].get("role") for e in answer.events for c in e["choices"]]
    assert roles == ["assistant"] + [None] * (len(roles) - 1)


async def test_who_waits_is_told_the_replica_that_began_anew_and_a_stream_the_first(
    setup: Any,
) -> None:
    """A stream's headers are out with the first replica's acceptance."""
    for wait, replica in ({"stream": False, "stream_options": None}, "good"), ({}, "bad"):
        async with two_ways(setup, "a") as wire:
            wire.arm("cut behind an event", 0)
            answer = await (setup.post if wait else setup.stream)(**long_chat(**wait))
            assert answer.headers["x-thinkscale-replica"].startswith(replica)
            assert "x-thinkscale-resumed" not in answer.headers


async def test_tokens_that_come_twice_are_told_on(setup: Any) -> None:
    """Nothing in a stream numbers its events; the engine's usage at the end gives it away."""
    async with two_ways(setup, "a") as wire:
        before = await count(setup, "miscounted_streams_total")
        wire.arm("duplicated", IN_THOUGHT)
        answer = await setup.stream(**long_chat())
        assert answer.done
        assert len(answer.thinking.split()) > THINKS
        assert await count(setup, "miscounted_streams_total") == before + 1
        await setup.stream(**long_chat())
        assert await count(setup, "miscounted_streams_total") == before + 1


async def test_the_budget_holds_over_both_replicas_together(setup: Any) -> None:
    async with two_ways(setup, "a", maxTokens=70, minTokens=70) as wire:
        wire.arm("cut", IN_THOUGHT)
        answer = await setup.stream(**long_chat())
        assert len(answer.thinking.split()) == 70
        assert len(answer.content.split()) == ANSWERS


async def test_a_stream_that_breaks_between_thought_and_answer_gets_its_answer_elsewhere(
    setup: Any,
) -> None:
    """The thought is cut at its budget, and the continuation breaks before its first token."""
    async with two_ways(setup, "a", maxTokens=30, minTokens=30) as wire:
        undisturbed_answer = await setup.stream(**long_chat())
        wire.arm("cut", 30)  # the whole thought, and not an event of the continuation
        answer = await setup.stream(**long_chat())
        assert len(answer.thinking.split()) == 30
        assert answer.content == undisturbed_answer.content


async def test_a_client_that_waits_for_the_whole_answer_is_told_in_a_header(setup: Any) -> None:
    async with two_ways(setup, "a") as wire:
        wire.arm("cut", IN_THOUGHT)
        answer = await setup.post(**long_chat(stream=False, stream_options=None))
        message = answer.events[0]["choices"][0]["message"]
        assert (message["reasoning"], message["content"]) == await undisturbed(setup, "a")
        assert answer.headers["x-thinkscale-resumed"] == "1"
        assert answer.headers["x-thinkscale-replica"].startswith("good")


async def test_what_no_continuation_can_carry_ends_with_an_error_and_is_not_begun_again(
    setup: Any,
) -> None:
    async with two_ways(setup, "a") as wire:
        before = await count(setup, RESUMED)
        wire.arm("cut", IN_THOUGHT)
        answer = await setup.stream(**long_chat(logprobs=True))
        assert answer.events[-1]["error"]["code"] == 502
        assert not answer.done
        assert await count(setup, RESUMED) == before
        assert (await setup.signals())["phases"]["thinking"] == 0


@pytest.mark.parametrize("engine", ["c", "d"])
async def test_an_engine_that_aborts_on_sigterm_or_falls_silent_is_gone_on_from(
    setup: Any, engine: str
) -> None:
    """The two ways in which the real vLLM ends without a drain."""
    plan = {PLAN: {"thinking_tokens": 400, "answer_tokens": 5}}
    await setup.arrange(engine, maxTokens=5000)
    running = asyncio.create_task(setup.stream(**long_chat(**plan)))
    await setup.until(lambda s: s["phases"]["thinking"] == 1)
    await setup.replicas("a" + engine)
    setup.emulators[ord(engine) - ord("a")].terminate()
    answer = await running
    assert (answer.thinking, answer.content) == await undisturbed(setup, "a", **plan)
    assert answer.finish_reason == "stop"  # and not abort
