"""What a ReasoningService becomes in the cluster: owned objects, rolls, conflicts, clean-up."""

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.harness import ClusterClient, eventually
from tests.cluster.operator_kit import SERVICE, Fleet, Operator, define, operator
from thinkscale.api import names
from thinkscale.resources.workload import Pin

OWNED = {
    ("Deployment", "r1-model"),
    ("Deployment", "r1-gateway"),
    ("Service", "r1"),
    ("Service", "r1-model"),
    ("ConfigMap", "r1-runtime"),
    ("PodDisruptionBudget", "r1-model"),
    ("PodDisruptionBudget", "r1-gateway"),
    ("ServiceAccount", "r1-model"),
    ("ServiceAccount", "r1-gateway"),
    ("Role", "r1-gateway"),
    ("RoleBinding", "r1-gateway"),
}
KINDS = "deployments,services,configmaps,pdb,serviceaccounts,roles,rolebindings"


@pytest.fixture(scope="module")
def running(
    control_plane: ClusterClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    define(control_plane)
    with operator(control_plane, tmp_path_factory.mktemp("operator") / "log") as process:
        yield process


@pytest.fixture
def fleet(control_plane: ClusterClient, namespace: str, running: Operator) -> Fleet:
    """A service of the test's own, with all its objects there."""
    control_plane.apply(SERVICE, "-n", namespace)
    made = Fleet(control_plane, namespace)
    eventually(lambda: owned(made) == OWNED, 10, "all objects exist")
    eventually(made.status, 10, "there is a status")
    return made


def owned(fleet: Fleet) -> set[tuple[str, str]]:
    """Kind and name of everything that carries our label."""
    label = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"
    items = fleet.get(KINDS, "-l", label)["items"]
    return {(item["kind"], item["metadata"]["name"]) for item in items}


def change(fleet: Fleet, spec: dict[str, Any]) -> int:
    """Merge-patch the spec; wait until the operator has acted on it. Returns the generation."""
    patch = json.dumps({"spec": spec})
    fleet.cluster.kubectl("patch", "rsvc", "r1", "-n", fleet.namespace, "--type=merge", "-p", patch)
    generation = int(fleet.get("rsvc", "r1")["metadata"]["generation"])
    eventually(
        lambda: fleet.status()["observedGeneration"] == generation, 10, "the change was seen"
    )
    return generation


def revision(fleet: Fleet, deployment: str = "r1-model") -> str:
    """The revision of a Deployment's pod template, as its controller counts."""
    annotations = fleet.get("deployment", deployment)["metadata"]["annotations"]
    return str(annotations["deployment.kubernetes.io/revision"])


def test_every_object_is_owned_by_the_resource_and_by_it_alone(fleet: Fleet) -> None:
    uid = fleet.get("rsvc", "r1")["metadata"]["uid"]
    label = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"
    for item in fleet.get(KINDS, "-l", label)["items"]:
        (reference,) = item["metadata"]["ownerReferences"]
        assert reference["uid"] == uid
        assert reference["controller"] is True
        assert "finalizers" not in item["metadata"]
    assert "finalizers" not in fleet.get("rsvc", "r1")["metadata"]


def test_model_pods_get_no_token_and_gateways_may_read_two_things(fleet: Fleet) -> None:
    pod = fleet.model()["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    rules = fleet.get("role", "r1-gateway")["rules"]
    assert [(rule["resources"], rule.get("resourceNames")) for rule in rules] == [
        (["configmaps"], ["r1-runtime"]),
        (["endpointslices"], None),
    ]
    may = ["--as", f"system:serviceaccount:{fleet.namespace}:r1-gateway", "-n", fleet.namespace]
    answers = {
        what: fleet.cluster.kubectl(
            "auth", "can-i", *what.split(), *may, check=False
        ).stdout.strip()
        for what in (
            "get configmaps/r1-runtime",
            "list endpointslices",
            "get configmaps",
            "get pods",
        )
    }
    assert answers == {
        "get configmaps/r1-runtime": "yes",
        "list endpointslices": "yes",
        "get configmaps": "no",
        "get pods": "no",
    }


def test_owned_objects_that_are_deleted_come_back_at_once(fleet: Fleet) -> None:
    uids = {thing: fleet.get(*thing)["metadata"]["uid"] for thing in OWNED}
    things = [f"{kind}/{name}" for kind, name in sorted(OWNED)]
    fleet.cluster.kubectl("delete", *things, "-n", fleet.namespace, "--wait=false")

    def all_back() -> bool:
        label = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"
        items = fleet.get(KINDS, "-l", label)["items"]
        new = {(i["kind"], i["metadata"]["name"]): i["metadata"]["uid"] for i in items}
        return new.keys() == OWNED and all(new[thing] != uids[thing] for thing in OWNED)

    eventually(all_back, 10, "every object is back")


def test_an_edit_by_hand_is_put_right(fleet: Fleet) -> None:
    fleet.cluster.kubectl("scale", "deployment", "r1-model", "-n", fleet.namespace, "--replicas=5")
    eventually(lambda: fleet.replicas() == 1, 5, "the replicas are restated")
    patch = '{"spec":{"selector":{"thinkscale.dev/service":"other"}}}'
    fleet.cluster.kubectl("patch", "service", "r1", "-n", fleet.namespace, "-p", patch)
    eventually(
        lambda: fleet.get("service", "r1")["spec"]["selector"]["thinkscale.dev/service"] == "r1",
        5,
        "the selector is restated",
    )


ROLLING: list[dict[str, Any]] = [
    {"engine": {"image": "localhost/engine:2"}},
    {"engine": {"args": ["--seed=7"]}},
    {"engine": {"maxConcurrentRequests": 16}},
    {"engine": {"gpus": {"count": 2}}},
    {"engine": {"podTemplate": {"metadata": {"labels": {"team": "a"}}}}},
    {"model": {"uri": "hf://acme/r2"}},
]


def test_changes_of_model_and_engine_roll_the_model_pods_and_no_gateway(fleet: Fleet) -> None:
    eventually(lambda: revision(fleet) == "1", 5)
    for count, spec in enumerate(ROLLING, start=2):
        change(fleet, spec)
        eventually(lambda count=count: revision(fleet) == str(count), 5, f"{spec} rolls")
    assert revision(fleet, "r1-gateway") == "1"


OBJECTIVE = {
    "name": "first",
    "indicator": "TimeToFirstAnswer",
    "thresholdMilliseconds": 9000,
    "objectivePercent": "99",
}
STILL: list[dict[str, Any]] = [
    {"thinking": {"budget": {"maxTokens": 500}}, "answer": {"maxTokens": 100}},
    {"slos": [OBJECTIVE]},
    {"scaling": {"maxReplicas": 9, "minReplicas": 2}},
    {"gateway": {"minReplicas": 2, "queue": {"maxRequests": 7}, "service": {"type": "NodePort"}}},
]


def test_changes_of_anything_else_roll_no_model_pod(fleet: Fleet) -> None:
    eventually(lambda: revision(fleet) == "1", 5)
    template = fleet.model()["spec"]["template"]
    for spec in STILL:
        change(fleet, spec)
        assert fleet.model()["spec"]["template"] == template
    assert revision(fleet) == "1"
    assert fleet.get("deployment", "r1-gateway")["spec"]["replicas"] == 2
    assert fleet.get("service", "r1")["spec"]["type"] == "NodePort"


def test_an_operator_that_renders_differently_rolls_nothing_until_the_user_does(
    fleet: Fleet,
) -> None:
    """An older operator's template is in the Deployment's pin; this one restates it."""
    annotations = fleet.model()["metadata"]["annotations"]
    older = json.loads(annotations[names.PINNED_TEMPLATE])
    older["spec"]["terminationGracePeriodSeconds"] = 47
    older["spec"]["containers"][0]["args"].append("--older")
    pin = Pin(inputs=annotations[names.ROLLING_INPUTS], template=older)
    patch = {
        "metadata": {"annotations": pin.annotations()},
        "spec": {"template": {"spec": older["spec"]}},
    }
    fleet.cluster.kubectl(
        "patch", "deployment", "r1-model", "-n", fleet.namespace, "-p", json.dumps(patch)
    )
    change(fleet, {"scaling": {"maxReplicas": 5}})
    pod = fleet.model()["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 47
    assert "--older" in pod["containers"][0]["args"]
    change(fleet, {"engine": {"image": "localhost/engine:2"}})
    pod = fleet.model()["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 60
    assert "--older" not in pod["containers"][0]["args"]


def test_a_pin_that_somebody_edited_is_put_right_and_rolls_nothing(fleet: Fleet) -> None:
    before = fleet.model()
    pin = before["metadata"]["annotations"][names.PINNED_TEMPLATE]
    edited = json.loads(pin)
    edited["spec"]["containers"][0]["args"].append("--mine")
    fleet.cluster.kubectl(
        "annotate",
        "deployment",
        "r1-model",
        "-n",
        fleet.namespace,
        "--overwrite",
        f"{names.PINNED_TEMPLATE}={json.dumps(edited)}",
    )
    eventually(lambda: fleet.model()["metadata"]["annotations"][names.PINNED_TEMPLATE] == pin, 5)
    assert fleet.model()["spec"]["template"] == before["spec"]["template"]
    assert revision(fleet) == "1"


def test_a_service_held_by_a_finalizer_is_told_and_the_rest_goes_on(fleet: Fleet) -> None:
    hold = json.dumps({"metadata": {"finalizers": ["example.com/load-balancer"]}})
    where = ("-n", fleet.namespace)
    fleet.cluster.kubectl("patch", "service", "r1", *where, "--type=merge", "-p", hold)
    fleet.cluster.kubectl("delete", "service", "r1", *where, "--wait=false")
    change(fleet, {"gateway": {"queue": {"maxRequests": 7}}})
    config = json.loads(fleet.get("configmap", "r1-runtime")["data"][names.CONFIG_KEY])
    assert config["queueMaxRequests"] == 7, "the rest is written all the same"
    stalled = eventually(
        lambda: (c := fleet.condition("Stalled")).get("reason") == "Leaving" and c, 20
    )
    assert "Service r1 is being deleted" in stalled["message"]
    assert fleet.get("events", "--field-selector=reason=Leaving")["items"]
    release = json.dumps({"metadata": {"finalizers": None}})
    fleet.cluster.kubectl("patch", "service", "r1", *where, "--type=merge", "-p", release)
    eventually(lambda: owned(fleet) == OWNED, 10, "it comes back once it is free")
    eventually(lambda: fleet.condition("Stalled").get("reason") != "Leaving", 10)


def test_the_gateways_configuration_follows_the_resource(fleet: Fleet) -> None:
    change(
        fleet,
        {
            "thinking": {"budget": {"maxTokens": 500, "floorTokens": 100}},
            "gateway": {"queue": {"maxRequests": 7}},
        },
    )
    data = fleet.get("configmap", "r1-runtime")["data"]
    config = json.loads(data[names.CONFIG_KEY])
    assert (config["maxTokens"], config["queueMaxRequests"]) == (500, 7)
    assert config["seatsPerReplica"] == 8
    assert json.loads(data[names.DIRECTIVE_KEY])["ceiling"]["seats"] == 9, "one in sixteen more"


def test_a_foreign_object_of_that_name_is_never_overwritten(
    control_plane: ClusterClient, namespace: str, running: Operator
) -> None:
    control_plane.kubectl(
        "create", "configmap", "r1-runtime", "-n", namespace, "--from-literal=a=b"
    )
    control_plane.apply(SERVICE, "-n", namespace)
    fleet = Fleet(control_plane, namespace)
    stalled = eventually(
        lambda: (c := fleet.condition("Stalled")).get("reason") == "NameConflict" and c, 10
    )
    assert stalled["message"] == (
        "ConfigMap r1-runtime exists and belongs to somebody else; rename or delete it, "
        "or rename this ReasoningService"
    )
    assert fleet.get("configmap", "r1-runtime")["data"] == {"a": "b"}
    assert ("Deployment", "r1-model") not in owned(fleet), "half a service must not hold GPUs"
    events = fleet.get("events", "--field-selector=reason=NameConflict")["items"]
    assert [event["type"] for event in events] == ["Warning"]

    control_plane.kubectl("delete", "configmap", "r1-runtime", "-n", namespace)
    eventually(lambda: owned(fleet) == OWNED, 40, "it recovers once the name is free")


def test_nothing_is_written_while_nothing_changes(fleet: Fleet, running: Operator) -> None:
    eventually(lambda: "model pod" in fleet.condition("Stalled").get("message", ""), 60)
    versions = resource_versions(fleet)
    quiet = time.monotonic() + 5.0
    while time.monotonic() < quiet:
        now = resource_versions(fleet)
        changed = {key for key in now if now[key] != versions.get(key)}
        assert changed <= {("ConfigMap", "r1-runtime")}, "only the law's state, twice a minute"


def resource_versions(fleet: Fleet) -> dict[tuple[str, str], str]:
    """Versions of all objects of the service."""
    items = fleet.get(f"{KINDS},rsvc")["items"]
    return {(i["kind"], i["metadata"]["name"]): i["metadata"]["resourceVersion"] for i in items}


def test_a_second_service_of_the_namespace_shares_nothing(fleet: Fleet) -> None:
    second = copy.deepcopy(SERVICE)
    second["metadata"]["name"] = "r2"
    fleet.cluster.apply(second, "-n", fleet.namespace)
    expected = OWNED | {(kind, name.replace("r1", "r2")) for kind, name in OWNED}
    eventually(lambda: owned(fleet) == expected, 10)
    fleet.cluster.kubectl("delete", "rsvc", "r2", "-n", fleet.namespace, "--timeout=10s")
    eventually(lambda: owned(fleet) == OWNED, 60)


# Last in this file: Kubernetes' garbage collector learns of a new kind of owner only every 30 s.


def test_deleting_the_resource_removes_everything(fleet: Fleet) -> None:
    fleet.cluster.kubectl("delete", "rsvc", "r1", "-n", fleet.namespace, "--timeout=10s")
    eventually(lambda: not owned(fleet), 60, "nothing is left")  # kcm may still learn of the CRD
    quiet = time.monotonic() + 1.0
    while time.monotonic() < quiet:
        assert not owned(fleet)


def test_a_resource_that_is_made_anew_under_its_old_name_gets_objects_of_its_own(
    fleet: Fleet,
) -> None:
    fleet.cluster.kubectl("delete", "rsvc", "r1", "-n", fleet.namespace, "--timeout=10s")
    fleet.cluster.apply(SERVICE, "-n", fleet.namespace)
    uid = fleet.get("rsvc", "r1")["metadata"]["uid"]

    def all_new() -> bool:
        label = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"
        items = fleet.get(KINDS, "-l", label)["items"]
        owners = {item["metadata"]["ownerReferences"][0]["uid"] for item in items}
        return owners == {uid} and owned(fleet) == OWNED

    eventually(all_new, 60, "all objects belong to the new resource")
