"""Real processes on loopback: emulated engines, a gateway before them, and a client."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.unit.gateway.asking import PLAN

GIVEN: set[int] = set()
"""Ports that a process may not have taken yet: on a busy machine the system gives them twice."""


def free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in GIVEN:
            GIVEN.add(port)
            return port


def wait_for(url: str, within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class Process:
    """One `thinkscale` command."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "thinkscale", *arguments])

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


class Emulator(Process):
    """An emulated engine. `step` is milliseconds a token."""

    def __init__(
        self, *flags: str, step: float = 1.0, seats: int = 64, port: int | None = None
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            "emulator", "tiny", "--host", "127.0.0.1", "--port", str(self.port),
            "--startup-seconds", "0", "--a0-milliseconds", str(step), "--a1-milliseconds", "0",
            "--max-num-seqs", str(seats), "--plan-field", PLAN, *flags,
        )  # fmt: skip


class Alone(Process):
    """A gateway in front of model servers by their URLs; `log` is what it has said so far."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.admin = f"http://127.0.0.1:{(admin := free_port())}"
        self._log = directory / f"gateway-{port}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "thinkscale", "gateway", "--listen", f"127.0.0.1:{port}",
                    "--admin-port", str(admin), "--drain-delay-seconds", "0", *flags,
                ],
                stdout=log,
                stderr=log,
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self._log.read_text()

    def page(self, path: str) -> str:
        """A page of the admin port."""
        with urllib.request.urlopen(self.admin + path, timeout=5) as answer:
            return str(answer.read().decode())

    def ready(self) -> dict[str, bool]:
        """The model servers, and whether they are ready."""
        replicas = json.loads(self.page("/signals"))["replicas"]
        return {name: replica["ready"] for name, replica in replicas.items()}

    def until(self, check: Callable[[], bool], within: float = 20.0) -> None:
        deadline = time.monotonic() + within
        while not check():
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Alone]]:
    """Starts gateways without a cluster."""
    started: list[Alone] = []

    def start(*flags: str) -> Alone:
        started.append(Alone(tmp_path_factory.mktemp("alone"), *flags))
        return started[-1]

    yield start
    for gateway in started:
        gateway.stop()


@pytest.fixture(scope="module")
def engines() -> Iterator[Callable[..., Emulator]]:
    """Starts emulated engines; `port`: on this port."""
    started: list[Emulator] = []

    def start(*flags: str, port: int | None = None, **options: Any) -> Emulator:
        parser = ("--reasoning-parser", "deepseek_r1")
        at = ("--port", str(port)) if port else ()
        started.append(Emulator(*parser, *at, *flags, **options))
        if port:
            started[-1].port, started[-1].url = port, f"http://127.0.0.1:{port}"
        return started[-1]

    yield start
    for engine in started:
        engine.stop()


class GatewayProcess(Process):
    """A gateway with files as its source."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self.directory = directory
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.admin = f"http://127.0.0.1:{(admin := free_port())}"
        super().__init__(
            "gateway", "--config-dir", str(directory),
            "--replicas-file", str(directory / "replicas.json"), "--host", "127.0.0.1",
            "--port", str(port), "--admin-port", str(admin), "--drain-delay-seconds", "0.2", *flags,
        )  # fmt: skip

    def write(self, name: str, content: Any) -> None:
        path = self.directory / f".{name}"
        path.write_text(json.dumps(content))
        path.rename(self.directory / name)


@dataclass
class Answer:
    """What a streaming client saw."""

    status: int
    headers: dict[str, str]
    events: list[dict[str, Any]] = field(default_factory=list)
    raw: bytes = b""
    done: bool = False

    def joined(self, *names: str) -> str:
        pieces = []
        for event in self.events:
            for choice in event.get("choices", ()):
                source = choice.get("delta", choice)
                pieces += [source[name] for name in names if source.get(name)]
        return "".join(pieces)

    @property
    def thinking(self) -> str:
        return self.joined("reasoning", "reasoning_content")

    @property
    def content(self) -> str:
        return self.joined("content", "text")

    @property
    def finish_reason(self) -> str | None:
        reasons = [c.get("finish_reason") for e in self.events for c in e.get("choices", ())]
        known = [reason for reason in reasons if reason]
        assert len(known) <= 1
        return known[0] if known else None

    @property
    def usage(self) -> dict[str, Any]:
        usages = [e["usage"] for e in self.events if e.get("usage") and not e.get("choices")]
        assert len(usages) == 1
        return usages[0]


@dataclass
class Setup:
    """A gateway, its engines and a client session."""

    gateway: GatewayProcess
    emulators: list[Emulator]
    config: dict[str, Any]
    session: aiohttp.ClientSession
    orders: int = 0

    async def signals(self, **query: Any) -> dict[str, Any]:
        async with self.session.get(self.gateway.admin + "/signals", params=query) as response:
            assert response.status == 200
            return await response.json()

    async def until(self, check: Callable[[dict[str, Any]], bool], within: float = 5.0) -> Any:
        """Signals that satisfy the check."""
        deadline = time.monotonic() + within
        while not check(found := await self.signals()):
            assert time.monotonic() < deadline, f"not within {within} s: {found}"
            await asyncio.sleep(0.02)
        return found

    async def arrange(self, replicas: str, **fields: Any) -> None:
        """Make exactly these engines ready, with this configuration, and a directive that orders
        nothing; wait until all is in force.
        """
        self._list(replicas)
        self.orders += 1
        self._order()
        await self.configure(**fields)
        await self.until(
            lambda s: {n for n, r in s["replicas"].items() if r["ready"]} == set(replicas)
        )
        await self.ordered()

    async def configure(self, **fields: Any) -> None:
        """Write another configuration, and wait until it is in force."""
        marker = f"m{time.monotonic_ns()}"
        self.config = {
            **self.config,
            **fields,
            "slos": [
                *fields.get("slos", []),
                {"name": marker, "indicator": "EndToEnd", "thresholdSeconds": 1000},
            ],
        }
        self.gateway.write("config.json", self.config)
        await self.until(lambda s: marker in s["slos"])

    async def direct(self, **fields: Any) -> None:
        """Write another directive, and wait until it is in force."""
        self.orders += 1
        self._order(**fields)
        await self.ordered()

    async def ordered(self, directive: str = "") -> None:
        """Wait until this directive (or the last one written) is in force."""
        line = f'id="{directive or f"order-{self.orders}"}"'
        deadline = time.monotonic() + 5
        while line not in await self.metrics():
            assert time.monotonic() < deadline, f"not in force: {line}"
            await asyncio.sleep(0.02)

    async def metrics(self) -> str:
        """The gateway's page for Prometheus."""
        async with self.session.get(self.gateway.admin + "/metrics") as response:
            assert response.status == 200
            return await response.text()

    def _order(self, **fields: Any) -> None:
        order = {"id": f"order-{self.orders}", **fields}
        self.gateway.write("directive.json", order)

    async def replicas(self, names: str, ready: bool = True) -> None:
        """Make exactly these engines (a is the first) ready."""
        self._list(names, ready)
        wanted = set(names) if ready else set()
        await self.until(lambda s: {n for n, r in s["replicas"].items() if r["ready"]} == wanted)

    def _list(self, names: str, ready: bool = True) -> None:
        listed = [
            {"name": name, "url": self.emulators[ord(name) - ord("a")].url, "ready": ready}
            for name in names
        ]
        self.gateway.write("replicas.json", listed)

    async def stream(self, path: str = "/v1/chat/completions", **body: Any) -> Answer:
        """Send a request and read the stream to its end."""
        async with self.session.post(self.gateway.url + path, json=body) as response:
            answer = Answer(status=response.status, headers=dict(response.headers))
            answer.raw = await response.read()
        for block in answer.raw.split(b"\n\n"):
            if block == b"data: [DONE]":
                assert not answer.done
                answer.done = True
            elif block.startswith(b"data: "):
                answer.events.append(json.loads(block[6:]))
        return answer

    async def post(self, path: str = "/v1/chat/completions", **body: Any) -> Answer:
        """Send a request whose answer is one JSON document."""
        async with self.session.post(self.gateway.url + path, json=body) as response:
            answer = Answer(status=response.status, headers=dict(response.headers))
            answer.events = [await response.json()]
        return answer


@pytest.fixture(scope="module")
def emulator_flags() -> list[list[str]]:
    """Overridden by modules: the flags of each engine."""
    return [["--reasoning-parser", "deepseek_r1"]]


@pytest.fixture(scope="module")
def gateway_flags() -> list[str]:
    """Overridden by modules: flags of the gateway beside the usual ones."""
    return []


@pytest.fixture(scope="module")
def processes(
    emulator_flags: list[list[str]],
    gateway_flags: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[GatewayProcess, list[Emulator]]]:
    directory = tmp_path_factory.mktemp("gateway")
    gateway = GatewayProcess(directory, *gateway_flags)
    emulators: list[Emulator] = []
    try:
        emulators += [Emulator(*flags) for flags in emulator_flags]
        for emulator in emulators:
            wait_for(emulator.url + "/health")
        wait_for(gateway.admin + "/healthz")
        yield gateway, emulators
    finally:
        for process in [gateway, *emulators]:
            process.stop()


@pytest.fixture
async def setup(
    processes: tuple[GatewayProcess, list[Emulator]],
) -> AsyncIterator[Setup]:
    """A client and the module's processes; `arrange` before anything else."""
    gateway, emulators = processes
    config = {"service": "ns/demo", "model": "tiny", "seatsPerReplica": 8}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield Setup(gateway, emulators, config, session, orders=time.monotonic_ns())
