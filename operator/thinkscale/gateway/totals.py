"""What the ledger has counted since boot. Only grows, so that several gateways' counts add up.

Nothing in here counts: the ledger does, and whoever sees what no request's end tells (a retry, an
ejection, a canary).
"""

from dataclasses import dataclass, field

from thinkscale.gateway.proofs import Finding
from thinkscale.gateway.verify import Violation


@dataclass(slots=True)
class BudgetCounts:
    """What budget forcing did since boot; see `model.signals.BudgetSignals`."""

    applied: int = 0
    cut: int = 0
    cut_by_load: int = 0
    violations: dict[Violation, int] = field(default_factory=lambda: dict.fromkeys(Violation, 0))
    withheld_tokens: int = 0
    withheld_millipoints: int = 0
    extended: int = 0
    canaries: dict[Finding, int] = field(default_factory=lambda: dict.fromkeys(Finding, 0))
    """By what they showed."""


@dataclass(slots=True)
class Totals:
    """Counts since boot; see `model.signals.Counters`."""

    arrivals: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    thinking_tokens: int = 0
    answer_tokens: int = 0
    answers_begun: int = 0
    arrived_prompt_tokens: int = 0
    retried: int = 0
    """Sent to a second replica before the client had anything."""
    resumed: int = 0
    """Continued on another replica from what the client had."""
    ejected: int = 0
    """Times that a replica was left alone because it failed."""
    miscounted: int = 0
    """Streams whose tokens are not those that the engine's usage tells of."""
