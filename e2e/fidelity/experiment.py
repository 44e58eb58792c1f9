"""The experiment itself: calibrate, run open loop, run again, run the emulator, compare.

The phases: calm, a saturating half minute that leaves a queue of two hundred, its draining, calm
again. In the first run the model's own samples end thoughts and answers, and lengths are recorded;
the repetitions are forced to them. A repetition covers the first minutes alone, all phases of them:
the spread is that of the same requests in both.
"""

import asyncio
import dataclasses
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from e2e.engines.install import Engine
from e2e.engines.server import SERVED_NAME, Server, Sizes, emulator, real_engine
from e2e.fidelity import calibration, machine, verdict
from e2e.fidelity.calibration import Learnt
from e2e.fidelity.client import Client, Served, open_loop, session
from e2e.fidelity.traffic import Phase, Visit, prompt, visits
from e2e.provision import progress
from e2e.story.traffic import random_plan_field
from thinkscale.fleet.profile import Profile

SIZES = Sizes(seats=16, step_tokens=2048, context_tokens=8192)
PHASES = (
    Phase(name="calm", seconds=110.0, per_second=1.5),
    Phase(name="saturating", seconds=36.0, per_second=9.0),
    Phase(name="draining", seconds=184.0, per_second=1.5),
    Phase(name="calm", seconds=300.0, per_second=1.5),
)
WINDOW_SECONDS = 330.0
"""What a repetition and the emulator cover: the first three phases."""
PROMPT_WORDS = (50, 250)
MAX_TOKENS = 6000
SEED = 11
TAG_TOKENS = 3
SINGLES, SINGLE_TOKENS = 15, 40
ENGINE_TOLERANCE, EMULATOR_TOLERANCE = 0.10, 0.05
VOID_LAG_SECONDS = 0.02
VOID_OTHERS_CORES = 0.3
TELL_SECONDS = 30.0
OTHER_SECONDS = 120.0
"""Starting, lone requests, ends of runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One open-loop run."""

    served: tuple[Served, ...]
    singles: tuple[Served, ...]
    """Lone requests before it."""
    others_cores: float
    load_before: float

    @property
    def void(self) -> bool:
        """The machine was too busy, or the client too late, for it to count."""
        late = verdict.send_lag_p99_seconds(self.served) > VOID_LAG_SECONDS
        return late or self.others_cores > VOID_OTHERS_CORES

    def to_json(self) -> dict[str, Any]:
        """Without the requests."""
        return {
            "requests": len(self.served),
            "sendLagP99Seconds": round(verdict.send_lag_p99_seconds(self.served), 5),
            "othersCores": round(self.others_cores, 3),
            "loadBefore": round(self.load_before, 2),
            "void": self.void,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that was measured."""

    learnt: Learnt
    calibration_others_cores: float
    runs: tuple[Run, ...]
    """The first is the whole one."""
    emulated: Run


def measure(engine: Engine, logs: Path, repeat: int) -> Found:
    """Do it all: about a quarter of an hour, and six minutes more for each repetition and for
    the emulator."""
    with real_engine(engine, SIZES, logs / "vllm.log") as server:
        learnt, others, runs = uvloop.run(_measure_engine(server, repeat))
    plan_field = random_plan_field()
    with emulator(profile_of(learnt), plan_field, logs / "emulator.log") as server:
        emulated = uvloop.run(_measure_emulator(server, plan_field, runs[0]))
    return Found(learnt=learnt, calibration_others_cores=others, runs=runs, emulated=emulated)


def expected_seconds(repeat: int) -> float:
    """About how long `measure` takes; what is queued at the end of a run takes some more."""
    whole = sum(phase.seconds for phase in PHASES)
    return calibration.expected_seconds() + whole + (repeat + 1) * WINDOW_SECONDS + OTHER_SECONDS


def profile_of(learnt: Learnt) -> Profile:
    """The replica that the simulator and the emulator play."""
    step = learnt.law
    return Profile(
        name="measured",
        base_seconds=step.base_seconds,
        sequence_seconds=step.sequence_seconds,
        context_token_seconds=step.context_token_seconds,
        prompt_token_seconds=step.prompt_token_seconds,
        kv_tokens=learnt.kv_tokens,
        seats=SIZES.seats,
        step_tokens=SIZES.step_tokens,
        startup_seconds=1.0,
    )


async def _measure_engine(server: Server, repeat: int) -> tuple[Learnt, float, tuple[Run, ...]]:
    planned = visits(PHASES, PROMPT_WORDS, MAX_TOKENS, SEED)
    loop = asyncio.get_running_loop()
    async with session() as http:
        client = Client(http, server.url, SERVED_NAME)
        await _singles(client)  # the first requests of a fresh process are slow
        before = machine.busy(lambda: server.pids, loop.time())
        with progress.step("Calibrating"):
            looks, served = await calibration.watch(http, server.url, client)
        after = machine.busy(lambda: server.pids, loop.time())
        learnt = calibration.learn(looks, calibration.fastest_pace_seconds(served))
        runs = [await _run("the real engine", server, client, planned)]
        window = [visit for visit in planned if visit.at_seconds < WINDOW_SECONDS]
        again = [forced(v, s) for v, s in zip(window, runs[0].served, strict=False)]
        runs += [
            await _run(f"repetition {number + 1}", server, client, again)
            for number in range(repeat)
        ]
    return learnt, machine.others_cores(before, after), tuple(runs)


async def _measure_emulator(server: Server, plan_field: str, first: Run) -> Run:
    everything = visits(PHASES, PROMPT_WORDS, MAX_TOKENS, SEED)
    planned = [
        dataclasses.replace(visit, plan=plan(served))
        for visit, served in zip(everything, first.served, strict=True)
        if visit.at_seconds < WINDOW_SECONDS
    ]
    async with session() as http:
        client = Client(http, server.url, SERVED_NAME, plan_field)
        return await _run("the emulator", server, client, planned)


def plan(served: Served) -> tuple[int, int]:
    """Words for the emulator, which adds the closing tag, a blank line and the end mark."""
    return served.thinking_tokens, max(0, served.answer_tokens - TAG_TOKENS)


def forced(visit: Visit, served: Served) -> Visit:
    """The same request, with the length that it had."""
    return dataclasses.replace(visit, max_tokens=served.output_tokens, forced=True)


async def _singles(client: Client) -> tuple[Served, ...]:
    """Requests one after the other: nobody else is there."""
    draw = random.Random(SEED)
    loop = asyncio.get_running_loop()
    found = []
    for _ in range(SINGLES):
        visit = Visit(
            at_seconds=0.0,
            phase="single",
            prompt=prompt(draw, draw.randint(*PROMPT_WORDS)),
            max_tokens=SINGLE_TOKENS,
            forced=True,
        )
        found.append(await client.ask(visit, loop.time()))
        await asyncio.sleep(0.1)
    return tuple(found)


async def _run(
    name: str,
    server: Server,
    client: Client,
    planned: Sequence[Visit],
) -> Run:
    loop = asyncio.get_running_loop()
    load = os.getloadavg()[0]
    singles = await _singles(client)
    before = machine.busy(lambda: server.pids, loop.time())
    told = 0.0
    started = loop.time() + 1.0

    def tell(done: int) -> None:
        nonlocal told
        if (now := loop.time() - started) - told >= TELL_SECONDS:
            told = now
            progress.say(f"  {name}: {done} of {len(planned)} requests served in {now:.0f} s")

    with progress.step(f"Open loop against {name}, {planned[-1].at_seconds:.0f} s"):
        served = await open_loop(client, planned, started, tell)
    after = machine.busy(lambda: server.pids, loop.time())
    return Run(
        served=tuple(served),
        singles=singles,
        others_cores=machine.others_cores(before, after),
        load_before=load,
    )
