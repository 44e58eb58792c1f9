"""What the gateway costs: CPU per event and memory, beside a bare aiohttp pass-through proxy.

Both stand before the same emulated engine and carry the same streams, one after the other in one
run, so the ratio holds on any machine; the microseconds are this machine's. The bare proxy does
what any Python proxy must (read, write, nothing else): the difference is what it costs to see
phases, count tokens, force budgets and keep the books.

    python benchmarks/gateway_cost.py [--streams 64] [--tokens 300] [--step-milliseconds 33]
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web

PLAN = "benchmark_plan"


async def serve_bare(port: int, engine: str) -> None:
    """The peer: aiohttp server and client on uvloop, bytes through."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def forward(request: web.Request) -> web.StreamResponse:
            body, headers = await request.read(), {"Content-Type": "application/json"}
            url = engine + request.path
            async with session.post(url, data=body, headers=headers) as upstream:
                response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
                await response.prepare(request)
                async for data in upstream.content.iter_any():
                    await response.write(data)
                await response.write_eof()
                return response

        app = web.Application()
        app.router.add_post("/v1/chat/completions", forward)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


async def one_stream(session: aiohttp.ClientSession, url: str, tokens: int) -> int:
    body = {
        "model": "tiny",
        "stream": True,
        "messages": [{"role": "user", "content": "hello"}],
        PLAN: {"thinking_tokens": tokens * 4 // 5, "answer_tokens": tokens // 5},
    }
    events = 0
    async with session.post(url + "/v1/chat/completions", json=body) as response:
        assert response.status == 200, await response.text()
        async for data in response.content.iter_any():
            events += data.count(b"\n\n")
    return events


async def load(url: str, streams: int, tokens: int) -> int:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        return sum(
            await asyncio.gather(*(one_stream(session, url, tokens) for _ in range(streams)))
        )


def measure(name: str, pid: int, url: str, options: argparse.Namespace) -> dict[str, float]:
    uvloop.run(load(url, 4, 10))
    before, begun = cpu_seconds(pid), time.monotonic()
    events = uvloop.run(load(url, options.streams, options.tokens))
    cpu, wall = cpu_seconds(pid) - before, time.monotonic() - begun
    result = {
        "events_per_second": round(events / wall),
        "core_percent": round(100 * cpu / wall, 1),
        "cpu_microseconds_per_event": round(1e6 * cpu / events, 1),
        "peak_megabytes": round(memory_megabytes(pid), 1),
    }
    print(f"{name:<8} {json.dumps(result)}", flush=True)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--step-milliseconds", type=float, default=33.0)
    parser.add_argument("--serve-bare", nargs=2, metavar=("PORT", "ENGINE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_bare:
        uvloop.run(serve_bare(int(options.serve_bare[0]), options.serve_bare[1]))
        return 0
    ports = [free_port() for _ in range(4)]
    engine, bare, gateway, admin = (f"http://127.0.0.1:{port}" for port in ports)
    thinkscale = [sys.executable, "-m", "thinkscale"]
    with tempfile.TemporaryDirectory() as directory:
        config = {"service": "n/s", "model": "tiny", "seatsPerReplica": 256, "maxTokens": 100_000}
        Path(directory, "config.json").write_text(json.dumps(config))
        Path(directory, "replicas.json").write_text(json.dumps([{"name": "r", "url": engine}]))
        commands = [
            [*thinkscale, "emulator", "tiny", "--host", "127.0.0.1", "--port", str(ports[0]),
             "--startup-seconds", "0", "--a0-milliseconds", str(options.step_milliseconds),
             "--a1-milliseconds", "0", "--max-num-seqs", "256", "--kv-tokens", "1000000",
             "--plan-field", PLAN, "--reasoning-parser", "deepseek_r1"],
            [sys.executable, __file__, "--serve-bare", str(ports[1]), engine],
            [*thinkscale, "gateway", "--host", "127.0.0.1", "--port", str(ports[2]),
             "--admin-port", str(ports[3]), "--config-dir", directory,
             "--replicas-file", f"{directory}/replicas.json"],
        ]  # fmt: skip
        running = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for command in commands]
        try:
            for url in (engine + "/health", bare, admin + "/readyz"):
                wait_for(url)
            peer = measure("bare", running[1].pid, bare, options)
            ours = measure("gateway", running[2].pid, gateway, options)
        finally:
            for process in running:
                process.kill()
                process.wait()
    ratio = ours["cpu_microseconds_per_event"] / peer["cpu_microseconds_per_event"]
    print(f"the gateway costs {ratio:.2f} times the bare proxy")
    return 0


if __name__ == "__main__":
    sys.exit(main())
