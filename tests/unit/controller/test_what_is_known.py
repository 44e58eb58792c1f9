"""The store: what is worth a tick, what is an echo, and what is gone."""

import copy
from typing import Any

import pytest

from thinkscale.api import names
from thinkscale.controller.store import Store
from thinkscale.kube.resources import DEPLOYMENTS, PODS

KEY = "ns/r1"
LABELS = names.service_labels("r1", names.COMPONENT_MODEL)


def resource(generation: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "r1", "namespace": "ns", "uid": "u1", "generation": generation},
        "spec": {
            "model": {"uri": "hf://a/b"},
            "engine": {"image": "e:1", "contextTokens": 4096},
            "scaling": {"maxReplicas": 2},
        },
    } | changes


def deployment(version: int, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "kind": "Deployment",
        "metadata": {
            "name": "r1-model",
            "namespace": "ns",
            "uid": "d1",
            "resourceVersion": str(version),
            "generation": 1,
            "labels": LABELS,
            "annotations": {"deployment.kubernetes.io/revision": str(version)},
            "ownerReferences": [{"kind": "ReasoningService", "uid": "u1", "controller": True}],
        },
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1},
    }
    return made | changes


def pod(name: str) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": name,
            "labels": LABELS,
            "creationTimestamp": "2026-11-25T12:00:00Z",
        },
    }


@pytest.fixture
def store() -> Store:
    made = Store()
    made.put_resource(resource())
    return made


def test_a_new_spec_is_worth_a_tick_and_a_new_status_is_not(store: Store) -> None:
    assert store.put_resource(resource(status={"replicas": 3})) == (KEY, False)
    assert store.put_resource(resource(2)) == (KEY, True)


def test_another_resource_of_the_same_name_is_worth_a_tick(store: Store) -> None:
    other = resource()
    other["metadata"]["uid"] = "u2"
    assert store.put_resource(other) == (KEY, True)


def test_a_resource_that_cannot_be_read_is_kept_with_the_reason(store: Store) -> None:
    assert store.put_resource(resource(2, spec={})) == (KEY, True)
    service = store.service(KEY)
    assert service.resource is None
    assert service.metadata is not None
    assert "spec.model" in service.invalid


def test_the_echo_of_our_own_write_is_no_news(store: Store) -> None:
    answer = deployment(7)
    assert store.put(answer) == KEY
    assert store.put(copy.deepcopy(answer)) is None


def test_an_older_version_never_replaces_a_newer_one(store: Store) -> None:
    store.put(deployment(7, spec={"replicas": 5}))
    assert store.put(deployment(6, spec={"replicas": 1})) is None
    known = store.service(KEY).known("Deployment", "r1-model")
    assert known is not None
    assert known.rollout is not None
    assert known.rollout.replicas == 5


def test_bookkeeping_of_others_is_no_news_and_an_edit_is(store: Store) -> None:
    store.put(deployment(7))
    assert store.put(deployment(8)) is None, "only the revision annotation differs"
    assert store.put(deployment(9, spec={"replicas": 2})) == KEY
    assert store.put(deployment(10, spec={"replicas": 2, "paused": True})) == KEY


def test_progress_of_a_rollout_is_news(store: Store) -> None:
    store.put(deployment(7))
    status = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1}
    assert store.put(deployment(8, status=status)) == KEY
    known = store.service(KEY).known("Deployment", "r1-model")
    assert known is not None
    assert known.rollout is not None
    assert known.rollout.rolling


def test_what_a_new_list_does_not_have_is_gone(store: Store) -> None:
    store.put(pod("a"))
    store.put(pod("b"))
    assert store.replace(PODS, None, [pod("b")]) == {KEY}
    assert set(store.service(KEY).pods) == {"b"}
    assert store.replace(PODS, None, [pod("b")]) == set()


def test_a_list_of_one_namespace_says_nothing_of_another(store: Store) -> None:
    store.put(pod("a"))
    assert store.replace(PODS, "elsewhere", []) == set()
    assert set(store.service(KEY).pods) == {"a"}


def test_the_deletion_of_a_namesake_that_is_gone_already_changes_nothing(store: Store) -> None:
    store.put(deployment(9))
    older = deployment(3)
    older["metadata"]["uid"] = "d0"
    store.drop(older)
    assert store.service(KEY).known("Deployment", "r1-model") is not None


def test_nothing_is_left_of_a_service_that_is_gone_with_all_it_had(store: Store) -> None:
    store.put(deployment(7))
    store.put(pod("a"))
    store.drop_resource(KEY)
    assert KEY in store.services, "its objects are still there"
    store.drop(pod("a"))
    store.replace(DEPLOYMENTS, None, [])
    assert KEY not in store.services


def test_what_carries_no_service_label_is_not_ours(store: Store) -> None:
    stranger = pod("x")
    del stranger["metadata"]["labels"]
    assert store.put(stranger) is None
    assert store.drop(stranger) is None
