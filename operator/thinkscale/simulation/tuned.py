"""The single setting of each rival, until a search has chosen it: what its authors publish."""

from typing import Final

SINGLE: Final[dict[str, str]] = {
    "hpa-rate": "0.7",
    "hpa-concurrency": "0.7",
    "hpa-kv": "0.7",
    "hpa-queue": "5.0",
    "keda-queue": "5.0",
    "kpa": "0.7",
    "kpa-delay": "0.7",
    "llmd-slo": "0.55",
    "wva-v1": "0.1",
    "wva-v2": "0.85",
    "wva-queueing": "1.0",
    "dynamo-sla": "1.0",
    "dynamo-planner": "1.0",
    "aibrix": "0.5",
    "aibrix-as-coded": "0.5",
}
"""By family."""
