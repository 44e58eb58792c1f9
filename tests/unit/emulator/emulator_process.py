"""A real emulator process on loopback, and a client that shows its streams key by key."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PLAN = "script_of_this_test"
FAST = ("--startup-seconds", "0", "--a0-milliseconds", "2", "--a1-milliseconds", "0.01")


@dataclass
class Emulator:
    """A running emulator."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=10) as reply:
            return str(reply.read().decode())

    def metric(self, name: str) -> float:
        """Sum of the samples of this exact name."""
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in self.get("/metrics").splitlines()
            if line.startswith((name + "{", name + " "))
        )

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Status and decoded JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json", **headers}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def stream(self, path: str, body: dict[str, Any]) -> "Stream":
        """A finished stream."""
        request = urllib.request.Request(
            self.url + path,
            json.dumps(body | {"stream": True}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            text = reply.read().decode()
        assert text.endswith("data: [DONE]\n\n")
        events = [json.loads(e[6:]) for e in text.split("\n\n") if e and e != "data: [DONE]"]
        return Stream(events)

    def open_stream(self, path: str, body: dict[str, Any]) -> socket.socket:
        """A socket with a request on it, to be read, or dropped, by hand."""
        data = json.dumps(body | {"stream": True}).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        opened.sendall(head.encode() + data)
        return opened


@dataclass
class Stream:
    """The events of a stream, taken apart."""

    events: list[dict[str, Any]]
    choices: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.choices = [c for e in self.events for c in e.get("choices", [])]

    def text(self, name: str) -> str:
        """All of one delta field (or `text`)."""
        return "".join((c.get("delta") or c).get(name) or "" for c in self.choices)

    @property
    def token_ids(self) -> list[int]:
        return [token for c in self.choices for token in c.get("token_ids") or []]

    @property
    def finish(self) -> dict[str, Any]:
        return next(c for c in self.choices if c["finish_reason"])

    @property
    def usage(self) -> dict[str, Any]:
        return dict(self.events[-1]["usage"])


def wait_for(condition: Callable[[], bool], within_seconds: float = 10.0) -> None:
    """Poll until it holds."""
    end = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.01)


def plan(thinking: int, answer: int) -> dict[str, Any]:
    """The request field that fixes the lengths."""
    return {PLAN: {"thinking_tokens": thinking, "answer_tokens": answer}}


def chat(text: str = "why", **fields: Any) -> dict[str, Any]:
    """A chat body."""
    return {"model": "m", "messages": [{"role": "user", "content": text}], **fields}


def launch(*flags: str) -> Emulator:
    """Start one; it may not be listening yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "thinkscale", "emulator", "m", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--plan-field", PLAN, *flags]
    environment = {**os.environ, "PYTHONPATH": "operator"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    return Emulator(process, port)


def is_up(emulator: Emulator) -> bool:
    """Its port accepts connections."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", emulator.port), 1):
        return True
    assert emulator.process.poll() is None, "it ended before it served"
    return False


def finish(emulator: Emulator) -> None:
    """End it, whatever it does."""
    if emulator.process.poll() is None:
        emulator.process.send_signal(signal.SIGKILL)
    emulator.process.wait(10)
