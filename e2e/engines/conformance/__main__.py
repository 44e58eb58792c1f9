"""`python -m e2e.engines.conformance [--json FILE] [--emulated]`: run the table and the traps.

Exit code 0: every cell holds or is known to be impossible, and so does every trap; 1: one does not,
or the engine did not run.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from e2e.engines.conformance import cells, traps
from e2e.engines.conformance.bench import bench
from e2e.engines.conformance.results import Cell, Run, Trap, machine
from e2e.engines.conformance.targets import (
    EMULATED,
    PARSERS,
    emulated,
    parser_flags,
    real_vllm,
    vllm,
)
from e2e.engines.install import VLLM_VERSION, Engine, install
from e2e.harness.cache import cache_root
from e2e.provision.progress import StepError, say

MINUTES = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e.engines.conformance")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument(
        "--emulated", action="store_true", help="our emulator alone, a minute, without the traps"
    )
    given = parser.parse_args(argv)
    begun = time.monotonic()
    try:
        found, trapped = asyncio.run(_all(real=not given.emulated))
    except StepError as error:
        print(f"the engine did not run: {error}", file=sys.stderr)
        return 1
    run = Run(
        versions={"vLLM": VLLM_VERSION},
        machine=machine(),
        seconds=round(time.monotonic() - begun),
        cells=found,
        traps=trapped,
    )
    if given.json is not None:
        run.write(given.json)
    return _tell(run)


async def _all(*, real: bool) -> tuple[list[Cell], list[Trap]]:
    logs = cache_root() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        found = await _emulated(logs, place)
        if not real:
            return found, []
        engine = install()
        say(f"the real engine takes about {MINUTES} minutes")
        found = [*await _real(engine, logs, place), *found]
        return found, await traps.run(engine, logs, place / "traps")


async def _real(engine: Engine, logs: Path, place: Path) -> list[Cell]:
    found: list[Cell] = []
    for parser in PARSERS:
        target = vllm(parser, is_real=True)
        name = f"vllm-{parser or 'none'}"
        with real_vllm(engine, name, logs, parser_flags(parser)) as server:
            async with bench(place / name) as gateway:
                await gateway.configure(engine=target.dialect)
                await gateway.replicas({"real": server.url})
                found += await cells.run(gateway, target)
        _say(found)
    return found


async def _emulated(logs: Path, place: Path) -> list[Cell]:
    found: list[Cell] = []
    chosen = {
        f"vllm-{parser or 'none'}": (vllm(parser, is_real=False), parser_flags(parser))
        for parser in PARSERS
    }
    for name, (target, flags) in {**chosen, **EMULATED}.items():
        with emulated(name, logs, flags) as server:
            async with bench(place / f"emulated-{name}") as gateway:
                await gateway.configure(engine=target.dialect)
                await gateway.replicas({"emulated": server.url})
                found += await cells.run(gateway, target)
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
    print(f"{len(run.cells)} cells, {len(run.traps)} traps, {failed} fail ({run.seconds} s)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
