"""One command in front of one TGI, without a cluster."""

import asyncio
import json
from collections.abc import Iterator

import aiohttp
import pytest

from tests.unit.gateway.conftest import Emulator, Process, free_port, wait_for
from tests.unit.gateway.test_dialects import chat


@pytest.fixture(params=["tiny", "r1"])
def model(request: pytest.FixtureRequest) -> str:
    """What clients call it: what TGI lists (without a flag), and another name (with one)."""
    return str(request.param)


@pytest.fixture
def url(model: str) -> Iterator[str]:
    emulator = Emulator("--dialect", "tgi")
    port, admin = free_port(), free_port()
    gateway = Process(
        "gateway", "--engine", "tgi", "--upstream", emulator.url, "--budget-max", "10",
        "--listen", f"127.0.0.1:{port}", "--admin-port", str(admin),
        *(() if model == "tiny" else ("--model", model)),
    )  # fmt: skip
    try:
        wait_for(emulator.url + "/health")
        wait_for(f"http://127.0.0.1:{admin}/readyz")
        yield f"http://127.0.0.1:{port}"
    finally:
        gateway.stop()
        emulator.stop()


async def test_a_budget_is_forced_in_front_of_an_engine_that_has_none(url: str, model: str) -> None:
    body = chat(100, 5, model=model, stream=False, stream_options=None)
    async with aiohttp.ClientSession() as session:
        for _ in range(50):  # until the upstream was found well
            async with session.post(url + "/v1/chat/completions", json=body) as response:
                text = await response.text()
            if response.status == 200:
                break
            await asyncio.sleep(0.1)
    answer = json.loads(text)
    assert response.headers["x-thinkscale-budget"] == "forced"
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 10
    message = answer["choices"][0]["message"]
    assert len(message["content"].rpartition("</think>")[2].split()) == 5
