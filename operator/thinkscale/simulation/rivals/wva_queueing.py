"""llm-d's Workload Variant Autoscaler, queueing-model analyzer: replicas by inverting a queue.

Source: deanlorenz/llm-d-workload-variant-autoscaler @2976e4ee,
`internal/engines/analyzers/queueingmodel/` and `internal/queueing/analyzer/queueanalyzer.go`. Each
replica is a state-dependent M/M/1/K whose iteration time is `alpha + n (beta * compute + gamma *
memory)`; the largest arrival rate with mean TTFT and ITL within target is its capacity, and the
fleet is `ceil(arrivals / capacity)`. That is the *documented* formula: at this commit the engine
refuses to run it, and its required capacity as coded is always zero, as we read it.

The coefficients start at the true ones, and gamma follows the observed ITL within the EKF's limit
of 5 % a cycle (the filter itself is not copied): that mends part of the mistake that a running
request holds `I + O/2` tokens. Without traffic or metrics it holds.
"""

import functools
import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from thinkscale.simulation.policy import Factory, Policy
from thinkscale.simulation.rivals.llmd_slo import slos
from thinkscale.simulation.rivals.rival import Driver, Rival
from thinkscale.simulation.rivals.scrape import Fleet, History, Scrape
from thinkscale.simulation.rivals.wva_actuation import INTERVAL_SECONDS, Actuation
from thinkscale.simulation.scenario import Scenario

QUEUE_PLACES: Final = 100
MOST_CHANGE: Final = 0.05
GAMMA_BOUNDS: Final = (0.01, 100.0)
LENGTH_WINDOW_SECONDS: Final = 300.0
RATE_WINDOW_SECONDS: Final = 60.0
BISECTIONS: Final = 40

_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One replica and its requests; seconds and tokens."""

    alpha: float
    beta: float
    gamma: float
    prompt_tokens: float
    output_tokens: float
    batch: int

    def iteration(self, n: float) -> float:
        """T(n)."""
        compute = (self.prompt_tokens + self.output_tokens) / (self.output_tokens + 1)
        memory = self.prompt_tokens + self.output_tokens / 2
        return self.alpha + n * (self.beta * compute + self.gamma * memory)

    def prefill(self, n: float) -> float:
        """Seconds of the prompt with n in the batch."""
        return self.iteration(n) + (self.beta + self.gamma) * self.prompt_tokens

    def decode(self, n: float) -> float:
        """Seconds of one token with n in the batch."""
        memory = self.prompt_tokens + self.output_tokens / 2
        return self.iteration(n) + self.beta + self.gamma * memory

    def service_rate(self, n: int) -> float:
        """Requests per second with n in the batch."""
        return n / (self.prefill(n) + self.output_tokens * self.decode(n))


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """What one arrival rate comes to; means."""

    throughput: float
    ttft_seconds: float
    itl_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The M/M/1/K of one server, with what does not depend on the arrival rate."""

    server: Server
    log_rates: _Numbers
    """Sum of the logarithms of the service rates up to each state."""

    @classmethod
    def of(cls, server: Server) -> "Queue":
        """Rates by the number in the system: beyond the batch they stay."""
        rates = [server.service_rate(n) for n in range(1, server.batch + 1)]
        rates += [rates[-1]] * QUEUE_PLACES
        return cls(server=server, log_rates=np.concatenate(([0.0], np.cumsum(np.log(rates)))))

    def performance(self, rate: float) -> Performance:
        """At this arrival rate (requests per second)."""
        states = np.arange(len(self.log_rates))
        logs = states * math.log(rate) - self.log_rates
        shares = np.exp(logs - logs.max())
        shares /= shares.sum()
        served = float(np.minimum(states, self.server.batch) @ shares)
        present = float(states @ shares)
        throughput = rate * (1 - float(shares[-1]))
        wait = max(0.0, (present - served) / throughput)
        prefill = self.server.prefill(served)
        itl = (served / throughput - prefill) / self.server.output_tokens
        return Performance(
            throughput=throughput, ttft_seconds=wait + prefill + itl, itl_seconds=itl
        )


@functools.lru_cache(maxsize=256)
def capacity_per_second(server: Server, ttft_target: float, itl_target: float) -> float:
    """Requests per second that one replica carries with both means within target; 0: none.

    alpha 7 ms, beta 0.03 ms, gamma 0.05 us, targets 3 s and 50 ms, prompts of 1,000, a batch of
    256: 6.04 for outputs of 1,000, 1.12 for 4,000, 0.374 for 8,000.
    """
    queue = Queue.of(server)
    low = server.service_rate(1) * 1e-3
    high = server.service_rate(server.batch) * (1 - 1e-3)

    def within(rate: float) -> bool:
        found = queue.performance(rate)
        return found.ttft_seconds <= ttft_target and found.itl_seconds <= itl_target

    if not within(low):
        return 0.0
    if within(high):
        return queue.performance(high).throughput
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) else (low, middle)
    return queue.performance(low).throughput


class QueueingLaw:
    """The queueing model of one variant."""

    def __init__(self, scenario: Scenario, slo_share: float) -> None:
        ttft, tpot = slos(scenario.intent)
        self._targets = (ttft * slo_share, tpot * slo_share)
        self._step = scenario.profile.step_time
        self._batch = scenario.intent.seats_per_replica
        self._gamma = self._step.context_token_seconds
        self._lengths = History(LENGTH_WINDOW_SECONDS)
        self._recent = History(RATE_WINDOW_SECONDS)
        self._actuation = Actuation(scenario)

    def step(self, now: float, fleet: Fleet, scrape: Scrape | None) -> int:
        """One cycle."""
        self._lengths.add(scrape, now)
        self._recent.add(scrape, now)
        rate = self._recent.arrivals_per_second()
        prompt, output = self._lengths.mean_prompt_tokens(), self._lengths.mean_output_tokens()
        if scrape is None or not rate or prompt is None or output is None:
            return fleet.current
        server = self._learnt(self._server(prompt, output))
        capacity = capacity_per_second(_rounded(server), *self._targets)
        if capacity <= 0:
            return fleet.current
        return self._actuation.step(now, fleet.current, max(1, math.ceil(rate / capacity)))

    def _server(self, prompt: float, output: float) -> Server:
        """Beta so that decode and prefill tokens together cost what they truly do."""
        step = self._step
        work = step.sequence_seconds * (output + 1) + step.prompt_token_seconds * prompt
        return Server(
            alpha=step.base_seconds,
            beta=work / (prompt + output),
            gamma=self._gamma,
            prompt_tokens=prompt,
            output_tokens=output,
            batch=self._batch,
        )

    def _learnt(self, server: Server) -> Server:
        """Gamma a little nearer to what the observed ITL says."""
        found = self._recent.token_seconds()
        if not found:
            return server
        weight = sum(running for _, running in found)
        itl = sum(seconds * running for seconds, running in found) / weight
        batch = weight / len(found)
        alone = replace(server, gamma=0.0)
        memory = (server.prompt_tokens + server.output_tokens / 2) * (batch + 1)
        seen = (itl - alone.decode(batch)) / memory
        nearer = max(self._gamma * (1 - MOST_CHANGE), min(self._gamma * (1 + MOST_CHANGE), seen))
        true = self._step.context_token_seconds
        self._gamma = max(true * GAMMA_BOUNDS[0], min(true * GAMMA_BOUNDS[1], nearer))
        return replace(server, gamma=self._gamma)


def _rounded(server: Server) -> Server:
    """To three digits: the inversion is then remembered, and moves by less than a percent."""
    return replace(
        server,
        beta=_digits(server.beta),
        gamma=_digits(server.gamma),
        prompt_tokens=_digits(server.prompt_tokens),
        output_tokens=_digits(server.output_tokens),
    )


def _digits(value: float) -> float:
    return float(f"{value:.3g}")


def _queueing(slo_share: float) -> Factory:
    def make(scenario: Scenario) -> Policy:
        return Driver(QueueingLaw(scenario, slo_share), scenario, INTERVAL_SECONDS)

    return make


RIVALS: Final = (
    Rival(
        name="wva-queueing",
        settings=(0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        knob="targets, as a share of the SLOs",
        make=_queueing,
        source="llm-d-workload-variant-autoscaler @2976e4ee, queueanalyzer.go",
    ),
)
