"""`/v1/responses` as users call it: OpenAI's own library, against real processes."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

PLAN = "x_test_plan"
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    parser = ["--reasoning-parser", "deepseek_r1"]
    return [parser, ["--reasoning-parser", "none"], [*parser, "--ignore-native-budget"]]


@pytest.fixture(scope="module")
def gateway_flags() -> list[str]:
    return ["--connect-timeout-seconds", "0.3"]


@pytest.fixture
def openai(processes: Any) -> Iterator[OpenAI]:
    base = processes[0].url + "/v1"
    with OpenAI(base_url=base, api_key="unused", max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
async def aopenai(processes: Any) -> AsyncIterator[AsyncOpenAI]:
    base = processes[0].url + "/v1"
    async with AsyncOpenAI(base_url=base, api_key="unused", max_retries=0, timeout=20) as client:
        yield client


def plan(thinks: int, answers: int, calls: int = 0) -> dict[str, Any]:
    return {PLAN: {"thinking_tokens": thinks, "answer_tokens": answers, "tool_calls": calls}}


def words(text: str) -> int:
    return len(text.split())


def thought(response: Any) -> str:
    parts = [p for item in response.output if item.type == "reasoning" for p in item.content]
    return "".join(part.text for part in parts)


async def test_a_response_says_what_chat_says_and_counts_the_same(
    setup: Any, openai: OpenAI
) -> None:
    await setup.arrange("a")
    response = openai.responses.create(
        model="tiny", input="hello", metadata={"k": "v"}, extra_body=plan(20, 5)
    )
    chat = openai.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "hello"}], extra_body=plan(20, 5)
    )
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert thought(response) == chat.choices[0].message.model_dump()["reasoning"]
    assert response.output_text == chat.choices[0].message.content
    assert response.status == "completed"
    assert response.metadata == {"k": "v"}
    assert response.model_dump()["store"] is False
    assert response.usage is not None
    assert chat.usage is not None
    assert response.usage.input_tokens == chat.usage.prompt_tokens
    assert response.usage.output_tokens == chat.usage.completion_tokens
    assert response.usage.output_tokens_details.reasoning_tokens == 20


async def test_instructions_and_earlier_turns_are_part_of_the_prompt(
    setup: Any, openai: OpenAI
) -> None:
    await setup.arrange("a")
    first = openai.responses.create(model="tiny", input="hello", extra_body=plan(5, 5))
    history = [
        {"role": "user", "content": "hello"},
        *(item.model_dump() for item in first.output),
        {"role": "user", "content": "and then?"},
    ]
    second = openai.responses.create(
        model="tiny", instructions="be brief", input=history, extra_body=plan(5, 5)
    )
    chat = openai.chat.completions.create(
        model="tiny",
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": first.output_text},
            {"role": "user", "content": "and then?"},
        ],
        extra_body=plan(5, 5),
    )
    assert second.usage is not None
    assert chat.usage is not None
    assert second.usage.input_tokens == chat.usage.prompt_tokens
    assert second.output_text == chat.choices[0].message.content


@pytest.mark.parametrize("engine", ["a", "b"])
async def test_the_librarys_stream_helper_puts_the_same_response_together(
    setup: Any, openai: OpenAI, engine: str
) -> None:
    """Engine b has no reasoning parser: its thought is in the text, behind a hidden tag."""
    await setup.arrange(engine)
    body = {"model": "tiny", "input": "hello", "extra_body": plan(12, 4)}
    with openai.responses.stream(**body) as stream:
        events = list(stream)
        final = stream.get_final_response()
    deltas = [e.delta for e in events if e.type == "response.reasoning_text.delta"]
    assert len(deltas) >= 12
    assert words("".join(deltas)) == 12
    assert words(final.output_text) == 4
    assert "think>" not in thought(final) + final.output_text
    assert "".join(deltas) == thought(final)
    whole = openai.responses.create(**body)
    assert (whole.output_text, thought(whole)) == (final.output_text, thought(final))
    assert whole.usage == final.usage


async def test_many_asynchronous_streams_at_once_are_numbered_each_for_itself(
    setup: Any, aopenai: AsyncOpenAI
) -> None:
    await setup.arrange("a", seatsPerReplica=4)

    async def one(answers: int) -> Any:
        numbers, last = [], None
        async with await aopenai.responses.create(
            model="tiny", input="hello", stream=True, extra_body=plan(10, answers)
        ) as stream:
            async for event in stream:
                numbers.append(event.sequence_number)
                last = event
        assert numbers == [*range(len(numbers))]
        return last

    ends = await asyncio.gather(*(one(answers) for answers in range(3, 13)))
    assert [words(end.response.output_text) for end in ends] == [*range(3, 13)]
    assert len({end.response.id for end in ends}) == 10


async def test_a_budget_that_the_engine_ignores_is_forced_and_the_answer_comes(
    setup: Any, openai: OpenAI
) -> None:
    await setup.arrange("c", maxTokens=9)
    raw = openai.responses.with_raw_response.create(
        model="tiny", input="hello", extra_body=plan(50, 6)
    )
    response = raw.parse()
    assert raw.headers["x-thinkscale-budget"] == "forced"
    assert raw.headers["x-thinkscale-budget-tokens"] == "9"
    assert words(thought(response)) == 9
    assert words(response.output_text) == 6
    assert response.status == "completed"
    assert response.usage is not None
    assert response.usage.output_tokens_details.reasoning_tokens == 9
    with openai.responses.stream(model="tiny", input="hello", extra_body=plan(50, 6)) as stream:
        streamed = stream.until_done().get_final_response()
    assert (thought(streamed), streamed.output_text) == (thought(response), response.output_text)


async def test_the_effort_chooses_the_tier(setup: Any, openai: OpenAI) -> None:
    await setup.arrange("c", tiers=[{"name": "quick", "efforts": ["low"], "maxTokens": 4}])
    raw = openai.responses.with_raw_response.create(
        model="tiny",
        input="hello",
        reasoning={"effort": "low", "summary": "auto"},
        extra_body=plan(30, 3),
    )
    response = raw.parse()
    assert raw.headers["x-thinkscale-tier"] == "quick"
    assert words(thought(response)) == 4
    assert response.reasoning is not None
    assert (response.reasoning.effort, response.reasoning.summary) == ("low", None)
    with pytest.raises(BadRequestError) as refused:
        openai.responses.create(
            model="tiny", input="hello", extra_body={"reasoning": {"effort": "enormous"}}
        )
    assert refused.value.param == "reasoning.effort"
    assert "quick" in refused.value.message


async def test_an_exhausted_thought_that_stops_is_an_incomplete_response(
    setup: Any, openai: OpenAI
) -> None:
    await setup.arrange("a", maxTokens=5, onExhausted="Stop")
    response = openai.responses.create(model="tiny", input="hello", extra_body=plan(50, 6))
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert [(item.type, item.status) for item in response.output] == [("reasoning", "incomplete")]


async def test_max_output_tokens_covers_thought_and_answer(setup: Any, openai: OpenAI) -> None:
    await setup.arrange("a")
    with openai.responses.stream(
        model="tiny", input="hello", max_output_tokens=9, extra_body=plan(5, 20)
    ) as stream:
        last = list(stream)[-1]
    assert last.type == "response.incomplete"
    assert last.response.usage.output_tokens == 9
    assert [item.status for item in last.response.output] == ["completed", "incomplete"]


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_function_is_called_and_its_output_answered(
    setup: Any, openai: OpenAI, streaming: bool
) -> None:
    await setup.arrange("a", maxTokens=40)
    body: dict[str, Any] = {"model": "tiny", "tools": [WEATHER]}
    asked = [{"role": "user", "content": "the weather in Bern?"}]
    if streaming:
        with openai.responses.stream(**body, input=asked, extra_body=plan(5, 4, 2)) as stream:
            events = list(stream)
            first: Any = stream.get_final_response()
        pieces = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
        assert len(pieces) > 4
    else:
        first = openai.responses.create(**body, input=asked, extra_body=plan(5, 4, 2))
    calls = [item for item in first.output if item.type == "function_call"]
    assert [item.type for item in first.output] == ["reasoning", "function_call", "function_call"]
    assert [call.name for call in calls] == ["weather", "weather"]
    assert [words(json.loads(call.arguments)["city"]) for call in calls] == [2, 2]
    outputs = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny sunny sunny"}
        for call in calls
    ]
    history = [*asked, *(item.model_dump(exclude={"parsed_arguments"}) for item in first.output)]
    second = openai.responses.create(**body, input=[*history, *outputs], extra_body=plan(5, 4))
    assert words(second.output_text) == 4
    assert second.usage.input_tokens > first.usage.input_tokens + 2 * 3


@pytest.mark.parametrize(
    ("body", "error", "param"),
    [
        ({"model": "other", "input": "x"}, NotFoundError, "model"),
        (
            {"model": "tiny", "input": "x", "previous_response_id": "resp_1"},
            BadRequestError,
            "previous_response_id",
        ),
        (
            {"model": "tiny", "input": "x", "include": ["reasoning.encrypted_content"]},
            BadRequestError,
            "include",
        ),
        ({"model": "tiny", "input": "x", "temperature": -1}, BadRequestError, "temperature"),
    ],
)
async def test_a_clients_mistake_is_an_error_that_the_library_knows(
    setup: Any, openai: OpenAI, body: dict[str, Any], error: type[APIStatusError], param: str
) -> None:
    await setup.arrange("a")
    failed = (await setup.signals())["counters"]["failed"]
    for stream in (False, True):
        with pytest.raises(error) as caught:
            openai.responses.create(**body, stream=stream)
        assert caught.value.param == param
    assert (await setup.signals())["counters"]["failed"] == failed


async def test_a_full_queue_is_a_429_and_a_held_response_comes_when_there_is_room(
    setup: Any, aopenai: AsyncOpenAI
) -> None:
    await setup.arrange("", queueMaxRequests=1)
    body: dict[str, Any] = {"model": "tiny", "input": "hello", "extra_body": plan(5, 3)}
    waiting = asyncio.create_task(aopenai.responses.create(**body))
    await setup.until(lambda s: s["held"] == 1)
    with pytest.raises(APIStatusError) as refused:
        await aopenai.responses.create(**body)
    assert refused.value.status_code == 429
    assert int(refused.value.response.headers["Retry-After"]) >= 1
    await setup.replicas("a")
    assert words((await waiting).output_text) == 3


async def test_where_no_replica_can_be_reached_it_is_a_502(setup: Any, openai: OpenAI) -> None:
    await setup.arrange("a")
    setup.gateway.write("replicas.json", [{"name": "gone", "url": "http://127.0.0.1:9"}])
    await setup.until(lambda s: set(s["replicas"]) == {"gone"})
    with pytest.raises(APIStatusError) as failed:
        await asyncio.to_thread(openai.responses.create, model="tiny", input="hello")
    assert failed.value.status_code == 502


async def test_a_client_that_goes_away_ends_the_engines_work(
    setup: Any, aopenai: AsyncOpenAI
) -> None:
    await setup.arrange("a")
    async with await aopenai.responses.create(
        model="tiny", input="hello", stream=True, extra_body=plan(5000, 3)
    ) as stream:
        async for event in stream:
            if event.type == "response.reasoning_text.delta":
                break
    before = (await setup.signals())["counters"]["cancelled"]
    await setup.until(lambda s: s["phases"]["thinking"] == 0, within=1)
    assert (await setup.signals())["counters"]["cancelled"] >= max(1, before)


async def test_an_engine_that_dies_ends_the_stream_with_a_failed_response(
    setup: Any, aopenai: AsyncOpenAI
) -> None:
    """The last test of this module: engine c is gone afterwards."""
    await setup.arrange("c")
    kinds: list[str] = []
    async with await aopenai.responses.create(
        model="tiny", input="hello", stream=True, extra_body=plan(5000, 3)
    ) as stream:
        async for event in stream:
            kinds.append(event.type)
            if event.type == "response.reasoning_text.delta" and len(kinds) < 20:
                setup.emulators[2].stop()
    assert event.type == "response.failed"
    assert event.response.status == "failed"
    assert event.response.error is not None
    assert event.response.error.code == "server_error"
    assert thought(event.response)
