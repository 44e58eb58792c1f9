"""NVIDIA Dynamo's planner for aggregated engines: a slow floor, a fast loop of one at a time.

Source: ai-dynamo/dynamo, `components/src/dynamo/planner/core/` (`throughput_scaling.py` @0c9050c9,
`load_scaling.py` @0c6da1ec, `perf_model/agg.py` @518a7027). Every 180 s the forecast load over the
requests per second that an engine carries within TTFT and ITL sets a floor; every 5 s one replica
more if *all* engines are estimated over an SLO, one fewer if the load of N on N - 1 stays within
80 % of it. Nothing while a scaling is under way. Means only; a running sequence holds
`ISL + OSL/2`.

The regression of the iteration time on prefill and KV tokens is the true step time, with the
sequences folded into the KV term at the context that is observed. Without metrics it holds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from thinkscale.model.step_time import StepTime
from thinkscale.simulation.policy import Factory, Policy
from thinkscale.simulation.rivals.dynamo_sla import (
    INTERVAL_SECONDS,
    Means,
    forecast_means,
    interval_means,
)
from thinkscale.simulation.rivals.forecast import LocalTrend
from thinkscale.simulation.rivals.llmd_slo import slos
from thinkscale.simulation.rivals.rival import Driver, Rival
from thinkscale.simulation.rivals.scrape import Fleet, History, Scrape
from thinkscale.simulation.scenario import Scenario

LOAD_SECONDS: Final = 5.0
SENSITIVITY: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What is known of one kind of engine, and what is asked of it."""

    base_seconds: float
    kv_token_seconds: float
    prompt_token_seconds: float
    step_tokens: int
    kv_tokens: int
    seats: int
    ttft_slo: float
    itl_slo: float

    def iteration(self, prefill_tokens: float, kv_tokens: float) -> float:
        """Seconds of one iteration, by regression."""
        return (
            self.base_seconds
            + self.kv_token_seconds * kv_tokens
            + self.prompt_token_seconds * prefill_tokens
        )

    def ttft(self, prefill_tokens: float, kv_tokens: float) -> float:
        """Seconds until so many prompt tokens are prefilled, chunk by chunk."""
        chunks = math.ceil(prefill_tokens / self.step_tokens)
        return chunks * self.iteration(0, kv_tokens) + self.prompt_token_seconds * prefill_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One engine's load, in tokens."""

    queued_prefill: float
    kv: float


def regressed(step: StepTime, context_tokens: float) -> float:
    """Seconds for each KV token, the sequences that hold them included."""
    return step.context_token_seconds + step.sequence_seconds / max(1.0, context_tokens)


def engine_requests_per_second(engine: Engine, load: Means) -> float:
    """Requests per second of the largest batch that keeps both SLOs.

    `batch / (OSL * iteration)`; with no batch within them, that of one sequence.
    """
    context = load.context_tokens
    most = max(1, min(int(engine.kv_tokens / context), engine.seats, engine.step_tokens - 1))
    best = 0.0
    for batch in range(1, most + 1):
        balanced = load.prompt_tokens / (engine.step_tokens - batch) <= load.output_tokens
        if batch > 1 and not balanced:
            break
        kv = batch * context
        prefill = min(batch * load.prompt_tokens / load.output_tokens, float(engine.step_tokens))
        itl = engine.iteration(prefill, kv)
        ttft = engine.ttft(int(prefill) + load.prompt_tokens, kv)
        late = itl > engine.itl_slo or ttft > engine.ttft_slo
        if not late or batch == 1:
            best = batch / (load.output_tokens * itl)
        if late:
            break
    return best


def load_replicas(
    workers: Sequence[Worker], replicas: int, engine: Engine, load: Means, floor: int
) -> int:
    """One more, one fewer or the same, and never under the floor."""
    if len(workers) != replicas:
        return replicas
    late = all(
        engine.ttft(w.queued_prefill + load.prompt_tokens, w.kv) > engine.ttft_slo for w in workers
    ) or all(_itl(engine, load, w.kv) > engine.itl_slo for w in workers)
    if late:
        wanted = replicas + 1
    elif replicas > 1 and _fits_without_one(workers, replicas, engine, load):
        wanted = replicas - 1
    else:
        wanted = replicas
    return max(wanted, floor)


def _itl(engine: Engine, load: Means, kv: float) -> float:
    """With one more request."""
    prefill = kv / load.context_tokens * load.prompt_tokens / load.output_tokens
    return engine.iteration(prefill, kv + load.context_tokens)


def _fits_without_one(
    workers: Sequence[Worker], replicas: int, engine: Engine, load: Means
) -> bool:
    factor = replicas / (replicas - 1)
    for worker in workers:
        kv = worker.kv * factor
        own = engine.ttft(load.prompt_tokens, kv)
        with_queue = engine.ttft(worker.queued_prefill * factor + load.prompt_tokens, kv)
        room = (engine.ttft_slo - own) * SENSITIVITY
        if room <= 0 or with_queue - own >= room:
            return False
        all_kv = (worker.kv + worker.queued_prefill) * factor
        if all_kv >= engine.kv_tokens or _itl(engine, load, all_kv) >= (
            engine.itl_slo * SENSITIVITY
        ):
            return False
    return True


class Planner:
    """Both loops of one pool."""

    def __init__(self, scenario: Scenario, slo_share: float) -> None:
        self._scenario = scenario
        ttft, itl = slos(scenario.intent)
        self._slos = (ttft * slo_share, itl * slo_share)
        self._history = History(INTERVAL_SECONDS)
        self._predictors = (LocalTrend(), LocalTrend(), LocalTrend())
        self._next_at: float | None = None
        self._floor = 1
        self._load: Means | None = None

    def step(self, now: float, fleet: Fleet, scrape: Scrape | None) -> int:
        """The slow loop when it is due, and the fast one."""
        self._history.add(scrape, now)
        if self._next_at is None:
            self._next_at = now + INTERVAL_SECONDS
        due = now >= self._next_at
        if due:
            self._next_at += INTERVAL_SECONDS
        if scrape is None or not scrape.pods:
            return fleet.current
        if due or self._load is None:
            self._load = interval_means(self._history) or self._load
        if self._load is None:
            return fleet.current
        engine = self._engine(scrape, self._load)
        if due:
            self._floor = self._throughput(engine, self._load)
        if fleet.ready != fleet.current:
            return fleet.current
        workers = [self._worker(pod.waiting, pod.kv_usage, pod.kv_tokens) for pod in scrape.pods]
        return load_replicas(workers, fleet.current, engine, self._load, self._floor)

    def _throughput(self, engine: Engine, observed: Means) -> int:
        forecast = forecast_means(self._predictors, observed)
        each = engine_requests_per_second(engine, forecast)
        return max(1, math.ceil(forecast.requests / INTERVAL_SECONDS / each))

    def _engine(self, scrape: Scrape, load: Means) -> Engine:
        profile = self._scenario.profile
        running = sum(pod.running for pod in scrape.pods)
        kv = sum(pod.kv_usage * (pod.kv_tokens or profile.kv_tokens) for pod in scrape.pods)
        context = kv / running if running and kv else load.context_tokens
        ttft, itl = self._slos
        return Engine(
            base_seconds=profile.base_seconds,
            kv_token_seconds=regressed(profile.step_time, context),
            prompt_token_seconds=profile.prompt_token_seconds,
            step_tokens=profile.step_tokens,
            kv_tokens=profile.kv_tokens,
            seats=profile.seats,
            ttft_slo=ttft,
            itl_slo=itl,
        )

    def _worker(self, waiting: float, usage: float, kv_tokens: int | None) -> Worker:
        prompt = self._load.prompt_tokens if self._load is not None else 0.0
        size = self._scenario.profile.kv_tokens if kv_tokens is None else kv_tokens
        return Worker(queued_prefill=waiting * prompt, kv=usage * size)


def _planner(slo_share: float) -> Factory:
    def make(scenario: Scenario) -> Policy:
        return Driver(Planner(scenario, slo_share), scenario, LOAD_SECONDS)

    return make


RIVALS: Final = (
    Rival(
        name="dynamo-planner",
        settings=(0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 1.0),
        knob="TTFT and ITL targets, as a share of the SLOs",
        make=_planner,
        source="ai-dynamo/dynamo planner core @0c9050c9, @0c6da1ec, @518a7027",
    ),
)
