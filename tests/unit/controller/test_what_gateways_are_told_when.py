"""The runtime ConfigMap is written for what matters, when it matters, and not otherwise."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from thinkscale.api import names
from thinkscale.controller.runtime import Published, next_publication
from thinkscale.model.directive import BudgetRule, Directive
from thinkscale.model.gateway_config import GatewayConfig

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
CONFIG = GatewayConfig(service="ns/s", model="m", seats_per_replica=8)


def order(name: str = "d1", **fields: Any) -> Directive:
    return Directive(id=name, **fields)


def publish(
    before: Published,
    seconds: float = 0,
    *,
    config: GatewayConfig = CONFIG,
    directive: Directive | None = None,
    state: dict[str, Any] | None = None,
    acting: bool = False,
) -> Published:
    return next_publication(
        before,
        config=config,
        directive=directive or order(),
        state=state or {"a": 1},
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
        order("d2", admission_ceiling=3),
        order("d2", gateways=2),
        order("d2", budget=BudgetRule(max_tokens=9)),
        order("d2", budget=BudgetRule(until=NOW)),
    ],
    ids=["cordon", "ceiling", "gateways", "budget", "brown-out"],
)
def test_a_directive_that_says_something_new_goes_out_at_once(
    first: Published, directive: Directive
) -> None:
    assert publish(first, directive=directive).directive == directive


def test_the_order_of_the_cordon_is_no_news(first: Published) -> None:
    before = publish(first, directive=order(cordoned=("p", "q")))
    assert publish(before, directive=order("d2", cordoned=("q", "p"))) is before


def test_a_brown_out_is_renewed_when_half_its_time_has_passed(first: Published) -> None:
    def until(seconds: float) -> Directive:
        limit = NOW + timedelta(seconds=seconds)
        return order(f"d{seconds}", budget=BudgetRule(max_tokens=9, until=limit))

    before = publish(first, directive=until(60))
    assert publish(before, 20, directive=until(80)) is before
    assert publish(before, 31, directive=until(91)).directive == until(91)


def test_the_laws_state_is_written_rarely_but_always_before_acting(first: Published) -> None:
    assert publish(first, 10, state={"a": 2}) is first
    assert publish(first, 10, state={"a": 2}, acting=True).state == {"a": 2}
    assert publish(first, 31, state={"a": 2}).state == {"a": 2}


def test_a_state_that_is_written_leaves_the_directive_its_name(first: Published) -> None:
    after = publish(first, 31, directive=order("d2"), state={"a": 2})
    assert after.directive == order("d1")


def test_what_cannot_be_read_is_written_anew(first: Published) -> None:
    broken = Published(data={names.DIRECTIVE_KEY: "{", names.STATE_KEY: "["})
    assert broken.directive is None
    assert broken.state == {}
    assert publish(broken).data == first.data
