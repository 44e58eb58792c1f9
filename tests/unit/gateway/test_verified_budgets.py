"""A native budget that is ignored, overrun or put into the answer is counted by cause, the request
is served as if nothing had been, and the replica is believed again when it has proven itself.
"""

import asyncio
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.gateway.asking import chat

WELL = ["--reasoning-parser", "deepseek_r1"]
ENGINES = {
    "a": [*WELL, "--ignore-native-budget"],
    "b": [*WELL, "--overrun-native-budget", "5"],
    "c": [*WELL, "--inject-native-budget"],
    "d": [*WELL, "--inject-native-budget", "--coalesce", "4"],
}
RETRY_SECONDS = 1.5
"""Long against what a busy machine takes between two requests."""
CAUSES = ("ignored", "overrun", "injected")


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    return list(ENGINES.values())


@pytest.fixture(scope="module")
def gateway_flags() -> list[str]:
    return ["--native-budget-retry-seconds", str(RETRY_SECONDS)]


@pytest.fixture(autouse=True)
async def nobody_is_in_doubt_at_first(setup: Any) -> None:
    """What is not ready is believed when it comes back; the tests of a file share one gateway."""
    await setup.replicas("a", ready=False)


@pytest.fixture
def faulty(setup: Any) -> Iterator[Any]:
    """The first engine, which ignores budgets; what a test puts in its place is taken away."""
    yield setup
    if setup.emulators[0].process.args[-len(ENGINES["a"]) :] != ENGINES["a"]:
        restart(setup, 0, ENGINES["a"])


def restart(setup: Any, number: int, flags: list[str]) -> None:
    """Another engine at the same address, at once: nobody is told that it was away."""
    old = setup.emulators[number]
    old.stop()
    setup.emulators[number] = new = type(old)(*flags, port=old.port)
    deadline = time.monotonic() + 10
    while not answers(new.url + "/health"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=1).status == 200)
    except (urllib.error.URLError, OSError):
        return False


NATIVE_ONLY = {"response_format": {"type": "json_object"}}
"""No continuation can carry it: the header says whether the engine is believed."""


async def counts(setup: Any) -> dict[str, int]:
    """Violations by cause, from both places where they are told."""
    budget = (await setup.signals())["budget"]
    page = await setup.metrics()
    told = {
        cause: int(float(value))
        for cause, value in re.findall(
            r'budget_violations_total\{cause="(\w+)",service="ns/demo"\} (\S+)', page
        )
    }
    assert told == {cause: budget[cause] for cause in CAUSES}
    assert budget["violated"] == sum(told.values())
    return told


async def doubted(setup: Any) -> int:
    line = re.search(r"replicas_native_budget_doubted\{[^}]*\} (\S+)", await setup.metrics())
    assert line is not None
    return int(float(line[1]))


async def mode(setup: Any) -> str:
    answer = await setup.stream(**chat(2, 2, **NATIVE_ONLY))
    return answer.headers["x-thinkscale-budget"]


@pytest.mark.parametrize(("engine", "cause"), [("a", "ignored"), ("b", "overrun")])
async def test_a_budget_that_does_not_hold_is_counted_and_made_good_in_the_same_request(
    setup: Any, engine: str, cause: str
) -> None:
    await setup.arrange(engine, maxTokens=20)
    before = await counts(setup)
    for _ in range(2):  # the second one is not sent a native budget, so nothing can be broken
        answer = await setup.stream(**chat(200, 12))
        assert len(answer.thinking.split()) == 20
        assert len(answer.content.split()) == 12
        assert answer.finish_reason == "stop"
        assert answer.headers["x-thinkscale-budget"] == "forced"
        assert answer.usage["completion_tokens_details"]["reasoning_tokens"] == 20
        assert await counts(setup) == {**before, cause: before[cause] + 1}
        assert await doubted(setup) == 1


@pytest.mark.parametrize("engine", ["c", "d"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_tag_in_the_answer_is_taken_out_and_the_answer_goes_on_from_before_it(
    setup: Any, engine: str, stream: bool
) -> None:
    await setup.arrange(engine, maxTokens=20)
    before = await counts(setup)
    whole_url = setup.emulators[ord(engine) - ord("a")].url + "/v1/chat/completions"
    async with setup.session.post(whole_url, json={**chat(8, 30), "stream": False}) as response:
        wanted = (await response.json())["choices"][0]["message"]["content"]
    for _ in range(2):
        if stream:
            answer = await setup.stream(**chat(8, 30))
            content, finish_reason = answer.content, answer.finish_reason
            usage = answer.usage
        else:
            body = {**chat(8, 30), "stream": False}
            del body["stream_options"]
            whole = (await setup.post(**body)).events[0]
            content = whole["choices"][0]["message"]["content"]
            finish_reason, usage = whole["choices"][0]["finish_reason"], whole["usage"]
        assert content == wanted
        assert "think>" not in content
        assert finish_reason == "stop"
        assert usage["completion_tokens_details"]["reasoning_tokens"] == 8
        assert await counts(setup) == {**before, "injected": before["injected"] + 1}
        assert await doubted(setup) == 1


async def test_what_no_continuation_can_carry_is_told_that_nobody_is_sure(setup: Any) -> None:
    await setup.arrange("b", maxTokens=20)
    before = await counts(setup)
    first = await setup.stream(**chat(200, 5, **NATIVE_ONLY))
    assert first.headers["x-thinkscale-budget"] == "native"
    assert await counts(setup) == {**before, "overrun": before["overrun"] + 1}
    second = await setup.stream(**chat(200, 5, **NATIVE_ONLY))
    assert second.headers["x-thinkscale-budget"] == "observed"
    assert len(second.thinking.split()) == 24  # a late budget is better than none


async def test_a_budget_that_spoils_answers_is_not_sent_at_all(setup: Any) -> None:
    await setup.arrange("c", maxTokens=20)
    first = await setup.stream(**chat(8, 30, **NATIVE_ONLY))
    assert "</think>" in first.content
    second = await setup.stream(**chat(8, 30, **NATIVE_ONLY))
    assert "</think>" not in second.content
    assert second.headers["x-thinkscale-budget"] == "observed"


async def test_a_refusal_of_something_else_reaches_the_client_with_its_words(setup: Any) -> None:
    await setup.arrange("b", maxTokens=20)
    answer = await setup.post(**chat(8, 3, temperature=-1))
    assert answer.status == 400
    assert "temperature" in answer.events[0]["error"]["message"]


async def test_one_that_ends_late_for_good_is_told_from_one_that_has_no_effect(setup: Any) -> None:
    """Where the gateway cannot cut, it sees the end itself."""
    await setup.arrange("a", maxTokens=20)
    before = await counts(setup)
    await setup.stream(**chat(200, 5, **NATIVE_ONLY))
    assert await counts(setup) == {**before, "ignored": before["ignored"] + 1}


async def test_a_replica_that_was_restarted_is_believed(faulty: Any) -> None:
    await faulty.arrange("a", maxTokens=20)
    await faulty.stream(**chat(200, 5))
    assert await mode(faulty) == "observed"
    await faulty.replicas("a", ready=False)
    restart(faulty, 0, WELL)
    await faulty.replicas("a")
    assert await mode(faulty) == "native"
    assert await doubted(faulty) == 0


async def test_after_a_while_one_request_tries_and_only_a_budget_that_held_clears_the_replica(
    faulty: Any,
) -> None:
    await faulty.arrange("a", maxTokens=20)
    await faulty.stream(**chat(200, 5))
    restart(faulty, 0, WELL)
    before = await counts(faulty)
    await asyncio.sleep(RETRY_SECONDS)
    await faulty.stream(**chat(3, 5))  # ends before its budget, which proves nothing
    assert await doubted(faulty) == 1
    tried = await faulty.stream(**chat(200, 5))
    assert len(tried.thinking.split()) == 19  # the engine's own end: one early, by its count
    assert await doubted(faulty) == 0
    assert await mode(faulty) == "native"
    assert await counts(faulty) == before


async def test_one_that_fails_again_is_left_for_longer(faulty: Any) -> None:
    await faulty.arrange("a", maxTokens=20)
    before = await counts(faulty)
    await faulty.stream(**chat(200, 5))
    await asyncio.sleep(RETRY_SECONDS)
    again = await faulty.stream(**chat(200, 5))
    assert len(again.thinking.split()) == 20
    assert (await counts(faulty))["ignored"] == before["ignored"] + 2
    await asyncio.sleep(RETRY_SECONDS)
    assert await mode(faulty) == "observed"
    await asyncio.sleep(RETRY_SECONDS)
    assert await mode(faulty) == "native"  # it tries
