"""How streams of every dialect outlive their engine: they go on at another of its kind when it
dies, though no token id was ever seen, and an engine that is emptied as in its pod waits for a
thought that is cut and continued behind its client's back.
"""

import asyncio
import json
import signal
import sys
from typing import Any

import pytest

from tests.unit.gateway.faulty_wire import wire_to
from tests.unit.gateway.test_dialects import chat, phases
from thinkscale.engines import DIALECTS, adapter_for
from thinkscale.engines.dialect import Route, Tags
from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.exchange import Exchange
from thinkscale.gateway.request import parse
from thinkscale.gateway.sse import SseEvent
from thinkscale.model.gateway_config import GatewayConfig

SGLANG = ["--dialect", "sglang", "--reasoning-parser", "deepseek-r1", "--enable-metrics"]
ENGINES = {
    "a": ["--dialect", "tgi"],
    "b": ["--dialect", "tgi", "--max-concurrent-requests", "2",
          "--graceful-termination-timeout", "20"],
    "c": SGLANG,
    "d": SGLANG,
    "e": ["--reasoning-parser", "deepseek_r1", "--ignore-native-budget", "--shutdown-timeout",
          "20"],
}  # fmt: skip
DRAINED = {"VLLM": ("e", 0), "TGI": ("b", 0), "SGLang": ("d", -signal.SIGKILL)}
"""Which engine is ended, at last, and with what exit code."""


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    return [[*flags, "--a0-milliseconds", "2"] for flags in ENGINES.values()]


@pytest.mark.parametrize(("kind", "dies", "stays"), [("TGI", "a", "b"), ("SGLang", "c", "d")])
async def test_a_stream_goes_on_where_its_engine_died(
    setup: Any, kind: str, dies: str, stays: str
) -> None:
    await setup.arrange(dies, engine=kind, maxTokens=100_000)
    body = chat(150, 12)
    url = setup.gateway.url + "/v1/chat/completions"
    async with setup.session.post(url, json=body) as response:
        raw = await response.content.readany()
        setup.emulators[ord(dies) - ord("a")].stop()
        await setup.replicas(stays)
        raw += await response.read()
    answer = await setup.stream(**body)  # the other, undisturbed: words depend on places alone
    text = raw.decode()
    assert "resumed by" in text
    assert text.endswith("data: [DONE]\n\n")
    heard = type(answer)(status=200, headers={}, events=_events(text))
    assert phases(heard) == phases(answer)
    assert len(phases(heard)[0]) == 150


async def test_a_stream_that_an_sglang_has_only_announced_begins_anew_elsewhere(
    setup: Any,
) -> None:
    """It tells no ids: there would be nothing to go on from."""
    well, body = setup.emulators[ord("d") - ord("a")], chat(40, 12)
    await setup.arrange("d", engine="SGLang", maxTokens=100_000)
    undisturbed = await setup.stream(**body)
    async with wire_to(well.port) as wire:
        urls = {"bad": wire.url, "good": well.url}
        listed = [{"name": name, "url": url} for name, url in urls.items()]
        setup.gateway.write("replicas.json", listed)
        await setup.until(lambda s: set(s["replicas"]) == set(urls))
        wire.arm("cut behind an event", 0)
        answer = await setup.stream(**body)
    assert answer.headers["x-thinkscale-replica"] == "bad"
    assert phases(answer) == phases(undisturbed)
    assert answer.done
    assert "resumed by" not in answer.raw.decode()


async def test_a_full_tgi_says_so_inside_http_200_and_the_client_hears_a_503(setup: Any) -> None:
    await setup.arrange("b", engine="TGI", seatsPerReplica=8)
    url = setup.gateway.url + "/v1/chat/completions"
    async with (
        setup.session.post(url, json=chat(20_000, 5)) as one,
        setup.session.post(url, json=chat(20_000, 5)) as two,
    ):
        await one.content.readany()
        await two.content.readany()
        refused = await setup.post(**chat(5, 5, stream=False, stream_options=None))
    assert refused.status == 503
    assert refused.events[0]["error"]["message"] == "Model is overloaded"


@pytest.mark.parametrize("kind", list(DRAINED))
async def test_a_drain_lets_a_thought_be_cut_and_its_answer_come(setup: Any, kind: str) -> None:
    name, code = DRAINED[kind]
    emulator = setup.emulators[ord(name) - ord("a")]
    await setup.arrange(name, engine=kind, maxTokens=60)
    streaming = asyncio.create_task(setup.stream(**chat(400, 60)))
    await setup.until(lambda s: s["phases"]["thinking"] == 1)
    command = list(adapter_for(kind).drain_command(emulator.port, 20))
    drain = await asyncio.create_subprocess_exec(sys.executable, *command[1:-1], "0.3")
    answer = await streaming
    assert drain.returncode is None, "it did not wait for the continuation"
    assert await asyncio.wait_for(drain.wait(), 5) == 0
    thinking, content = phases(answer)
    assert (len(thinking), len(content)) == (60, 60)
    assert answer.finish_reason == "stop"
    emulator.terminate()
    assert await asyncio.to_thread(emulator.process.wait, 10) == code


def test_a_stream_that_ends_without_a_word_is_no_answer() -> None:
    """An older TGI swallows the error of a chat."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "stream": True}
    config = GatewayConfig(service="ns/x", model="tiny", seats_per_replica=1, engine="TGI")
    request = parse(Route.CHAT, json.dumps(body).encode(), config)
    exchange = Exchange(
        request,
        BudgetMachine(limit=None),
        Tags(),
        model="tiny",
        stops_when_exhausted=False,
        keeps_ids=True,
        reader=DIALECTS["TGI"].reader(Route.CHAT, body, Tags()),
    )
    assert exchange.feed(SseEvent(b"data: [DONE]\n\n", b"[DONE]")) == b""
    assert exchange.trouble is not None
    assert not exchange.done


def _events(text: str) -> list[dict[str, Any]]:
    blocks = text.split("\n\n")
    return [json.loads(block[6:]) for block in blocks if block.startswith("data: {")]
