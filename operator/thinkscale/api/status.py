"""What the operator says of a resource: rounded numbers, the last decision, and conditions.

The status mirrors, it never commands: nothing reads it back to decide. It holds no history; that
belongs to metrics.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from thinkscale.api.base import Resource, keyed_by

Percent = Annotated[str, Field(max_length=8, pattern=r"^[0-9]{1,3}(\.[0-9]{1,4})?$")]


class SloStatus(Resource):
    """How one objective fares."""

    name: Annotated[str, Field(max_length=63)]
    """Name of the objective."""
    attained_percent: Percent
    """Share of requests that met the limit over the objective's window."""


class QualityDebt(Resource):
    """What load has cost in quality over the last day."""

    requests_cut: int
    """Requests whose thinking load has cut short."""
    tokens_withheld: int
    """Thinking tokens that the declared budget would have left them, at most."""
    points_withheld: int | None = None
    """Percent points of score that they were expected to lose, all together: 100 is one answer that
    would have been right. As far as their tiers tell their quality; absent: none does.
    """


class TierStatus(Resource):
    """The budget of a tier that tells its quality."""

    name: Annotated[str, Field(max_length=63)]
    """Name of the tier."""
    effective_max_tokens: int
    """Thinking budget in force for its requests."""


class LastDecision(Resource):
    """The last decision that changed something, in the words of events and logs."""

    id: Annotated[str, Field(max_length=64)]
    """Id that the log line and the event carry too."""
    from_: Annotated[int, Field(alias="from", ge=0)]
    """Replicas before."""
    to: Annotated[int, Field(ge=0)]
    """Replicas after."""
    reason: Annotated[str, Field(max_length=64)]
    """Why, in one word."""
    limited_by: Annotated[str, Field(max_length=64)]
    """Which limit kept the replicas from what was wished; None: no limit did."""
    message: Annotated[str, Field(max_length=1024)]
    """Why, with the numbers."""
    time: datetime
    """When."""


class Condition(Resource):
    """A condition, as everywhere in Kubernetes."""

    type: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]*$")]
    """Which condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[
        str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9_])?$")
    ]
    """Why, in one word."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why, in a sentence."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """Generation of the spec that this was said of."""
    last_transition_time: datetime
    """When `status` last changed."""


class ReasoningServiceStatus(Resource):
    """What was last seen of the service."""

    observed_generation: int | None = None
    """Generation of the spec that the operator has acted on."""
    url: Annotated[str, Field(max_length=512)] | None = None
    """Where clients in the cluster call it (OpenAI API)."""
    replicas: int | None = None
    """Model pods that exist."""
    ready_replicas: int | None = None
    """Model pods that are ready."""
    desired_replicas: int | None = None
    """Replicas that the operator wants (in Advisory: would want)."""
    selector: Annotated[str, Field(max_length=512)] | None = None
    """Label selector of the model pods, for the scale subresource."""
    gpus: int | None = None
    """GPUs that the model pods hold."""
    effective_max_tokens: int | None = None
    """Thinking budget in force."""
    tiers: Annotated[
        tuple[TierStatus, ...], Field(max_length=8, json_schema_extra=keyed_by("name"))
    ] = ()
    """Budgets in force of the tiers that tell their quality, first the one that load lowers first.
    """
    native_budgets_doubted: int | None = None
    """Replicas whose native thinking budget did not hold, or could not be shown to, so that the
    gateways hold their budgets alone; absent: none.
    """
    gateway_replicas: int | None = None
    """Gateway pods that the operator wants."""
    thinking_depth: int | None = None
    """Requests whose first answer token is not out yet."""
    backlog_seconds: int | None = None
    """Seconds that the ready replicas need for the thinking that is still to come."""
    lead_time_seconds: int | None = None
    """Seconds from a decision to a ready replica, as learnt."""
    first_answer_p95_milliseconds: int | None = None
    """95th percentile of the time to the first answer token, of late."""
    quality_debt: QualityDebt | None = None
    """Requests that load has cut over the last day; absent: it may cut none."""
    slos: Annotated[
        tuple[SloStatus, ...], Field(max_length=16, json_schema_extra=keyed_by("name"))
    ] = ()
    """How each objective fares; none while there was no request."""
    last_decision: LastDecision | None = None
    """The last decision that changed something."""
    conditions: Annotated[
        tuple[Condition, ...], Field(max_length=16, json_schema_extra=keyed_by("type"))
    ] = ()
    """Ready, Reconciling, Stalled, ScalingActive, ScalingLimited, SLOsMet, BudgetReduced,
    SignalsAvailable.
    """
