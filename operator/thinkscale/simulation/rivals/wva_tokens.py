"""llm-d's Workload Variant Autoscaler, saturation analyzer V2: demand and capacity in tokens.

Source: deanlorenz/llm-d-workload-variant-autoscaler @2976e4ee (tracks upstream main),
`internal/engines/analyzers/saturation_v2/analyzer.go`. Capacity is the smaller of 80 % of the KV
cache and of what was in use when a queue of 5 was seen (failing that, a formula of batch and
lengths); demand is the tokens in use and the queue at `I + O` of completed requests over five
minutes. It jumps in one step. All reasoning lengths fall into its one bucket "long". One variant
here: cost order, roles and quotas are left out. Without metrics it holds.
"""

import math
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from thinkscale.simulation.policy import Factory, Policy
from thinkscale.simulation.rivals.rival import Driver, Rival
from thinkscale.simulation.rivals.scrape import Fleet, History, Scrape
from thinkscale.simulation.rivals.wva_actuation import INTERVAL_SECONDS, Actuation
from thinkscale.simulation.scenario import Scenario

KV_THRESHOLD: Final = 0.80
QUEUE_THRESHOLD: Final = 5.0
DEAD_BAND: Final = 0.15
"""Published thresholds are 0.85 and 0.70; the grid moves both."""
REMEMBERED: Final = 10
LENGTH_WINDOW_SECONDS: Final = 300.0
SHORT_BELOW_TOKENS: Final = 100
MEDIUM_BELOW_TOKENS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One replica's metrics."""

    tokens: float
    """In use."""
    kv_tokens: float
    queue: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Requests and engines: mean lengths of completed requests, and what a step may hold."""

    prompt_tokens: float
    output_tokens: float
    step_tokens: int
    seats: int


def bucket(output_tokens: float) -> str:
    """The key under which observed capacities are remembered."""
    if output_tokens < SHORT_BELOW_TOKENS:
        return "short"
    return "medium" if output_tokens < MEDIUM_BELOW_TOKENS else "long"


def capacity_tokens(load: Load, shape: Shape, observed: deque[float]) -> float:
    """Tokens that this replica may hold; a saturated one teaches what the others may.

    290,000 of KV, nothing observed, prompts of 1,000 and outputs of 1,900, steps of 2,048 tokens,
    128 seats: 2,048 * 1,900 / 2,900 = 1,342 is over the seats, so 128 * (1,000 + 950) = 249,600
    tokens; 80 % of the cache are 232,000, which bind.
    """
    by_cache = KV_THRESHOLD * load.kv_tokens
    prompt, output = shape.prompt_tokens, shape.output_tokens
    if load.queue >= QUEUE_THRESHOLD and load.tokens > 0:
        observed.append(load.tokens)
        by_compute = load.tokens
    elif observed:
        by_compute = sum(observed) / len(observed)
    elif output > 0:
        batch = min(shape.step_tokens * output / (prompt + output), shape.seats)
        by_compute = batch * (prompt + output / 2)
    else:
        by_compute = by_cache
    return min(by_cache, by_compute)


def analyze(
    demand_tokens: float, capacities: Sequence[float], current: int, pending: int, up: float
) -> int:
    """The next desired size: `ceil` of what is required, or `floor` of what is spare.

    Four replicas of 232,000 tokens, 0.85/0.70: a demand of 900,000 asks for 1,058,824 and 130,824
    are missing: ceil(0.56) = 1 more. A demand of 400,000 leaves 928,000 - 571,429 = 356,571 spare:
    floor(1.54) = 1 fewer.
    """
    each = statistics.median(capacities)
    if each < 1:
        return current
    required = demand_tokens / up - current * each
    if required > 0:
        return current + math.ceil(required / each)
    spare = max(0.0, (current - pending) * each - demand_tokens / (up - DEAD_BAND))
    return max(1, current - math.floor(spare / each))


class TokenLaw:
    """V2 for one model with one variant."""

    def __init__(self, scenario: Scenario, up: float) -> None:
        self._up = up
        self._seats = scenario.intent.seats_per_replica
        self._step_tokens = scenario.profile.step_tokens
        self._kv_tokens = scenario.profile.kv_tokens
        self._actuation = Actuation(scenario)
        self._history = History(LENGTH_WINDOW_SECONDS)
        self._lengths = (0.0, 0.0)
        self._observed: dict[str, deque[float]] = {}

    def step(self, now: float, fleet: Fleet, scrape: Scrape | None) -> int:
        """One cycle."""
        self._history.add(scrape, now)
        if scrape is None or not scrape.pods:
            return fleet.current
        prompt, output = self._history.mean_prompt_tokens(), self._history.mean_output_tokens()
        if prompt is not None and output is not None:
            self._lengths = (prompt, output)
        prompt, output = self._lengths
        shape = Shape(
            prompt_tokens=prompt,
            output_tokens=output,
            step_tokens=self._step_tokens,
            seats=self._seats,
        )
        observed = self._observed.setdefault(bucket(output), deque(maxlen=REMEMBERED))
        loads = [self._load(pod.kv_usage, pod.kv_tokens, pod.waiting) for pod in scrape.pods]
        capacities = [capacity_tokens(load, shape, observed) for load in loads]
        demand = sum(load.tokens + load.queue * (prompt + output) for load in loads)
        pending = max(0, fleet.current - fleet.ready)
        desired = analyze(demand, capacities, fleet.current, pending, self._up)
        return self._actuation.step(now, fleet.current, desired)

    def _load(self, usage: float, kv_tokens: int | None, queue: float) -> Load:
        size = self._kv_tokens if kv_tokens is None else kv_tokens
        return Load(tokens=usage * size, kv_tokens=size, queue=queue)


def _tokens(up: float) -> Factory:
    def make(scenario: Scenario) -> Policy:
        return Driver(TokenLaw(scenario, up), scenario, INTERVAL_SECONDS)

    return make


RIVALS: Final = (
    Rival(
        name="wva-v2",
        settings=(0.45, 0.55, 0.65, 0.75, 0.85, 0.95, 1.05),
        knob="scale-up threshold (scale-down 0.15 below)",
        make=_tokens,
        source="llm-d-workload-variant-autoscaler @2976e4ee, saturation_v2/analyzer.go",
    ),
)
