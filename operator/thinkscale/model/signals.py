"""`GET /signals` of a gateway, schema version 1: what one gateway knows, and how several of them
add up.

Counters are cumulative since the gateway's boot (`boot_id` tells one boot from the next);
everything else is the state now. All of it merges exactly: counts add, ages add, histograms add.
JSON keys are camelCase.

The long poll `?since=SEQ&wait=SECONDS` answers at once when `sequence > since`. The gateway raises
`sequence` when depth (queued or thinking) has moved by more than a tenth, and at least by 2
requests, since the last raise, when a replica comes or goes, and otherwise once a second while
anything changes. A poll that runs into `wait` is answered with the current state all the same:
silence for longer than `wait` plus a round trip means trouble, never "no load".
"""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from thinkscale.model.ages import BINS, EDGES_VERSION

SCHEMA_VERSION: Final = 1

LATENCY_EDGES_SECONDS: Final[tuple[float, ...]] = (
    0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.5, 15.0, 20.0, 25.0,
    30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0, 200.0, 300.0, 450.0, 600.0, 900.0, 1800.0,
)  # fmt: skip
"""Upper edges of latency histograms; one more, open bin follows."""
FASTEST_MIN_TOKENS: Final = 32
"""Shorter outputs say nothing about the fastest pace: a single quick step would."""

Count = Annotated[int, Field(ge=0)]


class Wire(BaseModel):
    """Base of what travels: frozen, camelCase on the wire, unknown fields ignored (a newer peer may
    add some).
    """

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore"
    )


class PhaseCounts(Wire):
    """Requests by phase. Thinking depth is `queued + thinking`; occupancy is all three."""

    queued: Count = 0
    """Accepted, no token yet: held at the gateway or waiting in an engine."""
    thinking: Count = 0
    """First token seen, answer not begun."""
    answering: Count = 0

    @property
    def depth(self) -> int:
        """Thinking-phase queue depth: accepted, and the first answer token is not out."""
        return self.queued + self.thinking

    @property
    def in_flight(self) -> int:
        """All accepted and unfinished requests."""
        return self.queued + self.thinking + self.answering


class LifeTableCounts(Wire):
    """Occurrence/exposure counts of thinking by age bin, cumulative: censoring-correct and
    mergeable.

    `exposure_tokens[j]`: thinking tokens generated while the thinker's age was in bin j, by all
    requests, finished or not. `ends[j]`: natural ends of thinking in bin j. A thought cut by a
    budget, or cancelled, is censored: no end is counted.
    """

    edges_version: int = EDGES_VERSION
    exposure_tokens: tuple[Count, ...] = (0,) * BINS
    ends: tuple[Count, ...] = (0,) * BINS


class SloCounts(Wire):
    """Outcomes against one SLO, by the model's definition of attainment."""

    good: Count = 0
    bad: Count = 0
    """Cumulative: finished late, cut off, 429 or 5xx; a client's cancel only if it was already
    late.
    """
    overdue: Count = 0
    """Now: in flight and already past their limit (a miss now; will be counted as bad when they
    end).
    """


class Counters(Wire):
    """Cumulative counts since the gateway's boot."""

    arrivals: Count = 0
    completed: Count = 0
    failed: Count = 0
    """Ended by us or an engine with an error (429, 5xx, a stream that broke)."""
    cancelled: Count = 0
    """Ended by the client."""
    prompt_tokens: Count = 0
    """Of the requests that have ended."""
    arrived_prompt_tokens: Count = 0
    """Of all that arrived, as estimated when they came."""
    thinking_tokens: Count = 0
    answer_tokens: Count = 0
    answers_begun: Count = 0
    """Requests whose first answer token is out."""


class Histogram(Wire):
    """Cumulative counts by bin of `LATENCY_EDGES_SECONDS` (not cumulative over bins), and the sum
    of seconds.
    """

    counts: tuple[Count, ...] = (0,) * (len(LATENCY_EDGES_SECONDS) + 1)
    sum_seconds: float = 0.0


class EngineSignals(Wire):
    """What the engine says of itself, relayed, so that the operator scrapes no engine."""

    running: Count
    waiting: Count
    kv_usage: Annotated[float, Field(ge=0, le=1)]
    kv_capacity_tokens: Count | None = None
    steps: Count | None = None
    """Engine steps since its start; None: this engine does not tell."""
    prompt_tokens: Count | None = None
    """Prompt tokens prefilled since its start."""
    generated_tokens: Count | None = None
    """Tokens generated since its start."""
    age_seconds: float
    """Since it was scraped."""


class ReplicaSignals(Wire):
    """This gateway's work at one replica (keyed by pod name)."""

    ready: bool
    cordoned: bool
    budget_doubted: bool = False
    """Its native budget did not hold, or could not be shown to: the gateway holds its budgets."""
    phases: PhaseCounts = PhaseCounts()
    """Of this gateway's requests that were dispatched to the replica; `queued` = sent, no token
    yet.
    """
    context_tokens: Count = 0
    """KV tokens of this gateway's requests there: their prompts and what was generated so far."""
    remaining_tokens: Count = 0
    """Expected tokens (thinking and answer) still to come from this replica for this gateway's
    requests.
    """
    engine: EngineSignals | None = None


class BudgetSignals(Wire):
    """What budget forcing did; cumulative but for the first two."""

    effective_max_tokens: Count | None = None
    """In force now; None: no budget is declared."""
    tier_max_tokens: dict[str, Count] = {}
    """The same for tiers that tell their quality; empty while load lowers none."""
    applied: Count = 0
    """Requests dispatched with a budget."""
    cut: Count = 0
    """Thoughts that the gateway or the engine ended at the budget."""
    cut_by_load: Count = 0
    """Those of them that the declared budget would have let go on: the quality debt, in requests.
    """
    violated: Count = 0
    """Native budgets that an engine broke, and the gateway made good; by cause below."""
    ignored: Count = 0
    overrun: Count = 0
    injected: Count = 0
    """The end-of-thinking tag came in the answer."""
    withheld_tokens: Count = 0
    """The quality debt in tokens: declared budget minus length of the thoughts cut by load (an
    upper bound).
    """
    withheld_millipoints: Count = 0
    """The quality debt in expected score: what those thoughts were expected to lose, in thousandths
    of a percent point, as far as their tiers tell their quality. Whole numbers, so that it merges
    exactly.
    """


class GatewaySignals(Wire):
    """The answer of `GET /signals`."""

    schema_version: int = SCHEMA_VERSION
    boot_id: str
    sequence: Count
    gateway: str
    """Pod name."""
    service: str
    """NAMESPACE/NAME of the ReasoningService."""
    uptime_seconds: float
    phases: PhaseCounts = PhaseCounts()
    held: Count = 0
    """Of the queued: held at the gateway, sent to no replica yet."""
    oldest_held_seconds: float = 0.0
    thinking_ages: tuple[Count, ...] = (0,) * BINS
    """Requests in the thinking phase by age bin (tokens thought so far)."""
    life_table: LifeTableCounts = LifeTableCounts()
    output_ages: tuple[Count, ...] = (0,) * BINS
    """Requests thinking or answering by age bin of all their output tokens so far."""
    output_life_table: LifeTableCounts = LifeTableCounts()
    """The same counts for whole outputs (thinking and answer): an end is a finished request. One
    whose thought load has cut is censored at the cut: no end, and no exposure after it. A thought
    that ends at its declared budget makes an output that ends like any other.
    """
    slos: dict[str, SloCounts] = {}
    counters: Counters = Counters()
    ttfa_seconds: Histogram = Histogram()
    ttft_seconds: Histogram = Histogram()
    fastest_token_seconds: float | None = None
    """Smallest mean seconds per token of any request of at least 32 tokens so far: what the engine
    can do at best.
    """
    replicas: dict[str, ReplicaSignals] = {}
    budget: BudgetSignals = BudgetSignals()
    tier_arrivals: dict[str, Count] = {}
    """Requests accepted by tier, cumulative; those without a tier are not among them."""
