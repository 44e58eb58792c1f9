"""The control plane of the API-level tests is a real one."""

import json

import pytest

from e2e.harness import ClusterClient, CommandError, eventually


def test_the_api_server_says_which_version_it_is(control_plane: ClusterClient) -> None:
    version = json.loads(control_plane.kubectl("version", "-o", "json").stdout)
    assert version["serverVersion"]["gitVersion"] == version["clientVersion"]["gitVersion"]
    assert version["serverVersion"]["major"] == "1"


def test_controllers_and_scheduler_do_their_work(
    control_plane: ClusterClient, namespace: str
) -> None:
    deployment = ["deployment", "web", "-n", namespace]
    control_plane.kubectl("create", *deployment, "--image=web:1", "--replicas=0")
    nowhere = {"spec": {"replicas": 1, "template": {"spec": {"nodeSelector": {"no": "where"}}}}}
    control_plane.kubectl("patch", *deployment, "--patch", json.dumps(nowhere))

    def why_it_waits() -> str:
        pods = control_plane.get("pods", "-n", namespace)["items"]
        return str(pods[0]["status"]["conditions"][0]["reason"])

    assert eventually(why_it_waits, 10, "scheduler's verdict") == "Unschedulable"


def test_what_is_owned_goes_with_its_owner(control_plane: ClusterClient, namespace: str) -> None:
    control_plane.kubectl("create", "deployment", "web", "--image=web:1", "-n", namespace)
    eventually(lambda: control_plane.get("rs", "-n", namespace)["items"], 10, "a ReplicaSet")
    control_plane.kubectl("delete", "deployment", "web", "-n", namespace)
    eventually(
        lambda: not control_plane.get("rs,pods", "-n", namespace)["items"], 20, "nothing left"
    )


def test_a_refused_command_raises_with_what_kubectl_said(control_plane: ClusterClient) -> None:
    with pytest.raises(CommandError, match='namespaces "nowhere" not found'):
        control_plane.kubectl("get", "namespace", "nowhere")
