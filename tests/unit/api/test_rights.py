"""The operator's rights are few, and cover what it grants to others."""

import pytest

from thinkscale.api.rbac import CLUSTER, OPERATOR
from thinkscale.api.v1alpha1 import ReasoningService
from thinkscale.resources.gateway import GatewayImage, gateway_objects

PAIRS = {(rule.group, resource) for rule in OPERATOR for resource in rule.resources}


def test_no_wildcards_and_nothing_twice() -> None:
    every = [*OPERATOR, *CLUSTER]
    pairs = {(rule.group, resource) for rule in every for resource in rule.resources}
    assert "*" not in {part for pair in pairs for part in pair}
    assert all("*" not in rule.verbs for rule in every)
    assert len(pairs) == sum(len(rule.resources) for rule in every)


def test_for_the_whole_cluster_it_reads_pools_and_namespaces_and_says_how_a_pool_is_shared() -> (
    None
):
    assert {(r, rule.verbs) for rule in CLUSTER for r in rule.resources} == {
        ("gpupools", ("get", "list", "watch")),
        ("gpupools/status", ("patch",)),
        ("namespaces", ("get", "list", "watch")),
    }


@pytest.mark.parametrize("resource", ["secrets", "nodes", "namespaces", "pods/exec", "pods/log"])
def test_what_nobody_needs_is_not_there(resource: str) -> None:
    assert ("", resource) not in PAIRS


def test_the_spec_is_never_written_only_the_status() -> None:
    own = {r: set(rule.verbs) for rule in OPERATOR for r in rule.resources if "dev" in rule.group}
    assert own == {
        "reasoningservices": {"get", "list", "watch"},
        "reasoningservices/status": {"patch"},
        "reasoningservices/finalizers": {"update"},
    }


def test_every_right_says_what_it_is_for() -> None:
    assert all(rule.why for rule in (*OPERATOR, *CLUSTER))


def test_the_operator_holds_all_that_it_grants_to_a_gateway() -> None:
    service = ReasoningService.model_validate(
        {
            "metadata": {"name": "r1", "namespace": "team-a"},
            "spec": {
                "model": {"uri": "hf://a/b"},
                "engine": {"image": "i", "contextTokens": 4096},
                "scaling": {"maxReplicas": 2},
            },
        }
    )
    held = {
        (rule.group, resource, verb)
        for rule in OPERATOR
        for resource in rule.resources
        for verb in rule.verbs
    }
    roles = [
        o for o in gateway_objects(service, GatewayImage(reference="i"), 1) if o["kind"] == "Role"
    ]
    granted = {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted
    assert granted <= held
