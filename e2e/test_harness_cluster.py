"""The cluster of the end-to-end tests is a real one: nodes, GPUs, Services, names, the product."""

import json
from typing import Any

import pytest

from e2e.harness import PRODUCT_IMAGE, ClusterClient, LocalCluster, eventually

READY_SECONDS = 30
SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["HOSTNAME"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("", 8000), Handler).serve_forever()
"""
WHO_AM_I = """
import json, ssl, urllib.request
mount = "/var/run/secrets/kubernetes.io/serviceaccount"
server = "https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews"
token = open(mount + "/token").read()
headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
body = json.dumps({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"})
request = urllib.request.Request(server, method="POST", headers=headers, data=body.encode())
context = ssl.create_default_context(cafile=mount + "/ca.crt")
review = json.load(urllib.request.urlopen(request, context=context))
print(review["status"]["userInfo"]["username"])
"""
FETCH = "import urllib.request as u; print(u.urlopen('{url}', timeout=5).read().decode())"


@pytest.fixture
def local(cluster: ClusterClient) -> LocalCluster:
    """The cluster, when it is one of ours."""
    if not isinstance(cluster, LocalCluster):
        pytest.skip("about the local cluster only")
    return cluster


def pod(name: str, *arguments: str, gpus: int = 0, command: str | None = None) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "main",
        "image": PRODUCT_IMAGE,
        "imagePullPolicy": "Never",
        "args": list(arguments),
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if command:
        container["command"] = [command]
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        },
    }


def run_to_end(cluster: ClusterClient, namespace: str, manifest: dict[str, Any]) -> str:
    """Run a pod until it succeeds and return what it printed."""
    name = manifest["metadata"]["name"]
    cluster.apply(manifest, "-n", namespace)
    cluster.kubectl(
        *("wait", f"pod/{name}", "-n", namespace),
        *("--for=jsonpath={.status.phase}=Succeeded", f"--timeout={READY_SECONDS}s"),
    )
    return cluster.kubectl("logs", name, "-n", namespace).stdout.strip()


def test_both_nodes_are_ready_and_have_their_gpus(local: LocalCluster) -> None:
    nodes = local.get("nodes")["items"]
    assert [node["metadata"]["name"] for node in nodes] == ["node1", "node2"]
    for node in nodes:
        conditions = {c["type"]: c["status"] for c in node["status"]["conditions"]}
        assert conditions["Ready"] == "True"
        assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
        assert node["metadata"]["labels"]["nvidia.com/gpu.product"]


def test_the_product_runs_unprivileged_on_a_read_only_file_system(
    local: LocalCluster, namespace: str
) -> None:
    printed = run_to_end(local, namespace, pod("version", "--version"))
    assert printed.startswith("thinkscale ")


def test_a_service_answers_by_address_and_by_name_from_a_pod_and_from_here(
    local: LocalCluster, namespace: str
) -> None:
    web = pod("web", "-c", SERVER, command="python3")
    web["spec"]["containers"][0]["readinessProbe"] = {
        "tcpSocket": {"port": 8000},
        "periodSeconds": 1,
    }
    local.apply(web, "-n", namespace)
    local.kubectl("expose", "pod", "web", "--port=80", "--target-port=8000", "-n", namespace)
    local.kubectl("wait", "pod/web", "-n", namespace, "--for=condition=Ready", "--timeout=30s")
    address = local.get("service", "web", "-n", namespace)["spec"]["clusterIP"]

    def ask(name: str, url: str) -> str:
        asking = pod(name, "-c", FETCH.format(url=url), command="python3")
        return run_to_end(local, namespace, asking)

    assert ask("by-address", f"http://{address}/") == "web"
    assert ask("by-name", f"http://web.{namespace}/") == "web"
    assert eventually(lambda: local.lookup("web", namespace), 5, "DNS from here") == address


def test_a_pod_reaches_the_api_server_with_its_own_token(
    local: LocalCluster, namespace: str
) -> None:
    printed = run_to_end(local, namespace, pod("who", "-c", WHO_AM_I, command="python3"))
    assert printed == f"system:serviceaccount:{namespace}:default"


def test_the_seventeenth_gpu_does_not_exist(local: LocalCluster, namespace: str) -> None:
    sleep = "import signal; signal.sigwait({signal.SIGTERM})"
    for number in range(5):
        manifest = pod(f"gpu-{number}", "-c", sleep, command="python3", gpus=4)
        local.apply(manifest, "-n", namespace)

    def phases() -> dict[str, int]:
        found = [p["status"]["phase"] for p in local.get("pods", "-n", namespace)["items"]]
        return {phase: found.count(phase) for phase in set(found)}

    expected = {"Running": 4, "Pending": 1}
    eventually(lambda: phases() == expected, READY_SECONDS, "four of five groups of four GPUs run")
    pending = [
        p for p in local.get("pods", "-n", namespace)["items"] if p["status"]["phase"] == "Pending"
    ]
    assert "Insufficient nvidia.com/gpu" in json.dumps(pending[0]["status"]["conditions"])


def test_the_image_is_small_enough(local: LocalCluster) -> None:
    node = local.get("node", "node1")
    sizes = {name: i["sizeBytes"] for i in node["status"]["images"] for name in i["names"]}
    assert sizes[PRODUCT_IMAGE] < 300e6
    assert len(node["status"]["images"]) == 2, "a store holds what it was made for, nothing older"
