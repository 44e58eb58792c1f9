"""Surprises of the real vLLM: each is provoked on it directly, and then through the gateway.

A trap holds if the client behind the gateway does not notice it, or is told the truth in time. What
the engine itself does is put on record; where it is not the same on every run (it hangs on SIGTERM
or it does not), what was seen is said.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from e2e.engines.conformance.bench import Bench, bench
from e2e.engines.conformance.judging import busy, judged, until_busy
from e2e.engines.conformance.results import Trap
from e2e.engines.conformance.targets import PLAIN, QUICK, SLOW, real_vllm
from e2e.engines.install import Engine
from e2e.engines.server import Server
from thinkscale.engines.vllm_metrics import parse_load

BUDGET = 10
SEATS = 2
ADMITTED = 4
FLAGS = ("--reasoning-parser", "deepseek_r1")
Check = Callable[[Bench, Server], Awaitable[tuple[str, str]]]
"""(what the engine does, what the gateway makes of it); AssertionError: it does not hold."""


async def off_by_one(gateway: Bench, server: Server) -> tuple[str, str]:
    """The template's newline behind `<think>` counts as a thought."""
    direct = await gateway.ask(stream=True, url=server.url, thinking_token_budget=BUDGET, **SLOW)
    came = await gateway.count(direct.thinking)
    await gateway.configure(engine="VLLM", maxTokens=BUDGET, minTokens=BUDGET)
    reply = await gateway.ask(stream=True, **SLOW)
    exact = await gateway.count(reply.thinking)
    assert exact == BUDGET, f"{exact} thinking tokens of {BUDGET}"
    return f"{came} thinking tokens of {BUDGET}", f"{exact} of {BUDGET} where it holds the budget"


async def no_reasoning_tokens(gateway: Bench, server: Server) -> tuple[str, str]:
    """The usage does not know of thoughts that the template opened."""
    direct = await gateway.ask(stream=True, url=server.url, max_tokens=30, **SLOW)
    thought = await gateway.count(direct.thinking)
    assert thought == 30, f"{thought} tokens came"
    await gateway.configure(engine="VLLM")
    reply = await gateway.ask(stream=True, max_tokens=30, **SLOW)
    counted = await gateway.count(reply.thinking)
    assert reply.reasoning_tokens == counted, f"told {reply.reasoning_tokens}, came {counted}"
    said = f"says {direct.reasoning_tokens} reasoning tokens when {thought} came"
    return said, f"says {reply.reasoning_tokens} when {counted} came"


async def empty_chunk(gateway: Bench, server: Server) -> tuple[str, str]:
    """`</think>` is a chunk without text: only its id tells that the thought is over."""
    direct = await gateway.ask(stream=True, url=server.url, return_token_ids=True, **QUICK)
    marks = direct.raw.count(b'"delta":{},') + direct.raw.count(b'"delta":{}}')
    assert marks >= 1, "no empty chunk came"
    await gateway.configure(engine="VLLM")
    before = (await gateway.signals())["counters"]
    reply = await gateway.ask(stream=True, **QUICK)
    after = (await gateway.signals())["counters"]
    thought = after["thinkingTokens"] - before["thinkingTokens"]
    counted = await gateway.count(reply.thinking)
    assert thought == counted, f"booked {thought}, came {counted}"
    assert b"token_ids" not in reply.raw, "ids that nobody asked for reached the client"
    return f"{marks} chunk without text", f"books {thought} thinking tokens of {counted}"


async def tokens_together(gateway: Bench, server: Server) -> tuple[str, str]:
    """When its HTTP server lags, several tokens come in one chunk: chunks are no tokens."""
    await gateway.configure(engine="VLLM", maxTokens=60)
    asked = [
        asyncio.create_task(gateway.ask(stream=True, return_token_ids=True, **SLOW))
        for _ in range(8)
    ]
    await gateway.until(lambda s: s["phases"]["thinking"] == len(asked))
    for _ in range(3):
        os.kill(server.main_pid, signal.SIGSTOP)
        await asyncio.sleep(0.25)
        os.kill(server.main_pid, signal.SIGCONT)
        await asyncio.sleep(0.1)
    replies = await asyncio.gather(*asked)
    together = sum(reply.raw.count(b'"token_ids":[') for reply in replies)
    for reply in replies:
        assert reply.error is None, f"{reply.error}"
        thought = await gateway.count(reply.thinking)
        assert reply.reasoning_tokens == thought, f"told {reply.reasoning_tokens}, came {thought}"
        assert 59 <= thought <= 60, f"{thought} thinking tokens of 60"
    told = sum(reply.usage["completion_tokens"] for reply in replies)
    assert together < told, "every token had its own chunk: nothing was tested"
    seen = f"{told} tokens of {len(asked)} streams came in {together} chunks"
    return seen, "every stream's count is that of the tokenizer"


async def disconnect(gateway: Bench, server: Server) -> tuple[str, str]:
    """A client that hangs up costs the engine nothing more."""
    await gateway.configure(engine="VLLM")
    running = asyncio.create_task(gateway.ask(stream=True, **SLOW))
    await gateway.until(lambda s: s["phases"]["thinking"] == 1)
    assert await busy(gateway, server.url) == 1
    running.cancel()
    begun = time.monotonic()
    await until_busy(gateway, server.url, 0)
    spent = (time.monotonic() - begun) * 1000
    assert spent < 1000, f"the engine is still at it after {spent:.0f} ms"
    return "aborts when its connection closes", f"closes it: idle again after {spent:.0f} ms"


async def keep_alive(gateway: Bench, server: Server) -> tuple[str, str]:
    """Idle connections are closed after five seconds."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    begun = time.monotonic()
    await reader.read()
    idle = time.monotonic() - begun
    writer.close()
    await gateway.configure(engine="VLLM", maxTokens=3)
    statuses = set()
    for pause in (idle - 0.02, idle, idle + 0.02):
        await asyncio.sleep(pause)
        statuses.add((await gateway.ask(stream=False, **SLOW)).status)
    assert statuses == {200}, f"{statuses}"
    return f"closes after {idle:.1f} s", "three requests after such pauses: none met a closed one"


async def metric_names(gateway: Bench, server: Server) -> tuple[str, str]:
    """What the gateway relays is there under the names that it knows."""
    async with gateway.session.get(server.url + "/metrics") as response:
        load = parse_load(await response.text())
    assert load is not None, "these are not vLLM's metrics"
    known = (load.kv_capacity_tokens, load.steps, load.prompt_tokens, load.generated_tokens)
    assert None not in known, f"{load}"
    replica = (await gateway.until(lambda s: s["replicas"]["real"]["engine"]))["replicas"]["real"]
    told = replica["engine"]
    assert told["kvCapacityTokens"] == load.kv_capacity_tokens, f"{told}"
    return f"KV cache of {load.kv_capacity_tokens} tokens", "relays it, and what it computed"


async def prefix_cache(gateway: Bench, server: Server) -> tuple[str, str]:
    """A thought that was cut goes on from the replica's cache."""
    await gateway.configure(engine="VLLM", maxTokens=300, minTokens=300)
    before = await _cached(gateway, server.url)
    reply = await gateway.ask(stream=True, **SLOW)
    thought = await gateway.count(reply.thinking)
    assert thought == 300, f"{thought} thinking tokens of 300"
    cached = await _cached(gateway, server.url) - before
    assert cached >= 256, f"only {cached} tokens were cached"
    return "keeps whole blocks of 128 tokens", f"goes on with {cached} of some 320 tokens cached"


async def _cached(gateway: Bench, url: str) -> int:
    async with gateway.session.get(url + "/metrics") as response:
        text = await response.text()
    lines = [line for line in text.splitlines() if line.startswith("vllm:prefix_cache_hits_total")]
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


async def refusals(gateway: Bench, server: Server) -> tuple[str, str]:
    """A refusal keeps its status and its words."""
    await gateway.configure(engine="VLLM", maxTokens=BUDGET)
    wrong: Sequence[dict[str, Any]] = [
        {"temperature": -1},
        {"max_tokens": 100_000},
        {"messages": []},
    ]
    for fields in wrong:
        direct = await gateway.ask(stream=True, url=server.url, **fields)
        reply = await gateway.ask(stream=True, **fields)
        assert direct.status == reply.status == 400, f"{fields}: {direct.status}, {reply.status}"
        same = direct.error is not None and direct.error == reply.error
        assert same, f"{fields}: {direct.error}, {reply.error}"
    return "400 in OpenAI's shape", "the same"


async def native_minimum_masks(gateway: Bench, server: Server) -> tuple[str, str]:
    """`min_tokens` alone does not keep a thought open; the gateway's minimum does."""
    direct = await gateway.ask(stream=True, url=server.url, min_tokens=200, max_tokens=400, **QUICK)
    alone = await gateway.count(direct.thinking)
    assert alone < 200, f"the thought lasted {alone} tokens"
    await gateway.configure(engine="VLLM", minTokens=60)
    reply = await gateway.ask(stream=True, seed=3, **QUICK)
    thought = await gateway.count(reply.thinking)
    assert thought >= 60 or reply.thinking.count("Wait,") == 4, f"{thought} thinking tokens"
    return f"min_tokens 200: a thought of {alone}", f"a minimum of 60: a thought of {thought}"


async def silent_wait(gateway: Bench, server: Server) -> tuple[str, str]:
    """An engine without a seat accepts at once and then says nothing."""
    body = {**PLAIN, "stream": True, **SLOW, "max_tokens": 100}
    begun = time.monotonic()

    async def direct() -> tuple[float, float]:
        async with gateway.session.post(server.url + "/v1/chat/completions", json=body) as response:
            assert response.status == 200
            accepted = time.monotonic() - begun
            await response.content.readany()
            first = time.monotonic() - begun
            await response.read()
            return accepted, first

    times = await asyncio.gather(*(direct() for _ in range(ADMITTED)))
    accepted, first = max(t[0] for t in times), max(t[1] for t in times)
    await gateway.configure(engine="VLLM", seats=SEATS, maxTokens=60)
    asked = [asyncio.create_task(gateway.ask(stream=True, **SLOW)) for _ in range(2 * ADMITTED)]
    held = await gateway.until(lambda s: s["held"] > 0)
    waiting = 0
    while not all(task.done() for task in asked):
        waiting = max(waiting, await busy(gateway, server.url, "waiting"))
        await asyncio.sleep(0.1)
    replies = await asyncio.gather(*asked)
    assert all(reply.error is None and reply.done for reply in replies), "not all were served"
    assert waiting == 0, f"{waiting} waited inside the engine"
    said = f"accepts within {accepted:.2f} s, the last first token after {first:.1f} s"
    return said, f"holds {held['held']} of {2 * ADMITTED} itself; none waits in the engine"


async def error_inside_200(gateway: Bench, server: Server) -> tuple[str, str]:
    """A stream that is one too many is refused inside HTTP 200."""
    fields = {**SLOW, "max_tokens": 150}
    asked = [gateway.ask(stream=True, url=server.url, **fields) for _ in range(2 * ADMITTED)]
    direct = await asyncio.gather(*asked)
    refused = [reply for reply in direct if reply.error]
    assert refused, "nobody was refused"
    await gateway.configure(engine="VLLM", seats=64)
    kept = [
        asyncio.create_task(gateway.ask(stream=True, url=server.url, **fields)) for _ in range(4)
    ]
    await until_busy(gateway, server.url, SEATS)  # it is full now
    streamed = await gateway.ask(stream=True, **fields)
    whole = await gateway.ask(stream=False, **fields)
    await asyncio.gather(*kept)
    assert streamed.error is not None, "the streaming client was told nothing"
    assert whole.status == 503, f"the waiting client got HTTP {whole.status}"
    failed = (await gateway.signals())["counters"]["failed"]
    assert failed == 2, f"{failed} are booked as failed"
    said = f"HTTP {refused[0].status} with {refused[0].error}"
    return said, "passes it to a stream as it is, turns it into HTTP 503 for one who waits"


ALONE: Mapping[str, Check] = {
    "the budget ends one early": off_by_one,
    "reasoning_tokens is always 0 with deepseek_r1": no_reasoning_tokens,
    "an empty chunk at </think>": empty_chunk,
    "several tokens in a chunk": tokens_together,
    "a client that hangs up": disconnect,
    "idle connections are closed": keep_alive,
    "metric names": metric_names,
    "a continuation's prefix": prefix_cache,
    "refusals": refusals,
    "min_tokens does not keep a thought open": native_minimum_masks,
}
FULL: Mapping[str, Check] = {
    "200 and a silent wait when it has no seat": silent_wait,
    "an error inside HTTP 200": error_inside_200,
}


async def alone(engine: Engine, logs: Path, place: Path) -> list[Trap]:
    """At a server that has room."""
    with real_vllm(engine, "traps", logs, FLAGS) as server:
        return await _each(ALONE, place / "alone", server)


async def full(engine: Engine, logs: Path, place: Path) -> list[Trap]:
    """At one that has next to none."""
    flags = (*FLAGS, "--max-num-queued-reqs", str(ADMITTED))
    with real_vllm(engine, "full", logs, flags, seats=SEATS) as server:
        return await _each(FULL, place / "full", server)


async def _each(checks: Mapping[str, Check], place: Path, server: Server) -> list[Trap]:
    found = []
    async with bench(place) as gateway:
        await gateway.configure(engine="VLLM")
        await gateway.replicas({"real": server.url})
        for name, check in checks.items():
            found.append(await judged(name, check(gateway, server)))
    return found
