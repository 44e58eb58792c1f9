"""A gateway and emulated engines behind it, as processes, of which any may be killed."""

import asyncio
import itertools
import json
import re
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp

PLAN = "soak_plan"
LISTED_AFTER_SECONDS = 1.0
"""How long a dead replica is still listed as ready, as in a cluster."""
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Engine:
    """One emulated engine."""

    url: str
    process: asyncio.subprocess.Process


class Fleet:
    """What a soak runs on."""

    def __init__(self, place: Path, replicas: int, step_milliseconds: float) -> None:
        self.engines: dict[str, Engine] = {}
        self.url = ""
        self._place = place
        self._replicas = replicas
        self._step_milliseconds = step_milliseconds
        self._admin = ""
        self._names = (f"replica-{number}" for number in itertools.count(1))
        self._gateway: asyncio.subprocess.Process | None = None

    @property
    def gateway(self) -> asyncio.subprocess.Process:
        """The gateway's process."""
        assert self._gateway is not None
        return self._gateway

    async def __aenter__(self) -> Self:
        """Start everything."""
        config = {"service": "n/s", "model": "tiny", "seatsPerReplica": 512, "maxTokens": 100_000}
        (self._place / "config.json").write_text(json.dumps(config))
        for _ in range(self._replicas):
            await self.add()
        port, admin = _free_port(), _free_port()
        self.url, self._admin = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}"
        self._gateway = await self._start(
            *("gateway", "--host", "127.0.0.1", "--port", str(port), "--admin-port", str(admin)),
            *("--config-dir", str(self._place), "--replicas-file", str(self._listed)),
        )
        await _answers(f"{self._admin}/readyz")
        return self

    async def __aexit__(self, *_: object) -> None:
        """End everything."""
        processes = [engine.process for engine in self.engines.values()]
        for process in [*processes, self.gateway]:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def add(self) -> None:
        """One more engine, which is listed when it is ready."""
        port = _free_port()
        process = await self._start(
            *("emulator", "tiny", "--host", "127.0.0.1", "--port", str(port)),
            *("--startup-seconds", "0", "--a0-milliseconds", str(self._step_milliseconds)),
            *("--a1-milliseconds", "0", "--max-num-seqs", "512", "--kv-tokens", "10000000"),
            *("--plan-field", PLAN, "--reasoning-parser", "deepseek_r1"),
        )
        engine = Engine(f"http://127.0.0.1:{port}", process)
        await _answers(f"{engine.url}/health")
        self.engines[next(self._names)] = engine
        self._list()

    async def kill(self, name: str) -> None:
        """Kill an engine with all that it does; the list hears of it later."""
        engine = self.engines.pop(name)
        engine.process.send_signal(signal.SIGKILL)
        await engine.process.wait()
        await asyncio.sleep(LISTED_AFTER_SECONDS)
        self._list()

    async def counters(self) -> dict[str, float]:
        """Some of the gateway's own metrics."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self._admin}/metrics") as response,
        ):
            text = await response.text()
        pattern = r"^thinkscale_gateway_(requests|retries)_total(\{.*\}) (\S+)$"
        found = re.findall(pattern, text, re.MULTILINE)
        return {name + labels: float(value) for name, labels, value in found}

    @property
    def _listed(self) -> Path:
        return self._place / "replicas.json"

    def _list(self) -> None:
        listed = [{"name": name, "url": engine.url} for name, engine in self.engines.items()]
        unfinished = self._listed.with_suffix(".new")
        unfinished.write_text(json.dumps(listed))
        unfinished.rename(self._listed)

    async def _start(self, *command: str) -> asyncio.subprocess.Process:
        with (self._place / "processes.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "thinkscale", *command, stdout=log, stderr=log
            )


async def _answers(url: str) -> None:
    async with asyncio.timeout(_START_SECONDS), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
