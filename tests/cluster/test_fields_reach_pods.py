"""Every field of `spec.model` and `spec.engine` on its way from the resource to a model pod.

One service says everything, another as little as possible. For each field the table tells where in
the pod it must be found and as what; the bare service's pod must not have it, so that the field is
what brought it there. The pods are those that Kubernetes made of the operator's Deployments.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest

from e2e.harness import ClusterClient, eventually
from tests.cluster.operator_kit import SERVICE, Fleet, define, operator
from thinkscale.api import names

Pod = dict[str, Any]
TERM = {
    "labelSelector": {"matchLabels": {"app": "other"}},
    "topologyKey": "kubernetes.io/hostname",
}
NODES = {
    "requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["h100"]}]}
        ]
    }
}
ITEM = {"key": "k", "path": "file", "mode": 256}
RICH: dict[str, Any] = {
    "model": {
        "uri": "hf://acme/large",
        "revision": "711ad2ea",
        "name": "large-one",
        "tokenSecretRef": {"name": "hf", "key": "token"},
        "cache": {"claimName": "weights", "mountPath": "/kept"},
    },
    "engine": {
        "type": "VLLM",
        "image": "localhost/engine:rich",
        "command": ["serve", "it"],
        "args": ["--seed=7"],
        "reasoningParser": "deepseek_r1",
        "contextTokens": 8192,
        "maxConcurrentRequests": 48,
        "gpus": {"count": 2, "resourceName": "acme.example/gpu"},
        "resources": {"requests": {"cpu": "3"}, "limits": {"memory": "5Gi"}},
        "env": [
            {"name": "PLAIN", "value": "v"},
            {
                "name": "FROM_SECRET",
                "valueFrom": {"secretKeyRef": {"name": "s1", "key": "k1", "optional": True}},
            },
            {
                "name": "FROM_MAP",
                "valueFrom": {"configMapKeyRef": {"name": "m1", "key": "k2", "optional": True}},
            },
        ],
        "envFrom": [
            {"prefix": "S_", "secretRef": {"name": "s2", "optional": True}},
            {"configMapRef": {"name": "m2", "optional": True}},
        ],
        "volumeMounts": [
            {"name": "map", "mountPath": "/map", "subPath": "sub", "readOnly": True},
        ],
        "securityContext": {
            "runAsUser": 1234,
            "runAsGroup": 2345,
            "runAsNonRoot": True,
            "privileged": True,
            "allowPrivilegeEscalation": True,
            "readOnlyRootFilesystem": True,
            "capabilities": {"add": ["IPC_LOCK"], "drop": ["CHOWN"]},
            "seccompProfile": {"type": "Localhost", "localhostProfile": "profile.json"},
        },
        "startupSeconds": 90,
        "drainSeconds": 40,
        "podTemplate": {
            "metadata": {"labels": {"team": "blue"}, "annotations": {"note": "kept"}},
            "spec": {
                "serviceAccountName": "models",
                "imagePullSecrets": [{"name": "registry"}],
                "nodeSelector": {"pool": "gpu"},
                "tolerations": [
                    {"key": "t1", "operator": "Equal", "value": "v1", "effect": "NoSchedule"},
                    {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 77},
                ],
                "affinity": {
                    "nodeAffinity": NODES,
                    "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]},
                    "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]},
                },
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 2,
                        "topologyKey": "zone",
                        "whenUnsatisfiable": "DoNotSchedule",
                        "minDomains": 3,
                        "nodeAffinityPolicy": "Ignore",
                        "nodeTaintsPolicy": "Honor",
                    }
                ],
                "volumes": [
                    {
                        "name": "map",
                        "configMap": {
                            "name": "m3",
                            "items": [ITEM],
                            "defaultMode": 288,
                            "optional": True,
                        },
                    },
                    {
                        "name": "secret",
                        "secret": {
                            "secretName": "s3",
                            "items": [ITEM],
                            "defaultMode": 288,
                            "optional": True,
                        },
                    },
                    {
                        "name": "claim",
                        "persistentVolumeClaim": {"claimName": "c1", "readOnly": True},
                    },
                    {"name": "dir", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
                    {"name": "host", "hostPath": {"path": "/opt/x", "type": "Directory"}},
                    {"name": "nfs", "nfs": {"server": "files", "path": "/y", "readOnly": True}},
                ],
            },
        },
    },
    "scaling": {"maxReplicas": 2},
}
"""Every field but the two names that only exist in the cluster; those are filled in below."""


def engine(pod: Pod) -> dict[str, Any]:
    """The container of the model server."""
    container: dict[str, Any] = pod["spec"]["containers"][0]
    return container


def at(*path: str | int) -> Callable[[Pod], Any]:
    """What lies at this path of the pod."""

    def find(pod: Pod) -> Any:
        node: Any = pod
        for step in path:
            node = node[step]
        return node

    return find


def in_engine(*path: str | int) -> Callable[[Pod], Any]:
    """What lies at this path of the model server's container."""
    return at("spec", "containers", 0, *path)


def flag(name: str) -> Callable[[Pod], Any]:
    """The value of a flag of the model server."""
    return lambda pod: next(
        a.partition("=")[2] for a in engine(pod)["args"] if a.startswith(f"--{name}=")
    )


def variable(name: str, *path: str) -> Callable[[Pod], Any]:
    """An environment variable, or what lies below it."""

    def find(pod: Pod) -> Any:
        node: Any = next(v for v in engine(pod)["env"] if v["name"] == name)
        for step in path:
            node = node[step]
        return node

    return find


def volume(name: str, *path: str | int) -> Callable[[Pod], Any]:
    """What lies below a volume."""

    def find(pod: Pod) -> Any:
        node: Any = next(v for v in pod["spec"]["volumes"] if v["name"] == name)
        for step in path:
            node = node[step]
        return node

    return find


def mount(path: str, *rest: str) -> Callable[[Pod], Any]:
    """What lies below the mount at this directory."""

    def find(pod: Pod) -> Any:
        node: Any = next(m for m in engine(pod)["volumeMounts"] if m["mountPath"] == path)
        for step in rest:
            node = node[step]
        return node

    return find


def spread(key: str) -> Callable[[Pod], Any]:
    return at("spec", "topologySpreadConstraints", 0, key)


def toleration(key: str, field: str) -> Callable[[Pod], Any]:
    return lambda pod: next(t[field] for t in pod["spec"]["tolerations"] if t.get("key") == key)


def everything_tolerated(field: str) -> Callable[[Pod], Any]:
    return lambda pod: next(t[field] for t in pod["spec"]["tolerations"] if "key" not in t)


NAMESPACE = "(the namespace, after which the test names what is not namespaced)"
REACHES: list[tuple[str, Callable[[Pod], Any], Any]] = [
    ("spec.model.uri", in_engine("args", 0), "acme/large"),
    ("spec.model.revision", flag("revision"), "711ad2ea"),
    ("spec.model.name", flag("served-model-name"), "large-one"),
    (
        "spec.model.tokenSecretRef.name",
        variable("HF_TOKEN", "valueFrom", "secretKeyRef", "name"),
        "hf",
    ),
    (
        "spec.model.tokenSecretRef.key",
        variable("HF_TOKEN", "valueFrom", "secretKeyRef", "key"),
        "token",
    ),
    (
        "spec.model.cache.claimName",
        volume("thinkscale-cache", "persistentVolumeClaim", "claimName"),
        "weights",
    ),
    ("spec.model.cache.mountPath", variable("HF_HOME", "value"), "/kept/huggingface"),
    (
        "spec.engine.type",
        in_engine("lifecycle", "preStop", "exec", "command", 3),
        "^(?:vllm:num_requests_running|vllm:num_requests_waiting)",
    ),
    ("spec.engine.image", in_engine("image"), "localhost/engine:rich"),
    ("spec.engine.command[]", in_engine("command"), ["serve", "it"]),
    ("spec.engine.args[]", in_engine("args", -1), "--seed=7"),
    ("spec.engine.reasoningParser", flag("reasoning-parser"), "deepseek_r1"),
    ("spec.engine.contextTokens", flag("max-model-len"), "8192"),
    ("spec.engine.maxConcurrentRequests", flag("max-num-seqs"), "48"),
    ("spec.engine.gpus.count", flag("tensor-parallel-size"), "2"),
    ("spec.engine.gpus.resourceName", in_engine("resources", "limits", "acme.example/gpu"), "2"),
    ("spec.engine.resources.requests.*", in_engine("resources", "requests", "cpu"), "3"),
    ("spec.engine.resources.limits.*", in_engine("resources", "limits", "memory"), "5Gi"),
    ("spec.engine.env[].name", variable("PLAIN", "name"), "PLAIN"),
    ("spec.engine.env[].value", variable("PLAIN", "value"), "v"),
    (
        "spec.engine.env[].valueFrom.secretKeyRef.name",
        variable("FROM_SECRET", "valueFrom", "secretKeyRef", "name"),
        "s1",
    ),
    (
        "spec.engine.env[].valueFrom.secretKeyRef.key",
        variable("FROM_SECRET", "valueFrom", "secretKeyRef", "key"),
        "k1",
    ),
    (
        "spec.engine.env[].valueFrom.secretKeyRef.optional",
        variable("FROM_SECRET", "valueFrom", "secretKeyRef", "optional"),
        True,
    ),
    (
        "spec.engine.env[].valueFrom.configMapKeyRef.name",
        variable("FROM_MAP", "valueFrom", "configMapKeyRef", "name"),
        "m1",
    ),
    (
        "spec.engine.env[].valueFrom.configMapKeyRef.key",
        variable("FROM_MAP", "valueFrom", "configMapKeyRef", "key"),
        "k2",
    ),
    (
        "spec.engine.env[].valueFrom.configMapKeyRef.optional",
        variable("FROM_MAP", "valueFrom", "configMapKeyRef", "optional"),
        True,
    ),
    ("spec.engine.envFrom[].prefix", in_engine("envFrom", 0, "prefix"), "S_"),
    ("spec.engine.envFrom[].secretRef.name", in_engine("envFrom", 0, "secretRef", "name"), "s2"),
    (
        "spec.engine.envFrom[].secretRef.optional",
        in_engine("envFrom", 0, "secretRef", "optional"),
        True,
    ),
    (
        "spec.engine.envFrom[].configMapRef.name",
        in_engine("envFrom", 1, "configMapRef", "name"),
        "m2",
    ),
    (
        "spec.engine.envFrom[].configMapRef.optional",
        in_engine("envFrom", 1, "configMapRef", "optional"),
        True,
    ),
    ("spec.engine.volumeMounts[].name", mount("/map", "name"), "map"),
    ("spec.engine.volumeMounts[].mountPath", mount("/map", "mountPath"), "/map"),
    ("spec.engine.volumeMounts[].subPath", mount("/map", "subPath"), "sub"),
    ("spec.engine.volumeMounts[].readOnly", mount("/map", "readOnly"), True),
    ("spec.engine.securityContext.runAsUser", in_engine("securityContext", "runAsUser"), 1234),
    ("spec.engine.securityContext.runAsGroup", in_engine("securityContext", "runAsGroup"), 2345),
    (
        "spec.engine.securityContext.runAsNonRoot",
        in_engine("securityContext", "runAsNonRoot"),
        True,
    ),
    ("spec.engine.securityContext.privileged", in_engine("securityContext", "privileged"), True),
    (
        "spec.engine.securityContext.allowPrivilegeEscalation",
        in_engine("securityContext", "allowPrivilegeEscalation"),
        True,
    ),
    (
        "spec.engine.securityContext.readOnlyRootFilesystem",
        in_engine("securityContext", "readOnlyRootFilesystem"),
        True,
    ),
    (
        "spec.engine.securityContext.capabilities.add[]",
        in_engine("securityContext", "capabilities", "add"),
        ["IPC_LOCK"],
    ),
    (
        "spec.engine.securityContext.capabilities.drop[]",
        in_engine("securityContext", "capabilities", "drop"),
        ["CHOWN"],
    ),
    (
        "spec.engine.securityContext.seccompProfile.type",
        in_engine("securityContext", "seccompProfile", "type"),
        "Localhost",
    ),
    (
        "spec.engine.securityContext.seccompProfile.localhostProfile",
        in_engine("securityContext", "seccompProfile", "localhostProfile"),
        "profile.json",
    ),
    ("spec.engine.startupSeconds", in_engine("startupProbe", "failureThreshold"), 45),
    ("spec.engine.drainSeconds", at("spec", "terminationGracePeriodSeconds"), 70),
    ("spec.engine.podTemplate.metadata.labels.*", at("metadata", "labels", "team"), "blue"),
    (
        "spec.engine.podTemplate.metadata.annotations.*",
        at("metadata", "annotations", "note"),
        "kept",
    ),
    ("spec.engine.podTemplate.spec.serviceAccountName", at("spec", "serviceAccountName"), "models"),
    (
        "spec.engine.podTemplate.spec.imagePullSecrets[].name",
        at("spec", "imagePullSecrets", 0, "name"),
        "registry",
    ),
    ("spec.engine.podTemplate.spec.nodeSelector.*", at("spec", "nodeSelector", "pool"), "gpu"),
    ("spec.engine.podTemplate.spec.tolerations[].key", toleration("t1", "key"), "t1"),
    (
        "spec.engine.podTemplate.spec.tolerations[].operator",
        everything_tolerated("operator"),
        "Exists",
    ),
    ("spec.engine.podTemplate.spec.tolerations[].value", toleration("t1", "value"), "v1"),
    ("spec.engine.podTemplate.spec.tolerations[].effect", toleration("t1", "effect"), "NoSchedule"),
    (
        "spec.engine.podTemplate.spec.tolerations[].tolerationSeconds",
        everything_tolerated("tolerationSeconds"),
        77,
    ),
    (
        "spec.engine.podTemplate.spec.affinity.nodeAffinity",
        at("spec", "affinity", "nodeAffinity"),
        NODES,
    ),
    (
        "spec.engine.podTemplate.spec.affinity.podAffinity",
        at("spec", "affinity", "podAffinity", "requiredDuringSchedulingIgnoredDuringExecution"),
        [TERM],
    ),
    (
        "spec.engine.podTemplate.spec.affinity.podAntiAffinity",
        at("spec", "affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution"),
        [TERM],
    ),
    ("spec.engine.podTemplate.spec.topologySpreadConstraints[].maxSkew", spread("maxSkew"), 2),
    (
        "spec.engine.podTemplate.spec.topologySpreadConstraints[].topologyKey",
        spread("topologyKey"),
        "zone",
    ),
    (
        "spec.engine.podTemplate.spec.topologySpreadConstraints[].whenUnsatisfiable",
        spread("whenUnsatisfiable"),
        "DoNotSchedule",
    ),
    (
        "spec.engine.podTemplate.spec.topologySpreadConstraints[].minDomains",
        spread("minDomains"),
        3,
    ),
    (
        "spec.engine.podTemplate.spec.topologySpreadConstraints[].nodeAffinityPolicy",
        spread("nodeAffinityPolicy"),
        "Ignore",
    ),
    (
        "spec.engine.podTemplate.spec.topologySpreadConstraints[].nodeTaintsPolicy",
        spread("nodeTaintsPolicy"),
        "Honor",
    ),
    (
        "spec.engine.podTemplate.spec.priorityClassName",
        at("spec", "priorityClassName"),
        NAMESPACE,
    ),
    (
        "spec.engine.podTemplate.spec.runtimeClassName",
        at("spec", "runtimeClassName"),
        NAMESPACE,
    ),
    ("spec.engine.podTemplate.spec.volumes[].name", volume("dir", "name"), "dir"),
    (
        "spec.engine.podTemplate.spec.volumes[].configMap.name",
        volume("map", "configMap", "name"),
        "m3",
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].configMap.items[].key",
        volume("map", "configMap", "items", 0, "key"),
        "k",
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].configMap.items[].path",
        volume("map", "configMap", "items", 0, "path"),
        "file",
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].configMap.items[].mode",
        volume("map", "configMap", "items", 0, "mode"),
        256,
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].configMap.defaultMode",
        volume("map", "configMap", "defaultMode"),
        288,
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].configMap.optional",
        volume("map", "configMap", "optional"),
        True,
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].secret.secretName",
        volume("secret", "secret", "secretName"),
        "s3",
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].secret.items[].key",
        volume("secret", "secret", "items", 0, "key"),
        "k",
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].secret.items[].path",
        volume("secret", "secret", "items", 0, "path"),
        "file",
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].secret.items[].mode",
        volume("secret", "secret", "items", 0, "mode"),
        256,
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].secret.defaultMode",
        volume("secret", "secret", "defaultMode"),
        288,
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].secret.optional",
        volume("secret", "secret", "optional"),
        True,
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].persistentVolumeClaim.claimName",
        volume("claim", "persistentVolumeClaim", "claimName"),
        "c1",
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].persistentVolumeClaim.readOnly",
        volume("claim", "persistentVolumeClaim", "readOnly"),
        True,
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].emptyDir.medium",
        volume("dir", "emptyDir", "medium"),
        "Memory",
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].emptyDir.sizeLimit",
        volume("dir", "emptyDir", "sizeLimit"),
        "1Gi",
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].hostPath.path",
        volume("host", "hostPath", "path"),
        "/opt/x",
    ),
    (
        "spec.engine.podTemplate.spec.volumes[].hostPath.type",
        volume("host", "hostPath", "type"),
        "Directory",
    ),
    ("spec.engine.podTemplate.spec.volumes[].nfs.server", volume("nfs", "nfs", "server"), "files"),
    ("spec.engine.podTemplate.spec.volumes[].nfs.path", volume("nfs", "nfs", "path"), "/y"),
    ("spec.engine.podTemplate.spec.volumes[].nfs.readOnly", volume("nfs", "nfs", "readOnly"), True),
]
"""Path of the field; where in the pod; as what."""


@pytest.fixture(scope="module")
def pods(
    control_plane: ClusterClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Pod]]:
    """A model pod of the rich service, one of the bare one, one with a model on a claim."""
    define(control_plane)
    namespace = f"t-{uuid.uuid4().hex[:8]}"
    control_plane.kubectl("create", "namespace", namespace)
    control_plane.kubectl("create", "serviceaccount", "models", "-n", namespace)
    control_plane.kubectl("create", "priorityclass", namespace, "--value=7")
    control_plane.apply(
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": namespace},
            "handler": "runc",
        }
    )
    rich = deepcopy(RICH)
    rich["engine"]["podTemplate"]["spec"] |= {
        "priorityClassName": namespace,
        "runtimeClassName": namespace,
    }
    claim = deepcopy(SERVICE["spec"]) | {"model": {"uri": "pvc://weights/some/where"}}
    claim["engine"]["type"] = "SGLang"
    log = tmp_path_factory.mktemp("operator") / "log"
    with operator(control_plane, log, f"--namespaces={namespace}"):
        made = {}
        for name, spec in {"rich": rich, "bare": SERVICE["spec"], "claim": claim}.items():
            service = SERVICE | {"metadata": {"name": name}, "spec": spec}
            control_plane.apply(service, "-n", namespace)
            fleet = Fleet(control_plane, namespace, name)
            made[name] = eventually(
                lambda fleet=fleet: fleet.pods(names.COMPONENT_MODEL)[0], 15, f"a pod of {name}"
            )
        yield made
    control_plane.kubectl("delete", "priorityclass,runtimeclass", namespace, check=False)
    control_plane.kubectl("delete", "namespace", namespace, "--wait=false", check=False)


@pytest.mark.parametrize(("path", "find", "expected"), REACHES, ids=[row[0] for row in REACHES])
def test_field_reaches_the_model_pods(
    pods: dict[str, Pod], path: str, find: Callable[[Pod], Any], expected: Any
) -> None:
    if expected == NAMESPACE:
        expected = pods["rich"]["metadata"]["namespace"]
    assert find(pods["rich"]) == expected
    other = "claim" if path == "spec.engine.type" else "bare"  # VLLM is the default
    try:
        bare = find(pods[other])
    except (KeyError, IndexError, StopIteration):
        return
    assert bare != expected, f"{path} is not what brings {expected!r} into the pod"


def test_the_engines_type_decides_how_it_is_spoken_to(pods: dict[str, Pod]) -> None:
    container = engine(pods["rich"])
    assert container["readinessProbe"]["httpGet"]["path"] == "/health"
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:2] == ["python3", "-c"]
    assert command[5] == "40"
    assert container["args"][-2:] == ["--shutdown-timeout=40", "--seed=7"]
    other = engine(pods["claim"])
    assert other["command"] == ["python3", "-m", "sglang.launch_server"]
    assert "--enable-metrics" in other["args"]


def test_a_model_on_a_claim_is_mounted_and_served_from_there(pods: dict[str, Pod]) -> None:
    pod = pods["claim"]
    assert engine(pod)["args"][0] == "--model-path=/models/some/where"
    assert volume("thinkscale-model")(pod)["persistentVolumeClaim"] == {
        "claimName": "weights",
        "readOnly": True,
    }
    assert mount("/models", "name")(pod) == "thinkscale-model"


def test_several_gpus_get_shared_memory_and_one_gets_none(pods: dict[str, Pod]) -> None:
    assert mount("/dev/shm", "name")(pods["rich"]) == "thinkscale-shm"
    assert "volumeMounts" not in engine(pods["bare"]) or all(
        m["mountPath"] != "/dev/shm" for m in engine(pods["bare"])["volumeMounts"]
    )


def test_pods_are_spread_among_those_of_their_own_service(pods: dict[str, Pod]) -> None:
    (constraint,) = pods["rich"]["spec"]["topologySpreadConstraints"]
    assert constraint["labelSelector"]["matchLabels"] == names.selector("rich", "model")
    assert json.dumps(pods["bare"]).count("topologySpreadConstraints") == 0
