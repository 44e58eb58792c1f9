"""A gateway that ends tells who follows it what became of its last requests, and waits for nobody
else.
"""

import asyncio
import json
import threading
import time
import urllib.request
from typing import Any

import pytest

from tests.unit.gateway.asking import chat
from thinkscale.gateway.admin import LAST_WORD_SECONDS, Admin
from thinkscale.gateway.gateway import Gateway

GAP_SECONDS = 0.2
"""The operator is silent that long between two polls."""


def stream(gateway: Any) -> threading.Thread:
    """A request of half a second, on its way."""
    request = urllib.request.Request(
        gateway.url + "/v1/chat/completions",
        json.dumps(chat(100, 5)).encode(),
        {"Content-Type": "application/json"},
    )
    asking = threading.Thread(target=lambda: urllib.request.urlopen(request, timeout=20).read())
    asking.start()
    gateway.until(lambda: poll(gateway)["phases"]["thinking"] == 1)
    return asking


def poll(gateway: Any, wait: float = 0) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(gateway.page(f"/signals?since=0&wait={wait}"))
    return told


@pytest.fixture
def gateway(alone: Any, engines: Any) -> Any:
    made = alone("--model", "tiny", "--upstream", engines(step=5.0).url)
    made.until(lambda: "Serving" in made.log and all(made.ready().values()))
    return made


def test_who_polls_in_turns_hears_of_the_last_request(gateway: Any) -> None:
    asking = stream(gateway)
    assert poll(gateway, wait=5)["counters"]["completed"] == 0
    gateway.terminate()
    asking.join()
    time.sleep(GAP_SECONDS)
    last = poll(gateway, wait=5)
    assert (last["counters"]["completed"], last["phases"]["thinking"]) == (1, 0)
    assert gateway.process.wait(1.0) == 0


async def test_nobody_is_waited_for_who_does_not_follow() -> None:
    gateway = Gateway("g")
    gateway.ledger.arrive(0.0)
    async with asyncio.timeout(LAST_WORD_SECONDS / 2):
        await Admin(gateway).last_word()
