"""Budgets over real HTTP against real processes: exact, in three spellings, and an answer comes."""

from typing import Any

import pytest

from tests.unit.gateway.asking import chat, phases

ENGINES = {
    "a": ["--reasoning-parser", "deepseek_r1", "--ignore-native-budget"],
    "b": ["--reasoning-parser", "qwen3", "--reasoning-field", "reasoning_content",
          "--ignore-native-budget", "--coalesce", "4"],
    "c": ["--reasoning-parser", "none", "--ignore-native-budget"],
    "d": ["--reasoning-parser", "none", "--coalesce", "4", "--no-template-opens-think"],
    "e": ["--reasoning-parser", "deepseek_r1"],
}  # fmt: skip
FORCING = ["a", "b", "c", "d"]
OWN_NEWLINE = {"a": 0, "b": 0, "c": 0, "d": 1, "e": 0}
"""That model writes "<think>\n" itself, and the newline is a thinking token."""


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    return list(ENGINES.values())


@pytest.mark.parametrize("engine", FORCING)
@pytest.mark.parametrize("budget", [0, 1, 23])
async def test_a_thought_is_cut_exactly_at_its_budget_and_the_answer_still_comes(
    setup: Any, engine: str, budget: int
) -> None:
    await setup.arrange(engine, maxTokens=budget)
    answer = await setup.stream(**chat(200, 12))
    thinking, content = phases(answer)
    assert answer.status == 200
    assert answer.done
    assert len(thinking) == budget - (OWN_NEWLINE[engine] if budget else 0)
    assert len(content) == 12
    assert answer.finish_reason == "stop"
    assert answer.headers["x-thinkscale-budget"] == "forced"
    assert answer.headers["x-thinkscale-budget-tokens"] == str(budget)
    assert answer.usage["completion_tokens_details"]["reasoning_tokens"] == budget
    assert len({event["id"] for event in answer.events}) == 1
    assert len({event["object"] for event in answer.events}) == 1
    assert b"token_ids" not in answer.raw


@pytest.mark.parametrize("engine", [*FORCING, "e"])
async def test_a_thought_within_its_budget_is_left_alone(setup: Any, engine: str) -> None:
    await setup.arrange(engine, maxTokens=100)
    before = (await setup.signals())["budget"]["cut"]
    answer = await setup.stream(**chat(30, 7))
    thinking, content = phases(answer)
    assert (len(thinking), len(content)) == (30, 7)
    assert answer.usage["completion_tokens_details"]["reasoning_tokens"] == 30 + OWN_NEWLINE[engine]
    assert (await setup.signals())["budget"]["cut"] == before


async def test_the_same_words_come_with_and_without_the_gateway(setup: Any) -> None:
    """Nothing lost, nothing twice: the engine's words are a function of the prompt's ids."""
    await setup.arrange("a", maxTokens=15)
    cut = await setup.stream(**chat(60, 12, seed=5, temperature=0))
    whole_url = setup.emulators[0].url + "/v1/chat/completions"
    body = {**chat(60, 12, seed=5, temperature=0), "stream": False}
    async with setup.session.post(whole_url, json=body) as response:
        whole = await response.json()
    assert whole["choices"][0]["message"]["reasoning"].split()[:15] == cut.thinking.split()


async def test_the_engine_keeps_its_native_budget_and_we_only_count(setup: Any) -> None:
    await setup.arrange("e", maxTokens=20)
    before = (await setup.signals())["budget"]
    answer = await setup.stream(**chat(200, 5))
    after = (await setup.signals())["budget"]
    assert len(answer.thinking.split()) in (19, 20)
    assert len(answer.content.split()) == 5
    assert after["cut"] - before["cut"] == 1
    assert after["violated"] == before["violated"]


async def test_an_engine_that_ignores_the_native_budget_is_told_on(setup: Any) -> None:
    await setup.arrange("a", maxTokens=20)
    before = (await setup.signals())["budget"]
    await setup.stream(**chat(200, 5))
    after = (await setup.signals())["budget"]
    assert after["violated"] - before["violated"] == 1
    assert after["cut"] - before["cut"] == 1
    assert after["applied"] - before["applied"] == 1


@pytest.mark.parametrize("engine", FORCING)
async def test_a_client_that_does_not_stream_gets_the_same_answer(setup: Any, engine: str) -> None:
    await setup.arrange(engine, maxTokens=10)
    answer = (await setup.post(**chat(80, 6, stream=False, stream_options=None))).events[0]
    message = answer["choices"][0]["message"]
    content = message["content"]
    thinking = message.get("reasoning") or message.get("reasoning_content")
    if not thinking:
        thinking, _, content = content.replace("<think>", "").partition("</think>")
    assert len(thinking.split()) == 10 - OWN_NEWLINE[engine]
    assert len(content.split()) == 6
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 10
    assert answer["usage"]["total_tokens"] == (
        answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    )


@pytest.mark.parametrize("engine", ["a", "b", "c", "d"])
async def test_a_thought_below_the_minimum_goes_on_behind_a_nudge(setup: Any, engine: str) -> None:
    await setup.arrange(engine, minTokens=25)
    before = (await setup.signals())["counters"]["thinkingTokens"]
    answer = await setup.stream(**chat(20, 6))
    thinking, content = phases(answer)
    assert "Wait," in thinking
    assert len(content) == 6
    used = answer.usage["completion_tokens_details"]["reasoning_tokens"]
    assert used >= 25
    assert (await setup.signals())["counters"]["thinkingTokens"] - before == used
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize("engine", ["a", "e"])  # "e" would let the answer come by itself
@pytest.mark.parametrize("extra", [{}, {"response_format": {"type": "json_object"}}])
async def test_stop_ends_an_exhausted_thought_without_an_answer(
    setup: Any, engine: str, extra: Any
) -> None:
    await setup.arrange(engine, maxTokens=9, onExhausted="Stop")
    answer = await setup.stream(**chat(100, 6, **extra))
    assert answer.headers["x-thinkscale-budget"] == "forced"
    assert len(answer.thinking.split()) == 9
    assert answer.content == ""
    assert answer.finish_reason == "length"
    assert answer.done


async def test_a_maximum_that_is_the_minimum_is_met_exactly(setup: Any) -> None:
    await setup.arrange("e", maxTokens=20, minTokens=20)
    answer = await setup.stream(**chat(100, 6))
    assert len(answer.thinking.split()) == 20
    assert len(answer.content.split()) == 6


@pytest.mark.parametrize("engine", ["a", "b", "c", "d"])
async def test_an_answer_is_stopped_exactly_at_its_maximum(setup: Any, engine: str) -> None:
    await setup.arrange(engine, answerMaxTokens=8, maxTokens=50)
    natural = await setup.stream(**chat(5, 6))
    assert natural.finish_reason == "stop"
    answer = await setup.stream(**chat(5, 100))
    assert answer.finish_reason == "length"
    assert answer.done
    tags = 1 + 2 * OWN_NEWLINE[engine]
    assert answer.usage["completion_tokens"] == 5 + tags + 8
    assert answer.usage["completion_tokens_details"]["reasoning_tokens"] == 5 + OWN_NEWLINE[engine]
    forced = await setup.stream(**chat(100, 100))
    assert len(phases(forced)[1]) == 8
    assert forced.finish_reason == "length"


async def test_the_clients_own_maximum_covers_thought_and_answer(setup: Any) -> None:
    await setup.arrange("a", maxTokens=10)
    answer = await setup.stream(**chat(100, 100, max_tokens=20))
    assert answer.finish_reason == "length"
    assert answer.usage["completion_tokens"] == 20
    assert len(answer.thinking.split()) == 10


@pytest.mark.parametrize(
    "ask",
    [
        {"thinking_token_budget": 7},
        {"max_thinking_tokens": 7},
        {"reasoning": {"max_tokens": 7}},
        {"thinking": {"type": "enabled", "budget_tokens": 7}},
    ],
)
async def test_a_client_may_ask_for_less_in_every_spelling(setup: Any, ask: Any) -> None:
    await setup.arrange("a", maxTokens=20)
    answer = await setup.stream(**chat(100, 3, **ask))
    assert len(answer.thinking.split()) == 7
    assert answer.headers["x-thinkscale-budget-tokens"] == "7"


async def test_a_client_cannot_ask_for_more_and_the_default_is_for_those_who_say_nothing(
    setup: Any,
) -> None:
    await setup.arrange("a", maxTokens=20, defaultMaxTokens=12)
    more = await setup.stream(**chat(100, 3, thinking_token_budget=500))
    silent = await setup.stream(**chat(100, 3))
    assert len(more.thinking.split()) == 20
    assert len(silent.thinking.split()) == 12


async def test_thinking_is_split_and_cut_on_the_completions_route_too(setup: Any) -> None:
    await setup.arrange("a", maxTokens=10)
    body = chat(100, 4, prompt="hello <think>\n")
    del body["messages"]
    answer = await setup.stream("/v1/completions", **body)
    thinking, content = phases(answer)
    assert len(thinking) == 10
    assert len(content) == 4
    assert {event["object"] for event in answer.events} == {"text_completion"}


async def test_what_a_continuation_cannot_carry_has_the_native_budget_only(setup: Any) -> None:
    await setup.arrange("e", maxTokens=10)
    answer = await setup.stream(**chat(100, 4, n=2))
    assert answer.headers["x-thinkscale-budget"] == "native"
    assert answer.done


@pytest.mark.parametrize("stream", [True, False])
async def test_every_one_of_several_choices_ends_by_itself_within_the_limits(
    setup: Any, stream: bool
) -> None:
    await setup.arrange("e", maxTokens=10, answerMaxTokens=6)
    body = chat(100, 100, n=2, stream=stream)
    if not stream:
        del body["stream_options"]
    answer = await (setup.stream if stream else setup.post)(**body)
    ends = [
        (choice["index"], choice["finish_reason"])
        for event in answer.events
        for choice in event["choices"]
        if choice.get("finish_reason")
    ]
    assert sorted(ends) == [(0, "length"), (1, "length")]
    assert answer.events[-1]["usage"]["completion_tokens"] == 2 * (10 + 6)


@pytest.mark.parametrize("engine", ["c", "e"])  # "c" has no native budget
async def test_what_cannot_be_streamed_is_within_the_limits_too(setup: Any, engine: str) -> None:
    await setup.arrange(engine, maxTokens=10, answerMaxTokens=6)
    body = chat(100, 100, prompt=["hello <think>\n", "hi <think>\n"], max_tokens=500, stream=False)
    del body["messages"], body["stream_options"]
    answer = await setup.post("/v1/completions", **body)
    assert answer.status == 200
    assert answer.events[0]["usage"]["completion_tokens"] == 2 * (10 + 6)


async def test_a_list_of_one_prompt_is_a_prompt(setup: Any) -> None:
    await setup.arrange("a", maxTokens=10, answerMaxTokens=6)
    body = chat(100, 100, prompt=["hello <think>\n"], max_tokens=500, stream=False)
    del body["messages"], body["stream_options"]
    answer = await setup.post("/v1/completions", **body)
    thinking, _, content = answer.events[0]["choices"][0]["text"].partition("</think>")
    assert (len(thinking.split()), len(content.split())) == (10, 6)


async def test_client_that_asks_for_ids_and_running_usage_gets_them(setup: Any) -> None:
    await setup.arrange("a", maxTokens=10)
    options = {"include_usage": True, "continuous_usage_stats": True}
    answer = await setup.stream(**chat(50, 4, return_token_ids=True, stream_options=options))
    running = [e["usage"]["completion_tokens"] for e in answer.events if e.get("usage")]
    assert running == sorted(running)
    assert running[-1] == answer.usage["completion_tokens"]
    ids = [c.get("token_ids") or [] for e in answer.events for c in e["choices"]]
    assert sum(len(i) for i in ids[:11]) == 10
