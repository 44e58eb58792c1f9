"""What one request has shown of its replica's native budget, told to the books and to the trust.

It keeps which replica was sent a native budget, and says `broke` or `held` of it once. See `verify`
for what that means, and `budget` for how it is seen.
"""

from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.verify import Standing


class Witness:
    """One request's."""

    __slots__ = ("_gateway", "_replica", "_told", "_tries")

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._replica = ""
        self._told = False
        self._tries = False

    def standing(self, replica: str) -> Standing:
        """What to expect of a replica's native budgets now."""
        return self._gateway.trust.standing(replica, self._gateway.clock())

    def sends(self, replica: str) -> None:
        """The request goes to this replica with a native budget."""
        self.release()
        self._replica, self._told = replica, False
        self._tries = self._gateway.trust.sends(replica, self._gateway.clock())

    def look(self, budget: BudgetMachine) -> None:
        """Tell of a violation, as soon as it is known which one it is."""
        if budget.violation is None or self._told:
            return
        self._told = True
        self._gateway.ledger.budget.violations[budget.violation] += 1
        self._gateway.trust.broke(self._replica, budget.violation, self._gateway.clock())

    def conclude(self, budget: BudgetMachine, thinking: int | None) -> None:
        """The request is over, with so many thinking tokens; None: they are not known exactly."""
        budget.conclude(thinking)
        self.look(budget)
        if budget.held:
            self._gateway.trust.held(self._replica)

    def release(self) -> None:
        """The request ended, however it did."""
        if self._tries:
            self._tries = False
            self._gateway.trust.tried(self._replica)
