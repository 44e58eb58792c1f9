"""What a gateway must know of its resource: rendered by the operator, read from the ConfigMap
`NAME-runtime`.

It is data, watched at run time: changing a budget or an SLO rolls neither gateways nor model
servers.
"""

from typing import Final

from thinkscale.model.intent import Indicator
from thinkscale.model.signals import Wire

NUDGE: Final = "\nWait,"
"""What is put behind a thought that ended too early, so that it goes on, unless the resource says
something else (this is s1's word).
"""

BEFORE_USE: Final = "BeforeUse"


class SloConfig(Wire):
    """One SLO, as the gateway scores it. The limit is `threshold + per_token * tokens`, see
    `intent.Objective`.
    """

    name: str
    indicator: Indicator
    threshold_seconds: float
    per_token_seconds: float = 0.0


class TierConfig(Wire):
    """A way of thinking that requests choose by an effort, or by its name."""

    name: str
    efforts: tuple[str, ...] = ()
    """As clients spell them: `minimal`, `low`, `medium`, `high`, `xhigh`, `max`."""
    max_tokens: int
    min_tokens: int = 0
    """With the service's minimum, the larger of the two."""
    floor_tokens: int = 0
    """Under load no thought of this tier is closed before this age, whatever the directive says."""


class GatewayConfig(Wire):
    """The gateway's configuration; every field takes effect on the next request."""

    service: str
    """NAMESPACE/NAME."""
    model: str
    """What clients send as `model`."""
    engine: str = "VLLM"
    seats_per_replica: int
    min_tokens: int = 0
    max_tokens: int | None = None
    default_max_tokens: int | None = None
    """The thinking budget of a request that says nothing; None: the maximum."""
    tiers: tuple[TierConfig, ...] = ()
    default_tier: str | None = None
    """The tier of a request that says nothing; None: no tier, and `default_max_tokens`."""
    on_exhausted: str = "Answer"
    """Answer: close the thinking, the answer still comes. Stop: end with finish_reason `length`."""
    nudge: str = NUDGE
    """What is put behind a thought that ended below its minimum."""
    native_budget_check: str = "InUse"
    """InUse: clients' requests show whether native budgets hold. `BEFORE_USE`: a replica proves it
    before it gets its first request.
    """
    answer_max_tokens: int | None = None
    queue_max_requests: int = 1000
    slos: tuple[SloConfig, ...] = ()
