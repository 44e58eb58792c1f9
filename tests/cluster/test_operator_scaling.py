"""From a gateway's signals to `spec.replicas`: the loop closed over a real API server.

Pods are made ready by the test, gateways are stand-ins that say what the test wants. What a
request feels is tested on real nodes.
"""

import json
import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from e2e.harness import ClusterClient, eventually
from tests.cluster.operator_kit import (
    SERVICE,
    Fleet,
    Operator,
    StandInGateway,
    define,
    name_of,
    operator,
    ready_status,
)
from thinkscale.api import names
from thinkscale.model.signals import EngineSignals, PhaseCounts, ReplicaSignals

GATEWAY_IP = "127.0.7.1"


@pytest.fixture
def running(
    control_plane: ClusterClient, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    define(control_plane)
    log = tmp_path_factory.mktemp("operator") / "log"
    with operator(control_plane, log, f"--namespaces={namespace}") as process:
        yield process


@pytest.fixture
def gateway(namespace: str) -> Iterator[StandInGateway]:
    with StandInGateway(GATEWAY_IP, f"{namespace}/r1") as server:
        yield server


@pytest.fixture
def fleet(
    control_plane: ClusterClient, namespace: str, running: Operator, gateway: StandInGateway
) -> Fleet:
    """A service with one ready replica and one gateway that is heard."""
    return serving(control_plane, namespace, SERVICE)


def serving(cluster: ClusterClient, namespace: str, service: dict[str, Any]) -> Fleet:
    cluster.apply(service, "-n", namespace)
    fleet = Fleet(cluster, namespace)
    eventually(lambda: fleet.pods(names.COMPONENT_GATEWAY), 10)
    eventually(lambda: fleet.pods(names.COMPONENT_MODEL), 10)
    fleet.make_ready(names.COMPONENT_MODEL)
    fleet.make_ready(names.COMPONENT_GATEWAY, GATEWAY_IP)
    eventually(
        lambda: fleet.condition("SignalsAvailable").get("status") == "True", 10, "signals come"
    )
    return fleet


def busy(pods: list[str], work: int, *, obeys: bool = False) -> dict[str, ReplicaSignals]:
    """Replicas with so much work each, as gateway and engine tell it; `obeys`: the gateway has the
    order to cordon them.
    """
    return {
        pod: ReplicaSignals(
            ready=True,
            cordoned=obeys,
            phases=PhaseCounts(thinking=work),
            remaining_tokens=300 * work,
            engine=EngineSignals(running=work, waiting=0, kv_usage=0.1, age_seconds=0.5),
        )
        for pod in pods
    }


def cordoned(fleet: Fleet) -> list[str]:
    """The replicas that the published directive cordons."""
    data = fleet.get("configmap", "r1-runtime")["data"]
    directive = json.loads(data[names.DIRECTIVE_KEY])
    return list(directive["cordoned"])


def test_a_jump_of_depth_becomes_replicas_and_says_why_everywhere(
    fleet: Fleet, gateway: StandInGateway, running: Operator
) -> None:
    assert fleet.condition("Ready")["status"] == "True"
    (pod,) = fleet.make_ready(names.COMPONENT_MODEL)
    gateway.say(queued=16, thinking=8, arrivals=24, replicas=busy([pod], 8))
    eventually(lambda: fleet.replicas() > 1, 5, "the fleet grows")
    decision = eventually(lambda: fleet.status().get("lastDecision"), 5)
    assert (decision["from"], decision["to"]) == (1, fleet.replicas())
    (event,) = eventually(
        lambda: fleet.get("events", f"--field-selector=reason={decision['reason']}")["items"], 5
    )
    assert decision["message"] in event["message"]
    (line,) = [line for line in running.lines() if line["message"] == "Scaled Deployment"]
    assert line["decision_id"] == decision["id"]
    assert line["reason"] == decision["reason"]
    status = eventually(lambda: (s := fleet.status())["thinkingDepth"] == 24 and s, 20)
    assert status["desiredReplicas"] == decision["to"]


def test_the_directive_is_known_before_the_replicas_change(
    fleet: Fleet, gateway: StandInGateway
) -> None:
    (pod,) = fleet.make_ready(names.COMPONENT_MODEL)
    gateway.say(queued=16, thinking=8, arrivals=24, replicas=busy([pod], 8))
    eventually(lambda: fleet.replicas() > 1, 5)
    state = json.loads(fleet.get("configmap", "r1-runtime")["data"][names.STATE_KEY])
    assert state["wanted"] == fleet.replicas(), "whoever dies now has left the decision behind"


def test_a_surplus_replica_is_cordoned_emptied_and_only_then_removed(
    fleet: Fleet, gateway: StandInGateway
) -> None:
    first = fleet.make_ready(names.COMPONENT_MODEL)
    gateway.say(queued=8, thinking=8, arrivals=16, replicas=busy(first, 8))
    eventually(lambda: fleet.replicas() > 1, 5)
    size = fleet.replicas()
    pods = eventually(lambda: len(p := fleet.make_ready(names.COMPONENT_MODEL)) == size and p, 10)
    gateway.say(thinking=2, arrivals=16, replicas=busy(pods[:1], 2) | busy(pods[1:], 1))

    victims = eventually(lambda: cordoned(fleet), 90, "a surplus replica is cordoned")
    held = time.monotonic() + 6.0
    while time.monotonic() < held:
        assert fleet.replicas() == size, "it still has a request"
    costs = {
        name_of(pod): pod["metadata"].get("annotations", {}).get(names.POD_DELETION_COST)
        for pod in fleet.pods(names.COMPONENT_MODEL)
    }
    assert {name for name, cost in costs.items() if cost} == set(victims)

    stays = [pod for pod in pods if pod not in victims]
    gateway.say(thinking=2, arrivals=16, replicas=busy(stays, 2) | busy(victims, 0, obeys=True))
    eventually(lambda: fleet.replicas() == size - len(victims), 30, "the idle victim goes")
    left = eventually(
        lambda: len(p := fleet.pods(names.COMPONENT_MODEL)) == size - len(victims) and p, 10
    )
    assert {name_of(pod) for pod in left} == set(stays), "and no other"


def test_a_silent_gateway_never_shrinks_the_fleet_and_is_reported(
    fleet: Fleet, gateway: StandInGateway
) -> None:
    pods = fleet.make_ready(names.COMPONENT_MODEL)
    gateway.say(queued=8, thinking=8, arrivals=16, replicas=busy(pods, 8))
    eventually(lambda: fleet.replicas() > 1, 5)
    size = fleet.replicas()
    fleet.make_ready(names.COMPONENT_MODEL)
    gateway.__exit__()
    silent = eventually(
        lambda: (c := fleet.condition("SignalsAvailable")).get("status") == "False" and c, 40
    )
    assert silent["reason"] == "SignalsStale"
    assert fleet.replicas() == size


def test_a_restarted_operator_keeps_the_size_that_it_finds(
    control_plane: ClusterClient,
    namespace: str,
    gateway: StandInGateway,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    define(control_plane)
    log = tmp_path_factory.mktemp("operator") / "log"
    only = f"--namespaces={namespace}"
    with operator(control_plane, log, only) as first:
        fleet = serving(control_plane, namespace, SERVICE)
        pods = fleet.make_ready(names.COMPONENT_MODEL)
        gateway.say(queued=16, thinking=8, arrivals=24, replicas=busy(pods, 8))
        eventually(lambda: fleet.replicas() > 1, 5)
        first.kill()
    size = fleet.replicas()
    fleet.make_ready(names.COMPONENT_MODEL)
    with operator(control_plane, log, only) as second:
        held = time.monotonic() + 6.0
        while time.monotonic() < held:
            assert fleet.replicas() >= size, "history is empty, the fleet is not"
        assert second.stop() < 2.0


def test_manual_and_advisory_leave_the_replicas_to_the_resource(
    control_plane: ClusterClient, namespace: str, running: Operator, gateway: StandInGateway
) -> None:
    service = deepcopy(SERVICE)
    service["spec"]["replicas"] = 2
    service["spec"]["scaling"]["mode"] = "Advisory"
    fleet = serving(control_plane, namespace, service)
    pods = eventually(lambda: len(p := fleet.make_ready(names.COMPONENT_MODEL)) == 2 and p, 10)
    gateway.say(queued=30, thinking=16, arrivals=46, replicas=busy(pods, 8))
    status = eventually(lambda: (s := fleet.status())["desiredReplicas"] > 2 and s, 20)
    assert fleet.replicas() == 2, "it says what it would do, and does not"
    assert status["selector"] == "app.kubernetes.io/component=model,thinkscale.dev/service=r1"
    assert fleet.condition("ScalingActive")["reason"] == "Advisory"
    control_plane.kubectl("scale", "rsvc", "r1", "-n", namespace, "--replicas=3")
    eventually(lambda: fleet.replicas() == 3, 5, "kubectl scale is obeyed")


def test_stuck_replicas_are_named_with_what_kubernetes_says_of_them(fleet: Fleet) -> None:
    (pod,) = fleet.pods(names.COMPONENT_MODEL)
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "localhost/x"'}
    status = ready_status()
    for condition in status["conditions"]:
        if condition["type"] in ("Ready", "ContainersReady"):
            condition["status"] = "False"
    status |= {
        "phase": "Pending",
        "containerStatuses": [
            {
                "name": "engine",
                "image": "localhost/x",
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": {"waiting": waiting},
            }
        ],
    }
    fleet.patch_status(name_of(pod), status)
    stalled = eventually(
        lambda: (c := fleet.condition("Stalled")).get("status") == "True" and c, 10
    )
    assert stalled["reason"] == "ImagePullFailed"
    assert name_of(pod) in stalled["message"]
    assert 'Back-off pulling image "localhost/x"' in stalled["message"]
    events = eventually(
        lambda: fleet.get("events", "--field-selector=reason=ImagePullFailed")["items"], 5
    )
    assert events[0]["type"] == "Warning"
    fleet.patch_status(name_of(pod), {"containerStatuses": None} | ready_status())
    eventually(lambda: fleet.condition("Stalled")["status"] == "False", 10, "it is mended")


def test_gpus_that_no_node_has_are_a_condition_and_an_event(
    control_plane: ClusterClient, namespace: str, running: Operator
) -> None:
    """The scheduler is a real one; it has no node to put them on."""
    service = deepcopy(SERVICE)
    service["spec"]["engine"]["gpus"] = {"count": 4}
    control_plane.apply(service, "-n", namespace)
    fleet = Fleet(control_plane, namespace)
    # The gateway's pod has no node either, and may be told of a tick earlier.
    stalled = eventually(
        lambda: (c := fleet.condition("Stalled")).get("message", "").startswith("model pod") and c,
        60,
    )
    assert stalled["reason"] == "Unschedulable"
    (pod,) = fleet.pods(names.COMPONENT_MODEL)
    limits = pod["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "4"
    assert stalled["status"] == "True"
    assert stalled["message"].startswith(f"model pod {name_of(pod)}: no nodes available")
    events = eventually(
        lambda: fleet.get("events", "--field-selector=reason=Unschedulable")["items"], 5
    )
    told = [(e["type"], e["message"]) for e in events if "model pod" in e["message"]]
    assert told == [("Warning", stalled["message"].partition("; ")[0])]


def test_an_slo_that_no_fleet_can_meet_is_a_condition_and_an_event(
    control_plane: ClusterClient, namespace: str, running: Operator, gateway: StandInGateway
) -> None:
    service = deepcopy(SERVICE)
    service["spec"]["slos"] = [
        {
            "name": "pace",
            "indicator": "TimePerAnswerToken",
            "thresholdMilliseconds": 20,
            "objectivePercent": "99",
        }
    ]
    fleet = serving(control_plane, namespace, service)
    assert fleet.condition("SLOsMet")["reason"] != "Unattainable", "nothing was measured yet"
    gateway.say(arrivals=1, fastest_token_seconds=0.030)
    unmet = eventually(
        lambda: (c := fleet.condition("SLOsMet")).get("reason") == "Unattainable" and c, 30
    )
    assert unmet["status"] == "False"
    assert "no number of replicas can meet 20 ms a token" in unmet["message"]
    events = eventually(
        lambda: fleet.get("events", "--field-selector=reason=Unattainable")["items"], 5
    )
    assert [(e["type"], e["message"]) for e in events] == [("Warning", unmet["message"])]
