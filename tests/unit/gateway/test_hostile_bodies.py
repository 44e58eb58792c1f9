"""Bodies made to break the gateway: whatever becomes of them, its books stay even."""

import pytest

from tests.unit.gateway.in_process import chat, emulated, front_of

DEEP = b'{"prompt":%b%b}' % (b"[" * 1020, b"]" * 1020)


@pytest.mark.parametrize("names", ["a", "ab"])
async def test_a_prompt_nested_too_deeply_takes_no_seat_with_it(
    names: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with emulated("vllm") as engine, front_of(engine, names, seats_per_replica=2) as front:
        router = front.gateway.router
        for _ in range(3):
            async with front.session.post(front.url + "/v1/completions", data=DEEP) as response:
                assert response.status == 400
        assert [router.in_flight(name) for name in names] == [0] * len(names)
        assert not front.gateway.ledger.in_flight
        await front.ask(**chat(3, 3))
    assert not caplog.records


async def test_what_is_nested_too_deeply_is_the_clients_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    paths = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
    asked = [(path, field) for path in paths for field in (b"messages", b"tools", b"prompt")]
    async with emulated("vllm") as engine, front_of(engine) as front:
        for path, field in asked:
            body = b'{"input":"a","%b":%b%b}' % (field, b"[" * 250, b"]" * 250)
            async with front.session.post(front.url + path, data=body) as response:
                assert response.status == 400
                told = await response.json()
            assert told["error"]["message"] == "the body is nested too deeply"
        assert front.gateway.ledger.totals.refused == len(asked)
    assert not caplog.records
