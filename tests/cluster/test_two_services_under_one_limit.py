"""Two services share a GPU limit, on a real API server: never more together than the limit, and
nobody gets a GPU before another has let go of it.

Pods are made ready by the test, each service has a stand-in gateway that says how much there is to
do, and the operator is its own process.
"""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from copy import deepcopy
from typing import Any

import pytest

from e2e.harness import ClusterClient, eventually
from tests.cluster.operator_kit import SERVICE, Fleet, Operator, StandInGateway, define, operator
from thinkscale.api import names
from thinkscale.model.signals import EngineSignals, PhaseCounts, ReplicaSignals

SEATS = SERVICE["spec"]["engine"]["maxConcurrentRequests"]
LIMIT = 4
SETTLES_SECONDS = 40.0
GPUS_EACH = 1


@pytest.fixture(scope="module")
def running(
    control_plane: ClusterClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    define(control_plane)
    with operator(control_plane, tmp_path_factory.mktemp("operator") / "log") as process:
        yield process


class Sharer:
    """One service, whose load the test sets and whose pods become ready at once."""

    def __init__(self, fleet: Fleet, gateway: StandInGateway) -> None:
        self.fleet, self.gateway = fleet, gateway
        self.in_flight = 0

    def size(self) -> int:
        """`spec.replicas` of the Deployment, after its pods became ready and were heard of."""
        self.fleet.make_ready(names.COMPONENT_GATEWAY, self.gateway.ip)
        pods = self.fleet.make_ready(names.COMPONENT_MODEL)
        share = self.in_flight // len(pods) if pods else 0
        cordoned = self.cordoned()
        # Whoever is cordoned finishes at once.
        work = {pod: 0 if pod in cordoned else share for pod in pods}
        self.gateway.say(
            queued=self.in_flight - sum(work.values()),
            thinking=sum(work.values()),
            arrivals=self.in_flight,
            replicas={
                pod: ReplicaSignals(
                    ready=True,
                    cordoned=pod in cordoned,
                    phases=PhaseCounts(thinking=load),
                    engine=EngineSignals(running=load, waiting=0, kv_usage=0.1, age_seconds=0.2),
                )
                for pod, load in work.items()
            },
        )
        return self.fleet.replicas()

    def cordoned(self) -> set[str]:
        """Replicas that the gateways were told to spare."""
        data = self.fleet.get("configmap", names.runtime_name(self.fleet.service))["data"]
        return set(json.loads(data[names.DIRECTIVE_KEY])["cordoned"])

    def by_hand(self, replicas: int) -> None:
        """A person sets the replicas."""
        patch = {"spec": {"replicas": replicas, "scaling": {"mode": "Manual"}}}
        self.fleet.cluster.kubectl(
            *("patch", "rsvc", self.fleet.service, "-n", self.fleet.namespace, "--type=merge"),
            *("-p", json.dumps(patch)),
        )

    def held(self) -> int:
        """Replicas that have GPUs, or were ordered."""
        return max(self.fleet.replicas(), len(self.fleet.pods(names.COMPONENT_MODEL)))


class Limit:
    """The pool, and the two that share it."""

    def __init__(self, cluster: ClusterClient, name: str, one: Sharer, other: Sharer) -> None:
        self.cluster, self.name = cluster, name
        self.one, self.other = one, other
        self.gpus = LIMIT

    def set(self, gpus: int, **priorities: int) -> None:
        """Apply the pool with this limit."""
        namespace = self.one.fleet.namespace
        self.gpus = gpus
        members = [
            {"namespace": namespace, "name": name, "priority": priority}
            for name, priority in priorities.items()
        ]
        selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        spec = {"maxGPUs": gpus, "namespaceSelector": selector, "members": members}
        self.cluster.apply(self.manifest(spec))

    def manifest(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The pool with this spec."""
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.POOL_KIND,
            "metadata": {"name": self.name},
            "spec": spec,
        }

    def become(self, one: int, other: int) -> None:
        """Until the two have these sizes; never do they hold more than the limit on the way."""

        def reached() -> bool:
            sizes = (self.one.size(), self.other.size())
            assert self.one.held() + self.other.held() <= self.gpus, sizes
            return sizes == (one, other)

        eventually(reached, SETTLES_SECONDS, f"{one} and {other} replicas")

    def stay(self, one: int, other: int, seconds: float = 4.0) -> None:
        """The two have these sizes all the while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert (self.one.size(), self.other.size()) == (one, other)
            time.sleep(0.2)

    def status(self) -> dict[str, Any]:
        """The pool's status."""
        status: dict[str, Any] = self.cluster.get("gpool", self.name).get("status", {})
        return status


@pytest.fixture
def limit(control_plane: ClusterClient, namespace: str, running: Operator) -> Iterator[Limit]:
    """Two services with nothing to do, one replica each, under a limit of four GPUs."""
    with ExitStack() as stack:
        sharers = []
        for name, ip in (("one", "127.0.9.1"), ("other", "127.0.9.2")):
            service = deepcopy(SERVICE)
            service["metadata"]["name"] = name
            service["spec"]["engine"]["gpus"] = {"count": GPUS_EACH}
            control_plane.apply(service, "-n", namespace)
            fleet = Fleet(control_plane, namespace, name)
            gateway = stack.enter_context(StandInGateway(ip, f"{namespace}/{name}"))
            eventually(lambda fleet=fleet: fleet.pods(names.COMPONENT_GATEWAY), 20)
            fleet.make_ready(names.COMPONENT_GATEWAY, ip)
            sharers.append(Sharer(fleet, gateway))
        made = Limit(control_plane, f"pool-{namespace}", *sharers)
        made.set(LIMIT)
        made.become(1, 1)
        yield made
        control_plane.kubectl("delete", "gpool", made.name, "--ignore-not-found")


def test_the_one_with_the_load_gets_what_the_limit_leaves_and_says_who_limits_it(
    limit: Limit,
) -> None:
    limit.one.in_flight = 6 * SEATS
    limit.become(3, 1)
    limit.stay(3, 1)
    limited = eventually(
        lambda: (c := limit.one.fleet.condition("ScalingLimited"))["reason"] == "GPUPool" and c,
        10,
        "the condition names the limit",
    )
    assert limited["message"].startswith(f"GPUPool {limit.name} grants 3 of 6 wished replicas")
    status = eventually(lambda: (s := limit.status()).get("usedGPUs") == 4 and s, 10)
    assert (status["grantedGPUs"], status["memberCount"]) == (4, 2)
    (condition,) = status["conditions"]
    assert (condition["type"], condition["status"]) == ("Limiting", "True")
    shown = limit.cluster.kubectl("get", "gpool", limit.name).stdout.splitlines()
    assert shown[0].split() == [
        *("NAME", "LIMIT", "USED", "GRANTED", "WISHED", "MEMBERS", "LIMITING", "AGE")
    ]
    assert shown[1].split()[1:4] == ["4", "4", "4"]


def test_a_gpu_is_given_on_only_after_it_was_let_go_of(limit: Limit) -> None:
    limit.one.in_flight = 6 * SEATS
    limit.become(3, 1)
    limit.other.by_hand(3)
    limit.become(1, 3)
    limit.stay(1, 3)


def test_of_two_that_both_insist_the_one_with_the_priority_gets_its_replicas(limit: Limit) -> None:
    limit.set(LIMIT, one=1, other=200)
    limit.one.by_hand(3)
    limit.other.by_hand(3)
    limit.become(1, 3)
    limit.set(LIMIT, one=200, other=1)
    limit.become(3, 1)
    assert limit.status()["conditions"][0]["reason"] == "MinimumsExceedLimit"


def test_a_limit_that_is_raised_or_gone_is_used_at_once(limit: Limit) -> None:
    limit.one.in_flight = 6 * SEATS
    limit.become(3, 1)
    limit.set(5)
    limit.become(4, 1)
    limit.gpus = 99
    limit.cluster.kubectl("delete", "gpool", limit.name)
    eventually(lambda: limit.one.size() > 4, SETTLES_SECONDS, "nothing limits it")
    eventually(
        lambda: (
            (limit.one.size(), limit.one.fleet.condition("ScalingLimited")["reason"])[1]
            != "GPUPool"
        ),
        10,
        "nobody is blamed",
    )


def test_a_limit_that_is_lowered_is_reached_by_draining_never_below_the_minimums(
    limit: Limit,
) -> None:
    limit.one.in_flight = 6 * SEATS
    limit.become(3, 1)
    limit.cluster.kubectl(
        *("patch", "gpool", limit.name, "--type=merge", "-p", '{"spec":{"maxGPUs":2}}')
    )
    limit.become(1, 1)
    eventually(
        lambda: limit.one.held() + limit.other.held() <= 2, SETTLES_SECONDS, "the pods are gone too"
    )


def test_members_are_whom_the_pool_selects_and_whom_it_lists(limit: Limit) -> None:
    namespace = limit.one.fleet.namespace
    label = "kubernetes.io/metadata.name"

    def members(spec: dict[str, Any]) -> list[str]:
        limit.cluster.apply(limit.manifest({"maxGPUs": 0} | spec))
        generation = limit.cluster.get("gpool", limit.name)["metadata"]["generation"]
        status = eventually(
            lambda: (s := limit.status()).get("observedGeneration") == generation and s, 10
        )
        return [member["name"] for member in status.get("members", ())]

    def expression(operator: str, *values: str) -> dict[str, Any]:
        found = {"key": label, "operator": operator} | ({"values": values} if values else {})
        return {"namespaceSelector": {"matchExpressions": [found]}}

    listed = {"members": [{"namespace": namespace, "name": "other"}]}
    assert members({"namespaceSelector": {"matchLabels": {label: namespace}}}) == ["one", "other"]
    assert members(expression("In", namespace)) == ["one", "other"]
    assert members(expression("In", "elsewhere")) == []
    assert members(expression("DoesNotExist") | listed) == ["other"]
    assert members({"members": [{"namespace": "elsewhere", "name": "other"}]}) == []
