"""What a gateway makes of its directive's brown-out, without any HTTP."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from thinkscale.gateway.brownout import ArrivalRate, BrownoutControl
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.routing import Replica
from thinkscale.model.admission import Ceiling
from thinkscale.model.brownout import BrownoutRule, Carried, Pressure
from thinkscale.model.cutting import Thought
from thinkscale.model.directive import Directive
from thinkscale.model.tier_budgets import TierBudgets

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PRESSED = Pressure(fresh_wait_seconds=5, fresh=9, arrivals_per_second=2, replicas=1)


def control(*, gateways: int = 1, allowed: int = 3, until: datetime = NOW) -> BrownoutControl:
    made = BrownoutControl()
    made.direct(
        BrownoutRule(floor_tokens=100, cuts_allowed=allowed, until=until + timedelta(seconds=60)),
        gateways,
    )
    return made


def test_arrivals_are_those_of_the_last_ten_seconds() -> None:
    rate = ArrivalRate()
    assert rate.per_second(1000, 0.0) == 0
    assert rate.per_second(1004, 2.0) == 2
    for second in range(3, 13):
        rate.per_second(1004, float(second))
    assert rate.per_second(1004, 13.0) == 0
    assert rate.per_second(1024, 14.0) == pytest.approx(2.0)


def test_a_rule_that_has_expired_is_off_at_once() -> None:
    some = control()
    some.look(PRESSED, 0.0, NOW)
    assert some.on
    assert some.effective_tokens == 100
    some.look(PRESSED, 1.0, NOW + timedelta(seconds=60))
    assert not some.on
    assert some.choose([Thought(1, "a", 500)], 1.0) == []


def test_a_directive_without_a_rule_ends_it_at_once_and_the_next_rule_begins_anew() -> None:
    some = control()
    some.look(PRESSED, 0.0, NOW)
    some.direct(None, 1)
    assert some.effective_tokens is None
    patient = BrownoutRule(
        floor_tokens=100, cuts_allowed=3, wait_on_seconds=60, until=NOW + timedelta(seconds=60)
    )
    some.direct(patient, 1)
    some.look(PRESSED, 0.5, NOW)
    assert not some.on  # nobody waits that long: only what is over would have gone on


def test_the_gateway_weighs_a_directive_as_it_comes_and_not_at_its_next_look() -> None:
    now = [100.0]
    gateway = Gateway("g", clock=lambda: now[0])
    gateway.locate([Replica(name="a", url="http://a", ready=True)])
    gateway.direct(Directive(id="none", ceiling=Ceiling(seats=1)))
    held: Any = SimpleNamespace(prompt_tokens=100, conversation=None)
    assert gateway.router.submit(held, now[0]) is not None
    assert gateway.router.submit(held, now[0]) is None
    now[0] += 5
    until = datetime.now(UTC) + timedelta(seconds=600)

    def order(floor: int | None = None, wait: float = 2.0) -> int | None:
        rule = None
        if floor is not None:
            rule = BrownoutRule(floor_tokens=floor, wait_on_seconds=wait, until=until)
        directive = Directive(id=f"{floor} {wait}", ceiling=Ceiling(seats=1), brownout=rule)
        gateway.direct(directive)
        return gateway.effective_max_tokens()

    assert order(100) == 100
    changes = gateway.ledger.changes
    assert order(70) == 70
    assert gateway.ledger.changes == changes + 2, "the directive's and the budget's: polls answer"
    assert order() is None
    assert not gateway.brownout.on
    assert order(70, wait=60) is None


def test_budgets_in_force_are_told_by_tier_while_load_lowers_any() -> None:
    ages = ((100, 1.0), (400, 2.0))
    some = BrownoutControl()
    some.direct(
        BrownoutRule(
            floor_tokens=100,
            carried=tuple(Carried(budget_tokens=b, replica_seconds=r) for b, r in ages),
            tiers=tuple(
                TierBudgets(name=n, budget_tokens=b, lost_points=(9, 0), points_per_second=(9, 0))
                for n, b in (("quick", (100, 100)), ("deep", (400, 400)))
            ),
            until=NOW + timedelta(seconds=60),
        ),
        1,
    )
    assert some.tokens_by_tier == {}
    some.look(PRESSED, 0.0, NOW)
    assert some.effective_tokens == 100
    assert some.tokens_by_tier == {"quick": 100, "deep": 400}
    some.look(PRESSED, 1.0, NOW + timedelta(seconds=60))
    assert some.tokens_by_tier == {}


@pytest.mark.parametrize(("gateways", "cuts"), [(1, 3), (2, 1), (4, 0)])
def test_each_gateway_cuts_its_share_of_what_is_allowed(gateways: int, cuts: int) -> None:
    some = control(gateways=gateways)
    chosen = []
    for second in range(20):
        some.look(PRESSED, float(second), NOW)
        chosen += some.choose([Thought(second, "a", 500)], float(second))
    assert len(chosen) == cuts
