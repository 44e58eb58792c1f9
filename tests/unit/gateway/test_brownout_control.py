"""What a gateway makes of its directive's brown-out, without any HTTP."""

from datetime import UTC, datetime, timedelta

import pytest

from thinkscale.gateway.brownout import ArrivalRate, BrownoutControl
from thinkscale.model.brownout import BrownoutRule, Carried, Pressure
from thinkscale.model.cutting import Thought
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


def test_a_directive_without_a_rule_ends_it() -> None:
    some = control()
    some.look(PRESSED, 0.0, NOW)
    some.direct(None, 1)
    some.look(PRESSED, 1.0, NOW)
    assert not some.on


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
