"""Start-up, timing and ends: of a healthy server, a draining one and a dying one."""

import json
import resource
import signal
import socket
import time
from collections.abc import Callable

from tests.unit.emulator.emulator_process import Emulator, chat, is_up, plan, wait_for

Own = Callable[..., Emulator]
Shared = Callable[..., Emulator]
CHAT = "/v1/chat/completions"


def read_all(opened: socket.socket) -> str:
    """Until the server closes, or half a second of silence."""
    opened.settimeout(0.5)
    parts = []
    try:
        while part := opened.recv(65_536):
            parts.append(part)
            if b"[DONE]" in part:
                break
    except TimeoutError:
        pass
    return b"".join(parts).decode()


def streaming(emulator: Emulator, thinking: int) -> socket.socket:
    """A stream that has had its first token."""
    opened = emulator.open_stream(CHAT, chat(**plan(thinking, 1)))
    opened.recv(1)
    wait_for(lambda: emulator.metric("vllm:num_requests_running") >= 1)
    return opened


def catches(pid: int, number: signal.Signals) -> bool:
    """The process has a handler for this signal."""
    with open(f"/proc/{pid}/status") as status:
        mask = next(line for line in status if line.startswith("SigCgt:")).split()[1]
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_the_port_is_closed_until_the_start_up_is_over(own: Own) -> None:
    began = time.monotonic()
    emulator = own("--startup-seconds", "0.8")
    wait_for(lambda: is_up(emulator))
    assert time.monotonic() - began >= 0.8
    assert emulator.get("/health") == ""


def test_a_start_that_fails_exits_without_serving(own: Own) -> None:
    emulator = own("--fail-start")
    assert emulator.process.wait(10) == 1


def test_a_signal_during_start_up_ends_it(own: Own) -> None:
    emulator = own("--startup-seconds", "60")
    wait_for(lambda: catches(emulator.process.pid, signal.SIGTERM))
    emulator.process.send_signal(signal.SIGTERM)
    assert emulator.process.wait(5) == 0


def test_a_crash_takes_the_streams_with_it(own: Own) -> None:
    emulator = own("--crash-after-seconds", "1")
    wait_for(lambda: is_up(emulator))
    with streaming(emulator, 5_000) as opened:
        assert "[DONE]" not in read_all(opened)
    assert emulator.process.wait(5) == 1


def test_sigterm_aborts_what_is_in_flight(own: Own) -> None:
    emulator = own()
    wait_for(lambda: is_up(emulator))
    with streaming(emulator, 5_000) as opened:
        emulator.process.send_signal(signal.SIGTERM)
        text = read_all(opened)
    assert '"finish_reason":"abort"' in text
    assert "data: [DONE]" in text
    assert emulator.process.wait(5) == 0


def test_with_a_shutdown_timeout_streams_finish_while_new_requests_get_500(own: Own) -> None:
    emulator = own("--shutdown-timeout", "10")
    wait_for(lambda: is_up(emulator))
    with streaming(emulator, 400) as opened:
        emulator.process.send_signal(signal.SIGTERM)
        wait_for(lambda: emulator.post(CHAT, chat(**plan(1, 1)))[0] == 500)
        _, refused = emulator.post(CHAT, chat(**plan(1, 1)))
        assert refused["error"]["type"] == "InternalServerError"
        assert emulator.get("/health") == ""
        assert '"finish_reason":"stop"' in read_all(opened)
    assert emulator.process.wait(5) == 0


def test_a_drain_that_takes_too_long_is_cut_off(own: Own) -> None:
    emulator = own("--shutdown-timeout", "0.5")
    wait_for(lambda: is_up(emulator))
    with streaming(emulator, 20_000) as opened:
        emulator.process.send_signal(signal.SIGTERM)
        assert '"finish_reason":"abort"' in read_all(opened)
    assert emulator.process.wait(5) == 0


def test_a_hanging_end_goes_silent_until_the_client_hangs_up(own: Own) -> None:
    emulator = own("--hang-on-terminate")
    wait_for(lambda: is_up(emulator))
    with streaming(emulator, 20_000) as opened:
        emulator.process.send_signal(signal.SIGTERM)
        assert 'finish_reason":"abort' not in read_all(opened)
        assert emulator.process.poll() is None
    assert emulator.process.wait(5) == 0


def test_an_idle_connection_is_closed_after_five_seconds(shared: Shared) -> None:
    with socket.create_connection(("127.0.0.1", shared().port), timeout=10) as idle:
        idle.sendall(b"GET /version HTTP/1.1\r\nHost: t\r\n\r\n")
        assert b"0.32.0" in idle.recv(65_536)
        began = time.monotonic()
        assert idle.recv(1) == b""
        assert 4.5 < time.monotonic() - began < 7.0


def test_tokens_keep_the_profiles_pace_without_drift(own: Own) -> None:
    emulator = own("--a0-milliseconds", "3.3", "--a1-milliseconds", "0", "--a2-microseconds", "0")
    wait_for(lambda: is_up(emulator))
    began = time.monotonic()
    emulator.post(CHAT, chat(**plan(397, 0)))
    took = time.monotonic() - began
    # 400 steps of 3.3 ms, prefill included. Each rounded up to a timer's tick would make 1.6 s.
    assert 1.31 <= took < 1.5


def test_a_small_pod_suffices(shared: Shared) -> None:
    emulator = shared("--reasoning-parser", "deepseek_r1")
    emulator.post(CHAT, chat(n=8, **plan(500, 20)))
    with open(f"/proc/{emulator.process.pid}/statm") as statm:
        resident = int(statm.read().split()[1]) * resource.getpagesize()
    assert resident < 60 * 2**20
    modules = json.dumps(sorted(_loaded(emulator)))
    assert "pydantic" not in modules


def _loaded(emulator: Emulator) -> set[str]:
    """Shared objects that the process has mapped."""
    with open(f"/proc/{emulator.process.pid}/maps") as maps:
        return {line.rsplit(" ", 1)[1].strip() for line in maps if ".so" in line}
