"""What a token costs through the gateway, beside nginx and LiteLLM and without a proxy.

    make bench-gateway [JSON=FILE] [LITELLM=no]

One emitting engine, one client (both in C, on core 0) and one proxy at a time (on core 1, kept from
other work where that is allowed), in turn and over again, so that a machine that slows down slows
all of them. Every event is a write of its own, and a run in which events arrived together, twice,
out of order or not at all is void. What is told is the median over the rounds.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.gateway import peers
from benchmarks.gateway.generator import Generator, Load, Measured, NoCompiler, in_real_time
from benchmarks.gateway.report import Results, lines

STREAMS, RATE = 256, 30.0
LITELLM_STREAMS = 24
"""It carries about 1,300 events a second."""
REQUESTS = 400
MANY = 1_000
MANY_RATE = 8.0


def main() -> int:
    """Measure, print, and write the ratios."""
    parser = argparse.ArgumentParser(prog="benchmarks.gateway", description=__doc__)
    parser.add_argument("--json", type=Path, help="where the ratios go")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--no-litellm", action="store_true")
    options = parser.parse_args()
    if (os.cpu_count() or 1) <= peers.PROXY_CORE:
        print("bench-gateway: it needs two cores, one for each side", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as directory:
        try:
            results = _measure(options, Path(directory))
        except (NoCompiler, peers.Missing) as error:
            print(f"bench-gateway: {error}", file=sys.stderr)
            return 2
    for line in lines(results):
        print(line)
    if options.json is not None:
        options.json.write_text(json.dumps(results.summary(), indent=2) + "\n")
    return 0 if not results.faults else 1


def _measure(options: argparse.Namespace, place: Path) -> Results:
    results = Results(load_before=os.getloadavg()[0])
    ports = iter(peers.free_ports(6))
    engine_port = next(ports)
    generator = Generator(place, engine_port)
    try:
        results.real_time = in_real_time(generator.pid)
        with _running(results, place, engine_port, ports, options) as running:
            for number in range(options.rounds):
                print(f"round {number + 1} of {options.rounds}", flush=True)
                for name, (port, pid) in running.items():
                    _round(results, generator, name, port, pid, options.seconds)
        for name in ("nginx", "gateway"):
            _many(results, generator, place, engine_port, name)
    finally:
        generator.stop()
    results.load_after = os.getloadavg()[0]
    return results


@contextmanager
def _running(
    results: Results,
    place: Path,
    engine_port: int,
    ports: Iterator[int],
    options: argparse.Namespace,
) -> Iterator[dict[str, tuple[int, int]]]:
    """(port, pid) of each target by its name; without a proxy, the pid is this process's."""
    started = []
    try:
        started.append(peers.nginx(place, engine_port, next(ports)))
        started.append(peers.gateway(place, engine_port, next(ports), next(ports)))
        if not options.no_litellm:
            try:
                started.append(peers.litellm(place, engine_port, next(ports)))
            except peers.Missing as error:
                results.notes.append(f"without LiteLLM: {error}")
        for peer in started:
            in_real_time(peer.process.pid)
        proxies = {peer.name: (peer.port, peer.process.pid) for peer in started}
        yield {"direct": (engine_port, os.getpid()), **proxies}
    finally:
        for peer in started:
            peer.stop()


def _round(
    results: Results, generator: Generator, name: str, port: int, pid: int, seconds: float
) -> None:
    streams = LITELLM_STREAMS if name == "litellm" else STREAMS
    load = Load(streams=streams, rate=RATE, ramp_seconds=2.0, window_seconds=seconds)
    results.add("paced", name, generator.run(port, load, pid))
    one = Load(repeat=REQUESTS // 10 if name == "litellm" else REQUESTS)
    results.add("single", name, generator.run(port, one, pid))


def _many(results: Results, generator: Generator, place: Path, engine_port: int, name: str) -> None:
    """Memory of a stream, by a process that has not served any before."""
    port, admin = peers.free_ports(2)
    start: dict[str, Callable[[], peers.Peer]] = {
        "nginx": lambda: peers.nginx(place, engine_port, port),
        "gateway": lambda: peers.gateway(place, engine_port, port, admin),
    }
    peer = start[name]()
    try:
        pid = peer.process.pid
        in_real_time(pid)
        few = Load(streams=4, rate=MANY_RATE, ramp_seconds=0.5, window_seconds=0.5)
        before: Measured = generator.run(peer.port, few, pid)
        load = Load(streams=MANY, rate=MANY_RATE, ramp_seconds=4.0, window_seconds=6.0)
        results.add("many", name, generator.run(peer.port, load, pid))
        results.idle_kilobytes[name] = before.memory_kilobytes
    finally:
        peer.stop()


if __name__ == "__main__":
    sys.exit(main())
