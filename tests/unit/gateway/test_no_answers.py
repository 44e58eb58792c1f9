"""A server that neither answers nor refuses: no client can do anything with that."""

import pytest

from tests.unit.gateway.in_process import chat, emulated, front_of

PATH = "/v1/chat/completions"


@pytest.mark.parametrize(("status", "stream"), [(204, True), (308, False)])
async def test_what_is_neither_an_answer_nor_a_refusal_is_a_failure(
    status: int, stream: bool
) -> None:
    body = {**chat(3, 3), "stream": stream}
    async with emulated("vllm") as engine, front_of(engine, "ab") as front:
        engine.faults = [(PATH, 0, status)]
        async with front.session.post(front.url + PATH, json=body) as response:
            assert response.status == 200  # another replica's
        engine.faults = [(PATH, 0, status), (PATH, 0, status)]
        async with front.session.post(front.url + PATH, json=body) as response:
            assert response.status == 502
            told = await response.json()
        assert str(status) in told["error"]["message"]
