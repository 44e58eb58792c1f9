"""What the user declared, in the form the law uses: seconds, fractions and counts, every default
resolved.

The resource (`api`) is what is written; this is what is meant. `resources.intent` makes one from
the other.
"""

from dataclasses import dataclass
from enum import StrEnum

from thinkscale.model.step_time import StepTime


class Mode(StrEnum):
    """Who sets the replicas."""

    AUTO = "Auto"
    ADVISORY = "Advisory"
    """Decide and publish, but leave the replicas as `spec.replicas` says."""
    MANUAL = "Manual"


class Indicator(StrEnum):
    """What an SLO measures."""

    TIME_TO_FIRST_TOKEN = "TimeToFirstToken"
    TIME_TO_FIRST_ANSWER = "TimeToFirstAnswer"
    TIME_PER_ANSWER_TOKEN = "TimePerAnswerToken"
    TIME_PER_OUTPUT_TOKEN = "TimePerOutputToken"
    """From the first token of any kind to the last."""
    END_TO_END = "EndToEnd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One SLO: a request meets it if its indicator is at most `threshold + per_token * tokens`
    seconds.

    Tokens are the thinking tokens used for TimeToFirstAnswer and all output tokens for EndToEnd;
    per_token is 0 for the others.
    """

    name: str
    indicator: Indicator
    threshold_seconds: float
    per_token_seconds: float
    objective: float
    """Share of requests that must meet it, 0 < objective < 1."""
    window_seconds: float

    def limit_seconds(self, tokens: int) -> float:
        """The limit for a request that used this many tokens."""
        return self.threshold_seconds + self.per_token_seconds * tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPolicy:
    """At most `pods`, or `percent` of the replicas, in any `period_seconds` (exactly one of the two
    is set).
    """

    pods: int | None = None
    percent: int | None = None
    period_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """HPA v2's shape and meaning; the most permissive policy wins. No policies: no step limit."""

    stabilization_window_seconds: float
    policies: tuple[StepPolicy, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Thinking tokens. None: not bounded."""

    max_tokens: int | None = None
    floor_tokens: int | None = None
    """How low load may push the maximum; equal to the maximum unless the user opted in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityPoint:
    """What a tier's requests score when none of them thinks beyond `max_tokens`."""

    max_tokens: int
    score_percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A tier that tells its quality."""

    name: str
    max_tokens: int
    floor_tokens: int = 0
    quality: tuple[QualityPoint, ...]
    """At least two, by rising tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """All that `decide` may know of the resource."""

    service: str
    """NAMESPACE/NAME."""
    mode: Mode
    manual_replicas: int | None
    """`spec.replicas`; set in Manual and Advisory."""
    min_replicas: int
    max_replicas: int
    scale_to_zero_after_seconds: float | None
    scale_up: Behavior
    scale_down: Behavior
    seats_per_replica: int
    """Requests that one replica runs at once (the engine's max_num_seqs)."""
    gpus_per_replica: int
    startup_seconds: float
    """How long a replica may take to become ready before it counts as stuck; also the prior of the
    lead time.
    """
    budget: Budget
    answer_max_tokens: int | None
    objectives: tuple[Objective, ...]
    step_time: StepTime | None = None
    """What the catalogue says of this model on these GPUs: a prior, mended online. None: unknown
    hardware, the prior is wide.
    """
    kv_tokens: int | None = None
    """KV cache of one replica by the catalogue; what the engines themselves say goes before."""
    truncation_allowance: float = 0.01
    """Share of a day's requests whose thinking load may cut short; 0: none."""
    granted_replicas: int | None = None
    """What a shared GPU limit leaves to this service; None: it shares none."""
    tiers: tuple[Tier, ...] = ()
    """Those that tell their quality: load withholds thinking where it costs the least score."""
