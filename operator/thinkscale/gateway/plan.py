"""Decides how one request's budget is held, at the moment when it is about to be sent. Pure.

It is always the declared budget: load shortens thoughts in flight, and nobody's beforehand, since
most of those would never have needed it.

Three powers may be there or not: the engine's native budget, a raw continuation (which the request
and the engine must allow), and a closing tag of one token (which a minimum needs). The mode says
which of them holds the budget, and the client is told.
"""

from enum import StrEnum
from typing import NamedTuple

from thinkscale.engines.dialect import Tags
from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.request import ClientRequest
from thinkscale.gateway.verify import Standing
from thinkscale.model.gateway_config import GatewayConfig


class Mode(StrEnum):
    """Who holds the budget; the value of the header `x-thinkscale-budget`."""

    NONE = "none"
    """There is no budget."""
    FORCED = "forced"
    """We do, exactly, if the engine does not."""
    NATIVE = "native"
    """The engine alone."""
    OBSERVED = "observed"
    """Nobody for certain: it is only counted."""


class BudgetPlan(NamedTuple):
    """How the budget of one request is held."""

    limit: int | None
    minimum: int
    """0 where it cannot be held."""
    answer_limit: int | None
    forceable: bool
    stops: bool
    """An exhausted thought ends the request."""
    native: int | None
    """What is sent to the engine."""
    believed: bool
    """The engine's native budgets have held so far."""
    nudge_tokens: int
    most_tokens: int | None
    """Thought and answer together, for the engine to hold where the stream cannot be judged."""

    @property
    def mode(self) -> Mode:
        """Who holds it."""
        if self.limit is None:
            return Mode.NONE
        if self.forceable or self.stops:
            return Mode.FORCED
        return Mode.NATIVE if self.native is not None and self.believed else Mode.OBSERVED

    def headers(self) -> dict[str, str]:
        """What the client is told."""
        told = {"x-thinkscale-budget": self.mode.value}
        if self.limit is not None:
            told["x-thinkscale-budget-tokens"] = str(self.limit)
        return told

    def machine(self) -> BudgetMachine:
        """The machine that holds it."""
        return BudgetMachine(
            limit=self.limit,
            minimum=self.minimum,
            answer_limit=self.answer_limit,
            native=self.native,
            can_force=self.forceable,
            can_extend=self.minimum > 0,
            stops=self.stops,
            nudge_tokens=self.nudge_tokens,
        )


def plan_budget(
    request: ClientRequest,
    config: GatewayConfig,
    tags: Tags,
    *,
    standing: Standing,
) -> BudgetPlan:
    """Plan for this request at this engine, whose native budgets have this standing. One that is
    doubted is still sent where nothing else could hold the budget.
    """
    granted = request.grant
    limit = granted.limit
    forceable = request.streamable and not request.uncontinuable and bool(tags.closing_ids)
    extendable = forceable and tags.close_id is not None and bool(tags.nudge_ids)
    minimum = granted.minimum if extendable else 0
    stops = config.on_exhausted == "Stop" and request.judgeable
    # A native budget ends the thought with an answer, and one token early.
    ill_suited = stops or (minimum > 0 and limit == minimum)
    useful = standing is Standing.TRUSTED or (standing is Standing.DOUBTED and not forceable)
    answer = config.answer_max_tokens
    bounded = limit is not None and answer is not None
    return BudgetPlan(
        limit=limit,
        minimum=minimum,
        answer_limit=answer if request.judgeable else None,
        forceable=forceable,
        stops=stops,
        native=limit if useful and not ill_suited else None,
        believed=standing is Standing.TRUSTED,
        nudge_tokens=len(tags.nudge_ids),
        most_tokens=(limit or 0) + (answer or 0) if bounded and not request.judgeable else None,
    )
