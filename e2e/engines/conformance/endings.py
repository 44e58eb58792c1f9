"""How a real vLLM ends, and what becomes of its requests: drained, killed, terminated.

Three servers are started and end one after the other, each while it is at work: the first drains
(`--shutdown-timeout`), the second is killed with a stream on it, the third gets SIGTERM with nobody
left to turn to.
"""

import asyncio
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from e2e.engines.conformance.bench import Bench, Reply, bench
from e2e.engines.conformance.judging import judged
from e2e.engines.conformance.results import Trap
from e2e.engines.conformance.targets import SLOW, real_vllm
from e2e.engines.install import Engine
from e2e.engines.server import Server

IDLE_SECONDS: Final = 3.0
CONNECT_SECONDS: Final = 4.0
STREAMS: Final = 4
DRAINED_TOKENS: Final = 1000
"""Four seconds of thinking: what is under way lasts longer than what is asked meanwhile."""

FLAGS: Final = ("--reasoning-parser", "qwen3")


async def run(engine: Engine, logs: Path, place: Path) -> list[Trap]:
    """The three of them."""
    flags = ["--idle-timeout-seconds", str(IDLE_SECONDS)]
    flags += ["--connect-timeout-seconds", str(CONNECT_SECONDS)]
    with ExitStack() as stack:
        drains = (*FLAGS, "--shutdown-timeout", "40")
        first = stack.enter_context(real_vllm(engine, "drained", logs, drains))
        second = stack.enter_context(real_vllm(engine, "killed", logs, FLAGS))
        third = stack.enter_context(real_vllm(engine, "terminated", logs, FLAGS))
        async with bench(place, flags) as gateway:
            await gateway.configure(engine="VLLM")
            return [
                await judged(
                    "500 for new requests during a drain", drained(gateway, first, second)
                ),
                await judged("a replica dies in the middle", killed(gateway, second, third)),
                await judged("SIGTERM without a drain", terminated(gateway, third)),
            ]


async def drained(gateway: Bench, first: Server, second: Server) -> tuple[str, str]:
    """What is under way finishes, and what is new goes elsewhere."""
    await gateway.configure(engine="VLLM", maxTokens=DRAINED_TOKENS)
    await gateway.replicas({"first": first.url})
    kept = asyncio.create_task(gateway.ask(stream=True, **SLOW))
    await gateway.until(lambda s: s["phases"]["thinking"] == 1)
    await gateway.replicas({"first": first.url, "second": second.url})
    os.kill(first.main_pid, signal.SIGTERM)
    await asyncio.sleep(1.0)
    direct = await gateway.ask(stream=True, url=first.url, max_tokens=3)
    replies = [await gateway.ask(stream=True, max_tokens=3) for _ in range(3)]
    assert not kept.done(), "the one under way ended before the others were asked"
    assert [reply.status for reply in replies] == [200] * 3, f"{[r.status for r in replies]}"
    places = {reply.headers["x-thinkscale-replica"] for reply in replies}
    assert places == {"second"}, f"served by {places}"
    whole = await kept
    assert whole.error is None, f"the one under way: {whole.error}"
    assert whole.finish_reasons == ["stop"], f"the one under way: {whole.finish_reasons}"
    says = (direct.error or {}).get("message", "")
    return f"HTTP {direct.status}: {says}", "the other replica serves them; what was there finishes"


async def killed(gateway: Bench, second: Server, third: Server) -> tuple[str, str]:
    """Its stream goes on at another replica from what the client has."""
    await gateway.configure(engine="VLLM", maxTokens=200, minTokens=200)
    await gateway.replicas({"second": second.url})
    running = asyncio.create_task(gateway.ask(stream=True, **SLOW))
    await gateway.until(lambda s: s["counters"]["thinkingTokens"] > 0)
    await gateway.until(lambda s: s["thinkingAges"] and s["phases"]["thinking"] == 1)
    await asyncio.sleep(0.5)
    await gateway.replicas({"second": second.url, "third": third.url})
    os.kill(second.main_pid, signal.SIGKILL)
    reply = await running
    await gateway.replicas({"third": third.url})  # a tokenizer that answers
    assert reply.error is None, f"{reply.error}"
    assert reply.done, "the stream has no end mark"
    marks = [line for line in reply.raw.split(b"\n") if line.startswith(b": resumed")]
    assert len(marks) == 1, "nothing says that it was resumed"
    thought = await gateway.count(reply.thinking)
    assert thought == 200, f"{thought} thinking tokens of 200"
    assert reply.reasoning_tokens == 200, f"told {reply.reasoning_tokens}"
    assert len(reply.identities) == 1, f"ids: {reply.identities}"
    assert reply.finish_reasons == ["stop"], f"{reply.finish_reasons}"
    said = marks[0].decode().removeprefix(": ")
    return "cuts its streams", f"{said}; the thought has its 200 tokens exactly"


async def terminated(gateway: Bench, third: Server) -> tuple[str, str]:
    """Every client is told in time, whether the engine hangs or not."""
    await gateway.configure(engine="VLLM", maxTokens=3000)
    await gateway.replicas({"third": third.url})
    asked = [asyncio.create_task(gateway.ask(stream=True, **SLOW)) for _ in range(STREAMS)]
    direct = asyncio.create_task(gateway.ask(stream=True, url=third.url, **SLOW))
    await gateway.until(lambda s: s["phases"]["thinking"] == STREAMS)
    os.kill(third.main_pid, signal.SIGTERM)
    begun = time.monotonic()
    replies = await asyncio.wait_for(asyncio.gather(*asked), 60)
    took = time.monotonic() - begun
    assert all(_ended_badly(reply) for reply in replies), "a client believes that it has it all"
    limit = IDLE_SECONDS + CONNECT_SECONDS + 5
    assert took < limit, f"clients knew after {took:.1f} s only"
    hangs = not direct.done()
    direct.cancel()
    how = "its streams hang, with the connection open" if hangs else "ends its streams with `abort`"
    return how, f"all {STREAMS} clients are told after {took:.1f} s"


def _ended_badly(reply: Reply) -> bool:
    return reply.error is not None or reply.finish_reasons == ["abort"]
