"""Killed between any two writes, the operator's successor makes the same of it.

One clean run counts the writes that a service's creation and its first scale-up take. Then the
operator is killed right after some of these writes, a new one is started, and the cluster must
end up the same, without the fleet ever having shrunk.
"""

import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.harness import ClusterClient, eventually
from tests.cluster.api_proxy import ApiProxy
from tests.cluster.operator_kit import (
    SERVICE,
    Fleet,
    Operator,
    StandInGateway,
    define,
    kubeconfig_of,
    operator,
)
from thinkscale.api import names

IP = "127.0.9.1"
OBJECTS = "deployments,services,configmaps,pdb,serviceaccounts,roles,rolebindings"


@pytest.fixture
def proxy(control_plane: ClusterClient, tmp_path: Path) -> Iterator[ApiProxy]:
    define(control_plane)
    with ApiProxy(kubeconfig_of(control_plane), tmp_path) as made:
        yield made


def make_and_scale(fleet: Fleet, gateway: StandInGateway) -> None:
    """Create the service, let it serve, and send a crowd; returns when it has grown."""
    eventually(lambda: fleet.pods(names.COMPONENT_MODEL), 30, "a model pod")
    eventually(lambda: fleet.pods(names.COMPONENT_GATEWAY), 30, "a gateway pod")
    fleet.make_ready(names.COMPONENT_MODEL)
    fleet.make_ready(names.COMPONENT_GATEWAY, IP)
    eventually(lambda: gateway.polls > 1, 30, "the gateway is asked")
    gateway.say(queued=16, thinking=8, arrivals=24)
    eventually(lambda: fleet.replicas() > 1, 30, "the fleet grows")


def shape(fleet: Fleet) -> dict[str, Any]:
    """What the run must end in: all objects, with what they ask for."""
    label = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"
    items = fleet.get(OBJECTS, "-l", label)["items"]
    uid = fleet.get("rsvc", "r1")["metadata"]["uid"]
    made = {}
    for item in items:
        assert [o["uid"] for o in item["metadata"]["ownerReferences"]] == [uid]
        spec = json.dumps(item.get("spec", {}).get("template") or item.get("rules") or {})
        key = f"{item['kind']}/{item['metadata']['name']}"
        made[key] = spec.replace(fleet.namespace, "NAMESPACE")
    return made | {"replicas": fleet.replicas()}


def run(
    cluster: ClusterClient, proxy: ApiProxy, log: Path, dies_after: int | None
) -> tuple[dict[str, Any], int]:
    """One life of a service; returns what it ended in, and the writes of the first operator."""
    namespace = f"t-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", namespace)
    only = f"--namespaces={namespace}"
    fleet = Fleet(cluster, namespace)
    try:
        with StandInGateway(IP, f"{namespace}/r1") as gateway:
            first = Operator(proxy.kubeconfig, log, only)
            died = threading.Event()

            def plug(count: int) -> None:
                if count == dies_after:
                    first.kill()
                    died.set()

            proxy.writes, proxy.on_write = 0, plug
            first.wait_ready()
            cluster.apply(SERVICE, "-n", namespace)
            if dies_after is None:
                make_and_scale(fleet, gateway)
                eventually(lambda: fleet.status().get("lastDecision"), 10)
                writes = proxy.writes
                first.stop()
                return shape(fleet), writes
            drive = threading.Thread(target=make_and_scale, args=(fleet, gateway))
            drive.start()
            assert died.wait(30), f"there was no write {dies_after}"
            with operator(cluster, log, only):
                drive.join(60)
                assert not drive.is_alive()
                eventually(lambda: fleet.status().get("desiredReplicas"), 10)
                return shape(fleet), proxy.writes
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false", check=False)


def test_an_operator_that_dies_between_two_writes_is_made_good(
    control_plane: ClusterClient, proxy: ApiProxy, tmp_path: Path
) -> None:
    clean, writes = run(control_plane, proxy, tmp_path / "log", None)
    assert clean["replicas"] > 1
    assert writes >= 13, proxy.log
    for after in (1, 4, 9, 10, 11, 12, writes - 1):
        ended, _ = run(control_plane, proxy, tmp_path / "log", after)
        assert ended == clean, f"killed after write {after}"


def test_an_operator_outlives_an_api_server_that_is_away(
    control_plane: ClusterClient, namespace: str, tmp_path: Path
) -> None:
    """For longer than kopf's own patience would be tried, by refusing connections at once."""
    define(control_plane)
    log = tmp_path / "log"
    first = ApiProxy(kubeconfig_of(control_plane), tmp_path)
    with first:
        process = Operator(first.kubeconfig, log, f"--namespaces={namespace}")
        process.wait_ready()
    try:
        eventually(lambda: "Watch failed" in log.read_text(), 20, "the outage is noticed")
        assert process.process.poll() is None
        with ApiProxy(kubeconfig_of(control_plane), tmp_path, port=first.port):
            control_plane.apply(SERVICE, "-n", namespace)
            fleet = Fleet(control_plane, namespace)
            eventually(lambda: fleet.pods(names.COMPONENT_MODEL), 40, "it works on")
            process.stop()
    finally:
        if process.process.poll() is None:
            process.kill()
