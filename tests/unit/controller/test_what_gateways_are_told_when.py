"""The runtime ConfigMap is written for what matters, when it matters, and not otherwise."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from thinkscale.api import names
from thinkscale.controller.debt import Debt
from thinkscale.controller.runtime import Published, next_publication
from thinkscale.model.admission import Ceiling
from thinkscale.model.brownout import BrownoutRule, Carried
from thinkscale.model.directive import Directive
from thinkscale.model.gateway_config import GatewayConfig
from thinkscale.model.queueing import QueueRule
from thinkscale.model.step_time import StepTime
from thinkscale.model.tier_budgets import TierBudgets

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
CONFIG = GatewayConfig(service="ns/s", model="m", seats_per_replica=8)


def order(name: str = "d1", **fields: Any) -> Directive:
    return Directive(id=name, **fields)


def ceiling(seats: int = 128, base_seconds: float = 0.0155) -> Ceiling:
    return Ceiling(
        seats=seats,
        kv_tokens=290_000,
        step_time=StepTime(
            base_seconds=base_seconds,
            sequence_seconds=27e-6,
            context_token_seconds=76e-9,
            prompt_token_seconds=51e-6,
        ),
        step_limit_seconds=0.043,
    )


def brownout(seconds: float, **fields: Any) -> BrownoutRule:
    """A rule that ends so many seconds after the beginning."""
    base: dict[str, Any] = {"floor_tokens": 1024, "cuts_allowed": 100}
    return BrownoutRule(until=NOW + timedelta(seconds=seconds), **(base | fields))


def publish(
    before: Published,
    seconds: float = 0,
    *,
    config: GatewayConfig = CONFIG,
    directive: Directive | None = None,
    state: dict[str, Any] | None = None,
    debt: Debt | None = None,
    acting: bool = False,
) -> Published:
    return next_publication(
        before,
        config=config,
        directive=directive or order(),
        state=state or {"a": 1},
        debt=debt or Debt(),
        acting=acting,
        now=NOW + timedelta(seconds=seconds),
    )


@pytest.fixture
def first() -> Published:
    return publish(Published(data={}))


def test_the_first_one_says_everything(first: Published) -> None:
    assert set(first.data) == {names.CONFIG_KEY, names.DIRECTIVE_KEY, names.STATE_KEY}
    assert first.directive == order()
    assert first.state == {"a": 1}


def test_nothing_new_is_not_written(first: Published) -> None:
    assert publish(first, 100, directive=order("d2")) is first


def test_a_new_configuration_goes_out_at_once(first: Published) -> None:
    after = publish(first, config=CONFIG.model_copy(update={"max_tokens": 5}))
    assert '"maxTokens":5' in after.data[names.CONFIG_KEY]


@pytest.mark.parametrize(
    "directive",
    [
        order("d2", cordoned=("p",)),
        order("d2", ceiling=ceiling()),
        order("d2", gateways=2),
        order("d2", queue=QueueRule(fresh_seconds=10)),
        order("d2", brownout=brownout(60)),
    ],
    ids=["cordon", "ceiling", "gateways", "queue", "brown-out"],
)
def test_a_directive_that_says_something_new_goes_out_at_once(
    first: Published, directive: Directive
) -> None:
    assert publish(first, directive=directive).directive == directive


def test_the_order_of_the_cordon_is_no_news(first: Published) -> None:
    before = publish(first, directive=order(cordoned=("p", "q")))
    assert publish(before, directive=order("d2", cordoned=("q", "p"))) is before


@pytest.mark.parametrize(
    "directive",
    [
        order("d2", ceiling=ceiling(seats=129)),
        order("d2", ceiling=ceiling(base_seconds=0.0160)),
        order("d2", ceiling=ceiling().model_copy(update={"step_time": None})),
        order("d2", ceiling=ceiling(), brownout=brownout(60)),
    ],
    ids=["one seat", "far", "unknown", "brown-out"],
)
def test_a_ceiling_that_is_another_goes_out_at_once(directive: Directive) -> None:
    before = publish(Published(data={}), directive=order(ceiling=ceiling()))
    assert publish(before, 1, directive=directive).directive == directive


def test_what_was_learnt_and_moved_a_little_waits_for_the_next_write() -> None:
    before = publish(Published(data={}), directive=order(ceiling=ceiling()))
    drifted = order("d2", ceiling=ceiling(base_seconds=0.0157))
    assert publish(before, 15, directive=drifted) is before
    assert publish(before, 31, directive=drifted, state={"a": 2}).directive == drifted


ONE = (Carried(budget_tokens=1024, replica_seconds=1.0),)


def tier(tokens: int, lost: float = 3.0) -> TierBudgets:
    return TierBudgets(
        name="deep", budget_tokens=(tokens,), lost_points=(lost,), points_per_second=(1.0,)
    )


@pytest.mark.parametrize(
    ("fields", "news"),
    [
        ({}, False),
        ({"cuts_allowed": 91}, False),
        ({"cuts_allowed": 89}, True),
        ({"cuts_allowed": 0}, True),
        ({"floor_tokens": 1030}, False),
        ({"floor_tokens": 1100}, True),
        ({"carried": (Carried(budget_tokens=1024, replica_seconds=1.01),)}, False),
        ({"carried": (Carried(budget_tokens=1024, replica_seconds=1.1),)}, True),
        ({"carried": (Carried(budget_tokens=1100, replica_seconds=1.0),)}, True),
        ({"carried": ()}, True),
        ({"tiers": (tier(1010),)}, False),
        ({"tiers": (tier(1100),)}, True),
        ({"tiers": (tier(1000, lost=3.3),)}, True),
        ({"tiers": ()}, True),
    ],
)
def test_a_brown_out_rule_is_news_when_what_it_allows_has_moved(
    fields: dict[str, Any], news: bool
) -> None:
    told = {"carried": ONE, "tiers": (tier(1000),)}
    first = publish(Published(data={}), directive=order(brownout=brownout(60, **told)))
    after = order("d2", brownout=brownout(75, **(told | fields)))
    assert (publish(first, 15, directive=after) is not first) is news


def test_a_brown_out_that_ends_before_its_time_is_news() -> None:
    first = publish(Published(data={}), directive=order(brownout=brownout(60)))
    assert publish(first, 15, directive=order("d2")).directive == order("d2")


def test_the_first_and_the_last_cut_are_always_news() -> None:
    none = publish(Published(data={}), directive=order(brownout=brownout(60, cuts_allowed=0)))
    one = publish(none, 1, directive=order("d2", brownout=brownout(61, cuts_allowed=1)))
    assert one.directive == order("d2", brownout=brownout(61, cuts_allowed=1))


def test_a_brown_out_is_renewed_when_half_its_time_has_passed() -> None:
    before = publish(Published(data={}), directive=order(brownout=brownout(60)))
    assert publish(before, 20, directive=order("d2", brownout=brownout(80))) is before
    renewed = order("d3", brownout=brownout(91))
    assert publish(before, 31, directive=renewed).directive == renewed


def test_the_laws_state_is_written_rarely_but_always_before_acting(first: Published) -> None:
    assert publish(first, 10, state={"a": 2}) is first
    assert publish(first, 10, state={"a": 2}, acting=True).state == {"a": 2}
    assert publish(first, 31, state={"a": 2}).state == {"a": 2}


def test_the_quality_debt_is_kept_beside_it() -> None:
    owing = Debt(epoch="e", cut=3, withheld=900, hours=((5, 3, 900),))
    first = publish(Published(data={}), debt=Debt(epoch="e", cut=3))
    assert names.DEBT_KEY not in first.data, "nothing is owed"
    assert publish(first, 10, debt=owing) is first
    kept = publish(first, 31, debt=owing)
    assert kept.debt == owing
    assert Published(data={names.DEBT_KEY: "?"}).debt == Debt()


def test_a_state_that_is_written_leaves_the_same_directive_its_name(first: Published) -> None:
    after = publish(first, 31, directive=order("d2"), state={"a": 2})
    assert after.directive == order("d1")


def test_what_cannot_be_read_is_written_anew(first: Published) -> None:
    broken = Published(data={names.DIRECTIVE_KEY: "{", names.STATE_KEY: "["})
    assert broken.directive is None
    assert broken.state == {}
    assert publish(broken).data == first.data
