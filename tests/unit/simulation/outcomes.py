"""Outcomes made by hand, for tests of what is said about runs."""

from collections.abc import Callable

import numpy as np

from thinkscale.simulation.outcome import Outcome, Requests, Timeline


def outcome(
    *,
    seed: int,
    hours: float,
    policy: str = "thinkscale",
    scenario: str = "smooth",
    late_share: float = 0.01,
    replicas: int = 4,
    begin_seconds: float = 1800.0,
    billed: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Outcome:
    """A run with plausible columns. Arrivals depend on the seed alone, so that runs pair up."""
    generator = np.random.default_rng(seed)
    seconds = hours * 3600
    count = int(seconds / 3)
    arrived = begin_seconds + np.sort(generator.uniform(0, seconds, count))
    tokens = np.maximum(1, generator.lognormal(6.5, 1.0, count)).astype(np.int64)
    answers = generator.integers(20, 300, count)
    pace = generator.normal(0.035, 0.003, count).clip(0.02)
    queue = generator.exponential(0.5, count)
    other = np.random.default_rng([seed, len(policy)])
    late = other.uniform(size=count) < late_share
    at = np.arange(0, begin_seconds + seconds, 15.0)
    stood = np.full(len(at), replicas) if billed is None else billed(at)
    inside = (at >= begin_seconds) & (at < begin_seconds + seconds)
    return Outcome(
        policy=policy,
        scenario=scenario,
        seed=seed,
        requests=Requests(
            arrived_seconds=arrived,
            queue_seconds=queue,
            first_token_seconds=queue + 0.1,
            first_answer_seconds=queue + 0.1 + tokens * pace,
            end_seconds=queue + 0.1 + (tokens + answers) * pace,
            output_tokens=tokens + answers,
            output_pace_seconds=pace,
            answer_pace_seconds=pace,
            cut=other.uniform(size=count) < 0.004,
            withheld_tokens=np.zeros(count, dtype=np.int64),
            met={"wait": ~late, "pace": np.ones(count, dtype=bool)},
        ),
        timeline=Timeline(
            at_seconds=at,
            desired=stood.astype(np.int64),
            ready=stood.astype(np.int64),
            billed=stood.astype(np.int64),
            thinking_depth=(40 + 20 * np.sin(at / 2000)).astype(np.int64),
            held=np.zeros(len(at), dtype=np.int64),
            effective_tokens=np.where((at % 7200) < 300, 2048.0, np.nan),
        ),
        replica_seconds=float((stood[inside] * 15.0).sum()),
        gpus_per_replica=2,
        preemptions=3,
        reversals=5,
        scored_seconds=seconds,
    )
