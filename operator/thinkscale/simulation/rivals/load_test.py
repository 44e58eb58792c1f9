"""What a user measures before the launch: how much one replica carries of the mix as it is now.

Rivals whose target is a rate or a concurrency are set by such a load test. They get its exact
result, from the true coefficients and lengths of the scenario's first minutes; nothing later is
read. A target is a share of it. That is generous: a real load test has noise.
"""

from typing import Final

import numpy as np

from thinkscale.simulation.design_point import DesignPoint, design_point, pace_limit_seconds
from thinkscale.simulation.scenario import Scenario

FEWEST_REQUESTS: Final = 200


def load_test(scenario: Scenario) -> DesignPoint:
    """One replica at its best under the mix of the warm-up."""
    workload = scenario.workload
    within = int(np.searchsorted(workload.at_seconds, scenario.warm_up_seconds))
    count = max(within, min(FEWEST_REQUESTS, len(workload)))
    first = workload.rows(slice(count))
    return design_point(first, scenario.profile, pace_limit_seconds(scenario.intent))
