"""When the runtime ConfigMap is written: at once for what gateways must obey, rarely for what only
a restart would miss.

The configuration and a directive that says something new go out at once. The brown-out's deadline
is pushed ahead only when half of it has passed. The law's state changes with every tick and is
written before anything is done on its strength, else at most twice a minute.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from thinkscale.api import names
from thinkscale.model.directive import Directive
from thinkscale.model.gateway_config import GatewayConfig

RENEW_WITHIN: Final = timedelta(seconds=30)
STATE_EVERY: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What the ConfigMap says, and when we last wrote it."""

    data: Mapping[str, str]
    at: datetime | None = None

    @property
    def directive(self) -> Directive | None:
        """The directive in force; None: none, or none that can be read."""
        text = self.data.get(names.DIRECTIVE_KEY)
        try:
            return Directive.model_validate_json(text) if text else None
        except ValueError:
            return None

    @property
    def state(self) -> Mapping[str, Any]:
        """The law's state as JSON; empty: none, or none that can be read."""
        try:
            state = orjson.loads(self.data.get(names.STATE_KEY, "{}"))
        except orjson.JSONDecodeError:
            return {}
        return state if isinstance(state, dict) else {}


def next_publication(
    before: Published,
    *,
    config: GatewayConfig,
    directive: Directive,
    state: Mapping[str, Any],
    acting: bool,
    now: datetime,
) -> Published:
    """What the ConfigMap should say now; `before` itself if there is no need to write.

    `acting`: replicas are about to change because of this state.
    """
    ours = config.model_dump_json(by_alias=True)
    news = _is_news(before.directive, directive, now)
    due = before.at is None or now - before.at >= STATE_EVERY
    memory = orjson.dumps(state).decode()
    remember = memory != before.data.get(names.STATE_KEY) and (acting or due)
    if ours == before.data.get(names.CONFIG_KEY) and not news and not remember:
        return before
    order = directive.model_dump_json(by_alias=True)
    return Published(
        data={
            names.CONFIG_KEY: ours,
            names.DIRECTIVE_KEY: order if news else before.data[names.DIRECTIVE_KEY],
            names.STATE_KEY: memory,
        },
        at=now,
    )


def _is_news(before: Directive | None, directive: Directive, now: datetime) -> bool:
    """Whether gateways would do anything else, or soon would, if they did not get this one."""
    if before is None or _orders(before) != _orders(directive):
        return True
    until = before.budget.until
    return until is not None and directive.budget.until is not None and until - now < RENEW_WITHIN


def _orders(directive: Directive) -> tuple[Any, ...]:
    """What gateways obey, without the names and times that change with every decision."""
    budget = directive.budget
    return (
        budget.model_copy(update={"until": None}),
        budget.until is None,
        directive.admission_ceiling,
        frozenset(directive.cordoned),
        directive.gateways,
    )
