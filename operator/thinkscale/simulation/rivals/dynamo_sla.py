"""NVIDIA Dynamo's SLA planner: replicas by forecast load over profiled throughput.

Source: ai-dynamo/dynamo, `docs/planner/sla_planner.md` @240df6a8. Every 180 s it forecasts the
number of requests and their mean lengths, corrects the ITL target by observed over expected ITL,
and divides the forecast output tokens by the best throughput that a replica has within the
corrected target at a context of `ISL + OSL/2`. Its decode arithmetic on engines that also prefill:
the stalls show in the observed ITL, hence in the correction. The profile is the true one (they
sweep the engine before the deployment). An interval without traffic or metrics is skipped.
"""

import math
from dataclasses import dataclass
from typing import Final

from thinkscale.fleet.profile import Profile
from thinkscale.simulation.policy import Factory, Policy
from thinkscale.simulation.rivals.forecast import LocalTrend
from thinkscale.simulation.rivals.llmd_slo import slos
from thinkscale.simulation.rivals.rival import Driver, Rival
from thinkscale.simulation.rivals.scrape import Fleet, History, Scrape
from thinkscale.simulation.scenario import Scenario

INTERVAL_SECONDS: Final = 180.0
SCRAPE_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """One interval's load, or the forecast of the next."""

    requests: float
    prompt_tokens: float
    output_tokens: float

    @property
    def context_tokens(self) -> float:
        """What their planner takes a running sequence to hold."""
        return self.prompt_tokens + self.output_tokens / 2


def most_sequences(profile: Profile, context_tokens: float) -> int:
    """What the profiling sweep could run at once."""
    return max(1, min(profile.seats, int(profile.kv_tokens / max(1.0, context_tokens))))


def interpolated_itl(profile: Profile, sequences: float, context_tokens: float) -> float:
    """Seconds per token by the profile."""
    batch = max(1.0, min(float(most_sequences(profile, context_tokens)), sequences))
    return profile.step_time.seconds(batch, batch * context_tokens)


def best_tokens_per_second(profile: Profile, itl: float, context_tokens: float) -> float:
    """The highest throughput of one replica within this ITL; that of one sequence if none is.

    Reference profile, 45 ms at a context of 2,000: (45 - 15.5) / (.027 + .152) = 164 sequences,
    bounded to 128 by the seats: 15.5 + 128 * .179 = 38.4 ms, 3,332 tokens a second.
    """
    each = profile.sequence_seconds + profile.context_token_seconds * context_tokens
    within = math.floor((itl - profile.base_seconds) / each)
    batch = max(1, min(within, most_sequences(profile, context_tokens)))
    return batch / profile.step_time.seconds(batch, batch * context_tokens)


def decode_replicas(forecast: Means, profile: Profile, itl_slo: float, correction: float) -> int:
    """`ceil(requests * OSL / interval / throughput(ITL / correction, ISL + OSL/2))`.

    1,440 requests of 1,000 and 2,000 tokens: 16,000 tokens a second at 3,332 each are 5 replicas.
    """
    tokens = forecast.requests * forecast.output_tokens / INTERVAL_SECONDS
    best = best_tokens_per_second(profile, itl_slo / correction, forecast.context_tokens)
    return max(1, math.ceil(tokens / best))


class SlaPlanner:
    """The planner of one pool of engines."""

    def __init__(self, scenario: Scenario, itl_share: float) -> None:
        self._profile = scenario.profile
        self._itl = itl_share * slos(scenario.intent)[1]
        self._history = History(INTERVAL_SECONDS)
        self._predictors = (LocalTrend(), LocalTrend(), LocalTrend())
        self._next_at: float | None = None

    def step(self, now: float, fleet: Fleet, scrape: Scrape | None) -> int:
        """Gather; decide at the end of each interval."""
        self._history.add(scrape, now)
        if self._next_at is None:
            self._next_at = now + INTERVAL_SECONDS
        if now < self._next_at:
            return fleet.current
        self._next_at += INTERVAL_SECONDS
        observed = interval_means(self._history)
        if observed is None:
            return fleet.current
        forecast = forecast_means(self._predictors, observed)
        correction = self._correction(fleet, observed)
        return decode_replicas(forecast, self._profile, self._itl, correction)

    def _correction(self, fleet: Fleet, observed: Means) -> float:
        """Observed by expected ITL. Concurrency by Little's law is what is in flight."""
        itl, in_flight = self._history.token_seconds_mean(), self._history.mean_in_flight()
        if itl is None or in_flight is None or fleet.ready == 0:
            return 1.0
        concurrency = in_flight / fleet.ready
        return itl / interpolated_itl(self._profile, concurrency, observed.context_tokens)


def interval_means(history: History) -> Means | None:
    """The load of the last interval; None: no traffic, or no metrics."""
    rate = history.arrivals_per_second()
    prompt, output = history.mean_prompt_tokens(), history.mean_output_tokens()
    if not rate or prompt is None or output is None:
        return None
    return Means(requests=rate * INTERVAL_SECONDS, prompt_tokens=prompt, output_tokens=output)


def forecast_means(predictors: tuple[LocalTrend, LocalTrend, LocalTrend], observed: Means) -> Means:
    """The next interval's load; a length is never forecast below one token."""
    values = (observed.requests, observed.prompt_tokens, observed.output_tokens)
    for predictor, value in zip(predictors, values, strict=True):
        predictor.observe(value)
    requests, prompt, output = (predictor.forecast() for predictor in predictors)
    return Means(requests=requests, prompt_tokens=max(1.0, prompt), output_tokens=max(1.0, output))


def _sla(itl_share: float) -> Factory:
    def make(scenario: Scenario) -> Policy:
        return Driver(SlaPlanner(scenario, itl_share), scenario, SCRAPE_SECONDS)

    return make


RIVALS: Final = (
    Rival(
        name="dynamo-sla",
        settings=(0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 1.0),
        knob="ITL target, as a share of the SLO",
        make=_sla,
        source="ai-dynamo/dynamo docs/planner/sla_planner.md @240df6a8",
    ),
)
