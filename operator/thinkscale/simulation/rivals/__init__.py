"""The rivals: other autoscalers' published laws, each in a module that cites its source.

All see what their own metrics would show and nothing of the future; where a rival would learn
coefficients or be set up by a load test, it gets the true ones. `docs/rivals.md` says what each
does, what it does without metrics, and what was left out.
"""

from typing import Final

from thinkscale.simulation.rivals import (
    aibrix,
    dynamo_planner,
    dynamo_sla,
    hpa_metrics,
    keda,
    kpa,
    llmd_slo,
    static,
    wva_queueing,
    wva_saturation,
    wva_tokens,
)
from thinkscale.simulation.rivals.rival import Rival

RIVALS: Final[dict[str, Rival]] = {
    rival.name: rival
    for module in (
        static,
        hpa_metrics,
        keda,
        kpa,
        llmd_slo,
        wva_saturation,
        wva_tokens,
        wva_queueing,
        dynamo_sla,
        dynamo_planner,
        aibrix,
    )
    for rival in module.RIVALS
}
"""By name."""

__all__ = ["RIVALS", "Rival"]
