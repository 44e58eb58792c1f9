"""How vLLM is started and emptied. The drain command runs as it would in the container."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from thinkscale.engines import adapter_for
from thinkscale.engines.adapter import LaunchPlan
from thinkscale.errors import SpecInvalid

METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
vllm:num_requests_running{{engine="0",model_name="tiny"}} {running}
vllm:num_requests_waiting{{engine="0",model_name="tiny"}} {waiting}
vllm:num_requests_waiting_by_reason{{engine="0",reason="capacity"}} 9.0
vllm:generation_tokens_total{{engine="0",model_name="tiny"}} 12345.0
"""


class Engine(BaseHTTPRequestHandler):
    """Answers /metrics like vLLM."""

    running: ClassVar[float] = 0.0
    waiting: ClassVar[float] = 0.0

    def do_GET(self) -> None:
        body = METRICS.format(running=Engine.running, waiting=Engine.waiting).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Engine)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def drain(port: int, *, limit: str = "10", calm: str = "0.5") -> "subprocess.Popen[bytes]":
    """The drain command, with other limits."""
    command = list(adapter_for("VLLM").drain_command(port, 10))
    assert command[0] == "python3"
    return subprocess.Popen([sys.executable, *command[1:-2], limit, calm])


def test_draining_waits_for_running_and_for_waiting_requests(port: int) -> None:
    Engine.running, Engine.waiting = 2.0, 0.0
    process = drain(port)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.8)
    Engine.running, Engine.waiting = 0.0, 1.0
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.8)
    Engine.waiting = 0.0
    assert process.wait(3) == 0


def test_an_idle_engine_is_left_only_after_a_calm(port: int) -> None:
    Engine.running, Engine.waiting = 0.0, 0.0
    begun = time.monotonic()
    assert drain(port, calm="1").wait(5) == 0
    assert time.monotonic() - begun >= 1.0


def test_draining_ends_when_the_time_is_up(port: int) -> None:
    Engine.running = 1.0
    assert drain(port, limit="0.6").wait(4) == 0
    Engine.running = 0.0


def test_a_dead_engine_is_not_waited_for() -> None:
    begun = time.monotonic()
    assert drain(1, limit="60").wait(10) == 0
    assert time.monotonic() - begun < 8


def test_arguments_say_everything_and_end_with_the_users_own() -> None:
    plan = LaunchPlan(
        model="acme/r1",
        revision="abc",
        served_name="r1",
        port=8000,
        context_tokens=4096,
        seats=8,
        gpus=2,
        reasoning_parser="deepseek_r1",
        drain_seconds=30,
        extra_args=("--seed=7",),
    )
    assert adapter_for("VLLM").arguments(plan) == (
        "acme/r1",
        "--revision=abc",
        "--served-model-name=r1",
        "--host=0.0.0.0",
        "--port=8000",
        "--max-model-len=4096",
        "--max-num-seqs=8",
        "--tensor-parallel-size=2",
        "--reasoning-parser=deepseek_r1",
        "--shutdown-timeout=30",
        "--seed=7",
    )


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(
        SpecInvalid, match=r"spec\.engine\.type: Ollama is not one of SGLang, TGI, V"
    ):
        adapter_for("Ollama")
