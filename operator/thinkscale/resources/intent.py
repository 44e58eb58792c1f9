"""What the user declared (the resource), as what the law reckons with: seconds, fractions, defaults
resolved.
"""

from thinkscale.api.v1alpha1 import (
    PolicyType,
    ReasoningService,
    ScalingRules,
    SloSpec,
    ThinkingSpec,
    TierSpec,
)
from thinkscale.fleet import catalogue
from thinkscale.model.gateway_config import NUDGE, GatewayConfig, SloConfig, TierConfig
from thinkscale.model.intent import (
    Behavior,
    Budget,
    Indicator,
    Intent,
    Mode,
    Objective,
    QualityPoint,
    StepPolicy,
    Tier,
)


def service_key(service: ReasoningService) -> str:
    """NAMESPACE/NAME."""
    return f"{service.metadata.namespace}/{service.metadata.name}"


def served_model(service: ReasoningService) -> str:
    """What clients send as `model`."""
    return service.spec.model.name or service.metadata.name


def intent_of(service: ReasoningService) -> Intent:
    """All that `decide` may know of the resource."""
    spec = service.spec
    scaling = spec.scaling
    mode = Mode(scaling.mode.value)
    idle = scaling.scale_to_zero_after_seconds
    gpus = spec.engine.gpus
    known = catalogue.lookup(
        spec.model.uri, gpus.product, gpus.count, spec.engine.max_concurrent_requests
    )
    return Intent(
        service=service_key(service),
        mode=mode,
        manual_replicas=None if mode is Mode.AUTO else spec.replicas,
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        scale_to_zero_after_seconds=None if idle is None else float(idle),
        scale_up=_behavior(scaling.behavior.scale_up),
        scale_down=_behavior(scaling.behavior.scale_down),
        seats_per_replica=spec.engine.max_concurrent_requests,
        gpus_per_replica=gpus.count,
        startup_seconds=float(spec.engine.startup_seconds),
        budget=_budget(spec.thinking),
        answer_max_tokens=spec.answer.max_tokens if spec.answer else None,
        objectives=tuple(_objective(slo) for slo in spec.slos),
        step_time=known.step_time if known else None,
        kv_tokens=known.kv_tokens if known else None,
        truncation_allowance=_allowance(spec.thinking),
        tiers=tuple(_scored(tier) for tier in spec.thinking.tiers if tier.quality),
    )


def initial_replicas(intent: Intent) -> int:
    """Replicas of a workload that does not exist yet."""
    size = intent.min_replicas
    if intent.mode is not Mode.AUTO and intent.manual_replicas is not None:
        size = min(intent.manual_replicas, intent.max_replicas)
    return size if intent.granted_replicas is None else min(size, intent.granted_replicas)


def gateway_config_of(service: ReasoningService) -> GatewayConfig:
    """What the service's gateways must know; every field takes effect on the next request."""
    spec = service.spec
    budget = spec.thinking.budget
    return GatewayConfig(
        service=service_key(service),
        model=served_model(service),
        engine=spec.engine.type.value,
        seats_per_replica=spec.engine.max_concurrent_requests,
        min_tokens=budget.min_tokens if budget else 0,
        max_tokens=budget.max_tokens if budget else None,
        default_max_tokens=spec.thinking.default_max_tokens,
        tiers=tuple(_tier(tier) for tier in spec.thinking.tiers),
        default_tier=spec.thinking.default_tier,
        on_exhausted=budget.on_exhausted.value if budget else "Answer",
        nudge=spec.thinking.nudge or NUDGE,
        native_budget_check=spec.thinking.native_budget_check.value,
        answer_max_tokens=spec.answer.max_tokens if spec.answer else None,
        queue_max_requests=spec.gateway.queue.max_requests,
        slos=tuple(
            SloConfig(
                name=slo.name,
                indicator=Indicator(slo.indicator.value),
                threshold_seconds=slo.threshold_milliseconds / 1000,
                per_token_seconds=(slo.per_token_milliseconds or 0) / 1000,
            )
            for slo in spec.slos
        ),
    )


def _tier(tier: TierSpec) -> TierConfig:
    return TierConfig(
        name=tier.name,
        efforts=tuple(effort.value.lower() for effort in tier.efforts),
        max_tokens=tier.max_tokens,
        min_tokens=tier.min_tokens,
        floor_tokens=tier.floor_tokens or 0,
    )


def _scored(tier: TierSpec) -> Tier:
    return Tier(
        name=tier.name,
        max_tokens=tier.max_tokens,
        floor_tokens=max(tier.min_tokens, tier.floor_tokens or 0),
        quality=tuple(
            QualityPoint(max_tokens=point.max_tokens, score_percent=float(point.score_percent))
            for point in tier.quality
        ),
    )


def _budget(thinking: ThinkingSpec) -> Budget:
    budget = thinking.budget
    if budget is None:
        return Budget()
    floor = budget.max_tokens if budget.floor_tokens is None else budget.floor_tokens
    return Budget(max_tokens=budget.max_tokens, floor_tokens=floor)


def _allowance(thinking: ThinkingSpec) -> float:
    """Share of requests; without a budget there is none that load could lower."""
    budget = thinking.budget
    return float(budget.truncation_allowance_percent) / 100 if budget else 0.0


def _objective(slo: SloSpec) -> Objective:
    return Objective(
        name=slo.name,
        indicator=Indicator(slo.indicator.value),
        threshold_seconds=slo.threshold_milliseconds / 1000,
        per_token_seconds=(slo.per_token_milliseconds or 0) / 1000,
        objective=float(slo.objective_percent) / 100,
        window_seconds=float(slo.window_seconds),
    )


def _behavior(rules: ScalingRules) -> Behavior:
    return Behavior(
        stabilization_window_seconds=float(rules.stabilization_window_seconds),
        policies=tuple(
            StepPolicy(
                pods=policy.value if policy.type is PolicyType.PODS else None,
                percent=policy.value if policy.type is PolicyType.PERCENT else None,
                period_seconds=float(policy.period_seconds),
            )
            for policy in rules.policies
        ),
    )
