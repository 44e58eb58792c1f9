"""The generator against a real emulated model server, as processes on loopback."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.story.generator import Stream
from e2e.story.outcomes import Outcome, send_lag_p99_seconds
from e2e.story.run import TrafficRun
from e2e.story.traffic import Request

PLAN_FIELD = "x_a_name_of_this_test"
START_SECONDS = 1.0
"""Enough for the generator's process to start, or its own lag would show in the outcomes."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """A fast emulated server with two seats; its URL up to `/v1`."""
    port = free_port()
    command = [sys.executable, "-m", "thinkscale", "emulator", "m", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--profile", "demo", "--startup-seconds", "0"]
    command += ["--a0-milliseconds", "2", "--max-num-seqs", "2", "--plan-field", PLAN_FIELD]
    command += ["--reasoning-parser", "deepseek_r1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                    break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(10)


def request(at: float, thinking: int = 20, answer: int = 5) -> Request:
    """A request of known lengths."""
    return Request(at_seconds=at, prompt_tokens=3, thinking_tokens=thinking, answer_tokens=answer)


def run(
    directory: Path, url: str, requests: list[Request], stop_after_seconds: float = 20
) -> list[Outcome]:
    """Send the requests; outcomes by index."""
    stream = Stream(name="s", url=url, model="m", plan_field=PLAN_FIELD, requests=tuple(requests))
    zero = time.time() + START_SECONDS
    with TrafficRun(
        directory, [stream], stop_after_seconds=stop_after_seconds, zero=zero
    ) as traffic:
        while not traffic.finished():
            time.sleep(0.02)
        return sorted(traffic.outcomes(), key=lambda outcome: outcome.index)


def test_each_request_gets_the_lengths_that_its_plan_asks_for(engine: str, tmp_path: Path) -> None:
    outcomes = run(tmp_path, engine, [request(0.0, 30, 4), request(0.3, 5, 9)])
    assert [outcome.error for outcome in outcomes] == ["", ""]
    assert [outcome.thinking_tokens for outcome in outcomes] == [30, 5]
    # Besides the answer there are the closing tag, a blank line and the end of the sequence.
    assert [outcome.answer_tokens for outcome in outcomes] == [4 + 3, 9 + 3]
    for outcome in outcomes:
        assert outcome.first_token is not None
        assert outcome.first_answer is not None
        assert outcome.intended < outcome.first_token < outcome.first_answer < outcome.end


def test_requests_leave_at_their_times_however_long_the_server_takes(
    engine: str, tmp_path: Path
) -> None:
    # Two seats, and each request takes about 0.2 s: a client that waited for answers (a closed
    # loop) would send the last of these more than two seconds late.
    requests = [request(0.02 * number, thinking=70) for number in range(25)]
    outcomes = run(tmp_path, engine, requests)
    assert not any(outcome.failed for outcome in outcomes)
    assert outcomes[-1].end - outcomes[-1].intended > 1.0
    assert send_lag_p99_seconds(outcomes) < 0.8


def test_what_is_not_finished_at_the_end_is_told_as_unfinished(engine: str, tmp_path: Path) -> None:
    outcomes = run(tmp_path, engine, [request(0.0, thinking=3000)], stop_after_seconds=1.0)
    assert [(outcome.error, outcome.failed) for outcome in outcomes] == [("unfinished", True)]


def test_nobody_listening_is_a_failure_and_is_not_tried_again(tmp_path: Path) -> None:
    outcomes = run(tmp_path, f"http://127.0.0.1:{free_port()}/v1", [request(0.0)])
    assert len(outcomes) == 1
    assert outcomes[0].status == 0
    assert outcomes[0].error.startswith("ClientConnectorError")


def test_an_error_of_the_server_is_kept_as_it_was(engine: str, tmp_path: Path) -> None:
    stream = Stream(
        name="s", url=engine, model="other", plan_field=PLAN_FIELD, requests=(request(0.0),)
    )
    with TrafficRun(
        tmp_path, [stream], stop_after_seconds=5, zero=time.time() + START_SECONDS
    ) as traffic:
        while not traffic.finished():
            time.sleep(0.02)
        (outcome,) = traffic.outcomes()
    assert outcome.status == 404
    assert json.loads(outcome.error)["error"]["message"]
    assert not outcome.counts
