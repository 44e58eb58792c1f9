"""What the operator orders of the gateways.

The directive travels in the ConfigMap `NAME-runtime`. A brown-out is the part that must not outlive
its author: it holds `until` an instant that the operator keeps pushing ahead; past it the gateways
return to the declared budget by themselves. The cordon holds without a deadline (it takes no
capacity from anybody: the victim was picked because the rest suffices, and gateways un-cordon by
themselves when no other replica is ready).
"""

from typing import Annotated

from pydantic import Field

from thinkscale.model.admission import Ceiling
from thinkscale.model.brownout import BrownoutRule
from thinkscale.model.queueing import QueueRule
from thinkscale.model.signals import Wire


class Directive(Wire):
    """One order; `id` is the decision's id."""

    id: str
    gateways: Annotated[int, Field(ge=1)] = 1
    """Gateways that share the replicas: each has its share of the seats and of the ceiling."""
    cordoned: tuple[str, ...] = ()
    """Replicas (pod names) that get no new request."""
    ceiling: Ceiling | None = None
    """What one replica may hold, of all gateways together; the rest waits at the gateway."""
    queue: QueueRule = QueueRule()
    brownout: BrownoutRule | None = None
