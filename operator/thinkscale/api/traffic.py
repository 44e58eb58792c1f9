"""What requests may use and what they are promised: thinking budgets, answers, SLOs, the gateway.

None of it rolls a model pod. All but the gateway's own shape takes effect on the next request.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from thinkscale.api.base import DnsLabel, ObjectName, Resource, Tokens, as_set, atomic, keyed_by
from thinkscale.api.pods import ResourceRequirements

PositiveTokens = Annotated[int, Field(ge=1, le=10_000_000)]
Milliseconds = Annotated[int, Field(ge=1, le=86_400_000)]
Percentage = Annotated[
    str, Field(min_length=1, max_length=8, pattern=r"^[0-9]{1,3}(\.[0-9]{1,4})?$")
]
"""A share as a string, since a float does not survive every YAML writer."""


Nudge = Annotated[str, Field(min_length=1, max_length=200)]


class OnExhausted(StrEnum):
    """What happens when a request has used its thinking budget."""

    ANSWER = "Answer"
    STOP = "Stop"


class NativeBudgetCheck(StrEnum):
    """When the engine's own thinking budget is checked."""

    IN_USE = "InUse"
    BEFORE_USE = "BeforeUse"


class BudgetSpec(Resource):
    """How many tokens a request may think: minTokens <= floorTokens <= maxTokens."""

    min_tokens: Tokens = 0
    """The least that a request may ask for; smaller wishes are raised to it."""
    max_tokens: Tokens
    """The most that a request may use; larger wishes are lowered to it."""
    floor_tokens: Tokens | None = None
    """How low load may push the maximum while more replicas are on their way. Absent: never lowered
    (brown-out is opt-in).
    """
    truncation_allowance_percent: Percentage = "1"
    """Share of a day's requests whose thinking load may cut short, as a string: `"1"`, `"0.5"`.
    `"0"` switches brown-out off.
    """
    on_exhausted: OnExhausted = OnExhausted.ANSWER
    """Answer: thinking is closed and the answer still comes. Stop: the request ends with
    finish_reason `length`.
    """


class Effort(StrEnum):
    """What clients send as `reasoning_effort`, in lower case: `minimal`, `xhigh`."""

    MINIMAL = "Minimal"
    LOW = "Low"
    MEDIUM = "Medium"
    HIGH = "High"
    X_HIGH = "XHigh"
    MAX = "Max"


class QualitySpec(Resource):
    """One point of a tier's quality, as `thinkscale sweep` measures it."""

    max_tokens: Tokens
    """Thinking tokens that no request of the tier went beyond."""
    score_percent: Percentage
    """What they scored then, as a string: `"82.5"`; from 0 to 100."""


class TierSpec(Resource):
    """A way of thinking that requests choose by their effort, or by the tier's name."""

    name: DnsLabel
    """Name of the tier; `reasoning_effort` may say it too."""
    efforts: Annotated[tuple[Effort, ...], Field(max_length=6, json_schema_extra=as_set())] = ()
    """Efforts that mean this tier; each at most in one tier."""
    max_tokens: Tokens
    """The most that a request of this tier may think."""
    min_tokens: Tokens = 0
    """The least that a request of this tier thinks; with `budget.minTokens` the larger counts."""
    floor_tokens: Tokens | None = None
    """Load closes no thought of this tier that is shorter; absent: `budget.floorTokens` alone
    says how far load may go.
    """
    quality: Annotated[
        tuple[QualitySpec, ...], Field(max_length=32, json_schema_extra=atomic())
    ] = ()
    """What the tier scores by its maximum, at least two points by rising maxTokens, as `thinkscale
    sweep` writes them. Of the tiers that tell it, load lowers first where that costs the least
    expected score for each GPU-second saved. Absent: the tier has the budget that load leaves to
    everybody.
    """


class ThinkingSpec(Resource):
    """Thinking of the requests."""

    budget: BudgetSpec | None = None
    """Limits; absent: thinking is not bounded."""
    tiers: Annotated[
        tuple[TierSpec, ...], Field(max_length=8, json_schema_extra=keyed_by("name"))
    ] = ()
    """Budgets by effort. A request with an effort that no tier answers to is treated like one that
    says nothing.
    """
    nudge: Nudge | None = None
    """What is put behind a thought that would end below its minimum, so that it goes on; it counts
    as thinking. Absent: a line break and `Wait,`.
    """
    native_budget_check: NativeBudgetCheck = NativeBudgetCheck.IN_USE
    """InUse: a replica's native budget is believed until it does not hold for a request. BeforeUse:
    each gateway sends a replica that has become ready two small requests first; if its native
    budget does not hold, the gateways hold its budgets alone from its first request on.
    """
    default_tier: DnsLabel | None = None
    """Tier of a request that says nothing; absent: none, and `defaultMaxTokens`."""
    default_max_tokens: Tokens | None = None
    """Thinking budget of a request that asks for none; absent: the maximum."""


class AnswerSpec(Resource):
    """Answers of the requests."""

    max_tokens: PositiveTokens
    """Answer tokens of a request at most. With a thinking budget it bounds every request, and so
    every drain.
    """


class SloIndicator(StrEnum):
    """What an SLO measures."""

    TIME_TO_FIRST_ANSWER = "TimeToFirstAnswer"
    TIME_TO_FIRST_TOKEN = "TimeToFirstToken"
    TIME_PER_ANSWER_TOKEN = "TimePerAnswerToken"
    TIME_PER_OUTPUT_TOKEN = "TimePerOutputToken"
    END_TO_END = "EndToEnd"


class SloSpec(Resource):
    """One objective: this share of the requests meets this limit, over this window."""

    name: DnsLabel
    """Name of the objective; unique in the service."""
    indicator: SloIndicator
    """What is measured: TimeToFirstAnswer (what a user waits for), TimeToFirstToken (of any kind),
    TimePerAnswerToken (pace of the answer), TimePerOutputToken (pace from the first token of any
    kind to the last) or EndToEnd.
    """
    threshold_milliseconds: Milliseconds
    """Limit of one request."""
    per_token_milliseconds: Annotated[int, Field(ge=1, le=60_000)] | None = None
    """Added to the limit for each token the request used: thinking tokens for TimeToFirstAnswer,
    all output tokens for EndToEnd. How long a request thinks is its own affair; this asks the fleet
    for what the fleet can give.
    """
    objective_percent: Percentage
    """Share of requests that must meet the limit, as a string: `"99"`, `"99.5"`."""
    window_seconds: Annotated[int, Field(ge=10, le=2_592_000)] = 3600
    """Window over which the share is counted."""


class QueueSpec(Resource):
    """Requests that the gateways hold while every seat is taken."""

    max_requests: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    """Requests that one gateway holds at most; more get 429 with Retry-After."""


class ServiceType(StrEnum):
    """Kubernetes Service types."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


class ServiceSpec(Resource):
    """The Service that clients call."""

    type: ServiceType = ServiceType.CLUSTER_IP
    """How the Service is exposed."""


class SecretRef(Resource):
    """A Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret."""


class AuthSpec(Resource):
    """Who may call the gateway."""

    api_keys_secret_ref: SecretRef
    """Secret whose data are API keys by their ids. Clients send one as `Authorization: Bearer`; the
    id becomes a label of metrics. A changed Secret takes effect within about a minute.
    """


class TracingSpec(Resource):
    """Where OpenTelemetry spans of requests go."""

    endpoint: Annotated[str, Field(min_length=8, max_length=512)]
    """Collector that takes OTLP over HTTP, for example `http://collector.observability:4318` (4317
    is usually gRPC, which is not spoken). Spans go to `v1/traces` below it. One that is away costs
    spans, never a request.
    """


class GatewaySpec(Resource):
    """The gateway between the clients and the replicas."""

    min_replicas: Annotated[int, Field(ge=1, le=64)] = 1
    """Gateway pods at least."""
    max_replicas: Annotated[int, Field(ge=1, le=64)] | None = None
    """Gateway pods at most: between the two there are as many as the tokens that pass need, quick
    to come and slow to go. Absent: always minReplicas.
    """
    resources: ResourceRequirements | None = None
    """CPU and memory of a gateway pod; absent: the operator's own defaults."""
    queue: QueueSpec = QueueSpec()
    """Requests held while every seat is taken."""
    service: ServiceSpec = ServiceSpec()
    """The Service that clients call."""
    auth: AuthSpec | None = None
    """Who may call; absent: everybody who reaches the Service."""
    tracing: TracingSpec | None = None
    """Spans of requests and their phases; absent: none are made. A change rolls the gateways."""
