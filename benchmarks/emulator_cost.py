"""What an emulated replica costs: CPU and memory at 64 streams of 30 tokens a second.

The peer, in the same run and under the same load, is the least that a Python server can do: a bare
aiohttp handler that sleeps and writes a fixed line, a task to each stream. Its ratio says how much
the emulation (scheduler, tokens, JSON, metrics) adds to moving bytes at all.

    python benchmarks/emulator_cost.py [--streams 64] [--seconds 10]
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass

TOKENS_PER_SECOND = 30
PEER = f"""
import asyncio, sys, uvloop
from aiohttp import web

LINE = b"data: " + b"x" * 250 + b"\\n\\n"

async def stream(request):
    response = web.StreamResponse(headers={{"Content-Type": "text/event-stream"}})
    await response.prepare(request)
    for _ in range(100_000):
        await asyncio.sleep(1 / {TOKENS_PER_SECOND})
        await response.write(LINE)

async def health(request):
    return web.Response()

app = web.Application()
app.add_routes([web.post("/v1/chat/completions", stream), web.get("/health", health)])
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one server used."""

    cpu_share: float
    """Of one core."""
    resident_mebibytes: float
    events_per_second: float
    void: str

    @property
    def microseconds_per_event(self) -> float:
        return 1e6 * self.cpu_share / self.events_per_second


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def emulator_command(port: int, streams: int) -> list[str]:
    """64 seats, and 33.3 ms a token however many run."""
    flags = {
        "--host": "127.0.0.1",
        "--port": str(port),
        "--startup-seconds": "0",
        "--reasoning-parser": "deepseek_r1",
        "--max-num-seqs": str(streams),
        "--a0-milliseconds": str(1_000 / TOKENS_PER_SECOND),
        "--a1-milliseconds": "0",
        "--a2-microseconds": "0",
        "--a3-microseconds": "0",
        "--kv-tokens": "1000000",
        "--thinking-tokens-mean": "20000",
        "--length-distribution": "constant",
    }
    pairs = [part for pair in flags.items() for part in pair]
    return [sys.executable, "-m", "thinkscale", "emulator", "m", *pairs]


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mebibytes(pid: int) -> float:
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def read_stream(port: int, seen: list[int]) -> None:
    """One client that reads as it comes."""
    body = json.dumps(
        {
            "messages": [{"role": "user", "content": "why"}],
            "stream": True,
            "return_token_ids": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    try:
        while data := await reader.read(65_536):
            seen[0] += data.count(b"data: {") + data.count(b"data: x")
    finally:
        writer.close()


async def load(pid: int, port: int, streams: int, seconds: float) -> Cost:
    """Run the streams, measure once they are all under way."""
    seen = [0]
    clients = [asyncio.create_task(read_stream(port, seen)) for _ in range(streams)]
    await asyncio.sleep(2.0)
    events, cpu, began = seen[0], cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    cost = Cost(
        cpu_share=(cpu_seconds(pid) - cpu) / took,
        resident_mebibytes=resident_mebibytes(pid),
        events_per_second=(seen[0] - events) / took,
        void=await asyncio.to_thread(void_line, port),
    )
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return cost


def void_line(port: int) -> str:
    """The emulator's own word on whether its timing held."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            text = reply.read().decode()
    except OSError:
        return ""
    wanted = ("thinkscale_emulator_lag_p99_seconds ", "thinkscale_emulator_void ")
    return ", ".join(line for line in text.splitlines() if line.startswith(wanted))


def measure(command: list[str], port: int, streams: int, seconds: float) -> Cost:
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            return asyncio.run(load(process.pid, port, streams, seconds))
        finally:
            process.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    ports = free_port(), free_port()
    commands = {
        "emulator": emulator_command(ports[0], given.streams),
        "bare aiohttp SSE": [sys.executable, "-c", PEER, str(ports[1])],
    }
    costs = {}
    for (name, command), port in zip(commands.items(), ports, strict=True):
        costs[name] = cost = measure(command, port, given.streams, given.seconds)
        print(
            f"{name:<18} {100 * cost.cpu_share:5.1f} % of a core  "
            f"{cost.microseconds_per_event:5.1f} us/event  {cost.resident_mebibytes:5.1f} MiB  "
            f"{cost.events_per_second:6.0f} events/s  {cost.void}"
        )
    ours, peer = costs["emulator"], costs["bare aiohttp SSE"]
    print(f"emulator / peer: CPU per event {_ratio(ours, peer):.2f}")
    return 0


def _ratio(ours: Cost, peer: Cost) -> float:
    return ours.microseconds_per_event / peer.microseconds_per_event


if __name__ == "__main__":
    sys.exit(main())
