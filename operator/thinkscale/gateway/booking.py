"""One request in the gateway's books: what its stream has come to, told to ledger and fleet.

The relay calls `progress` once per read from an engine. Nothing in here decides anything.
"""

from collections.abc import Mapping
from typing import Any

from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.exchange import Exchange
from thinkscale.gateway.flight import Flight
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.prompt_size import size_of
from thinkscale.gateway.slo import Outcome
from thinkscale.gateway.whole_answer import WholeAnswer


class Booking:
    """One request's."""

    __slots__ = ("_applied", "_gateway", "_size", "_well", "flight", "thought_over")

    def __init__(self, gateway: Gateway, body: Mapping[str, Any]) -> None:
        """The request has arrived."""
        self._gateway = gateway
        self._size = size_of(body)
        self._applied = False
        self._well = False
        self.flight: Flight = gateway.arrive(self._size)
        self.thought_over = False

    def planned(self, limit: int | None) -> None:
        """It goes out with this budget."""
        self.flight.limit = limit
        if not self._applied and limit is not None:
            self._applied = True
            self._gateway.ledger.budget.applied += 1

    def moved(self) -> None:
        """Its replica failed: another one has to show that it is well."""
        self._well = False

    def progress(self, exchange: Exchange, budget: BudgetMachine) -> None:
        """What has come so far."""
        account, ledger = exchange.account, self._gateway.ledger
        if exchange.began and not self._well and exchange.trouble is None:
            self._well = True
            self._gateway.succeeded(self.flight.replica or "")
        if account.prompt and not self.flight.prompt_told:
            self._gateway.prompt_told(self.flight, self._size, account.prompt)
        ledger.progress(
            self.flight,
            thinking=account.thinking,
            answer=account.answer,
            began=exchange.began,
            answered=exchange.answered,
            now=self._gateway.clock(),
        )
        if not self.thought_over and (budget.cut or budget.ended or exchange.answered):
            self.thought_over = True
            ledger.think_ended(self.flight, natural=not budget.cut, by_load=budget.cut_by_load)
            ledger.budget.cut += budget.cut
            ledger.budget.cut_by_load += budget.cut_by_load
            ledger.budget.withheld_tokens += budget.withheld_tokens
        self._gateway.touch()

    def whole(self, told: WholeAnswer) -> None:
        """An answer that was not streamed has come."""
        if told.prompt:
            self._gateway.prompt_told(self.flight, self._size, told.prompt)
        self._gateway.ledger.progress(
            self.flight,
            thinking=told.thinking,
            answer=told.answer,
            began=True,
            answered=True,
            now=self._gateway.clock(),
        )
        self._gateway.succeeded(self.flight.replica or "")

    def end(self, outcome: Outcome) -> None:
        """It is over."""
        self._gateway.ledger.end(self.flight, outcome, self._gateway.clock())
        self._gateway.touch()
