"""What `/signals` tells the law of outputs, prompts, contexts and engines; real processes."""

import asyncio
from typing import Any

import pytest

from tests.unit.gateway.asking import chat


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    flags = ["--reasoning-parser", "deepseek_r1", "--a0-milliseconds", "3"]
    return [flags, [*flags, "--ignore-native-budget"]]


def wordy(thinks: int, answers: int) -> dict[str, Any]:
    """With a prompt long enough to be seen in the sums."""
    return chat(thinks, answers, messages=[{"role": "user", "content": "hello " * 50}])


def grown(after: Any, before: Any) -> list[int]:
    return [a - b for a, b in zip(after, before, strict=True)]


async def test_an_output_whose_thought_ends_at_its_budget_ends_like_any_other(setup: Any) -> None:
    await setup.arrange("b", maxTokens=60)
    before = await setup.signals()
    await asyncio.gather(setup.stream(**wordy(30, 20)), setup.stream(**wordy(200, 40)))
    after = await setup.signals()

    def more(table: str, column: str) -> int:
        return sum(grown(after[table][column], before[table][column]))

    assert more("outputLifeTable", "ends") == 2
    blank = 1  # the line before an answer
    assert more("outputLifeTable", "exposureTokens") == 30 + blank + 20 + 60 + 40
    # Of the thoughts only one ended by itself.
    assert more("lifeTable", "ends") == 1
    assert more("lifeTable", "exposureTokens") == 30 + 60


async def test_contexts_and_output_ages_follow_what_is_in_flight(setup: Any) -> None:
    await setup.arrange("a")
    for _ in range(10):  # the estimate of a prompt learns, and nobody may have asked before
        known = await setup.stream(**wordy(3, 3))
    prompt = known.usage["prompt_tokens"]
    before = (await setup.signals())["counters"]
    streams = [asyncio.create_task(setup.stream(**wordy(2000, 3))) for _ in range(2)]
    signals = await setup.until(
        lambda s: s["counters"]["thinkingTokens"] - before["thinkingTokens"] > 100
    )
    written = signals["counters"]["thinkingTokens"] - before["thinkingTokens"]
    assert signals["replicas"]["a"]["contextTokens"] == 2 * prompt + written
    assert sum(signals["outputAges"]) == 2
    arrived = signals["counters"]["arrivedPromptTokens"] - before["arrivedPromptTokens"]
    assert arrived == pytest.approx(2 * prompt, rel=0.25)
    for stream in streams:
        stream.cancel()
    await setup.until(lambda s: s["replicas"]["a"]["contextTokens"] == 0)


async def test_the_estimate_of_a_prompt_comes_nearer_with_each_one_seen(setup: Any) -> None:
    await setup.arrange("a")
    for _ in range(30):
        answer = await setup.stream(**wordy(1, 1))
    before = (await setup.signals())["counters"]["arrivedPromptTokens"]
    await setup.stream(**wordy(1, 1))
    estimate = (await setup.signals())["counters"]["arrivedPromptTokens"] - before
    assert estimate == pytest.approx(answer.usage["prompt_tokens"], rel=0.15)


async def next_reading(setup: Any, generated: int) -> Any:
    """A scrape of the engine that was made after this call, and that knows of more tokens."""
    known = (await setup.signals())["replicas"]["a"]["engine"]
    generated = max(generated, known["generatedTokens"] if known else 0)
    signals = await setup.until(
        lambda s: (s["replicas"]["a"]["engine"] or {}).get("generatedTokens", 0) > generated
    )
    return signals["replicas"]["a"]["engine"]


async def test_the_engines_steps_and_tokens_are_relayed_while_they_move(setup: Any) -> None:
    await setup.arrange("a")
    stream = asyncio.create_task(setup.stream(**wordy(3000, 3)))
    await setup.until(lambda s: s["phases"]["thinking"] == 1)
    one = await next_reading(setup, 0)
    other = await next_reading(setup, one["generatedTokens"])
    steps = other["steps"] - one["steps"]
    assert steps == pytest.approx(other["generatedTokens"] - one["generatedTokens"], abs=2)
    assert other["promptTokens"] > 0
    assert other["kvCapacityTokens"] > 0
    stream.cancel()


async def test_a_request_that_cannot_be_streamed_tells_its_prompt_at_its_end(setup: Any) -> None:
    await setup.arrange("a")
    before = (await setup.signals())["counters"]["promptTokens"]
    body = {"model": "tiny", "prompt": ["one two", "three"], "max_tokens": 5}
    answer = await setup.post("/v1/completions", **body)
    grew = (await setup.signals())["counters"]["promptTokens"] - before
    assert grew == answer.events[0]["usage"]["prompt_tokens"] > 0
