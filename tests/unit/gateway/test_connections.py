"""When there are more gateways than before, clients are made to meet the new ones."""

from typing import Any

import aiohttp
import pytest

from tests.unit.gateway.in_process import chat, emulated, front_of
from thinkscale.model.directive import Directive


async def asked(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> str:
    """The header that says what becomes of the connection."""
    async with session.post(url + "/v1/chat/completions", json=body) as response:
        assert response.status == 200
        await response.read()
        return response.headers.get("Connection", "kept")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_connection_made_when_there_were_fewer_gateways_is_closed_with_its_next_answer(
    stream: bool,
) -> None:
    body = {**chat(3, 3), "stream": stream}
    one = aiohttp.TCPConnector(limit=1)
    async with (
        emulated("vllm") as engine,
        front_of(engine) as front,
        aiohttp.ClientSession(connector=one) as session,
    ):
        front.gateway.direct(Directive(id="a", gateways=2))
        assert [await asked(session, front.url, body) for _ in range(2)] == ["kept", "kept"]
        front.gateway.direct(Directive(id="b", gateways=3))
        assert [await asked(session, front.url, body) for _ in range(3)] == [
            "close",
            "kept",
            "kept",
        ]
        front.gateway.direct(Directive(id="c", gateways=1))
        assert await asked(session, front.url, body) == "kept"
