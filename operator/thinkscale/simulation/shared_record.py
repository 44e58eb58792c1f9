"""Runs of several services under one limit as plain JSON: the sum, and each as a run of its own."""

from typing import Final

import numpy as np

from thinkscale.simulation import bounds, record, statistics
from thinkscale.simulation.bootstrap import attainment_lower_bound
from thinkscale.simulation.record import Record
from thinkscale.simulation.shared_limit import Shared
from thinkscale.simulation.shared_run import Together

SCHEMA_VERSION: Final = 1


def record_of(shared: Shared, runs: list[Together]) -> Record:
    """All that is said of the divisions of one limit; see `docs/simulate.md` for each key."""
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": shared.name,
        "seed": shared.seed,
        "limit_gpus": shared.gpus,
        "priorities": dict(shared.priorities),
        "divisions": {run.division.value: _division(shared, run) for run in runs},
    }


def _division(shared: Shared, run: Together) -> Record:
    requests = [outcome.requests for outcome in run.outcomes.values()]
    blocks, cut = run.blocks, np.concatenate([some.cut for some in requests])
    worst = statistics.worst_hour(blocks)
    return {
        "requests": len(cut),
        "attainment": statistics.attainment(blocks),
        "attainment_lower_95": attainment_lower_bound(blocks),
        "attainment_clean": float(blocks.clean.sum() / max(1.0, blocks.arrived.sum())),
        "attainment_worst_hour": None if np.isnan(worst) else worst,
        "truncated_share": float(cut.mean()) if len(cut) else None,
        "withheld_tokens": sum(int(some.withheld_tokens.sum()) for some in requests),
        "gpu_hours": sum(outcome.gpu_hours for outcome in run.outcomes.values()),
        "peak_gpus": run.peak_gpus,
        "services": {
            name: record.record_of(
                outcome,
                shared.services[name],
                lower_bound_gpu_hours=bounds.lower_bound_gpu_hours(shared.services[name]),
            )
            for name, outcome in run.outcomes.items()
        },
    }
