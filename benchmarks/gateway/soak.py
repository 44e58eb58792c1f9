"""Half an hour of streams through the gateway while replicas are killed and added.

    make soak-gateway [MINUTES=30] [JSON=FILE]

Real emulated engines, a real gateway, one client process. What an emulated engine says is a
function of the token ids before it, so each stream is compared, text by text, with what an engine
said to the same request undisturbed: one token lost or sent twice would show. Every minute a
replica is killed (SIGKILL, with all its streams) and another one added; now and then the fleet
grows by one and shrinks again. A stream may end whole (perhaps after it went on at another
replica), or by a clear error; anything else fails the run, and so does memory that grows.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

import aiohttp
import uvloop

from benchmarks.gateway.fleet import PLAN, Fleet
from benchmarks.gateway.generator import memory_kilobytes

KINDS = 12
GROWTH = 1.10
"""Memory in the last third of the run, against that in the second one."""
SETTLE_SECONDS = 60.0


def thinking_tokens(kind: int) -> int:
    """Planned for this kind."""
    return 90 + 30 * (kind % 6)


def ask(kind: int) -> dict[str, object]:
    """The request of this kind."""
    plan = {"thinking_tokens": thinking_tokens(kind), "answer_tokens": 30 + 10 * (kind // 6)}
    return {
        "model": "tiny",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": f"Question {kind}"}],
        PLAN: plan,
    }


class Reading:
    """One stream, as a client reads it."""

    def __init__(self) -> None:
        self.thinking = self.content = ""
        self.finish_reason: str | None = None
        self.error: str | None = None
        self.done = self.resumed = False
        self.completion_tokens = 0

    async def read(self, response: aiohttp.ClientResponse) -> None:
        """All of it."""
        self.resumed = "x-thinkscale-resumed" in response.headers
        async for line in response.content:
            if line.startswith(b"data: "):
                self._take(line[6:].strip())
            elif line.startswith(b": resumed"):
                self.resumed = True

    def _take(self, data: bytes) -> None:
        if data == b"[DONE]":
            self.done = True
            return
        event = json.loads(data)
        if "error" in event:
            self.error = str(event["error"].get("message"))
            return
        if event.get("usage"):
            self.completion_tokens = event["usage"]["completion_tokens"]
        for choice in event["choices"]:
            delta = choice["delta"]
            self.thinking += delta.get("reasoning") or ""
            self.content += delta.get("content") or ""
            self.finish_reason = choice.get("finish_reason") or self.finish_reason

    @property
    def said(self) -> tuple[object, ...]:
        """What must be the same each time."""
        return self.thinking, self.content, self.finish_reason, self.completion_tokens, self.done


class Soak:
    """The clients, and what became of their streams."""

    def __init__(self, fleet: Fleet, session: aiohttp.ClientSession) -> None:
        self.ends: Counter[str] = Counter()
        self.samples: list[str] = []
        self.memory: list[tuple[float, int]] = []
        self._fleet = fleet
        self._session = session
        self._expected: list[tuple[object, ...]] = []

    async def learn(self) -> None:
        """What an engine says to each kind, without a gateway."""
        engine = next(iter(self._fleet.engines.values())).url
        readings = await asyncio.gather(*(self._read(engine, kind) for kind in range(KINDS)))
        self._expected = [reading.said for reading in readings]

    async def client(self, number: int, until: float) -> None:
        """One stream after the other."""
        turn = number
        await asyncio.sleep(20 * random.random())
        while time.monotonic() < until:
            turn += 1
            self.ends[await self._stream(turn % KINDS)] += 1

    async def watch(self, until: float) -> None:
        """Memory of the gateway."""
        begun = time.monotonic()
        while time.monotonic() < until:
            self.memory.append(
                (time.monotonic() - begun, memory_kilobytes(self._fleet.gateway.pid))
            )
            await asyncio.sleep(5)

    async def disturb(self, until: float, every_seconds: float) -> None:
        """Kill and add."""
        turn = 0
        while time.monotonic() + every_seconds < until:
            await asyncio.sleep(every_seconds)
            turn += 1
            if turn % 4 == 0:
                await self._fleet.add()
            await self._fleet.kill(random.choice(list(self._fleet.engines)))
            self.ends["replicas killed"] += 1
            if turn % 4 != 2 or len(self._fleet.engines) < 2:
                await self._fleet.add()

    async def _stream(self, kind: int) -> str:
        try:
            reading = await self._read(self._fleet.url, kind)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
            return self._odd("lost", kind, repr(error))
        if reading.error is not None:
            return self._odd("ended by a clear error", kind, reading.error)
        if reading.said == self._expected[kind]:
            return "whole, resumed" if reading.resumed else "whole"
        if reading.resumed and self._thought_on(reading, kind):
            return "whole, resumed at the very end of its thought"
        pairs = zip(reading.said, self._expected[kind], strict=True)
        return self._odd("corrupted", kind, "; ".join(_difference(*pair) for pair in pairs))

    def _thought_on(self, reading: Reading, kind: int) -> bool:
        """Its replica died when all of the thought was said but its end. An emulated engine that is
        asked to go on with a thought of the planned length thinks a quarter more.
        """
        thought, content, *_ = self._expected[kind]
        assert isinstance(thought, str)
        assert isinstance(content, str)
        more = len(reading.thinking.split()) - len(thought.split())
        return (
            reading.thinking.startswith(thought)
            and more == thinking_tokens(kind) // 4
            and len(reading.content.split()) == len(content.split())
            and (reading.finish_reason, reading.done) == ("stop", True)
        )

    async def _read(self, url: str, kind: int) -> Reading:
        reading = Reading()
        async with self._session.post(url + "/v1/chat/completions", json=ask(kind)) as response:
            if response.status != 200:
                reading.error = f"HTTP {response.status}: {(await response.text())[:200]}"
                return reading
            await reading.read(response)
        return reading

    def _odd(self, end: str, kind: int, what: str) -> str:
        if len(self.samples) < 20:
            self.samples.append(f"{end}, kind {kind}: {what}")
        return end


def _difference(got: object, expected: object) -> str:
    """Where two parts begin to differ."""
    if got == expected:
        return "same"
    if not isinstance(got, str) or not isinstance(expected, str):
        return f"{got} for {expected}"
    pairs = zip(got, expected, strict=False)
    alike = (at for at, (one, other) in enumerate(pairs) if one != other)
    at = next(alike, min(len(got), len(expected)))
    begun = max(0, at - 10)
    return f"{got[begun : at + 20]!r} for {expected[begun : at + 20]!r}, {len(got) - len(expected)}"


def verdict(soak: Soak) -> dict[str, object]:
    """The figures, and whether they are as they should be."""
    settled = [kilobytes for at, kilobytes in soak.memory if at > SETTLE_SECONDS] or [0]
    middle, last = (settled[len(settled) * n // 3 :][: len(settled) // 3 or 1] for n in (1, 2))
    growth = median(last) / max(1, median(middle))
    flat = growth <= GROWTH
    return {
        "streams": sum(n for end, n in soak.ends.items() if end != "replicas killed"),
        **soak.ends,
        "memory_megabytes_middle": round(median(middle) / 1024, 1),
        "memory_megabytes_last": round(median(last) / 1024, 1),
        "memory_is_flat": flat,
        "samples": soak.samples,
        "passed": flat and not soak.ends["lost"] and not soak.ends["corrupted"],
    }


async def run(options: argparse.Namespace, place: Path) -> dict[str, object]:
    """The whole run."""
    load_before = os.getloadavg()[0]
    async with Fleet(place, options.replicas, options.step_milliseconds) as fleet:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            soak = Soak(fleet, session)
            await soak.learn()
            until = time.monotonic() + 60 * options.minutes
            clients = [soak.client(number, until) for number in range(options.streams)]
            every = min(60.0, 60 * options.minutes / 5)
            await asyncio.gather(soak.watch(until), soak.disturb(until, every), *clients)
        told = verdict(soak)
        told["by the gateway"] = await fleet.counters()
    told["minutes"], told["at once"] = options.minutes, options.streams
    told["load_average"] = [round(load_before, 2), round(os.getloadavg()[0], 2)]
    return told


def main() -> int:
    """Run, print, and write what came of it."""
    parser = argparse.ArgumentParser(prog="benchmarks.gateway.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--step-milliseconds", type=float, default=100.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as directory:
        told = uvloop.run(run(options, Path(directory)))
    text = json.dumps(told, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n")
    return 0 if told["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
