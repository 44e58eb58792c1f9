"""`profile` and `whatif` on a running service: a real gateway before an emulated engine."""

import asyncio
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import aiohttp
import pytest

from thinkscale.cli.main import main

REQUESTS = 120
THINKING = [40 + 10 * (i % 20) for i in range(REQUESTS)]
"""40 to 230 tokens, 135 on average."""
ANSWER = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            assert time.monotonic() < deadline, f"{url} does not come up"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The admin URL of a gateway that has served all requests."""
    folder = tmp_path_factory.mktemp("service")
    engine, api, admin = free_port(), free_port(), free_port()
    config = {"service": "ns/demo", "model": "tiny", "seatsPerReplica": 64}
    replicas = [{"name": "a", "url": f"http://127.0.0.1:{engine}", "ready": True}]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "replicas.json").write_text(json.dumps(replicas))
    commands = [
        ["emulator", "tiny", "--host", "127.0.0.1", "--port", str(engine), "--startup-seconds", "0",
         "--a0-milliseconds", "2", "--a1-milliseconds", "0", "--max-num-seqs", "64",
         "--plan-field", "x_plan", "--reasoning-parser", "deepseek_r1"],
        ["gateway", "--config-dir", str(folder), "--replicas-file", str(folder / "replicas.json"),
         "--host", "127.0.0.1", "--port", str(api), "--admin-port", str(admin)],
    ]  # fmt: skip
    processes = [subprocess.Popen([sys.executable, "-m", "thinkscale", *c]) for c in commands]
    try:
        wait_for(f"http://127.0.0.1:{engine}/health")
        wait_for(f"http://127.0.0.1:{admin}/healthz")
        asyncio.run(_ask(f"http://127.0.0.1:{api}/v1/chat/completions"))
        yield f"http://127.0.0.1:{admin}"
    finally:
        for process in processes:
            process.kill()
            process.wait(10)


async def _ask(url: str) -> None:
    """Send all requests, and read all answers."""
    async with aiohttp.ClientSession() as session:

        async def one(thinking: int) -> None:
            body = {
                "model": "tiny",
                "messages": [{"role": "user", "content": "why? " * 50}],
                "stream": True,
                "stream_options": {"include_usage": True},
                "x_plan": {"thinking_tokens": thinking, "answer_tokens": ANSWER},
            }
            async with session.post(url, json=body) as response:
                assert response.status == 200
                assert (await response.read()).endswith(b"data: [DONE]\n\n")

        await asyncio.gather(*map(one, THINKING))


def test_a_profile_of_a_live_service_is_that_of_what_it_served(service, tmp_path, capsys):
    figures, picture = tmp_path / "profile.json", tmp_path / "profile.png"
    argv = ["--gateway", service, "--watch-seconds", "0"]
    assert main(["profile", *argv, "--json", str(figures), "--plot", str(picture)]) == 0
    made = json.loads(figures.read_text())
    thinking = made["distributions"]["thinking_tokens"]
    assert made["requests"] == REQUESTS
    assert thinking["mean"] == pytest.approx(135, rel=0.1)
    assert thinking["quantiles"]["p95"] == pytest.approx(220, rel=0.15)
    assert made["distributions"]["output_tokens"]["mean"] == pytest.approx(165, rel=0.1)
    assert made["answer_tokens_mean"] == pytest.approx(ANSWER, rel=0.1)
    ttfa = made["distributions"]["ttfa_seconds"]
    assert 0.05 < ttfa["quantiles"]["p50"] < 5
    assert made["latencies"] == "measured"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "thinking_tokens" in capsys.readouterr().out


def test_a_what_if_on_a_live_service_starts_from_its_lengths(service, tmp_path):
    figures = tmp_path / "whatif.json"
    argv = ["--quick", "--add-thinking-tokens", "500", "--share", "0.2", "--gateway", service]
    assert main(["whatif", *argv, "--watch-seconds", "0", "--json", str(figures)]) == 0
    made = json.loads(figures.read_text())
    assert made["before"]["thinking_tokens_mean"] == pytest.approx(135, rel=0.1)
    assert made["after"]["thinking_tokens_mean"] == pytest.approx(235, rel=0.1)
    assert made["after"]["ttfa_seconds"][2] > 2 * made["before"]["ttfa_seconds"][2]


def test_an_api_port_is_no_admin_port(service, capsys):
    wrong = f"{service}/metrics"
    assert main(["profile", "--gateway", wrong, "--watch-seconds", "0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "admin port" in line
