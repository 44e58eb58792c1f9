"""What a gateway must know of its resource: rendered by the operator, read from the ConfigMap
`NAME-runtime`.

It is data, watched at run time: changing a budget or an SLO rolls neither gateways nor model
servers.
"""

from thinkscale.model.intent import Indicator
from thinkscale.model.signals import Wire


class SloConfig(Wire):
    """One SLO, as the gateway scores it. The limit is `threshold + per_token * tokens`, see
    `intent.Objective`.
    """

    name: str
    indicator: Indicator
    threshold_seconds: float
    per_token_seconds: float = 0.0


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
    on_exhausted: str = "Answer"
    """Answer: close the thinking, the answer still comes. Stop: end with finish_reason `length`."""
    answer_max_tokens: int | None = None
    queue_max_requests: int = 1000
    slos: tuple[SloConfig, ...] = ()
