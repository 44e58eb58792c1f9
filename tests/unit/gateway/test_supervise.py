"""Background work that fails is started again, and nothing else ends for it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from thinkscale.gateway.supervise import supervise


async def test_work_that_fails_or_ends_is_started_again_until_cancelled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("thinkscale.gateway.supervise.FIRST_PAUSE_SECONDS", 0.001)
    runs, enough = 0, asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ExceptionGroup("as a task group raises", [ValueError("odd")])
        if runs == 3:
            enough.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(supervise("scrape", work))
    await asyncio.wait_for(enough.wait(), 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert runs == 3
    assert "Failed task=scrape" in caplog.text


async def test_a_file_that_makes_the_source_fail_does_not_end_the_gateway(
    setup: Any, processes: Any, tmp_path: Path
) -> None:
    first, emulators = processes
    gateway = type(first)(tmp_path)
    gateway.write("config.json", {"service": "n/s", "model": "tiny", "seatsPerReplica": 8})
    gateway.write("replicas.json", [{"name": "a", "url": emulators[0].url}])
    setup.gateway = gateway
    body = {
        "messages": [{"role": "user", "content": "x"}],
        "x_test_plan": {"thinking_tokens": 2, "answer_tokens": 2},
    }
    try:
        deadline = asyncio.get_running_loop().time() + 10
        while True:
            try:
                signals = await setup.signals()
                if signals["service"] and "a" in signals["replicas"]:
                    break
            except OSError:
                pass
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.02)
        (tmp_path / "directive.json").write_bytes(b"\xff\xfe not text")
        await asyncio.sleep(0.3)
        assert (await setup.post(**body)).status == 200
        gateway.write("directive.json", {"id": "later"})
        await setup.ordered("later")
    finally:
        gateway.stop()
