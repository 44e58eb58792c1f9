"""The operator's rights are few, and cover what it grants to others."""

import pytest

from thinkscale.api.rbac import OPERATOR

PAIRS = {(rule.group, resource) for rule in OPERATOR for resource in rule.resources}


def test_no_wildcards_and_nothing_twice() -> None:
    assert "*" not in {part for pair in PAIRS for part in pair}
    assert all("*" not in rule.verbs for rule in OPERATOR)
    assert len(PAIRS) == sum(len(rule.resources) for rule in OPERATOR)


@pytest.mark.parametrize("resource", ["secrets", "nodes", "namespaces", "pods/exec", "pods/log"])
def test_what_nobody_needs_is_not_there(resource: str) -> None:
    assert ("", resource) not in PAIRS


def test_the_spec_is_never_written_only_the_status() -> None:
    own = {r: set(rule.verbs) for rule in OPERATOR for r in rule.resources if "dev" in rule.group}
    assert own == {
        "reasoningservices": {"get", "list", "watch"},
        "reasoningservices/status": {"get", "patch"},
        "reasoningservices/finalizers": {"update"},
    }


def test_every_right_says_what_it_is_for() -> None:
    assert all(rule.why for rule in OPERATOR)
