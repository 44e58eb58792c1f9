"""The run in numbers, for people and for machines (`JSON=FILE`).

Pure. Requests are scored by the client's own clock; replicas and GPU-seconds come from what
Kubernetes showed. GPU-seconds count what was held, a draining pod included.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from e2e.story.outcomes import Outcome, Slo, attainment, late_second, send_lag_p99_seconds
from e2e.story.sampling import Sample


def replica_changes(samples: Sequence[Sample]) -> list[list[float]]:
    """[second, desired, ready], one entry at the start and one for each change."""
    changes: list[list[float]] = []
    for sample in samples:
        if not changes or changes[-1][1:] != [sample.desired, sample.ready]:
            changes.append([round(sample.second, 1), sample.desired, sample.ready])
    return changes


def scale_steps(samples: Sequence[Sample]) -> tuple[int, int]:
    """How often `spec.replicas` was raised and lowered."""
    steps = [after.desired - before.desired for before, after in pairwise(samples)]
    return sum(step > 0 for step in steps), sum(step < 0 for step in steps)


def first_scale_up_second(samples: Sequence[Sample]) -> float | None:
    """When `spec.replicas` was first raised; None if never."""
    for before, after in pairwise(samples):
        if after.desired > before.desired:
            return round(after.second, 1)
    return None


def gpu_seconds(samples: Sequence[Sample]) -> float:
    """GPUs held, integrated over the run."""
    return sum(before.gpus * (after.second - before.second) for before, after in pairwise(samples))


def first_late_second(outcomes: Sequence[Outcome], slos: Sequence[Slo]) -> float | None:
    """When the first request became late by any of the SLOs; None if none did."""
    seconds = [
        second
        for outcome in outcomes
        if outcome.counts
        for slo in slos
        if (second := late_second(outcome, slo)) is not None
    ]
    return round(min(seconds), 1) if seconds else None


def summarize(
    outcomes: Sequence[Outcome],
    samples: Sequence[Sample],
    slos: Sequence[Slo],
    *,
    setup_seconds: float,
    run_seconds: float,
) -> dict[str, Any]:
    """The summary for machines; attainment is a share between 0 and 1, null without requests."""
    ups, downs = scale_steps(samples)
    return {
        "requests": len(outcomes),
        "failed": sum(outcome.failed for outcome in outcomes),
        "attainment": {slo.name: _rounded(attainment(outcomes, slo)) for slo in slos},
        "thinking_tokens": sum(outcome.thinking_tokens for outcome in outcomes),
        "answer_tokens": sum(outcome.answer_tokens for outcome in outcomes),
        "replicas": replica_changes(samples),
        "scale_ups": ups,
        "scale_downs": downs,
        "gpu_seconds": round(gpu_seconds(samples)),
        "setup_seconds": round(setup_seconds, 1),
        "run_seconds": round(run_seconds, 1),
        "generator_lag_p99_seconds": round(send_lag_p99_seconds(outcomes), 4),
    }


def spoken(summary: dict[str, Any], slos: Sequence[Slo]) -> list[str]:
    """The summary for people, a line per thing."""
    lines = [f"requests        {summary['requests']}, failed {summary['failed']}"]
    for slo in slos:
        share = summary["attainment"][slo.name]
        attained = "no request" if share is None else f"{share:.1%}"
        lines.append(
            f"attainment      {slo.name}: {attained} (objective {slo.objective_percent:g}%)"
        )
    peak = max((entry[1] for entry in summary["replicas"]), default=0)
    lines += [
        f"tokens          {summary['thinking_tokens']:,} thinking, "
        f"{summary['answer_tokens']:,} answering",
        f"replicas        {summary['scale_ups']} scale-ups, {summary['scale_downs']} scale-downs, "
        f"at most {peak:g}",
        f"GPU-seconds     {summary['gpu_seconds']:,}",
        f"time            set-up {summary['setup_seconds']:.0f} s, run "
        f"{summary['run_seconds']:.0f} s; the generator was late by "
        f"{summary['generator_lag_p99_seconds'] * 1000:.0f} ms (p99)",
    ]
    return lines


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
