"""The single setting of each rival: what `benchmarks/tuning.py --write` chose, or what
its authors publish. Do not edit; search again.

Searched: step, drift, heavy-tail, llmd-ramp; seeds 1.
"""

from typing import Final

SINGLE: Final[dict[str, str]] = {
    "hpa-rate": "0.7",
    "hpa-concurrency": "0.5",
    "hpa-kv": "0.7",
    "hpa-queue": "5.0",
    "keda-queue": "0.5",
    "kpa": "0.6",
    "kpa-delay": "0.7",
    "llmd-slo": "0.45",
    "wva-v1": "0.1",
    "wva-v2": "1.05",
    "wva-queueing": "1.0",
    "dynamo-sla": "1.0",
    "dynamo-planner": "0.6",
    "aibrix": "0.3",
    "aibrix-as-coded": "0.5",
}
"""By family."""
