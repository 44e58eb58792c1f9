"""The gateway measured by aiperf, beside what it says itself and what its engine gives alone.

    make verify-aiperf [JSON=FILE]

One emulated engine, which ignores the native budget, so that the gateway holds it; one gateway;
and the same requests four times: at the engine, through the gateway where no budget bites, with one
that cuts every thought, and through the Responses API. Fails where aiperf and the gateway's
`/metrics` disagree (`agreement`), or the gateway gives something else than the engine.
"""

import argparse
import json
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gateway import peers
from benchmarks.gateway.agreement import Told, disagreements, slower
from benchmarks.gateway.aiperf import AIPERF, Client, Seen
from e2e.provision import progress

REQUESTS, RATE = 40, 4.0
THINKING, ANSWER, BUDGET = 40, 20, 24
MOST = 64
"""The gateway's `--budget-max`, which no thought reaches."""
MODEL = "tiny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of aiperf; its gateway's word is absent where there is none."""

    name: str
    seen: Seen
    told: Told | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where requests go."""

    engine: str
    gateway: str
    metrics: str


def main() -> int:
    """Run, print, and write the figures; 1 for a disagreement, 2 where it could not be run."""
    parser = argparse.ArgumentParser(prog="benchmarks.gateway.verify_aiperf", description=__doc__)
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as directory:
            client = Client(Path(directory))
            with _served(Path(directory)) as place:
                runs = list(_runs(client, place))
    except (progress.StepError, peers.Missing) as error:
        print(f"verify-aiperf: {error}", file=sys.stderr)
        return 2
    summary = _summary({run.name: run for run in runs})
    for run in runs:
        print(f"{run.name:<10} aiperf  {_line(asdict(run.seen))}")
        if run.told is not None:
            print(f"{'':<10} gateway {_line(asdict(run.told))}")
    for fault in summary["faults"]:
        print(f"DISAGREE {fault}")
    print("verdict   ", "they disagree" if summary["faults"] else "they agree")
    if options.json is not None:
        options.json.write_text(json.dumps(summary, indent=2) + "\n")
    return 1 if summary["faults"] else 0


def _runs(client: Client, place: Place) -> Iterator[Run]:
    common: dict[str, Any] = {"model": MODEL, "requests": REQUESTS, "rate": RATE}
    yield Run(name="direct", seen=client.run("direct", place.engine, endpoint="chat", **common))
    for name, endpoint, extra in (
        ("through", "chat", ()),
        ("cut", "chat", (f"thinking_token_budget:{BUDGET}",)),
        ("responses", "responses", ()),
    ):
        before = _get(place.metrics)
        seen = client.run(name, place.gateway, endpoint=endpoint, extra=extra, **common)
        yield Run(name=name, seen=seen, told=Told.between(before, _get(place.metrics)))


def _summary(runs: dict[str, Run]) -> dict[str, Any]:
    faults = [
        f"{name}: {fault}"
        for name, run in runs.items()
        if run.told is not None
        for fault in disagreements(
            run.seen,
            run.told,
            requests=REQUESTS,
            thinking=BUDGET if name == "cut" else THINKING,
            paced=name != "responses",
        )
    ]
    direct, through, cut = runs["direct"].seen, runs["through"].seen, runs["cut"].told
    found = slower(direct, through, requests=REQUESTS, thinking=THINKING)
    faults += [f"direct: {fault}" for fault in found]
    if cut is not None and cut.cuts != REQUESTS:
        faults.append(f"cut: {cut.cuts} of {REQUESTS} thoughts cut, by the gateway")
    return {
        "aiperf": AIPERF.requirement,
        "runs": {
            name: {"aiperf": asdict(run.seen), "gateway": asdict(run.told) if run.told else None}
            for name, run in runs.items()
        },
        "faults": faults,
    }


@contextmanager
def _served(place: Path) -> Iterator[Place]:
    """An engine and a gateway, as processes."""
    engine_port, port, admin_port = peers.free_ports(3)
    thinkscale = (sys.executable, "-m", "thinkscale")
    engine, gateway, admin = (f"http://127.0.0.1:{n}" for n in (engine_port, port, admin_port))
    emulator = [
        *(*thinkscale, "emulator", MODEL, "--host", "127.0.0.1", "--port", str(engine_port)),
        *("--startup-seconds", "0", "--reasoning-parser", "deepseek_r1", "--max-num-seqs", "32"),
        *("--length-distribution", "constant", "--thinking-tokens-mean", str(THINKING)),
        *("--answer-tokens-mean", str(ANSWER), "--ignore-native-budget"),
        *("--a0-milliseconds", "20", "--a1-milliseconds", "0", "--a2-microseconds", "0"),
        *("--a3-microseconds", "100"),
    ]
    command = [
        *(*thinkscale, "gateway", "--upstream", engine, "--budget-max", str(MOST)),
        *("--listen", f"127.0.0.1:{port}", "--admin-port", str(admin_port)),
    ]
    started = []
    try:
        ready = f"{engine}/health"
        started.append(peers.start("emulator", engine_port, emulator, place, ready=ready))
        ready = f"{admin}/readyz"
        started.append(peers.start("gateway", port, command, place, ready=ready))
        yield Place(engine=engine, gateway=gateway, metrics=f"{admin}/metrics")
    finally:
        for peer in started:
            peer.stop()


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return str(response.read().decode())


def _line(figures: dict[str, float]) -> str:
    return ", ".join(
        f"{name.removesuffix('_seconds')} {1e3 * value:.1f} ms"
        if name.endswith("_seconds")
        else f"{name} {value}"
        for name, value in figures.items()
    )


if __name__ == "__main__":
    sys.exit(main())
