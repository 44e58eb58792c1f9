"""When the runtime ConfigMap is written: at once for what gateways must obey, rarely for what only
a restart would miss.

The configuration goes out at once, and so does a directive that orders something else: another
cordon, another floor, a brown-out that begins or must end. What the law learns moves with every
tick, and is news only when it has moved far: coefficients by 3 %, the allowance by a tenth.
The brown-out's deadline is pushed ahead when half of it has passed. The law's state is written
before anything is done on its strength, else at most twice a minute; what is written then is the
newest of all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from thinkscale.api import names
from thinkscale.controller.debt import Debt, from_json, to_json
from thinkscale.model.directive import Directive
from thinkscale.model.gateway_config import GatewayConfig

RENEW_WITHIN: Final = timedelta(seconds=30)
FAR: Final = 0.03
"""Share by which something learnt must have moved to be worth a write."""
FAR_CUTS: Final = 0.1
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

    @property
    def debt(self) -> Debt:
        """The quality debt so far; none, if none can be read."""
        return from_json(self.data.get(names.DEBT_KEY, "{}"))


def next_publication(
    before: Published,
    *,
    config: GatewayConfig,
    directive: Directive,
    state: Mapping[str, Any],
    debt: Debt,
    acting: bool,
    now: datetime,
) -> Published:
    """What the ConfigMap should say now; `before` itself if there is no need to write.

    `acting`: replicas are about to change because of this state.
    """
    ours = config.model_dump_json(by_alias=True)
    told = before.directive
    news = told is None or is_news(told, directive, now)
    due = before.at is None or now - before.at >= STATE_EVERY
    memory = {names.STATE_KEY: orjson.dumps(state).decode()}
    if debt.hours:
        memory[names.DEBT_KEY] = to_json(debt)
    changed = any(text != before.data.get(key) for key, text in memory.items())
    remember = changed and (acting or due)
    if ours == before.data.get(names.CONFIG_KEY) and not news and not remember:
        return before
    order = directive.model_dump_json(by_alias=True)
    stale = told is None or _said(told) != _said(directive)
    return Published(
        data={
            names.CONFIG_KEY: ours,
            names.DIRECTIVE_KEY: order if news or stale else before.data[names.DIRECTIVE_KEY],
            **memory,
        },
        at=now,
    )


def is_news(before: Directive, after: Directive, now: datetime) -> bool:
    """Whether gateways would do anything else, or soon would, if they did not get this one."""
    if _differs(_said(before), _said(after)) or _expires(_until(before), _until(after), now):
        return True
    old, new = before.brownout, after.brownout
    return old is not None and new is not None and _cuts_differ(old.cuts_allowed, new.cuts_allowed)


def _until(directive: Directive) -> datetime | None:
    return None if directive.brownout is None else directive.brownout.until


def _expires(before: datetime | None, after: datetime | None, now: datetime) -> bool:
    """A brown-out begins, or ends before its time, or must be renewed."""
    if before is None or after is None:
        return before is not after
    return before - now < RENEW_WITHIN < after - now


def _said(directive: Directive) -> Any:
    """What gateways obey, without the names and times that change with every decision."""
    said = directive.model_dump(exclude={"id": True, "brownout": {"until", "cuts_allowed"}})
    if said["brownout"] is not None:
        said["brownout"]["floor_tokens"] = float(said["brownout"]["floor_tokens"])
        for tier in said["brownout"].get("tiers", ()):
            tier["budget_tokens"] = [float(tokens) for tokens in tier["budget_tokens"]]
    return said | {"cordoned": sorted(directive.cordoned)}


def _differs(before: Any, after: Any) -> bool:
    """Whether two orders say another thing; a number that was learnt is another when it has moved
    far. Whole numbers were declared, and are compared as they are.
    """
    if isinstance(before, float) and isinstance(after, float):
        return abs(before - after) > FAR * max(abs(before), abs(after))
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        return any(_differs(before[key], after[key]) for key in before)
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        return len(before) != len(after) or any(map(_differs, before, after))
    return bool(before != after)


def _cuts_differ(before: int, after: int) -> bool:
    """By a tenth; or the last one is gone, or the first is back."""
    return (before == 0) != (after == 0) or abs(before - after) > FAR_CUTS * max(before, after)
