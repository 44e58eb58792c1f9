"""Inputs and decisions of the law as plain JSON, and back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from thinkscale.model.decision import Decision
from thinkscale.model.intent import Intent
from thinkscale.model.observation import Observation
from thinkscale.scaling import State, decide


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All that a decision depends on."""

    intent: Intent
    observation: Observation
    state: dict[str, Any]
    now: datetime


_CODEC = TypeAdapter(Inputs)


def written(inputs: Inputs) -> dict[str, Any]:
    """As plain JSON."""
    plain: dict[str, Any] = _CODEC.dump_python(inputs, mode="json")
    return plain


def read(plain: dict[str, Any]) -> Inputs:
    """The inputs that were written."""
    return _CODEC.validate_python(plain)


def decided(inputs: Inputs) -> dict[str, Any]:
    """The decision as plain JSON, what people and gateways see of it."""
    decision, _ = decide(
        inputs.intent, inputs.observation, State.from_json(inputs.state), inputs.now
    )
    return plain_decision(decision)


def plain_decision(decision: Decision) -> dict[str, Any]:
    """What is recorded."""
    return {
        "replicas": repr(decision.replicas),
        "wanted": decision.wanted,
        "cordon": sorted(decision.cordon),
        "retire": list(decision.retire),
        "reason": decision.reason.value,
        "limited_by": decision.limited_by.value,
        "message": decision.message,
        "terms": [[term.name, term.wish, term.because] for term in decision.terms],
        "next_tick_seconds": decision.next_tick_seconds,
        "directive": decision.directive.model_dump(mode="json", by_alias=True),
        "numbers": dict(decision.numbers),
    }
