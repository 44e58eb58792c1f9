"""Every dialect through the gateway, real processes on loopback: the same promises on all three.

TGI and SGLang are our emulator: their real servers do not run on these machines.
"""

import asyncio
import json
import time
from typing import Any

import openai
import pytest
from huggingface_hub import AsyncInferenceClient

from tests.unit.gateway.asking import PLAN, chat, phases

ENGINES = {
    "a": ["--reasoning-parser", "deepseek_r1", "--ignore-native-budget"],
    "b": ["--dialect", "tgi"],
    "c": ["--dialect", "tgi", "--no-template-opens-think"],
    "d": ["--dialect", "sglang", "--reasoning-parser", "deepseek-r1", "--enable-metrics"],
    "e": ["--dialect", "sglang", "--reasoning-parser", "qwen3", "--enable-metrics",
          "--no-template-opens-think", "--coalesce", "4"],
    "f": ["--dialect", "sglang", "--enable-metrics"],
    "g": ["--dialect", "sglang", "--reasoning-parser", "deepseek-r1", "--enable-metrics",
          "--enable-strict-thinking"],
}  # fmt: skip
KIND = {"a": "VLLM", "b": "TGI", "c": "TGI", **dict.fromkeys("defg", "SGLang")}
OWN_NEWLINE = {"c": 1, "e": 1}
"""That model writes "<think>\n" itself, and the newline is a thinking token."""
FORCED = ["b", "c", "d", "e", "f"]
ALL = list(ENGINES)


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    return list(ENGINES.values())


async def arrange(setup: Any, engine: str, **fields: Any) -> None:
    await setup.arrange(engine, engine=KIND[engine], **fields)


async def direct(setup: Any, engine: str, path: str, body: dict[str, Any]) -> str:
    url = setup.emulators[ord(engine) - ord("a")].url + path
    async with setup.session.post(url, json=body) as response:
        return (await response.read()).decode()


def without_identity(text: str) -> list[Any]:
    """The events, without what differs from one request to the next, without ids that are null
    (asked for, they are taken out with their names), and without vLLM's empty chunk for `</think>`,
    which it only sends when ids are asked for.
    """
    events = []
    for block in text.split("\n\n"):
        if not block.startswith("data: {"):
            events.append(block)
            continue
        event = json.loads(block[6:])
        choices = event["choices"]
        for holder in (event, *choices):
            for name in ("id", "created", "token_ids", "prompt_token_ids"):
                holder.pop(name, None)
        details = (event.get("usage") or {}).pop("completion_tokens_details", None)
        assert details is None or set(details) == {"reasoning_tokens"}
        if not choices or choices[0].get("delta") != {} or choices[0]["finish_reason"]:
            events.append(event)
    return [event for event in events if event]


@pytest.mark.parametrize("engine", ALL)
@pytest.mark.parametrize("route", ["chat", "completions"])
async def test_where_no_budget_bites_the_client_gets_what_the_engine_said(
    setup: Any, engine: str, route: str
) -> None:
    await arrange(setup, engine, maxTokens=500)
    body = chat(20, 6)
    path = "/v1/chat/completions"
    if route == "completions":
        path = "/v1/completions"
        body = {**body, "prompt": "say <think>\n", "max_tokens": 60}
        del body["messages"]
    through = await setup.stream(path, **body)
    plain = {**body, "model": "tgi"} if KIND[engine] == "TGI" else body
    assert without_identity(through.raw.decode()) == without_identity(
        await direct(setup, engine, path, plain)
    )
    if route == "chat":
        thought = through.usage["completion_tokens_details"]["reasoning_tokens"]
        assert thought == 20 + OWN_NEWLINE.get(engine, 0)


@pytest.mark.parametrize("engine", ["a", "d", "f"])
async def test_the_usage_comes_where_nobody_has_thought_too(setup: Any, engine: str) -> None:
    await arrange(setup, engine, maxTokens=500)
    answer = await setup.stream(**chat(20, 6, reasoning_effort="none"))
    assert phases(answer) == ([], answer.content.split())
    assert answer.usage["completion_tokens"] > 6


@pytest.mark.parametrize("engine", FORCED)
@pytest.mark.parametrize("budget", [0, 23])
async def test_a_thought_is_cut_exactly_at_its_budget_and_the_answer_still_comes(
    setup: Any, engine: str, budget: int
) -> None:
    await arrange(setup, engine, maxTokens=budget)
    answer = await setup.stream(**chat(200, 12))
    thinking, content = phases(answer)
    assert answer.status == 200
    assert answer.done
    assert len(thinking) == budget - (OWN_NEWLINE.get(engine, 0) if budget else 0)
    assert len(content) == 12
    assert answer.finish_reason == "stop"
    assert answer.headers["x-thinkscale-budget"] == "forced"
    assert answer.usage["completion_tokens_details"]["reasoning_tokens"] == budget
    assert answer.usage["prompt_tokens"] > 10
    assert len({event["id"] for event in answer.events}) == 1
    assert b"token_ids" not in answer.raw
    running = [event for event in answer.events if event.get("usage") and event["choices"]]
    assert running == []


@pytest.mark.parametrize("engine", FORCED)
async def test_nothing_is_lost_and_nothing_comes_twice_behind_a_cut(
    setup: Any, engine: str
) -> None:
    """The engine's words are a function of the prompt: they show where it went on from."""
    await arrange(setup, engine, maxTokens=15)
    cut = phases(await setup.stream(**chat(60, 12)))
    whole = await direct(setup, engine, "/v1/chat/completions", chat(60, 12, model=None))
    said = [json.loads(e[6:]) for e in whole.split("\n\n") if e.startswith("data: {")]
    deltas = [c["delta"] for e in said for c in e["choices"]]
    words = "".join((d.get("reasoning_content") or "") + (d.get("content") or "") for d in deltas)
    words = words.replace("<think>", "").split()
    assert cut[0] == words[: len(cut[0])]
    assert len(cut[1]) == 12


@pytest.mark.parametrize("engine", FORCED)
async def test_a_thought_below_the_minimum_goes_on_behind_a_nudge(setup: Any, engine: str) -> None:
    await arrange(setup, engine, minTokens=25)
    answer = await setup.stream(**chat(20, 6))
    thinking, content = phases(answer)
    assert "Wait," in thinking
    assert len(content) == 6
    assert answer.usage["completion_tokens_details"]["reasoning_tokens"] >= 25
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize("engine", ["a", "b", "d"])
async def test_the_nudge_is_what_the_resource_says_from_the_next_request_on(
    setup: Any, engine: str
) -> None:
    await arrange(setup, engine, minTokens=25)
    await setup.stream(**chat(20, 6))
    await setup.configure(nudge=" Hmm, one more look.")
    for stream in (True, False):
        extra = {} if stream else {"stream": False, "stream_options": None}
        answer = await (setup.stream if stream else setup.post)(**chat(20, 6, **extra))
        said = json.dumps(answer.events)
        if stream:
            thinking, content = phases(answer)
            assert " ".join(thinking).count("Hmm, one more look.") >= 1
            assert len(content) == 6
        assert "Wait," not in said
        assert "Hmm, one more look." in said


@pytest.mark.parametrize("engine", FORCED)
async def test_a_client_that_does_not_stream_gets_the_same_answer(setup: Any, engine: str) -> None:
    await arrange(setup, engine, maxTokens=10)
    answer = (await setup.post(**chat(80, 6, stream=False, stream_options=None))).events[0]
    message = answer["choices"][0]["message"]
    thinking, content = message.get("reasoning_content"), message["content"]
    if not thinking:
        thinking, _, content = content.replace("<think>", "").partition("</think>")
    assert len(thinking.split()) == 10 - OWN_NEWLINE.get(engine, 0)
    assert len(content.split()) == 6
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 10


@pytest.mark.parametrize("engine", ["b", "d"])
async def test_an_answer_and_a_request_end_exactly_at_their_maximum(
    setup: Any, engine: str
) -> None:
    await arrange(setup, engine, answerMaxTokens=8, maxTokens=50)
    answer = await setup.stream(**chat(5, 100))
    assert answer.finish_reason == "length"
    assert answer.usage["completion_tokens"] == 5 + 1 + 8
    cut = await setup.stream(**chat(100, 100, max_tokens=20))
    assert cut.finish_reason == "length"
    assert cut.usage["completion_tokens"] == 20


@pytest.mark.parametrize("engine", ["b", "d"])
async def test_thinking_is_cut_on_the_completions_route_too(setup: Any, engine: str) -> None:
    await arrange(setup, engine, maxTokens=10)
    body = chat(100, 4, prompt="hello <think>\n", max_tokens=200)
    del body["messages"]
    answer = await setup.stream("/v1/completions", **body)
    thinking, content = phases(answer)
    assert len(thinking) == 10
    assert len(content) == 4


async def test_tgi_goes_beyond_a_maximum_above_its_rounds_and_the_gateway_does_not(
    setup: Any,
) -> None:
    await arrange(setup, "b")
    body = chat(1025, 20, max_tokens=1030)
    answer = await setup.stream(**body)
    assert answer.usage["completion_tokens"] == 1030
    assert answer.finish_reason == "length"
    raw = await direct(setup, "b", "/v1/chat/completions", {**body, "model": "tgi"})
    assert '"completion_tokens":1048' in raw  # to its natural end, below 2,048


TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


async def test_what_tgi_can_neither_hold_nor_go_on_with_is_only_observed(setup: Any) -> None:
    await arrange(setup, "b", maxTokens=10)
    before = (await setup.signals())["budget"]["violated"]
    answer = await setup.stream(**chat(30, 4, tools=TOOLS))
    assert answer.headers["x-thinkscale-budget"] == "observed"
    assert answer.done
    await setup.stream(**chat(30, 4))
    assert (await setup.signals())["budget"]["violated"] == before  # it was never asked to


async def test_sglang_keeps_its_native_budget_only_where_it_was_told_to(setup: Any) -> None:
    await arrange(setup, "g", maxTokens=20)
    before = (await setup.signals())["budget"]
    answer = await setup.stream(**chat(200, 5))
    after = (await setup.signals())["budget"]
    assert len(answer.thinking.split()) in (19, 20)
    assert len(answer.content.split()) == 5
    assert after["violated"] == before["violated"]
    await arrange(setup, "d", maxTokens=20)
    ignored = await setup.stream(**chat(200, 5))
    assert len(ignored.thinking.split()) == 20
    assert len(ignored.content.split()) == 5


@pytest.mark.parametrize("engine", ["a", "b", "d"])
async def test_a_client_that_hangs_up_stops_the_engine(setup: Any, engine: str) -> None:
    await arrange(setup, engine)
    body = chat(20000, 20)
    async with setup.session.post(setup.gateway.url + "/v1/chat/completions", json=body) as reply:
        await reply.content.readany()
    url = setup.emulators[ord(engine) - ord("a")].url + "/metrics"
    name = {"VLLM": "vllm:num_requests_running", "TGI": "tgi_batch_current_size"}
    counted = name.get(KIND[engine], "sglang:num_running_reqs")
    deadline = time.monotonic() + 2
    while True:
        async with setup.session.get(url) as page:
            lines = (await page.text()).splitlines()
        running = sum(float(x.rsplit(" ", 1)[1]) for x in lines if x.startswith(counted))
        if running == 0:
            return
        assert time.monotonic() < deadline, "the engine goes on"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("engine", ["a", "b", "d"])
@pytest.mark.parametrize("stream", [True, False])
async def test_what_an_engine_refuses_reads_the_same_to_every_client(
    setup: Any, engine: str, stream: bool
) -> None:
    await arrange(setup, engine)
    body = chat(5, 5, max_tokens=10_000_000, stream=stream)
    if not stream:
        del body["stream_options"]
    async with setup.session.post(
        setup.gateway.url + "/v1/chat/completions", json=body
    ) as response:
        text = (await response.read()).decode()
    if stream and KIND[engine] == "TGI":  # it answers 200 before it looks
        assert response.status == 200
        text = text.split("\n\n")[0].removeprefix("data: ")
    else:
        assert response.status in (400, 422)
    error = json.loads(text)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "too large" in error["message"]
    assert error["code"] in (400, 422)


async def test_the_engines_own_load_is_relayed(setup: Any) -> None:
    await arrange(setup, "d")

    def told(signals: dict[str, Any]) -> bool:
        engine_says = signals["replicas"]["d"].get("engine")
        return bool(engine_says) and engine_says["kvCapacityTokens"] == 65536

    await setup.until(told, within=6)


async def test_huggingfaces_own_client_is_served_by_tgi_through_the_gateway(setup: Any) -> None:
    await arrange(setup, "b", maxTokens=10)
    client = AsyncInferenceClient(base_url=setup.gateway.url)
    plan = {PLAN: {"thinking_tokens": 60, "answer_tokens": 5}}
    messages = [{"role": "user", "content": "hello"}]
    whole = await client.chat_completion(messages, model="tiny", max_tokens=80, extra_body=plan)
    thinking, _, content = whole.choices[0].message.content.partition("</think>")
    assert (len(thinking.split()), len(content.split())) == (10, 5)
    assert whole.usage.completion_tokens < 30
    stream = await client.chat_completion(
        messages, model="tiny", max_tokens=80, stream=True, extra_body=plan
    )
    pieces = [c.choices[0].delta.content async for c in stream if c.choices]
    assert "".join(piece or "" for piece in pieces) == whole.choices[0].message.content
    await client.close()


def openai_client(setup: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=setup.gateway.url + "/v1", api_key="none", max_retries=0)


def counted(content: str, thinking: str | None) -> tuple[int, int]:
    if not thinking:
        thinking, _, content = content.partition("</think>")
    return len(thinking.split()), len(content.split())


@pytest.mark.parametrize("engine", ["b", "d"])
async def test_openais_own_client_need_not_know_which_engine_it_is(setup: Any, engine: str) -> None:
    await arrange(setup, engine, maxTokens=10)
    plan = {PLAN: {"thinking_tokens": 60, "answer_tokens": 5}}
    messages: Any = [{"role": "user", "content": "hello"}]
    async with openai_client(setup) as api:
        whole = await api.chat.completions.create(model="tiny", messages=messages, extra_body=plan)
        stream = await api.chat.completions.create(
            model="tiny", messages=messages, stream=True, extra_body=plan
        )
        deltas = [chunk.choices[0].delta async for chunk in stream if chunk.choices]
        with pytest.raises(openai.APIStatusError, match="too large") as refused:
            await api.chat.completions.create(
                model="tiny", messages=messages, max_tokens=10_000_000
            )
    message = whole.choices[0].message
    thought = getattr(message, "reasoning_content", None)
    assert counted(message.content or "", thought) == (10, 5)
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert whole.usage.completion_tokens_details is not None
    assert whole.usage.completion_tokens_details.reasoning_tokens == 10
    content = "".join(delta.content or "" for delta in deltas)
    thought = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert counted(content, thought) == (10, 5)
    assert refused.value.status_code in (400, 422)
