"""The gateway as a client and an operator see it: passing on, routing, holding, telling."""

import asyncio
import re
import time
from typing import Any

import pytest
from aiohttp import web

from tests.unit.gateway.asking import PLAN, chat
from thinkscale.gateway.request import RESERVED_FIELDS


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    parser = ["--reasoning-parser", "deepseek_r1"]
    return [parser, parser, ["--reasoning-parser", "none", "--max-num-queued-reqs", "1"]]


def running(signals: dict[str, Any], name: str) -> int:
    return signals["replicas"][name]["engine"]["running"]


async def engine_running(setup: Any, index: int) -> int:
    async with setup.session.get(setup.emulators[index].url + "/metrics") as response:
        text = await response.text()
    lines = [line for line in text.splitlines() if line.startswith("vllm:num_requests_running")]
    return round(float(lines[0].rsplit(" ", 1)[1]))


async def test_where_nothing_changes_the_bytes_are_the_engines_own(setup: Any) -> None:
    await setup.arrange("a")
    body = chat(20, 5, return_token_ids=True)
    through = await setup.stream(**body)
    async with setup.session.post(
        setup.emulators[0].url + "/v1/chat/completions", json=body
    ) as response:
        direct = await response.read()
    assert through.headers["x-thinkscale-budget"] == "none"

    def anonymous(raw: bytes) -> list[bytes]:
        """Without what differs by request, and without the usage (which is put right)."""
        raw = re.sub(rb'"id":"[^"]*"|"created":[0-9]+', b"", raw)
        return [block for block in raw.split(b"\n\n") if b'"choices":[]' not in block]

    assert anonymous(through.raw) == anonymous(direct)
    assert through.usage["completion_tokens_details"]["reasoning_tokens"] == 20


async def test_models_are_answered_from_the_configuration(setup: Any) -> None:
    await setup.arrange("a", model="r1")
    async with setup.session.get(setup.gateway.url + "/v1/models") as response:
        listed = await response.json()
    assert [card["id"] for card in listed["data"]] == ["r1"]


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"model": "other", "messages": []}, 404, "NotFoundError"),
        ({"model": "tiny", "thinking_token_budget": "x", "messages": []}, 400, "BadRequestError"),
        ({"model": "tiny"}, 400, "Bad Request"),
        (
            {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "temperature": -1},
            400,
            "BadRequestError",
        ),
    ],
)
async def test_a_clients_mistake_comes_back_in_openais_shape(
    setup: Any, body: dict[str, Any], status: int, kind: str
) -> None:
    await setup.arrange("a")
    before = (await setup.signals())["counters"]
    answer = await setup.post(**body)
    assert answer.status == status
    assert answer.events[0]["error"]["type"] == kind
    after = (await setup.signals())["counters"]
    assert after["failed"] == before["failed"]


async def test_an_error_inside_a_stream_passes_and_is_counted(setup: Any) -> None:
    await setup.arrange("c", slos=[SLO])
    before = await setup.signals()
    first = asyncio.create_task(setup.stream(**chat(300, 3)))
    await setup.until(lambda s: s["phases"]["thinking"] == 1)
    refused = await setup.stream(**chat(3, 3))
    assert refused.status == 200
    assert refused.events[-1]["error"]["code"] == 503
    whole = await setup.post(**chat(3, 3, stream=False, stream_options=None))
    assert whole.status == 503
    assert whole.events[0]["error"]["code"] == 503
    await first
    after = await setup.signals()
    assert after["counters"]["failed"] - before["counters"]["failed"] == 2
    assert (
        after["slos"]["first-answer"]["bad"] == before["slos"].get("first-answer", NONE)["bad"] + 2
    )


SLO = {
    "name": "first-answer",
    "indicator": "TimeToFirstAnswer",
    "thresholdSeconds": 0.05,
    "perTokenSeconds": 0.1,
}
NONE = {"good": 0, "bad": 0, "overdue": 0}


async def test_reserved_fields_never_reach_an_engine(setup: Any) -> None:
    bodies: list[dict[str, Any]] = []

    async def record(request: web.Request) -> web.Response:
        body = await request.json()
        if request.path.endswith("completions"):
            bodies.append(body)
        return web.json_response({"error": {"message": "no", "code": 400}}, status=400)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", record)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        await setup.arrange("a", maxTokens=9)
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        setup.gateway.write("replicas.json", [{"name": "r", "url": url}])
        await setup.until(lambda s: set(s["replicas"]) == {"r"})
        reserved = dict.fromkeys(RESERVED_FIELDS, "x")
        answer = await setup.post(**chat(3, 3, **reserved, temperature=0.5, max_thinking_tokens=4))
    finally:
        await runner.cleanup()
    assert answer.status == 400
    assert answer.headers["x-thinkscale-stripped"] == ", ".join(RESERVED_FIELDS)
    assert len(bodies) == 1
    assert not set(RESERVED_FIELDS) & bodies[0].keys()
    assert bodies[0]["temperature"] == 0.5
    assert bodies[0][PLAN] == {"thinking_tokens": 3, "answer_tokens": 3}
    assert bodies[0]["thinking_token_budget"] == 4
    assert "max_thinking_tokens" not in bodies[0]


async def test_a_client_that_goes_away_frees_the_engine_at_once(setup: Any) -> None:
    await setup.arrange("a", maxTokens=100_000)
    before = (await setup.signals())["counters"]["cancelled"]
    url = setup.gateway.url + "/v1/chat/completions"
    async with setup.session.post(url, json=chat(20_000, 5)) as response:
        await response.content.readany()
        assert await engine_running(setup, 0) == 1
    await setup.until(lambda s: s["counters"]["cancelled"] == before + 1, within=1)
    deadline = time.monotonic() + 1
    while await engine_running(setup, 0):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    signals = await setup.signals()
    assert signals["phases"] == {"queued": 0, "thinking": 0, "answering": 0}


async def test_a_waiting_client_that_goes_away_frees_the_engine_too(setup: Any) -> None:
    await setup.arrange("a")
    before = (await setup.signals())["counters"]["cancelled"]
    task = asyncio.create_task(setup.post(**chat(20_000, 5, stream=False, stream_options=None)))
    await setup.until(lambda s: s["phases"]["thinking"] == 1)
    task.cancel()
    await setup.until(lambda s: s["counters"]["cancelled"] == before + 1, within=1)
    await setup.until(lambda s: s["phases"]["thinking"] == 0)


async def test_a_request_goes_where_the_least_work_is(setup: Any) -> None:
    await setup.arrange("a")
    long = asyncio.create_task(setup.stream(**chat(1500, 5)))
    await setup.until(lambda s: s["replicas"]["a"]["phases"]["thinking"] == 1)
    await setup.replicas("ab")
    answers = [await setup.stream(**chat(3, 3)) for _ in range(3)]
    assert [answer.headers["x-thinkscale-replica"] for answer in answers] == ["b", "b", "b"]
    long.cancel()


async def test_many_requests_are_spread_evenly(setup: Any) -> None:
    await setup.arrange("ab")
    answers = await asyncio.gather(*(setup.stream(**chat(500, 3)) for _ in range(10)))
    names = [answer.headers["x-thinkscale-replica"] for answer in answers]
    assert names.count("a") == names.count("b") == 5


async def test_a_cordoned_replica_gets_no_new_request_and_finishes_what_it_has(setup: Any) -> None:
    await setup.arrange("a")
    running_there = asyncio.create_task(setup.stream(**chat(400, 5)))
    await setup.until(lambda s: s["replicas"]["a"]["phases"]["thinking"] == 1)
    await setup.replicas("ab")
    await setup.direct(cordoned=["a"])
    answers = await asyncio.gather(*(setup.stream(**chat(3, 3)) for _ in range(4)))
    assert {answer.headers["x-thinkscale-replica"] for answer in answers} == {"b"}
    assert (await setup.signals())["replicas"]["a"]["cordoned"]
    kept = await running_there
    assert kept.headers["x-thinkscale-replica"] == "a"
    assert len(kept.content.split()) == 5


async def test_a_cordon_over_all_replicas_is_ignored(setup: Any) -> None:
    await setup.arrange("ab")
    await setup.direct(cordoned=["a", "b"])
    assert (await setup.stream(**chat(3, 3))).status == 200


async def test_streams_of_a_terminating_replica_go_on(setup: Any) -> None:
    await setup.arrange("ab")
    streams = [asyncio.create_task(setup.stream(**chat(300, 5))) for _ in range(2)]
    await setup.until(lambda s: s["phases"]["thinking"] == 2)
    await setup.replicas("b")
    answers = await asyncio.gather(*streams)
    assert [len(answer.content.split()) for answer in answers] == [5, 5]
    assert {answer.headers["x-thinkscale-replica"] for answer in answers} == {"a", "b"}


async def test_requests_are_held_at_zero_replicas_and_served_when_one_comes(setup: Any) -> None:
    await setup.arrange("")
    waiting = [asyncio.create_task(setup.stream(**chat(5, 3))) for _ in range(3)]
    held = await setup.until(lambda s: s["held"] == 3)
    assert held["phases"]["queued"] == 3
    assert held["oldestHeldSeconds"] > 0
    await setup.replicas("a")
    answers = await asyncio.gather(*waiting)
    assert [answer.status for answer in answers] == [200] * 3
    assert (await setup.signals())["held"] == 0


async def test_a_full_queue_refuses_with_429_and_says_when_to_come_back(setup: Any) -> None:
    await setup.arrange("", queueMaxRequests=1)
    before = (await setup.signals())["counters"]["failed"]
    waiting = asyncio.create_task(setup.stream(**chat(5, 3)))
    await setup.until(lambda s: s["held"] == 1)
    refused = await setup.post(**chat(5, 3))
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert "error" in refused.events[0]
    assert (await setup.signals())["counters"]["failed"] == before + 1
    await setup.replicas("a")
    assert (await waiting).status == 200


async def test_a_held_client_that_goes_away_leaves_the_queue(setup: Any) -> None:
    await setup.arrange("")
    waiting = asyncio.create_task(setup.stream(**chat(5, 3)))
    await setup.until(lambda s: s["held"] == 1)
    waiting.cancel()
    await setup.until(lambda s: s["held"] == 0 and s["phases"]["queued"] == 0)


async def test_the_admission_ceiling_holds_the_rest_at_the_gateway(setup: Any) -> None:
    await setup.arrange("a")
    await setup.direct(ceiling={"seats": 2})
    streams = [asyncio.create_task(setup.stream(**chat(150, 3))) for _ in range(5)]
    signals = await setup.until(lambda s: s["held"] == 3)
    assert (
        signals["replicas"]["a"]["phases"]["queued"]
        + (signals["replicas"]["a"]["phases"]["thinking"])
        == 2
    )
    answers = await asyncio.gather(*streams)
    assert [answer.status for answer in answers] == [200] * 5


async def test_a_replica_that_refuses_connections_costs_no_request(setup: Any) -> None:
    await setup.arrange("b")
    dead = {"name": "aa", "url": "http://127.0.0.1:9", "ready": True}
    alive = {"name": "b", "url": setup.emulators[1].url, "ready": True}
    setup.gateway.write("replicas.json", [dead, alive])
    await setup.until(lambda s: "aa" in s["replicas"])
    answers = await asyncio.gather(*(setup.stream(**chat(5, 3)) for _ in range(6)))
    assert {answer.headers["x-thinkscale-replica"] for answer in answers} == {"b"}
    assert all(answer.done for answer in answers)


async def test_the_long_poll_answers_at_once_when_depth_jumps(setup: Any) -> None:
    await setup.arrange("a")
    sequence = (await setup.signals())["sequence"]
    await asyncio.sleep(0.1)
    sequence = (await setup.signals())["sequence"]
    poll = asyncio.create_task(setup.signals(since=sequence, wait=5))
    await asyncio.sleep(0.05)
    assert not poll.done()
    begun = time.monotonic()
    streams = [asyncio.create_task(setup.stream(**chat(300, 3))) for _ in range(4)]
    signals = await poll
    assert time.monotonic() - begun < 0.1
    assert signals["sequence"] > sequence
    assert signals["phases"]["queued"] + signals["phases"]["thinking"] >= 2
    await asyncio.gather(*streams)


async def test_a_poll_with_nothing_to_tell_is_answered_after_its_wait(setup: Any) -> None:
    await setup.arrange("a")
    await asyncio.sleep(1.1)
    sequence = (await setup.signals())["sequence"] + 1000
    begun = time.monotonic()
    signals = await setup.signals(since=sequence, wait=0.2)
    assert 0.15 < time.monotonic() - begun < 2
    assert signals["sequence"] < sequence


async def test_the_books_add_up(setup: Any) -> None:
    await setup.arrange("ab", slos=[SLO])
    before = await setup.signals()
    answers = await asyncio.gather(*(setup.stream(**chat(30, 10)) for _ in range(6)))
    after = await setup.signals()

    def grown(name: str) -> int:
        return after["counters"][name] - before["counters"][name]

    assert (grown("arrivals"), grown("completed"), grown("failed")) == (6, 6, 0)
    assert grown("thinkingTokens") == 6 * 30
    assert grown("answersBegun") == 6
    assert grown("promptTokens") == sum(a.usage["prompt_tokens"] for a in answers)
    assert sum(after["lifeTable"]["exposureTokens"]) - sum(
        before["lifeTable"]["exposureTokens"]
    ) == grown("thinkingTokens")
    assert sum(after["lifeTable"]["ends"]) - sum(before["lifeTable"]["ends"]) == 6
    assert (
        after["slos"]["first-answer"]["good"] - before["slos"].get("first-answer", NONE)["good"]
        == 6
    )
    assert after["fastestTokenSeconds"] > 0
    assert sum(after["ttfaSeconds"]["counts"]) - sum(before["ttfaSeconds"]["counts"]) == 6


async def test_the_engines_own_load_is_relayed(setup: Any) -> None:
    await setup.arrange("a")
    streams = [asyncio.create_task(setup.stream(**chat(5000, 3))) for _ in range(3)]
    found = await setup.until(
        lambda s: s["replicas"]["a"]["engine"] and running(s, "a") == 3, within=3
    )
    engine = found["replicas"]["a"]["engine"]
    assert engine["kvCapacityTokens"] > 0
    assert engine["ageSeconds"] < 2.5
    assert found["replicas"]["a"]["remainingTokens"] > 0
    for stream in streams:
        stream.cancel()


async def test_prometheus_reads_the_same_books(setup: Any) -> None:
    await setup.arrange("a")
    await setup.stream(**chat(5, 3))
    async with setup.session.get(setup.gateway.admin + "/metrics") as response:
        text = await response.text()
    signals = await setup.signals()
    arrivals = 'thinkscale_gateway_arrivals_total{service="ns/demo"} '
    line = next(line for line in text.splitlines() if line.startswith(arrivals))
    assert float(line.removeprefix(arrivals)) == signals["counters"]["arrivals"]
    assert 'thinkscale_gateway_requests_in_phase{phase="thinking",service="ns/demo"} 0.0' in text
    assert "thinkscale_gateway_time_to_first_answer_seconds_bucket" in text
