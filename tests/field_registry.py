"""Which live test proves that a field of the spec has an effect: one row per leaf of the schema.

No field without an effect: `tests/unit/api/test_every_field_is_proven.py` walks the schema and
fails for a leaf without a row, a row without a leaf, and a row whose test does not exist. A new
field enters together with its row. Fields that are copied into the model pods share one
table-driven test; the path must then stand in that test's file, as the row of its table.
"""

from typing import Final

from thinkscale.api.crd import schema
from thinkscale.api.schema import leaves, node_at

PODS: Final = "tests/cluster/test_fields_reach_pods.py::test_field_reaches_the_model_pods"
LIVE: Final = "e2e/test_fields_take_effect.py::"
SCALE: Final = "tests/cluster/test_crd_scaling_fields.py::"

TABLE_DRIVEN: Final = frozenset({PODS})
"""Tests whose tables name each path that they prove."""

FIELDS: Final[dict[str, str]] = {
    path: PODS
    for part in ("spec.model", "spec.engine")
    for path, _ in leaves(node_at(schema(), part), part)
} | {
    "spec.engine.gpus.product": SCALE + "test_a_known_gpu_gives_the_gateways_a_ceiling_at_once",
    "spec.replicas": SCALE + "test_in_manual_a_person_sets_the_replicas",
    "spec.thinking.budget.maxTokens": LIVE + "test_a_thought_ends_at_the_maximum_and_is_answered",
    "spec.thinking.budget.minTokens": LIVE + "test_a_wish_below_the_minimum_is_raised_to_it",
    "spec.thinking.budget.floorTokens": LIVE
    + "test_load_pushes_the_budget_to_the_floor_no_further",
    "spec.thinking.budget.truncationAllowancePercent": LIVE
    + "test_without_an_allowance_load_cuts_nobody",
    "spec.thinking.budget.onExhausted": LIVE + "test_a_thought_that_must_stop_gets_no_answer",
    "spec.thinking.defaultMaxTokens": LIVE + "test_who_asks_for_nothing_gets_the_default",
    **dict.fromkeys(
        (
            "spec.thinking.tiers[].name",
            "spec.thinking.tiers[].efforts[]",
            "spec.thinking.tiers[].maxTokens",
            "spec.thinking.tiers[].minTokens",
            "spec.thinking.defaultTier",
        ),
        LIVE + "test_an_effort_has_the_budget_of_its_tier",
    ),
    "spec.thinking.tiers[].floorTokens": LIVE
    + "test_load_pushes_a_tier_to_its_own_floor_no_further",
    **dict.fromkeys(
        (
            "spec.thinking.tiers[].quality[].maxTokens",
            "spec.thinking.tiers[].quality[].scorePercent",
        ),
        SCALE + "test_load_lowers_the_tier_that_loses_least_by_it",
    ),
    "spec.thinking.nudge": LIVE + "test_a_thought_below_the_minimum_goes_on_behind_the_nudge",
    "spec.thinking.nativeBudgetCheck": LIVE
    + "test_a_gateway_tries_a_replicas_own_budget_before_its_first_request",
    "spec.answer.maxTokens": LIVE + "test_an_answer_ends_at_its_maximum",
    "spec.slos[].name": LIVE + "test_each_indicator_is_scored_against_its_threshold",
    "spec.slos[].indicator": LIVE + "test_each_indicator_is_scored_against_its_threshold",
    "spec.slos[].thresholdMilliseconds": LIVE
    + "test_each_indicator_is_scored_against_its_threshold",
    "spec.slos[].perTokenMilliseconds": LIVE + "test_a_limit_grows_with_the_tokens_of_the_request",
    "spec.slos[].objectivePercent": LIVE + "test_the_objective_decides_whether_the_slo_is_met",
    "spec.slos[].windowSeconds": LIVE + "test_what_left_the_window_is_forgotten",
    "spec.scaling.mode": SCALE + "test_in_manual_a_person_sets_the_replicas",
    "spec.scaling.minReplicas": SCALE + "test_never_fewer_than_the_minimum",
    "spec.scaling.maxReplicas": SCALE + "test_never_more_than_the_maximum",
    "spec.scaling.scaleToZeroAfterSeconds": SCALE + "test_an_idle_service_goes_to_zero_and_wakes",
    "spec.scaling.behavior.scaleUp.stabilizationWindowSeconds": SCALE
    + "test_growth_waits_for_the_scale_up_window",
    "spec.scaling.behavior.scaleUp.policies[].type": SCALE
    + "test_growth_by_percent_is_of_the_size_at_the_beginning",
    "spec.scaling.behavior.scaleUp.policies[].value": SCALE
    + "test_growth_by_percent_is_of_the_size_at_the_beginning",
    "spec.scaling.behavior.scaleUp.policies[].periodSeconds": SCALE
    + "test_growth_keeps_to_the_scale_up_policies",
    "spec.scaling.behavior.scaleDown.stabilizationWindowSeconds": SCALE
    + "test_shrinking_waits_for_the_scale_down_window",
    "spec.scaling.behavior.scaleDown.policies[].type": SCALE
    + "test_shrinking_keeps_to_the_scale_down_policies",
    "spec.scaling.behavior.scaleDown.policies[].value": SCALE
    + "test_shrinking_keeps_to_the_scale_down_policies",
    "spec.scaling.behavior.scaleDown.policies[].periodSeconds": SCALE
    + "test_shrinking_keeps_to_the_scale_down_policies",
    "spec.gateway.minReplicas": LIVE + "test_the_gateway_has_the_shape_that_was_asked_for",
    "spec.gateway.maxReplicas": SCALE + "test_gateways_come_with_the_tokens_that_pass",
    "spec.gateway.resources.requests.*": LIVE + "test_the_gateway_has_the_shape_that_was_asked_for",
    "spec.gateway.resources.limits.*": LIVE + "test_the_gateway_has_the_shape_that_was_asked_for",
    "spec.gateway.auth.apiKeysSecretRef.name": LIVE
    + "test_only_who_shows_a_key_of_the_secret_is_served",
    "spec.gateway.tracing.endpoint": LIVE + "test_spans_of_requests_go_to_the_collector",
    "spec.gateway.service.type": LIVE + "test_the_gateway_has_the_shape_that_was_asked_for",
    "spec.gateway.queue.maxRequests": LIVE + "test_more_than_the_queue_holds_is_told_to_come_back",
}
"""Path of the leaf: test that proves it, as FILE::TEST."""

SHARE: Final = "tests/cluster/test_two_services_under_one_limit.py::"
SELECTS: Final = SHARE + "test_members_are_whom_the_pool_selects_and_whom_it_lists"
POOL_FIELDS: Final[dict[str, str]] = {
    "spec.maxGPUs": SHARE + "test_a_limit_that_is_raised_or_gone_is_used_at_once",
    "spec.namespaceSelector.matchLabels.*": SELECTS,
    "spec.namespaceSelector.matchExpressions[].key": SELECTS,
    "spec.namespaceSelector.matchExpressions[].operator": SELECTS,
    "spec.namespaceSelector.matchExpressions[].values[]": SELECTS,
    "spec.members[].namespace": SELECTS,
    "spec.members[].name": SELECTS,
    "spec.members[].priority": SHARE
    + "test_of_two_that_both_insist_the_one_with_the_priority_gets_its_replicas",
}
"""The same of GPUPool."""
