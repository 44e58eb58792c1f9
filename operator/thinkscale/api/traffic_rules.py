"""CEL rules of the traffic: what is promised, how the fleet may follow it, and its gateways."""

from collections.abc import Mapping, Sequence
from typing import Final

from thinkscale.api.cel import CelRule, resource_rules

SLO: Final[Sequence[CelRule]] = (
    CelRule(
        rule=(
            "!has(self.perTokenMilliseconds) || self.indicator in ['TimeToFirstAnswer', 'EndToEnd']"
        ),
        message="only TimeToFirstAnswer and EndToEnd grow with the tokens of a request: remove it, "
        "or choose one of these indicators",
        field=".perTokenMilliseconds",
    ),
    CelRule(
        rule="double(self.objectivePercent) > 0.0 && double(self.objectivePercent) < 100.0",
        message='must be more than 0 and less than 100, for example "99" or "99.5": 100 would '
        "leave no error budget",
        field=".objectivePercent",
    ),
)

SCALING: Final[Sequence[CelRule]] = (
    CelRule(
        rule="self.minReplicas <= self.maxReplicas",
        message="must be at most maxReplicas: lower it, or raise maxReplicas",
        field=".minReplicas",
    ),
    CelRule(
        rule="self.minReplicas > 0 || has(self.scaleToZeroAfterSeconds)",
        message="is required when minReplicas is 0: say after how long without a request the last "
        "replica goes, or set minReplicas to 1",
        field=".scaleToZeroAfterSeconds",
    ),
    CelRule(
        rule="self.minReplicas == 0 || !has(self.scaleToZeroAfterSeconds)",
        message="needs minReplicas 0: set minReplicas to 0, or remove it",
        field=".scaleToZeroAfterSeconds",
    ),
)

GATEWAY: Final[Sequence[CelRule]] = (
    CelRule(
        rule="!has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
        message="must be at least minReplicas: raise it, or lower minReplicas",
        field=".maxReplicas",
    ),
)

TRACING: Final[Sequence[CelRule]] = (
    CelRule(
        rule=(
            "self.endpoint.matches('^https?://([-A-Za-z0-9._]+|[[][0-9A-Fa-f:.]+[]])(:[0-9]{1,5})?"
            "(/[-A-Za-z0-9._~/]*)?$')"
        ),
        message="must be http://HOST:PORT or https://HOST:PORT of a collector that takes OTLP over "
        "HTTP, with a path at most, for example http://collector.observability:4318",
        field=".endpoint",
    ),
    CelRule(
        rule="!self.endpoint.matches('/v1/traces/?$')",
        message="must not end with /v1/traces, which is put behind it: remove that",
        field=".endpoint",
    ),
)

TRAFFIC_RULES: Final[Mapping[str, Sequence[CelRule]]] = {
    "spec.slos[]": SLO,
    "spec.scaling": SCALING,
    "spec.gateway": GATEWAY,
    **resource_rules("spec.gateway.resources"),
    "spec.gateway.tracing": TRACING,
}
"""By the path of their node."""
