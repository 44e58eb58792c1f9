"""A gateway process before model servers, and a client that judges what comes through it.

Tokens are counted by an independent witness: the text that the client received, given to the
engine's own tokenizer. The gateway's books are read to wait for a configuration, and for what no
client sees: what the gateway has found of a replica.
"""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from e2e.engines.server import HOST, SERVED_NAME, free_port

FIELDS = ("reasoning", "reasoning_content")
WAIT_SECONDS = 20.0


@dataclass(slots=True)
class Reply:
    """What a client received, streamed or whole."""

    status: int
    headers: Mapping[str, str]
    thinking: str = ""
    content: str = ""
    finish_reasons: list[str] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    identities: set[str] = field(default_factory=set)
    raw: bytes = b""
    done: bool = False

    @property
    def reasoning_tokens(self) -> int:
        """As the usage tells."""
        details = self.usage.get("completion_tokens_details") or {}
        return int(details.get("reasoning_tokens") or 0)

    def split(self) -> None:
        """Thinking that came between tags in the text."""
        if not self.thinking and "</think>" in self.content:
            thinking, _, self.content = self.content.partition("</think>")
            self.thinking = thinking.removeprefix("<think>")


class Bench:
    """One gateway, its replicas and a client."""

    def __init__(self, session: aiohttp.ClientSession, directory: Path, url: str, admin: str):
        self.session = session
        self.url = url
        self._admin = admin
        self._directory = directory
        self._turn = 0
        self._engine = ""
        self._replicas: dict[str, str] = {}

    async def replicas(self, urls: Mapping[str, str]) -> None:
        """Make exactly these ready."""
        self._replicas = dict(urls)
        listed = [{"name": name, "url": url} for name, url in urls.items()]
        self._write("replicas.json", listed)
        await self.until(lambda s: set(s["replicas"]) == set(urls))

    async def configure(self, *, engine: str, seats: int = 64, **fields: Any) -> None:
        """Write a configuration and wait until it is in force."""
        self._turn += 1
        self._engine = engine
        marker = f"turn-{self._turn}"
        slo = {"name": marker, "indicator": "EndToEnd", "thresholdSeconds": 1000}
        config = {"service": "e2e/conformance", "model": SERVED_NAME, "engine": engine}
        self._write("config.json", {**config, "seatsPerReplica": seats, "slos": [slo], **fields})
        await self.until(lambda s: marker in s["slos"])

    async def signals(self) -> dict[str, Any]:
        """The gateway's."""
        async with self.session.get(self._admin + "/signals") as response:
            found: dict[str, Any] = await response.json()
            return found

    async def counts(self, *names: str) -> dict[str, int]:
        """The gateway's counters of these names, by their first label; without zeros."""
        async with self.session.get(self._admin + "/metrics") as response:
            text = await response.text()
        found: dict[str, int] = {}
        for name in names:
            for label, value in re.findall(rf'_{name}_total{{\w+="(\w+)",[^}}]*}} (\S+)', text):
                found[label] = found.get(label, 0) + round(float(value))
        return {label: count for label, count in found.items() if count}

    async def until(self, check: Any, within: float = WAIT_SECONDS) -> dict[str, Any]:
        """Signals that satisfy the check."""
        deadline = time.monotonic() + within
        while not check(found := await self.signals()):
            assert time.monotonic() < deadline, f"not within {within} s: {found}"
            await asyncio.sleep(0.02)
        return found

    def _write(self, name: str, content: Any) -> None:
        path = self._directory / f".{name}"
        path.write_text(json.dumps(content))
        path.rename(self._directory / name)

    async def ask(
        self, *, stream: bool, url: str = "", path: str = "/v1/chat/completions", **fields: Any
    ) -> Reply:
        """Send a request through the gateway, or to a server's `url` directly."""
        body: dict[str, Any] = {"model": SERVED_NAME, "temperature": 1.0, **fields}
        if path.endswith("/chat/completions"):
            body.setdefault("messages", [{"role": "user", "content": "why is the sky"}])
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        async with self.session.post((url or self.url) + path, json=body) as response:
            reply = Reply(status=response.status, headers=dict(response.headers))
            try:
                async for piece in response.content.iter_any():
                    reply.raw += piece
            except aiohttp.ClientPayloadError as error:
                reply.error = {"message": str(error), "code": "cut"}
        if stream and response.content_type == "text/event-stream":
            read_stream(reply)
        else:
            read_whole(reply)
        reply.split()
        return reply

    async def count(self, text: str) -> int:
        """Tokens of a text, by the tokenizer of the first replica."""
        if not text:
            return 0
        url = next(iter(self._replicas.values()))
        name = "inputs" if self._engine == "TGI" else "prompt"
        body = {"model": SERVED_NAME, name: text, "add_special_tokens": False}
        async with self.session.post(url + "/tokenize", json=body) as response:
            told = await response.json()
        return len(told if self._engine == "TGI" else told["tokens"])


def read_stream(reply: Reply) -> None:
    """Put the events of a stream together."""
    for block in reply.raw.split(b"\n\n"):
        if block == b"data: [DONE]":
            reply.done = True
        elif block.startswith(b"data: "):
            _read_event(reply, json.loads(block[6:]))


def _read_event(reply: Reply, event: dict[str, Any]) -> None:
    if event.get("error"):
        reply.error = event["error"]
        return
    reply.identities.add(event["id"])
    reply.usage = event.get("usage") or reply.usage
    for choice in event["choices"]:
        if choice["index"] == 0:
            _take(reply, choice, choice.get("delta", choice))


def _take(reply: Reply, choice: Mapping[str, Any], said: Mapping[str, Any]) -> None:
    reply.thinking += "".join(said.get(name) or "" for name in FIELDS)
    reply.content += said.get("content") or said.get("text") or ""
    if choice.get("finish_reason"):
        reply.finish_reasons.append(choice["finish_reason"])


def read_whole(reply: Reply) -> None:
    """Read an answer that is one document."""
    try:
        document = json.loads(reply.raw)
    except json.JSONDecodeError:
        reply.error = {"message": reply.raw.decode(errors="replace"), "code": reply.status}
        return
    reply.error = document.get("error")
    if reply.error is not None or "choices" not in document:
        return
    reply.done = True
    reply.identities.add(document["id"])
    reply.usage = document["usage"]
    choice = document["choices"][0]
    _take(reply, choice, choice.get("message", choice))


@asynccontextmanager
async def bench(directory: Path, flags: Sequence[str] = ()) -> AsyncIterator[Bench]:
    """A gateway of its own, for as long as the block lasts."""
    timeout = aiohttp.ClientTimeout(total=180)
    with _gateway(directory, flags) as (url, admin):
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await _listening(session, admin + "/healthz")
            yield Bench(session, directory, url, admin)


@contextmanager
def _gateway(directory: Path, flags: Sequence[str]) -> Iterator[tuple[str, str]]:
    directory.mkdir(parents=True, exist_ok=True)
    port, admin = free_port(), free_port()
    command = [sys.executable, "-m", "thinkscale", "gateway", "--host", HOST]
    command += ["--port", str(port), "--admin-port", str(admin), "--drain-delay-seconds", "0"]
    command += ["--config-dir", str(directory)]
    command += ["--replicas-file", str(directory / "replicas.json"), *flags]
    with (directory / "gateway.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield f"http://{HOST}:{port}", f"http://{HOST}:{admin}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _listening(session: aiohttp.ClientSession, url: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            async with session.get(url) as response:
                if response.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            assert time.monotonic() < deadline, "the gateway does not start"
        await asyncio.sleep(0.05)
