"""A stream that waits for a replica is kept alive by comments, and what goes wrong after the first
one is told inside it; OpenAI's own client reads it like any other.
"""

import asyncio
import json
from typing import Any

import openai
import pytest

from tests.unit.gateway.asking import PLAN, chat
from tests.unit.gateway.conftest import free_port
from tests.unit.gateway.in_process import chat as in_process_chat
from tests.unit.gateway.in_process import emulated, front_of
from thinkscale.gateway.patience import Patience
from thinkscale.gateway.routing import Replica

EVERY_SECONDS = 0.1
COMMENT = b": waiting for a model server\n\n"
PLAN_OF = {PLAN: {"thinking_tokens": 5, "answer_tokens": 4}}
HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    return [["--reasoning-parser", "deepseek_r1", "--a0-milliseconds", "3"]]


@pytest.fixture(scope="module")
def gateway_flags() -> list[str]:
    return ["--held-comment-seconds", str(EVERY_SECONDS), "--connect-timeout-seconds", "0.4"]


@pytest.fixture
async def empty(setup: Any) -> Any:
    """A fleet at zero."""
    await setup.arrange("", maxTokens=50, queueMaxRequests=1000)
    return setup


async def waiting(setup: Any) -> None:
    """Until a request has waited for two comments."""
    await setup.until(lambda s: s["held"] > 0)
    await asyncio.sleep(2.5 * EVERY_SECONDS)


def client(setup: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=setup.gateway.url + "/v1", api_key="-", max_retries=0)


async def test_a_stream_that_waits_is_kept_alive_and_told_later_what_its_headers_could_not(
    empty: Any,
) -> None:
    asked = asyncio.create_task(empty.stream(**chat(5, 4), thinking_token_budget=20))
    await waiting(empty)
    await empty.replicas("a")
    answer = await asked
    assert answer.status == 200
    assert answer.raw.startswith(2 * COMMENT)
    assert answer.done
    assert (len(answer.thinking.split()), len(answer.content.split())) == (5, 4)
    assert answer.headers["x-thinkscale-budget-source"] == "request"
    assert "x-thinkscale-replica" not in answer.headers
    behind = answer.raw[answer.raw.rfind(COMMENT) + len(COMMENT) :]
    told = behind.partition(b"\n\n")[0].decode().split("\n")
    assert ": x-thinkscale-replica: a" in told
    assert ": x-thinkscale-budget: forced" in told
    assert answer.raw.count(b"x-thinkscale-replica") == 1


async def test_no_comments_are_sent_where_none_are_wanted() -> None:
    async with emulated("vllm") as engine, front_of(engine, "", Patience(comment=0)) as front:
        body = in_process_chat(5, 4, stream=True)
        url = front.url + "/v1/chat/completions"
        asked = asyncio.ensure_future(front.session.post(url, json=body))
        await asyncio.sleep(EVERY_SECONDS)
        front.gateway.locate([Replica(name="a", url=engine.url, ready=True)])
        async with await asked as response:
            assert response.headers["x-thinkscale-replica"] == "a"
            assert COMMENT not in await response.read()


async def test_openais_client_reads_a_stream_that_waited(empty: Any) -> None:
    async with client(empty) as sdk:

        async def read() -> str:
            stream = await sdk.chat.completions.create(
                model="tiny", messages=HELLO, stream=True, extra_body=PLAN_OF
            )
            return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

        async def respond() -> str:
            stream = await sdk.responses.create(
                model="tiny", input="hello", stream=True, extra_body=PLAN_OF
            )
            kinds, text = [], ""
            async for event in stream:
                kinds.append(event.type)
                if event.type == "response.output_text.delta":
                    text += event.delta
            assert kinds[0] == "response.created"
            assert kinds[-1] == "response.completed"
            return text

        asked = asyncio.gather(read(), respond())
        await waiting(empty)
        await empty.replicas("a")
        assert [len(text.split()) for text in await asked] == [4, 4]


async def test_a_refusal_after_the_wait_comes_inside_the_stream(empty: Any) -> None:
    asked = asyncio.create_task(empty.stream(**chat(5, 4), temperature=-1))
    async with client(empty) as sdk:
        stream = await asyncio.wait_for(first_comment(sdk, temperature=-1), 5)
        await waiting(empty)
        await empty.replicas("a")
        with pytest.raises(openai.APIError, match="temperature"):
            async for _ in stream:
                pass
    answer = await asked
    assert answer.status == 200
    (event,) = answer.events
    assert event["error"]["code"] == 400
    assert "temperature" in event["error"]["message"]


async def first_comment(sdk: openai.AsyncOpenAI, **fields: Any) -> Any:
    """The stream, once its headers are there."""
    return await sdk.chat.completions.create(
        model="tiny", messages=HELLO, stream=True, extra_body=PLAN_OF, **fields
    )


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_that_no_replica_could_be_reached_is_told_inside_the_stream(
    empty: Any, path: str
) -> None:
    body = chat(5, 4)
    if path == "/v1/responses":
        body = {"model": "tiny", "input": "hello", "stream": True, **PLAN_OF}
    asked = asyncio.create_task(empty.stream(path, **body))
    await waiting(empty)
    nobody = f"http://127.0.0.1:{free_port()}"
    empty.gateway.write("replicas.json", [{"name": "a", "url": nobody, "ready": True}])
    answer = await asked
    assert answer.status == 200
    if path == "/v1/responses":
        said = [json.loads(line[6:]) for line in answer.raw.split(b"\n") if line[:6] == b"data: "]
        assert said[0]["type"] == "response.created"
        assert said[-1]["type"] == "response.failed"
    else:
        assert answer.events[-1]["error"]["code"] == 502


async def test_a_full_queue_keeps_its_status(empty: Any) -> None:
    await empty.configure(queueMaxRequests=0)
    answer = await empty.stream(**chat(5, 4))
    assert answer.status == 429
    assert answer.headers["Retry-After"]
    assert json.loads(answer.raw)["error"]["code"] == 429


async def test_a_client_that_does_not_stream_gets_its_answer_alone(empty: Any) -> None:
    asked = asyncio.create_task(empty.post(**chat(5, 4, stream=False, stream_options=None)))
    await waiting(empty)
    await empty.replicas("a")
    answer = await asked
    assert answer.headers["x-thinkscale-replica"] == "a"
    assert len(answer.events[0]["choices"][0]["message"]["content"].split()) == 4


async def test_a_client_that_leaves_while_it_waits_is_forgotten(empty: Any) -> None:
    before = (await empty.signals())["counters"]["cancelled"]
    asked = asyncio.create_task(empty.stream(**chat(5, 4)))
    await waiting(empty)
    asked.cancel()
    told = await empty.until(lambda s: s["held"] == 0)
    assert told["counters"]["cancelled"] == before + 1
    await empty.replicas("a")
    assert (await empty.stream(**chat(5, 4))).done
    assert (await empty.signals())["phases"] == {"queued": 0, "thinking": 0, "answering": 0}
