"""How much a request may think: what its client wishes, in any spelling, within what the resource
allows. Pure.

Clients say it in a dozen ways; here they become one `Wish`, and `grant` combines it with tiers and
limits by one rule (the table is in docs/gateway.md): the least of what is wished, else the default;
never over the maximum, never under the minimum. Load comes later and elsewhere: it closes thoughts
in flight. An effort also stays in the body, since some chat templates act on it; one that is only
ours (a tier's name) does not. "No thinking" is told to the template too, and held as a budget of 0
where the template does not listen; a declared minimum overrides it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from thinkscale.model.gateway_config import GatewayConfig, TierConfig

NO_THINKING: Final = "none"
EFFORTS: Final = ("minimal", "low", "medium", "high", "xhigh", "max")
"""The efforts that clients and engines know, besides `none`."""

BUDGET_FIELDS: Final = ("thinking_token_budget", "max_thinking_tokens", "thinking_budget")
TEMPLATE_SWITCHES: Final = ("enable_thinking", "thinking")
"""What chat templates read; models differ in which, and ignore the other."""
_ANY: Final = object()
_FIELDS: Final = frozenset(
    (
        *BUDGET_FIELDS,
        *("reasoning", "thinking", "reasoning_effort", "chat_template_kwargs", "enable_thinking"),
    )
)
"""Without one of these a request says nothing of its thinking."""


class BadWish(Exception):
    """A field of the request makes no sense; `param` is its name."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the client asks for; nothing at all is a wish too."""

    tokens: int | None = None
    """The least of the budgets that were spelled out."""
    effort: str | None = None
    """Never `none`."""
    thinks: bool = True
    """False: no thinking, please."""


NO_WISH: Final = Wish()


class GrantedBy(StrEnum):
    """What decided a budget; the value of the header `x-thinkscale-budget-source`."""

    REQUEST = "request"
    TIER = "tier"
    DEFAULT = "default"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """How much one request may think."""

    limit: int | None
    """Thinking tokens; None: not bounded."""
    minimum: int = 0
    floor: int = 0
    """Under load its thought is not closed before this age."""
    tier: str = ""
    """Empty: no tier."""
    by: GrantedBy | None = None
    """None: nothing bounds it."""

    def headers(self) -> dict[str, str]:
        """What the client is told."""
        told = {"x-thinkscale-tier": self.tier} if self.tier else {}
        return told | ({"x-thinkscale-budget-source": self.by.value} if self.by else {})


def take_wish(body: dict[str, Any]) -> Wish:
    """Read the wish of a request. Budgets, and switches that say no, are taken out of the body: the
    gateway holds them. Raises `BadWish`.
    """
    if _FIELDS.isdisjoint(body):
        return NO_WISH
    budgets = [*_take_budgets(body)]
    efforts = [*_take_efforts(body)]
    refused = [*_take_refusals(body)]
    if len(set(efforts)) > 1:
        raise BadWish("reasoning.effort and reasoning_effort contradict each other", "reasoning")
    effort = efforts[0] if efforts else None
    if effort == NO_THINKING or refused:
        return Wish(tokens=min(budgets, default=None), thinks=False)
    return Wish(tokens=min(budgets, default=None), effort=effort)


def grant(wish: Wish, config: GatewayConfig) -> Grant:
    """What the resource makes of a wish. Raises `BadWish` for an effort that nobody knows.

    With maxTokens 16,384, a default of 8,192 and a tier for `low` of 2,048: who says nothing has
    8,192; who asks for 20,000 has 16,384; `low` has 2,048, and `low` with 500 has 500.
    """
    if wish is not NO_WISH:
        return _granted(wish, config)
    latest = _usual[-1] if _usual else None
    if latest is None or latest[0] is not config:
        latest = config, _granted(wish, config)
        _usual[:] = [latest]
    return latest[1]


_usual: Final[list[tuple[GatewayConfig, Grant]]] = []
"""The latest configuration, and what who says nothing has by it: most requests say nothing."""


def _granted(wish: Wish, config: GatewayConfig) -> Grant:
    tier = _tier(wish, config)
    minimum, floor = config.min_tokens, 0
    if tier is not None:
        minimum, floor = max(minimum, tier.min_tokens), tier.floor_tokens
    limits = [*_wished(wish, tier, config)]
    if config.max_tokens is not None:
        limits.append((config.max_tokens, GrantedBy.MAXIMUM))
    name = tier.name if tier else ""
    if not limits:
        return Grant(limit=None, minimum=minimum, floor=floor, tier=name)
    limit, by = min(limits, key=lambda each: each[0])
    if limit < minimum:
        limit, by = minimum, GrantedBy.MINIMUM
    return Grant(limit=limit, minimum=minimum, floor=floor, tier=name, by=by)


def instruct(body: dict[str, Any], wish: Wish, granted: Grant) -> None:
    """Put into a chat's body what its template may act on."""
    if wish.effort in EFFORTS:
        body["reasoning_effort"] = wish.effort
    if wish.thinks or granted.minimum > 0:
        return
    given = body.get("chat_template_kwargs")
    given = given if isinstance(given, Mapping) else {}
    body["chat_template_kwargs"] = {**given, **dict.fromkeys(TEMPLATE_SWITCHES, False)}


def known_efforts(config: GatewayConfig) -> tuple[str, ...]:
    """Every effort that a request may name, the tiers' own first."""
    own = [name for tier in config.tiers for name in (tier.name, *tier.efforts)]
    return tuple(dict.fromkeys((*own, NO_THINKING, *EFFORTS)))


def _wished(
    wish: Wish, tier: TierConfig | None, config: GatewayConfig
) -> Iterator[tuple[int, GrantedBy]]:
    if not wish.thinks:
        yield 0, GrantedBy.REQUEST
        return
    if wish.tokens is not None:
        yield wish.tokens, GrantedBy.REQUEST
    if tier is not None:
        if tier.max_tokens is not None:
            yield tier.max_tokens, GrantedBy.TIER
    elif wish.tokens is None and config.default_max_tokens is not None:
        yield config.default_max_tokens, GrantedBy.DEFAULT


def _tier(wish: Wish, config: GatewayConfig) -> TierConfig | None:
    """The tier that answers to a wish. A budget alone, or `none`, belongs to no tier; a usual
    effort that no tier has claimed is like no word at all.
    """
    for tier in config.tiers:
        if wish.effort is not None and wish.effort in (tier.name, *tier.efforts):
            return tier
    if wish.effort is not None and wish.effort not in EFFORTS:
        known = ", ".join(known_efforts(config))
        raise BadWish(f"unknown reasoning effort: use one of {known}", "reasoning_effort")
    if not wish.thinks or wish.tokens is not None:
        return None
    return next((tier for tier in config.tiers if tier.name == config.default_tier), None)


def _take_budgets(body: dict[str, Any]) -> Iterator[int]:
    for name in BUDGET_FIELDS:
        if name in body:
            yield from _budget(body.pop(name), name)
    for holder, field in (("reasoning", "max_tokens"), ("thinking", "budget_tokens")):
        found, value = _take_from(body, holder, field)
        if found:
            yield from _budget(value, f"{holder}.{field}")


def _budget(value: Any, name: str) -> Iterator[int]:
    if value is None or value == -1:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadWish(f"{name} must be a whole number of tokens, 0 or more", name)
    yield value


def _take_efforts(body: dict[str, Any]) -> Iterator[str]:
    _, nested = _take_from(body, "reasoning", "effort")
    spelled = {"reasoning_effort": body.pop("reasoning_effort", None), "reasoning.effort": nested}
    for name, value in spelled.items():
        if value is None:
            continue
        if not isinstance(value, str):
            raise BadWish(f"{name} must be a word, such as low or high", name)
        yield value


def _take_refusals(body: dict[str, Any]) -> Iterator[str]:
    """Names of the fields that say: no thinking."""
    for holder, field, no in (
        ("reasoning", "enabled", False),
        ("thinking", "type", "disabled"),
        *(("chat_template_kwargs", switch, False) for switch in TEMPLATE_SWITCHES),
    ):
        found, value = _take_from(body, holder, field, only=no)
        if found and value == no:
            yield f"{holder}.{field}"
    if body.get("enable_thinking") is False:
        del body["enable_thinking"]
        yield "enable_thinking"
    if body.get("thinking") == {"type": "enabled"}:
        del body["thinking"]  # nothing but the wish for thinking is left of it


def _take_from(
    body: dict[str, Any], holder: str, field: str, *, only: object = _ANY
) -> tuple[bool, Any]:
    """Take a field out of an object in the body (`only`: if it has this value), and the object too
    if nothing is left of it.
    """
    inner = body.get(holder)
    if not isinstance(inner, dict) or field not in inner:
        return False, None
    value = inner[field]
    if only is not _ANY and value != only:
        return False, None
    rest = {name: each for name, each in inner.items() if name != field}
    if rest:
        body[holder] = rest
    else:
        del body[holder]
    return True, value
