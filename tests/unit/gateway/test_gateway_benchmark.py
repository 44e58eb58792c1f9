"""The benchmark's own instruments: the generator counts rightly, a bad proxy makes a run void."""

import asyncio
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.gateway.generator import Generator, Load, Measured
from benchmarks.gateway.report import Results

STREAMS, RATE, SECONDS = 8, 50.0, 0.6
LOAD = Load(streams=STREAMS, rate=RATE, ramp_seconds=0.4, window_seconds=SECONDS)

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="the generator needs gcc")


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Generator, int]]:
    """The generator, and the port of the engine in it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    generator = Generator(tmp_path_factory.mktemp("load"), port)
    yield generator, port
    generator.stop()


@contextmanager
def proxy(engine_port: int, *, holds_seconds: float = 0.0, loses: bytes = b"") -> Iterator[int]:
    """A proxy that waits before it passes on what has come, or loses something of it; its port."""
    ready: list[int] = []
    started = threading.Event()
    loop, over = asyncio.new_event_loop(), asyncio.Event()

    async def serve(near: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        far, into = await asyncio.open_connection("127.0.0.1", engine_port)

        async def up() -> None:
            while data := await near.read(65536):
                into.write(data)
            into.close()

        task = asyncio.create_task(up())
        try:
            while data := await far.read(65536):
                await asyncio.sleep(holds_seconds)
                out.write(b"" if loses and loses in data else data)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            task.cancel()
            into.close()
            out.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        ready.append(server.sockets[0].getsockname()[1])
        started.set()
        await over.wait()
        server.close()

    def work() -> None:
        loop.run_until_complete(run())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    yield ready[0]
    loop.call_soon_threadsafe(over.set)
    thread.join()


def faults(measured: Measured) -> list[str]:
    results = Results(load_before=0.0)
    results.add("paced", "gateway", measured)
    return results.faults


def test_every_event_is_counted_once_and_in_its_time(generator: tuple[Generator, int]) -> None:
    running, port = generator
    measured = running.run(port, LOAD, os.getpid())
    assert measured.told["events"] == pytest.approx(STREAMS * RATE * SECONDS, rel=0.1)
    assert 0 < measured.told["p50_microseconds"] <= measured.told["p99_microseconds"] < 50_000
    assert measured.wall_seconds == pytest.approx(SECONDS, abs=0.2)
    assert not faults(measured)


def test_one_request_after_the_other_tells_the_time_to_the_first_byte(
    generator: tuple[Generator, int],
) -> None:
    running, port = generator
    told = running.run(port, Load(repeat=50), os.getpid()).told
    assert told["answered"] == 50
    assert told["first_byte_p50_microseconds"] > 0
    assert told["broken"] == told["disordered"] == 0


def test_a_proxy_that_puts_events_together_makes_the_run_void(
    generator: tuple[Generator, int],
) -> None:
    running, engine_port = generator
    with proxy(engine_port, holds_seconds=0.1) as port:
        measured = running.run(port, LOAD, os.getpid())
    assert "coalesced" in faults(measured)[0]
    assert measured.told["p50_microseconds"] > 20_000


def test_a_proxy_that_loses_an_event_makes_the_run_void(generator: tuple[Generator, int]) -> None:
    running, engine_port = generator
    with proxy(engine_port, loses=b".000005") as port:
        measured = running.run(port, LOAD, os.getpid())
    assert "disordered" in faults(measured)[0]


def test_the_ratios_are_of_medians(tmp_path: Path) -> None:
    results = Results(load_before=0.0)
    for name, cpu in (("nginx", 1.0), ("gateway", 1.2), ("litellm", 9.6)):
        for factor in (1, 1, 50):  # one bad round says nothing
            told = {
                "events": 10_000, "coalesced": 0, "disordered": 0, "broken": 0,
                "p50_microseconds": 50.0 * cpu * factor, "p99_microseconds": 100.0 * factor,
                "p999_microseconds": 200.0, "max_microseconds": 900.0 * factor,
                "first_byte_p50_microseconds": 40.0 * cpu,
            }  # fmt: skip
            measured = Measured(
                told=told, cpu_seconds=cpu * factor, wall_seconds=1.0, memory_kilobytes=60_000
            )
            for what in ("paced", "single", "many"):
                results.add(what, name, measured)
        results.idle_kilobytes[name] = 20_000
    summary = results.summary()
    assert summary["cpu_vs_nginx"] == summary["p50_vs_nginx"] == summary["ttfb_vs_nginx"] == 1.2
    assert summary["p99_vs_nginx"] == 1.0
    assert summary["cpu_vs_litellm"] == 0.125
    assert summary["kilobytes_per_stream"] == 40.0
    assert summary["max_stall_milliseconds"] == 45.0
