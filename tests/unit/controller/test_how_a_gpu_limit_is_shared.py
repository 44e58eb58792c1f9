"""Pools and their members: who is in, what each claims, who is told, and what the status says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from thinkscale.api import names
from thinkscale.api.pool import MOST_MEMBERS, GPUPoolStatus, NamespaceSelector
from thinkscale.controller.pool_status import status_of
from thinkscale.controller.pools import Pools, selects
from thinkscale.controller.store import Store

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)


def manifest(
    name: str, namespace: str = "team-a", *, least: int = 1, gpus: int = 1, **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "generation": 1,
            "resourceVersion": "1",
        },
        "spec": {
            "model": {"uri": "hf://acme/r1"},
            "engine": {"image": "e", "contextTokens": 4096, "gpus": {"count": gpus}},
            "scaling": {"minReplicas": least, "maxReplicas": 9},
        }
        | spec,
    }


def pool(limit: int = 4, name: str = "h100", **spec: Any) -> dict[str, Any]:
    everybody = {"namespaceSelector": {}}
    return {
        "kind": names.POOL_KIND,
        "metadata": {"name": name, "uid": f"uid-{name}", "generation": 1},
        "spec": {"maxGPUs": limit} | (spec or everybody),
    }


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def deployment(service: str, replicas: int) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {
            "name": names.model_name(service),
            "namespace": "team-a",
            "uid": f"d-{service}-{replicas}",
            "resourceVersion": "5",
            "labels": {names.SERVICE_LABEL: service},
        },
        "spec": {"replicas": replicas},
    }


def pod(service: str, name: str) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "team-a",
            "uid": name,
            "resourceVersion": "1",
            "creationTimestamp": "2026-11-25T12:00:00Z",
            "labels": names.service_labels(service, names.COMPONENT_MODEL),
        },
        "spec": {},
        "status": {"phase": "Running"},
    }


class World:
    """Two services, a, with one replica, and b, with two, and whoever was woken."""

    def __init__(self) -> None:
        self.store = Store()
        self.woken: list[str] = []
        self.pools = Pools(self.store, self.woken.append)
        for name, replicas in (("a", 1), ("b", 2)):
            self.store.put_resource(manifest(name))
            self.store.put(deployment(name, replicas))
        self.pools.put(namespace("team-a", team="blue"))
        self.pools.put(namespace("team-b"))

    def claim(self, name: str, wished: int, *rates: float, stated: int = 0) -> None:
        service = self.store.service(f"team-a/{name}").resource
        assert service is not None
        self.pools.claim(f"team-a/{name}", service, wished, rates, stated)

    def granted(self, name: str) -> int:
        (shared,) = self.pools.shared_by(f"team-a/{name}")
        return shared.grants[f"team-a/{name}"].now


@pytest.fixture
def world() -> World:
    return World()


def test_without_a_pool_nobody_is_limited(world: World) -> None:
    assert not world.pools.has("team-a/a")
    assert world.pools.shared_by("team-a/a") == []


@pytest.mark.parametrize(
    ("spec", "inside"),
    [
        ({"namespaceSelector": {}}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "blue"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "red"}}}, False),
        ({"members": [{"namespace": "team-a", "name": "a"}]}, True),
        ({"members": [{"namespace": "team-b", "name": "a"}]}, False),
        (
            {
                "namespaceSelector": {"matchLabels": {"team": "red"}},
                "members": [{"namespace": "team-a", "name": "a"}],
            },
            True,
        ),
    ],
)
def test_members_are_selected_by_namespace_or_listed(
    world: World, spec: dict[str, Any], inside: bool
) -> None:
    world.pools.put(pool(**spec))
    assert world.pools.has("team-a/a") is inside


@pytest.mark.parametrize(
    ("operator", "values", "holds"),
    [
        ("In", ["blue", "red"], True),
        ("In", ["red"], False),
        ("NotIn", ["red"], True),
        ("NotIn", ["blue"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
    ],
)
def test_expressions_mean_what_they_mean_in_kubernetes(
    operator: str, values: list[str], holds: bool
) -> None:
    expression = {"key": "team", "operator": operator, "values": values}
    selector = NamespaceSelector.model_validate({"matchExpressions": [expression]})
    assert selects(selector, {"team": "blue"}) is holds
    assert selects(selector, {}) is (operator in ("NotIn", "DoesNotExist"))
    assert not selects(selector, None), "a namespace that is not there"


def test_who_has_not_been_asked_yet_claims_what_it_has(world: World) -> None:
    world.pools.put(pool(2))
    (shared,) = world.pools.all_shared()
    assert {key: m.wished_replicas for key, m in shared.members.items()} == {
        "team-a/a": 1,
        "team-a/b": 2,
    }
    assert {key: grant.now for key, grant in shared.grants.items()} == {
        "team-a/a": 1,
        "team-a/b": 1,
    }, "minimums first, and two fit"


def test_a_claim_is_granted_where_it_keeps_most_from_being_late(world: World) -> None:
    world.pools.put(pool(5))
    world.claim("a", 4, 9, 3, 2, 0.5, 0.3)
    world.claim("b", 3, 1, 0.5, 0.3, 0.2)
    assert (world.granted("a"), world.granted("b")) == (3, 2)
    favoured = {"namespace": "team-a", "name": "b", "priority": 10_000}
    world.pools.put(pool(5, namespaceSelector={}, members=[favoured]))
    assert (world.granted("a"), world.granted("b")) == (2, 3)


def test_what_was_granted_counts_at_once_although_nobody_has_written_it_yet(world: World) -> None:
    world.pools.put(pool(4))
    world.claim("a", 9, *range(9, 0, -1))
    world.claim("b", 9, *range(18, 0, -2), stated=2)
    assert world.granted("a") == 1
    assert world.granted("b") == 3
    world.pools.state("team-a/b", 3)
    world.claim("a", 9, *range(900, 0, -100))
    assert world.granted("a") == 1, "the fourth GPU is taken"


def test_pods_that_are_still_there_hold_their_gpus(world: World) -> None:
    world.pools.put(pool(4))
    for number in range(3):
        world.store.put(pod("b", f"b-{number}"))
    world.claim("a", 3, 9, 5, 1, 0)
    world.claim("b", 1, 1, 0)
    assert world.granted("a") == 1
    world.store.drop(pod("b", "b-2"))
    assert world.granted("a") == 2, "its Deployment still says two"


def test_a_pod_on_its_way_out_is_no_room_for_another(world: World) -> None:
    world.pools.put(pool(4))
    for number in range(3):
        world.store.put(pod("b", f"b-{number}"))
    leaving = pod("b", "b-2")
    leaving["metadata"] |= {"deletionTimestamp": "2026-11-25T12:00:00Z", "resourceVersion": "2"}
    world.store.put(leaving)
    world.claim("a", 1, 9, 0)
    world.claim("b", 3, 9, 5, 1, 0)
    assert world.granted("b") == 2, "its Deployment would make a third beside the one that goes"
    world.store.drop(leaving)
    assert world.granted("b") == 3


def test_a_deleted_service_holds_what_its_pods_hold_until_they_are_gone(world: World) -> None:
    world.pools.put(pool(3))
    world.store.put(pod("b", "b-0"))
    world.claim("a", 3, 9, 5, 1, 0)
    world.claim("b", 2, 1, 0.5, 0.4, stated=2)
    assert world.granted("a") == 1
    world.store.drop(deployment("b", 2))
    world.store.drop_resource("team-a/b")
    world.pools.forget("team-a/b")
    assert world.granted("a") == 2
    world.store.drop(pod("b", "b-0"))
    world.pools.forget("team-a/b")
    assert world.granted("a") == 3


def test_a_person_s_number_goes_with_the_minimums(world: World) -> None:
    world.store.put_resource(
        manifest("b", replicas=3, scaling={"mode": "Manual", "maxReplicas": 9})
        | {"metadata": manifest("b")["metadata"] | {"generation": 2}}
    )
    world.pools.put(pool(4))
    world.claim("a", 4, 9, 8, 4, 1, 0)
    assert (world.granted("a"), world.granted("b")) == (1, 3)


def test_the_tightest_of_two_pools_holds(world: World) -> None:
    world.pools.put(pool(9, "large"))
    world.pools.put(pool(2, "small", members=[{"namespace": "team-a", "name": "a"}]))
    world.claim("a", 5)
    granted = {
        shared.pool.metadata.name: shared.grants["team-a/a"].now
        for shared in world.pools.shared_by("team-a/a")
    }
    assert granted == {"large": 5, "small": 2}


def test_those_whose_grant_changes_by_another_s_step_are_woken(world: World) -> None:
    world.pools.put(pool(4))
    world.claim("a", 3, 9, 5, 1, 0)
    world.claim("b", 2, 1, 0.5, 0.4, stated=2)
    world.pools.state("team-a/a", 2)
    world.woken.clear()
    world.pools.state("team-a/a", 2)
    assert world.woken == [], "nothing has changed"
    world.claim("b", 1, 1, 0.5, stated=2)
    world.store.drop(deployment("b", 2))
    world.store.put(deployment("b", 1))
    world.claim("b", 1, 1, 0.5, stated=1)
    world.pools.state("team-a/b", 1)
    assert world.woken == ["team-a/a"]


@pytest.mark.parametrize(
    "change",
    [
        lambda pools: pools.put(pool(5)),
        lambda pools: pools.drop(pool()),
        lambda pools: pools.replace(names.POOL_KIND, []),
        lambda pools: pools.put(namespace("team-b", team="red")),
    ],
    ids=["limit", "gone", "not listed", "labels"],
)
def test_everybody_looks_when_a_pool_or_a_namespace_changes(world: World, change: Any) -> None:
    world.pools.put(pool(4))
    world.woken.clear()
    change(world.pools)
    assert sorted(world.woken) == ["team-a/a", "team-a/b"]


def test_an_echo_of_our_own_status_wakes_nobody(world: World) -> None:
    world.pools.put(pool(4))
    world.woken.clear()
    world.pools.put(pool(4) | {"status": {"usedGPUs": 3}})
    assert world.woken == []


def test_a_pool_that_cannot_be_read_holds_as_it_was_last_understood(world: World) -> None:
    world.pools.put(pool(2))
    world.pools.put(pool(2) | {"spec": {"maxGPUs": "many"}})
    world.claim("a", 4)
    assert world.granted("a") == 1


def told(world: World) -> GPUPoolStatus:
    (shared,) = world.pools.all_shared()
    return status_of(shared, GPUPoolStatus(), NOW)


def test_the_status_says_in_gpus_who_has_and_wishes_what(world: World) -> None:
    world.store.put_resource(
        manifest("b", gpus=2) | {"metadata": manifest("b")["metadata"] | {"generation": 2}}
    )
    world.pools.put(pool(7))
    world.claim("a", 4, 9, 5, 1, 0.5, 0.1)
    world.claim("b", 2, 9, 5, 1)
    status = told(world)
    assert (status.used, status.granted, status.wished, status.member_count) == (5, 7, 8, 2)
    assert [(m.name, m.used, m.granted, m.wished) for m in status.members] == [
        ("a", 1, 3, 4),
        ("b", 4, 4, 4),
    ]
    (condition,) = status.conditions
    assert (condition.type, condition.status, condition.reason) == (
        *("Limiting", "True", "LimitReached"),
    )
    assert condition.message == "team-a/a gets 3 of 4 replicas, at least 1."


def test_of_too_many_members_the_limited_ones_are_listed_and_all_are_counted(world: World) -> None:
    for number in range(MOST_MEMBERS - 1):
        name = f"c{number:03}"
        world.store.put_resource(manifest(name))
        world.claim(name, 1, stated=1)
    world.store.put_resource(manifest("z"))
    world.pools.put(pool(3 + MOST_MEMBERS))  # one replica each, two of b
    world.claim("a", 1)
    world.claim("b", 2)
    world.claim("z", 5, 9, 5, 1)
    status = told(world)
    assert len(status.members) == MOST_MEMBERS
    assert status.members[-1].name == "z"
    assert status.member_count == MOST_MEMBERS + 2


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(9, ("False", "WithinLimits")), (2, ("True", "LimitExceeded"))],
)
def test_the_status_says_whether_the_limit_is_in_the_way(
    world: World, limit: int, expected: tuple[str, str]
) -> None:
    world.pools.put(pool(limit))
    (condition,) = told(world).conditions
    assert (condition.status, condition.reason) == expected


def test_minimums_that_do_not_fit_are_told_as_such(world: World) -> None:
    world.store.put_resource(
        manifest("a", least=3) | {"metadata": manifest("a")["metadata"] | {"generation": 2}}
    )
    world.pools.put(pool(3))
    (condition,) = told(world).conditions
    assert condition.reason == "MinimumsExceedLimit"
    assert condition.message.startswith("team-a/a gets ")


def test_the_time_of_the_last_flip_is_kept(world: World) -> None:
    world.pools.put(pool(9))
    first = told(world)
    (shared,) = world.pools.all_shared()
    assert status_of(shared, first, NOW + timedelta(hours=1)) == first


def test_a_limited_service_is_told_by_whom_and_why(world: World) -> None:
    world.pools.put(pool(4))
    world.claim("a", 4, 9, 5, 1, 0.5, 0.1)
    world.claim("b", 2, 9, 5, 1)
    (shared,) = world.pools.shared_by("team-a/a")
    assert shared.is_limited("team-a/a")
    assert shared.words("team-a/a") == (
        "GPUPool h100 grants 2 of 4 wished replicas: 3 of 4 GPUs are in use, "
        "shared with 1 other service."
    )
