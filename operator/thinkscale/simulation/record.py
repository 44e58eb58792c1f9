"""One run as JSON: what was asked, what came out, and the blocks that intervals are made from.

Units are in the key names. What is not known is null: a ratio to an oracle that was not run, a
percentile that lies among requests that never finished. A record is all that a report reads, so a
comparison can be stopped, resumed, and reported again without a simulation.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from thinkscale.simulation import statistics, two_tiers
from thinkscale.simulation.bootstrap import attainment_lower_bound
from thinkscale.simulation.outcome import Outcome
from thinkscale.simulation.scenario import Scenario
from thinkscale.simulation.statistics import BLOCK_SECONDS, Blocks

SCHEMA_VERSION: Final = 1
PERCENTILES: Final[tuple[tuple[str, float], ...]] = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
DAY_SECONDS: Final = 86_400.0

Record = dict[str, Any]


def record_of(
    outcome: Outcome,
    scenario: Scenario,
    *,
    lower_bound_gpu_hours: float | None = None,
    oracle_gpu_hours: float | None = None,
) -> Record:
    """All that is said about a run; see `docs/simulate.md` for each key."""
    blocks = statistics.blocks_of(outcome, scenario.warm_up_seconds)
    return {
        "schema_version": SCHEMA_VERSION,
        "policy": outcome.policy,
        "scenario": outcome.scenario,
        "seed": outcome.seed,
        "scored_hours": outcome.scored_seconds / 3600,
        "requests": len(outcome.requests.arrived_seconds),
        **_kept(outcome, scenario, blocks),
        **_cost(outcome, scenario),
        "lower_bound_gpu_hours": _number(lower_bound_gpu_hours),
        "gpu_hours_to_lower_bound": _share(outcome.gpu_hours, lower_bound_gpu_hours),
        "oracle_gpu_hours": _number(oracle_gpu_hours),
        "gpu_hours_to_oracle": _share(outcome.gpu_hours, oracle_gpu_hours),
        **{
            name: {
                label: _number(value)
                for (label, _), value in zip(
                    PERCENTILES,
                    statistics.quantiles(values, [at for _, at in PERCENTILES]),
                    strict=True,
                )
            }
            for name, values in statistics.latencies(outcome.requests).items()
        },
        "blocks": {
            "seconds": BLOCK_SECONDS,
            "arrived": _whole(blocks.arrived),
            "good": _whole(blocks.good),
            "clean": _whole(blocks.clean),
            "gpu_hours": [round(float(value), 9) for value in blocks.gpu_hours],
        },
    }


def _kept(outcome: Outcome, scenario: Scenario, blocks: Blocks) -> Record:
    """What was promised, and the quality debt."""
    requests = outcome.requests
    return {
        "attainment": _number(outcome.attainment),
        "attainment_lower_95": _number(attainment_lower_bound(blocks)),
        "attainment_clean": _mean(requests.good & ~requests.cut),
        "attainment_worst_hour": _number(statistics.worst_hour(blocks)),
        "attainment_by_slo": {name: _mean(met) for name, met in requests.met.items()},
        "violation_minutes": statistics.violation_minutes(requests, scenario.target),
        "truncated_share": _mean(requests.cut),
        "truncated_requests": int(requests.cut.sum()),
        "withheld_tokens": int(requests.withheld_tokens.sum()),
        "withheld_tokens_share": _share(
            float(requests.withheld_tokens.sum()),
            float(requests.withheld_tokens.sum() + requests.output_tokens.sum()),
        ),
        "withheld_points": (
            None
            if scenario.workload.tier is None
            else sum(two_tiers.points_given_up(scenario, requests).values())
        ),
    }


def _cost(outcome: Outcome, scenario: Scenario) -> Record:
    """What it took, and how restless it was."""
    timeline, begin = outcome.timeline, scenario.warm_up_seconds
    end = begin + outcome.scored_seconds
    inside = (timeline.at_seconds >= begin) & (timeline.at_seconds <= end)
    days = outcome.scored_seconds / DAY_SECONDS
    return {
        "gpu_hours": outcome.gpu_hours,
        "gpus_per_replica": outcome.gpus_per_replica,
        "mean_replicas": _share(outcome.replica_seconds, outcome.scored_seconds),
        "peak_replicas": int(timeline.billed[inside].max()) if inside.any() else None,
        "replica_changes_per_day": _share(
            float(np.abs(np.diff(timeline.desired[inside])).sum()), days
        ),
        "reversals_per_day": _share(float(outcome.reversals), days),
        "preemptions": outcome.preemptions,
    }


def blocks_in(record: Mapping[str, Any]) -> Blocks:
    """The blocks of a record."""
    blocks = record["blocks"]
    return Blocks(
        arrived=np.array(blocks["arrived"], dtype=np.float64),
        good=np.array(blocks["good"], dtype=np.float64),
        clean=np.array(blocks["clean"], dtype=np.float64),
        gpu_hours=np.array(blocks["gpu_hours"], dtype=np.float64),
    )


def with_oracle(record: Mapping[str, Any], oracle_gpu_hours: float | None) -> Record:
    """The record beside an oracle that was run elsewhere."""
    return {
        **record,
        "oracle_gpu_hours": _number(oracle_gpu_hours),
        "gpu_hours_to_oracle": _share(record["gpu_hours"], oracle_gpu_hours),
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _share(above: float, below: float | None) -> float | None:
    return None if below is None or not below > 0 else _number(above / below)


def _mean(flags: np.ndarray) -> float | None:
    return float(flags.mean()) if len(flags) else None


def _whole(values: Sequence[float] | np.ndarray) -> list[int]:
    return [int(value) for value in values]
