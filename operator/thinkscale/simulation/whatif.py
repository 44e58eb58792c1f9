"""What more thinking costs: latencies, objectives and GPUs, before and after.

The requests of a trace, a scenario or a live service are given more thinking tokens, and the fleet
that carries them is reckoned anew (`fluid`), or simulated in full. Where `maxReplicas` does not
carry the change, a thinking budget may: with B tokens a request takes r(B) replica-seconds, and the
largest B with `rate * r(B) <= maxReplicas` is what a brown-out would come down to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from thinkscale.simulation import scenarios
from thinkscale.simulation.design_point import design_point, pace_limit_seconds
from thinkscale.simulation.fluid import Prediction
from thinkscale.simulation.outcome import Outcome
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.statistics import latencies, quantiles

BUDGETS_TOKENS: Final = tuple(round(256 * 2 ** (k / 2)) for k in range(15))
"""256 to 32,768."""
PEAK_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """More thinking for some."""

    add_thinking_tokens: int
    share: float
    """Of the requests."""
    hardest: bool = True
    """Those that think longest; else any, drawn by the scenario's seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One side of a what-if: percentiles in seconds, attainment, GPUs."""

    ttft_seconds: tuple[float, float, float]
    """p50, p95, p99, as the next ones."""
    ttfa_seconds: tuple[float, float, float]
    e2e_seconds: tuple[float, float, float]
    attainment: float
    attainment_by_slo: dict[str, float]
    thinking_tokens_mean: float
    budget_reached_share: float
    """Requests that think up to the declared budget."""
    replicas_mean: float
    replicas_peak: int
    replicas_wanted_peak: int | None
    """Without `maxReplicas`, by closed forms; None: a simulation alone does not tell."""
    replicas_wanted_mean: float | None
    """Without `maxReplicas`, as a fraction: what rounding to whole replicas hides. None: a
    simulation does not tell.
    """
    gpus_peak: int
    gpu_hours: float
    overloaded_hours: float | None
    """Time that wants more replicas than allowed, by closed forms; None: a simulation alone does
    not tell.
    """
    carried_budget_tokens: int | None = None
    """The largest budget under which `maxReplicas` carries the peak, by closed forms; None: it
    does as it is, or a simulation alone does not tell.
    """


def changed(scenario: Scenario, change: Change) -> Scenario:
    """The scenario with more thinking, as far as the declared budget lets it."""
    load = scenario.workload
    count = round(change.share * len(load))
    if change.hardest:
        order = np.argsort(-load.thinking_tokens, kind="stable")
    else:
        order = np.random.default_rng(scenario.seed).permutation(len(load))
    longer = load.thinking_tokens.copy()
    longer[order[:count]] += change.add_thinking_tokens
    room = scenario.profile.kv_tokens - load.prompt_tokens - load.answer_tokens
    most = scenario.intent.budget.max_tokens
    bound = room if most is None else np.minimum(room, most)
    longer = np.maximum(load.thinking_tokens, np.minimum(longer, bound))
    workload = load.with_thinking(longer)
    first = scenarios.initial_replicas(
        workload, scenario.profile, scenario.intent, scenario.warm_up_seconds
    )
    return replace(scenario, workload=workload, initial_replicas=first)


def reckoned(scenario: Scenario, predicted: Prediction) -> Answer:
    """A prediction in the numbers that were asked for."""
    answered = ~np.isnan(predicted.first_answer_seconds)
    return Answer(
        ttft_seconds=_three(predicted.first_token_seconds),
        ttfa_seconds=_three(predicted.first_answer_seconds[answered]),
        e2e_seconds=_three(predicted.end_seconds),
        attainment=predicted.attainment,
        attainment_by_slo={name: float(met.mean()) for name, met in predicted.met.items()},
        replicas_mean=predicted.mean_replicas,
        replicas_peak=predicted.peak_replicas,
        replicas_wanted_peak=predicted.wanted_peak_replicas,
        replicas_wanted_mean=predicted.wanted_mean_replicas,
        gpus_peak=predicted.peak_replicas * scenario.intent.gpus_per_replica,
        gpu_hours=predicted.gpu_hours,
        overloaded_hours=predicted.overloaded_hours,
        carried_budget_tokens=carried_budget(scenario, predicted),
        thinking_tokens_mean=float(scenario.workload.thinking_tokens.mean()),
        budget_reached_share=_reached(scenario),
    )


def simulated(scenario: Scenario, outcome: Outcome) -> Answer:
    """A full simulation in the same numbers."""
    requests, line = outcome.requests, outcome.timeline
    late = latencies(requests)
    inside = (line.at_seconds >= scenario.warm_up_seconds) & (
        line.at_seconds < scenario.warm_up_seconds + outcome.scored_seconds
    )
    peak = int(line.ready[inside].max()) if inside.any() else 0
    return Answer(
        ttft_seconds=_three(late["ttft_seconds"]),
        ttfa_seconds=_three(late["ttfa_seconds"]),
        e2e_seconds=_three(late["e2e_seconds"]),
        attainment=outcome.attainment,
        attainment_by_slo={name: float(met.mean()) for name, met in requests.met.items()},
        replicas_mean=outcome.replica_seconds / outcome.scored_seconds,
        replicas_peak=peak,
        replicas_wanted_peak=None,
        replicas_wanted_mean=None,
        gpus_peak=peak * outcome.gpus_per_replica,
        gpu_hours=outcome.gpu_hours,
        overloaded_hours=None,
        thinking_tokens_mean=float(scenario.workload.thinking_tokens.mean()),
        budget_reached_share=_reached(scenario),
    )


def carried_budget(scenario: Scenario, predicted: Prediction) -> int | None:
    """The largest budget under which `maxReplicas` carries the busiest ten minutes.

    The smallest of the table where not even that does.
    """
    if predicted.overloaded_hours == 0:
        return None
    load, limit = scenario.workload, pace_limit_seconds(scenario.intent)
    rate = np.bincount((load.at_seconds // PEAK_SECONDS).astype(np.int64)).max() / PEAK_SECONDS
    carried = [
        budget
        for budget in BUDGETS_TOKENS
        if rate / _under(scenario, budget, limit) <= scenario.intent.max_replicas
    ]
    return max(carried, default=BUDGETS_TOKENS[0])


def _under(scenario: Scenario, budget: int, limit: float | None) -> float:
    """Requests per second that one replica carries under a budget: 1 / r(B)."""
    bounded = scenario.workload.within(budget)
    return design_point(bounded, scenario.profile, limit).requests_per_second


def _reached(scenario: Scenario) -> float:
    """Share of requests that think up to the declared budget."""
    most = scenario.intent.budget.max_tokens
    return 0.0 if most is None else float((scenario.workload.thinking_tokens >= most).mean())


def _three(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    low, middle, high = quantiles(np.asarray(values, dtype=np.float64))
    return low, middle, high
