"""A stream whose engine dies goes on at another of its kind, though no token id was ever seen."""

import json
from typing import Any

import pytest

from tests.unit.gateway.test_dialects import chat, phases
from thinkscale.engines import DIALECTS
from thinkscale.engines.dialect import Route, Tags
from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.exchange import Exchange
from thinkscale.gateway.request import parse
from thinkscale.gateway.sse import SseEvent
from thinkscale.model.gateway_config import GatewayConfig

SGLANG = ["--dialect", "sglang", "--reasoning-parser", "deepseek-r1", "--enable-metrics"]
ENGINES = {
    "a": ["--dialect", "tgi"],
    "b": ["--dialect", "tgi", "--max-concurrent-requests", "1"],
    "c": SGLANG,
    "d": SGLANG,
}  # fmt: skip


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    return list(ENGINES.values())


@pytest.mark.parametrize(("kind", "dies", "stays"), [("TGI", "a", "b"), ("SGLang", "c", "d")])
async def test_a_stream_goes_on_where_its_engine_died(
    setup: Any, kind: str, dies: str, stays: str
) -> None:
    await setup.arrange(dies, engine=kind, maxTokens=100_000)
    body = chat(400, 12)
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
    assert len(phases(heard)[0]) == 400


async def test_a_full_tgi_says_so_inside_http_200_and_the_client_hears_a_503(setup: Any) -> None:
    await setup.arrange("b", engine="TGI", seatsPerReplica=8)
    url = setup.gateway.url + "/v1/chat/completions"
    async with setup.session.post(url, json=chat(20_000, 5)) as held:
        await held.content.readany()
        refused = await setup.post(**chat(5, 5, stream=False, stream_options=None))
    assert refused.status == 503
    assert refused.events[0]["error"]["message"] == "Model is overloaded"


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
