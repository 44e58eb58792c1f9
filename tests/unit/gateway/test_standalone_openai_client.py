"""Any OpenAI client works unchanged: their own library, sync and async, against real processes,
through a gateway that forces a budget.
"""

import asyncio
import json
import urllib.error
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

PLAN = "x_test_plan"
WHY: list[Any] = [{"role": "user", "content": "why?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture(scope="module")
def gateway(alone: Any, engines: Any) -> Any:
    engine = engines("--ignore-native-budget")  # so that we have to cut and go on ourselves
    made = alone("--upstream", engine.url, "--budget-max", "50", "--tier", "low=5")

    def is_ready() -> bool:
        try:
            return True in made.ready().values()
        except urllib.error.URLError:
            return False

    made.until(is_ready)
    return made


@pytest.fixture
def openai(gateway: Any) -> Iterator[OpenAI]:
    base = gateway.url + "/v1"
    with OpenAI(base_url=base, api_key="unused", max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
async def aopenai(gateway: Any) -> AsyncIterator[AsyncOpenAI]:
    base = gateway.url + "/v1"
    async with AsyncOpenAI(base_url=base, api_key="unused", max_retries=0, timeout=20) as client:
        yield client


def plan(thinks: int, answers: int, calls: int = 0) -> dict[str, Any]:
    return {PLAN: {"thinking_tokens": thinks, "answer_tokens": answers, "tool_calls": calls}}


def words(text: Any) -> int:
    return len(str(text).split())


def test_models_are_listed_and_found(openai: OpenAI) -> None:
    assert [model.id for model in openai.models.list()] == ["tiny"]
    with pytest.raises(NotFoundError):
        openai.chat.completions.create(model="other", messages=WHY)


def test_an_answer_comes_behind_a_forced_budget(openai: OpenAI) -> None:
    raw = openai.chat.completions.with_raw_response.create(
        model="tiny", messages=WHY, extra_body=plan(400, 20)
    )
    made = raw.parse()
    (choice,) = made.choices
    assert choice.finish_reason == "stop"
    assert words(choice.message.content) == 20
    assert words(choice.message.model_dump()["reasoning"]) == 50
    assert made.usage is not None
    assert made.usage.completion_tokens_details is not None
    assert made.usage.completion_tokens_details.reasoning_tokens == 50
    assert made.usage.completion_tokens_details.model_dump()["thinking_cut_by"] == "budget"
    assert raw.headers["x-thinkscale-budget"] == "forced"
    assert raw.headers["x-thinkscale-budget-tokens"] == "50"
    assert raw.headers["x-thinkscale-budget-source"] == "maximum"


def test_a_stream_is_one_stream_with_one_usage(openai: OpenAI) -> None:
    thinking, content, identities, usages = "", "", set(), []
    for chunk in openai.chat.completions.create(
        model="tiny",
        messages=WHY,
        stream=True,
        stream_options={"include_usage": True},
        reasoning_effort="low",
        extra_body=plan(400, 20),
    ):
        identities.add(chunk.id)
        usages += [chunk.usage] if chunk.usage else []
        for choice in chunk.choices:
            thinking += choice.delta.model_dump().get("reasoning") or ""
            content += choice.delta.content or ""
    assert (words(thinking), words(content), len(identities)) == (5, 20, 1)
    (usage,) = usages
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 5


@pytest.mark.parametrize(
    ("wish", "tokens"),
    [
        ({"reasoning_effort": "high"}, 50),
        ({"reasoning_effort": "none"}, 0),
        ({"extra_body": {"reasoning": {"effort": "low"}}}, 5),
        ({"extra_body": {"reasoning": {"max_tokens": 12}}}, 12),
        ({"extra_body": {"thinking": {"type": "enabled", "budget_tokens": 13}}}, 13),
        ({"extra_body": {"thinking": {"type": "disabled"}}}, 0),
        ({"extra_body": {"thinking_token_budget": 14}}, 14),
        ({"extra_body": {"max_thinking_tokens": 15}}, 15),
        ({"extra_body": {"thinking_budget": 16}}, 16),
        ({"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}, 0),
        ({"extra_body": {"chat_template_kwargs": {"thinking": False}}}, 0),
    ],
    ids=str,
)
def test_every_spelling_of_a_budget_holds(
    openai: OpenAI, wish: dict[str, Any], tokens: int
) -> None:
    body = plan(400, 6) | wish.get("extra_body", {})
    made = openai.chat.completions.create(
        model="tiny", messages=WHY, **{**wish, "extra_body": body}
    )
    assert made.usage is not None
    details = made.usage.completion_tokens_details
    assert (details.reasoning_tokens if details else 0) == tokens
    assert words(made.choices[0].message.content) == 6


def test_an_effort_that_nobody_knows_is_a_clear_refusal(openai: OpenAI) -> None:
    effort: Any = "galaxy"
    with pytest.raises(BadRequestError, match="use one of low, none, minimal") as refused:
        openai.chat.completions.create(model="tiny", messages=WHY, reasoning_effort=effort)
    assert refused.value.param == "reasoning_effort"


@pytest.mark.parametrize("stream", [False, True])
def test_tools_pass_through(openai: OpenAI, stream: bool) -> None:
    asked: dict[str, Any] = {
        "model": "tiny",
        "messages": WHY,
        "tools": [WEATHER],
        "tool_choice": "required",
        "extra_body": plan(10, 6, 2),
    }
    if stream:
        with openai.chat.completions.stream(**asked) as events:
            for _ in events:
                pass
            made: Any = events.get_final_completion()
    else:
        made = openai.chat.completions.create(**asked)
    (choice,) = made.choices
    assert choice.finish_reason == "tool_calls"
    assert [call.function.name for call in choice.message.tool_calls] == ["weather"] * 2
    for call in choice.message.tool_calls:
        assert words(json.loads(call.function.arguments)["city"]) == 3


async def test_asynchronous_clients_stream_side_by_side(aopenai: AsyncOpenAI) -> None:
    async def one(answers: int) -> int:
        content = ""
        async for chunk in await aopenai.chat.completions.create(
            model="tiny", messages=WHY, stream=True, extra_body=plan(80, answers)
        ):
            content += "".join(choice.delta.content or "" for choice in chunk.choices)
        return words(content)

    assert await asyncio.gather(*(one(answers) for answers in range(5, 25))) == [*range(5, 25)]


async def test_a_stream_that_its_reader_leaves_is_over_for_the_engine(
    aopenai: AsyncOpenAI, gateway: Any
) -> None:
    def cancelled() -> int:
        lines = gateway.page("/metrics").splitlines()
        wanted = 'thinkscale_gateway_requests_total{outcome="cancelled",'
        return int(next(float(line.split()[-1]) for line in lines if line.startswith(wanted)))

    before = cancelled()
    stream = await aopenai.chat.completions.create(
        model="tiny", messages=WHY, stream=True, extra_body=plan(20, 5000)
    )
    await anext(aiter(stream))
    await stream.close()
    async with asyncio.timeout(4):
        while cancelled() == before:  # noqa: ASYNC110 - a page has no event
            await asyncio.sleep(0.02)
    assert cancelled() == before + 1


@pytest.mark.parametrize(("wish", "tokens"), [({}, 50), ({"reasoning_effort": "none"}, 0)])
def test_a_raw_prompt_has_no_template_to_listen_and_its_budget_holds_all_the_same(
    openai: OpenAI, wish: dict[str, str], tokens: int
) -> None:
    made = openai.completions.create(
        model="tiny", prompt="<think>\n", max_tokens=2000, extra_body=plan(400, 7) | wish
    )
    thought, _, answer = made.choices[0].text.partition("</think>")
    assert (words(thought), words(answer)) == (tokens, 7)
