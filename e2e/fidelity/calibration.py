"""Learns the engine's step time: plateaus of load, the engine's own metrics, the law's calibration.

Each plateau is a closed loop of so many workers with requests of one size, staggered so that the
context hardly moves. It is watched as a gateway watches a replica: every thirteen seconds the
engine's counters and the context of its streams go to `scaling.calibrate`. A plain least-squares
fit of the same samples says how linear the engine is at all. The law starts from a catalogue; this
machine is in none, so the fit stands for one whose every number is a quarter wrong, up and down in
turn: what the law makes of it is what is used. What it learns without any catalogue, from the pace
of a token alone, is reported beside it.
"""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import numpy as np

from e2e.fidelity.client import Client, Served
from e2e.fidelity.traffic import Visit, prompt
from thinkscale.engines.vllm_metrics import EngineLoad, parse_load
from thinkscale.model.observation import MergedSignals
from thinkscale.model.signals import (
    BudgetSignals,
    Counters,
    EngineSignals,
    Histogram,
    LifeTableCounts,
    PhaseCounts,
    ReplicaSignals,
)
from thinkscale.model.step_time import StepTime
from thinkscale.scaling import calibrate

SETTLE_SECONDS = 5.0
WINDOW_SECONDS = 13.0
WINDOWS = 2
CONTEXT_PERIOD_SECONDS = 0.2
OFF = 0.25
"""How wrong the catalogue is."""
PACE_TOKENS = 32
"""A request with fewer says little about the pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau:
    """A load that stays the same."""

    workers: int
    prompt_words: int
    output_tokens: int


PLATEAUS = (
    Plateau(workers=3, prompt_words=150, output_tokens=400),
    Plateau(workers=16, prompt_words=20, output_tokens=240),
    Plateau(workers=16, prompt_words=20, output_tokens=1000),
    Plateau(workers=8, prompt_words=20, output_tokens=800),
    Plateau(workers=16, prompt_words=120, output_tokens=100),
    Plateau(workers=6, prompt_words=120, output_tokens=50),
    Plateau(workers=16, prompt_words=150, output_tokens=400),
    Plateau(workers=10, prompt_words=150, output_tokens=400),
)
"""Few and many sequences, short and long contexts, much and little prefill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A replica at one instant."""

    plateau: int
    at_seconds: float
    load: EngineLoad
    context_tokens: int
    mean_context_tokens: float
    """Since the look before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A window between two looks: what a step took, and under what."""

    step_seconds: float
    decoding: float
    context_tokens: float
    prompt_tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What came of it."""

    prior: StepTime
    """The catalogue's, a quarter wrong."""
    law: StepTime
    """By the product's own calibration, from there."""
    unaided: StepTime
    """The same from the pace of a token alone."""
    fit: StepTime
    """By least squares."""
    samples: tuple[Sample, ...]
    accepted: int
    """Samples that the law learnt from."""
    kv_tokens: int


async def look(session: aiohttp.ClientSession, url: str) -> EngineLoad:
    """What the engine says of itself."""
    async with session.get(f"{url}/metrics") as response:
        load = parse_load(await response.text())
    if load is None or load.steps is None or load.kv_capacity_tokens is None:
        raise ValueError("the engine's metrics lack its steps or its KV cache")
    return load


async def watch(
    session: aiohttp.ClientSession, url: str, client: Client
) -> tuple[list[Look], list[Served]]:
    """Run all plateaus; returns the looks and the finished requests."""
    looks: list[Look] = []
    served: list[Served] = []
    for number, plateau in enumerate(PLATEAUS):
        async with _loaded(client, plateau, served):
            await asyncio.sleep(SETTLE_SECONDS)
            mean = 0.0
            for window in range(WINDOWS + 1):
                if window:
                    mean = await _mean_context(client)
                load = await look(session, url)
                looks.append(
                    Look(
                        plateau=number,
                        at_seconds=asyncio.get_running_loop().time(),
                        load=load,
                        context_tokens=client.context_tokens,
                        mean_context_tokens=mean,
                    )
                )
    return looks, served


@asynccontextmanager
async def _loaded(client: Client, plateau: Plateau, served: list[Served]) -> AsyncIterator[None]:
    """Workers that ask again and again, until the block ends: then they hang up."""
    draw = random.Random(plateau.workers * 10_007 + plateau.output_tokens)
    tasks = [
        asyncio.create_task(_work(client, plateau, worker, draw, served))
        for worker in range(plateau.workers)
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def _work(
    client: Client, plateau: Plateau, worker: int, draw: random.Random, served: list[Served]
) -> None:
    """The first request of each worker is shorter than the next one's, so that they never march in
    step.
    """
    loop = asyncio.get_running_loop()
    first = plateau.output_tokens * (worker + 1) // plateau.workers
    for tokens in itertools.chain([max(1, first)], itertools.repeat(plateau.output_tokens)):
        started = loop.time()
        visit = Visit(
            at_seconds=0.0,
            phase="calibration",
            prompt=prompt(draw, plateau.prompt_words),
            max_tokens=tokens,
            forced=True,
        )
        served.append(await client.ask(visit, started))


async def _mean_context(client: Client) -> float:
    loop = asyncio.get_running_loop()
    ends = loop.time() + WINDOW_SECONDS
    seen = []
    while loop.time() < ends:
        seen.append(client.context_tokens)
        await asyncio.sleep(CONTEXT_PERIOD_SECONDS)
    return sum(seen) / len(seen)


def expected_seconds() -> float:
    """How long `watch` takes."""
    return len(PLATEAUS) * (SETTLE_SECONDS + WINDOWS * WINDOW_SECONDS)


def samples(looks: Sequence[Look]) -> list[Sample]:
    """Windows within a plateau."""
    made = []
    for before, after in itertools.pairwise(looks):
        if before.plateau != after.plateau:
            continue
        old, new = before.load, after.load
        steps = _difference(old.steps, new.steps)
        made.append(
            Sample(
                step_seconds=(after.at_seconds - before.at_seconds) / steps,
                decoding=_difference(old.generated_tokens, new.generated_tokens) / steps,
                context_tokens=after.mean_context_tokens,
                prompt_tokens=_difference(old.prompt_tokens, new.prompt_tokens) / steps,
            )
        )
    return made


def _difference(old: int | None, new: int | None) -> int:
    if old is None or new is None:
        raise ValueError("a counter of the engine is missing")
    return new - old


def learn(looks: Sequence[Look], pace_seconds: float) -> Learnt:
    """The step time from the looks. `pace_seconds`: of the fastest request."""
    found = samples(looks)
    fit = least_squares(found)
    prior = wrong(fit)
    aided, unaided = calibrate.Calibration(), calibrate.Calibration()
    for seen in looks:
        signals = _signals(seen)
        aided = calibrate.observe(aided, seen.at_seconds, signals, prior, pace_seconds)
        unaided = calibrate.observe(unaided, seen.at_seconds, signals, None, pace_seconds)
    return Learnt(
        prior=prior,
        law=_known(aided),
        unaided=_known(unaided),
        fit=fit,
        samples=tuple(found),
        accepted=aided.samples,
        kv_tokens=looks[-1].load.kv_capacity_tokens or 0,
    )


def wrong(right: StepTime) -> StepTime:
    """A catalogue a quarter off: 5 ms becomes 6.25 ms, 0.14 ms a sequence 0.105 ms, and so on."""
    return StepTime(
        base_seconds=right.base_seconds * (1 + OFF),
        sequence_seconds=right.sequence_seconds * (1 - OFF),
        context_token_seconds=right.context_token_seconds * (1 + OFF),
        prompt_token_seconds=right.prompt_token_seconds * (1 - OFF),
    )


def _known(calibration: calibrate.Calibration) -> StepTime:
    learnt = calibrate.step_time(calibration)
    if learnt is None:
        raise ValueError("the law learnt nothing")
    return learnt


def least_squares(found: Sequence[Sample]) -> StepTime:
    """The four coefficients with the least relative error, none below 0."""
    rows = np.array([[1.0, s.decoding, s.context_tokens, s.prompt_tokens] for s in found])
    seconds = np.array([s.step_seconds for s in found])
    kept = [0, 1, 2, 3]
    while True:
        solution, *_ = np.linalg.lstsq(
            rows[:, kept] / seconds[:, None], np.ones(len(seconds)), rcond=None
        )
        if (solution >= 0).all():
            break
        kept.pop(int(np.argmin(solution)))
    four = dict(zip(kept, (float(value) for value in solution), strict=True))
    return StepTime(
        base_seconds=four.get(0, 0.0),
        sequence_seconds=four.get(1, 0.0),
        context_token_seconds=four.get(2, 0.0),
        prompt_token_seconds=four.get(3, 0.0),
    )


def r2(step_time: StepTime, found: Sequence[Sample]) -> float:
    """Share of the variance of the step's duration that the coefficients explain."""
    seen = np.array([s.step_seconds for s in found])
    said = np.array(
        [step_time.seconds(s.decoding, s.context_tokens, s.prompt_tokens) for s in found]
    )
    return float(1 - ((seen - said) ** 2).sum() / ((seen - seen.mean()) ** 2).sum())


def fastest_pace_seconds(served: Sequence[Served]) -> float:
    """Mean seconds a token of the fastest request, as a gateway tells it."""
    return min(s.tpot_seconds for s in served if s.output_tokens >= PACE_TOKENS)


def _signals(seen: Look) -> MergedSignals:
    """What a gateway would say. Each plateau is a replica of its own, so that no window spans two
    of them.
    """
    load = seen.load
    engine = EngineSignals(
        running=load.running,
        waiting=load.waiting,
        kv_usage=load.kv_usage,
        kv_capacity_tokens=load.kv_capacity_tokens,
        steps=load.steps,
        prompt_tokens=load.prompt_tokens,
        generated_tokens=load.generated_tokens,
        age_seconds=0.0,
    )
    replica = ReplicaSignals(
        ready=True,
        cordoned=False,
        phases=PhaseCounts(thinking=load.running),
        context_tokens=seen.context_tokens,
        engine=engine,
    )
    return MergedSignals(
        phases=PhaseCounts(thinking=load.running),
        held=0,
        oldest_held_seconds=0.0,
        thinking_ages=(),
        life_table=LifeTableCounts(),
        slos={},
        counters=Counters(),
        ttfa_seconds=Histogram(),
        ttft_seconds=Histogram(),
        fastest_token_seconds=None,
        replicas={f"plateau-{seen.plateau}": replica},
        budget=BudgetSignals(),
    )
