"""`python -m e2e.engines.conformance [--json FILE] [--only PART]`: run the table and the traps.

Exit code 0: every cell holds or is known to be impossible, and so does every trap; 1: one does not,
or the engine did not run.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from e2e.engines.conformance import canaries, cells, endings, traps
from e2e.engines.conformance.bench import bench
from e2e.engines.conformance.cells import Target
from e2e.engines.conformance.results import Cell, Run, Trap, machine, merged, read
from e2e.engines.conformance.targets import EMULATED, REAL, emulated, real_vllm
from e2e.engines.install import VLLM_VERSION, Engine, install
from e2e.engines.server import Server
from e2e.harness.cache import cache_root
from e2e.provision.progress import StepError, say

PARTS = ("emulated", "emulated-canaries", *REAL, "canaries", "traps", "full", "endings")
"""One server each, but for those of the emulator, `canaries` and the last."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e.engines.conformance")
    parser.add_argument("--json", type=Path, metavar="FILE", help="written after every part")
    parser.add_argument(
        "--only",
        choices=PARTS,
        action="append",
        metavar="PART",
        help=f"a part alone ({', '.join(PARTS)}); what FILE has of the others stays",
    )
    given = parser.parse_args(argv)
    parts = given.only or PARTS
    run = Run(versions={"vLLM": VLLM_VERSION}, machine=machine(), seconds={}, cells=[], traps=[])
    if given.only and given.json is not None and given.json.exists():
        run = read(given.json)
    for part in parts:
        try:
            run = merged(run, asyncio.run(_run(part)))
        except StepError as error:
            print(f"the engine did not run: {error}", file=sys.stderr)
            return 1
        if given.json is not None:
            run.write(given.json)
    return _tell(run)


async def _run(part: str) -> Run:
    """One part."""
    begun = time.monotonic()
    logs = cache_root() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    found: list[Cell] = []
    trapped: list[Trap] = []
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        if part == "emulated":
            found = await _emulated(logs, place)
        elif part == "emulated-canaries":
            found = await _canaries(EMULATED, _emulator(logs), place)
        elif part in REAL:
            found = await _real(part, install(), logs, place)
        elif part == "canaries":
            found = await _canaries(REAL, _engine(install(), logs), place)
        elif part == "traps":
            trapped = await traps.alone(install(), logs, place)
        elif part == "full":
            trapped = await traps.full(install(), logs, place)
        else:
            trapped = await endings.run(install(), logs, place)
    return Run(
        versions={"vLLM": VLLM_VERSION},
        machine=machine(),
        seconds={part: round(time.monotonic() - begun)},
        cells=found,
        traps=trapped,
    )


async def _real(name: str, engine: Engine, logs: Path, place: Path) -> list[Cell]:
    target = REAL[name]
    with real_vllm(engine, name, logs, target.flags) as server:
        async with bench(place / "vllm") as gateway:
            await gateway.configure(engine=target.dialect)
            await gateway.replicas({"real": server.url})
            found = await cells.run(gateway, target)
    _say(found)
    return found


async def _emulated(logs: Path, place: Path) -> list[Cell]:
    found: list[Cell] = []
    for name, target in EMULATED.items():
        with emulated(name, logs, target.flags) as server:
            async with bench(place / f"emulated-{name}") as gateway:
                await gateway.configure(engine=target.dialect)
                await gateway.replicas({"emulated": server.url})
                found += await cells.run(gateway, target)
        _say(found)
    return found


Start = Callable[[str, Sequence[str]], AbstractContextManager[Server]]
"""Starts a server with these flags, under this name."""


def _engine(engine: Engine, logs: Path) -> Start:
    return lambda name, flags: real_vllm(engine, name, logs, flags)


def _emulator(logs: Path) -> Start:
    return lambda name, flags: emulated(name, logs, flags)


async def _canaries(targets: Mapping[str, Target], start: Start, place: Path) -> list[Cell]:
    """A server that keeps its budget and one that does not, as far as a target has them."""
    found: list[Cell] = []
    for name, target in targets.items():
        with ExitStack() as stack:
            kinds: dict[str, str] = {}
            for kind, flags in canaries.servers(target).items():
                server = stack.enter_context(start(f"{name}-{len(kinds)}", flags))
                kinds[kind] = server.url
            async with bench(place / f"canaries-{name}") as gateway:
                found += await canaries.run(gateway, target, kinds)
        _say(found)
    return found


def _say(found: Sequence[Cell]) -> None:
    failed = sum(cell.verdict == "fails" for cell in found)
    say(f"{len(found)} cells so far, {failed} of them fail")


def _tell(run: Run) -> int:
    failed = 0
    for cell in run.cells:
        if cell.verdict == "fails":
            failed += 1
            how = "streamed" if cell.streaming else "whole"
            print(
                f"FAILS: {cell.engine} ({'real' if cell.is_real else 'emulator'}, {cell.output}), "
                f"{cell.budget} by {cell.spelling}, {how}: {cell.detail}"
            )
    for trap in run.traps:
        if trap.verdict == "fails":
            failed += 1
            print(f"FAILS: {trap.engine}: {trap.name}: {trap.detail}")
    seconds = sum(run.seconds.values())
    print(f"{len(run.cells)} cells, {len(run.traps)} traps, {failed} fail ({seconds} s)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
