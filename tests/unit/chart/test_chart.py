"""The Helm chart, rendered by the real helm: what it makes, and what it says to bad values."""

import json
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from e2e.harness import assets
from thinkscale import __version__
from thinkscale.api import pool_crd, rbac
from thinkscale.api.crd import crd
from thinkscale.api.v1alpha1 import ReasoningService

CHART = Path(__file__).parents[3] / "charts" / "thinkscale"
KUBERNETES = "1.36"
IMAGE = {"image.repository": "registry.example/thinkscale", "image.tag": "dev"}
NAME = "ts-thinkscale"
CRD = ("CustomResourceDefinition", "reasoningservices.thinkscale.dev")
POOL_CRD = ("CustomResourceDefinition", "gpupools.thinkscale.dev")
Objects = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="session")
def helm() -> str:
    try:
        return assets.find().path("helm")
    except assets.MissingAssetsError as error:
        if assets.must_not_skip():
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


def render(helm: str, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    settings = [f"--set-json={key}={json.dumps(value)}" for key, value in values.items()]
    command = [helm, "template", "ts", str(CHART), "--namespace=ts-system"]
    return subprocess.run(
        [*command, f"--kube-version={KUBERNETES}.0", *settings],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def objects_of(helm: str, values: dict[str, Any]) -> Objects:
    """The rendered objects by kind and name (RoleBindings: by namespace), each valid."""
    done = render(helm, IMAGE | values)
    assert done.returncode == 0, done.stderr
    objects: Objects = {}
    for made in filter(None, yaml.safe_load_all(done.stdout)):
        kubernetes_validate.validate(made, KUBERNETES, strict=True)
        key = "namespace" if made["kind"] == "RoleBinding" else "name"
        objects[made["kind"], made["metadata"][key]] = made
    return objects


def pod(objects: Objects) -> dict[str, Any]:
    made: dict[str, Any] = objects["Deployment", NAME]["spec"]["template"]["spec"]
    return made


def container(objects: Objects) -> dict[str, Any]:
    made: dict[str, Any] = pod(objects)["containers"][0]
    return made


def test_lint_is_content(helm: str) -> None:
    done = subprocess.run(
        [helm, "lint", "--strict", str(CHART), "--set", "image.repository=registry.example/x"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


def test_by_default_it_makes_these_objects_and_no_others(helm: str) -> None:
    assert set(objects_of(helm, {})) == {
        ("Deployment", NAME),
        ("ServiceAccount", NAME),
        ("ClusterRole", NAME),
        ("ClusterRoleBinding", NAME),
        ("ClusterRole", f"{NAME}-cluster"),
        ("ClusterRoleBinding", f"{NAME}-cluster"),
        ("ClusterRole", f"{NAME}-view"),
        ("ClusterRole", f"{NAME}-edit"),
        CRD,
        POOL_CRD,
    }


def test_without_an_image_it_says_how_to_build_and_push_one(helm: str) -> None:
    done = render(helm, {})
    assert done.returncode != 0
    assert "image.repository is required: no image of thinkscale is published." in done.stderr
    assert "docker build -f Containerfile -t REGISTRY/thinkscale:TAG ." in done.stderr
    assert "docker push REGISTRY/thinkscale:TAG" in done.stderr
    assert "--set image.repository=REGISTRY/thinkscale --set image.tag=TAG" in done.stderr


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"replicaCount": 2}, "additional properties 'replicaCount' not allowed"),
        ({"image.pullPolicy": "Sometimes"}, "value must be one of 'Always', 'IfNotPresent'"),
        ({"image.repository": "reg/thinkscale:dev"}, "at '/image/repository'"),
        ({"image.digest": "abc"}, "at '/image/digest'"),
        ({"watchNamespaces": "team-a"}, "at '/watchNamespaces': got string, want array"),
        ({"watchNamespaces": ["Team A"]}, "at '/watchNamespaces/0'"),
        ({"crds.install": "perhaps"}, "at '/crds/install': got string, want boolean"),
        ({"operator.resources": {"cpu": 1}}, "additional properties 'cpu' not allowed"),
        ({"operator.args": ["--image=other"]}, "at '/operator/args/0'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_values_are_refused_by_name(helm: str, value: dict[str, Any], message: str) -> None:
    done = render(helm, IMAGE | value)
    assert done.returncode != 0
    assert message in done.stderr


def test_one_operator_at_a_time_without_any_privilege(helm: str) -> None:
    objects = objects_of(helm, {})
    spec = objects["Deployment", NAME]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert pod(objects)["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container(objects)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container(objects)["resources"]["limits"]["memory"] == "512Mi"


def test_it_runs_the_operator_with_its_own_image_for_the_gateways(helm: str) -> None:
    made = container(objects_of(helm, {"image.pullPolicy": "Never"}))
    assert made["image"] == "registry.example/thinkscale:dev"
    assert made["imagePullPolicy"] == "Never"
    assert made["args"] == [
        "operator",
        "--image=registry.example/thinkscale:dev",
        "--image-pull-policy=Never",
        "--admin-port=9090",
    ]


def test_probes_ask_the_admin_port(helm: str) -> None:
    made = container(objects_of(helm, {}))
    assert made["ports"] == [{"name": "admin", "containerPort": 9090}]
    asked = {name: made[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {probe["port"] for probe in asked.values()} == {"admin"}
    assert asked["liveness"]["path"] == "/healthz"
    assert asked["readiness"]["path"] == "/readyz"


def test_the_tag_defaults_to_the_chart_s_version_and_a_digest_pins_it(helm: str) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    made = container(objects_of(helm, {"image.tag": ""}))
    assert made["image"] == f"registry.example/thinkscale:{__version__}"
    digest = "sha256:" + "0" * 64
    made = container(objects_of(helm, {"image.digest": digest}))
    assert made["image"] == f"registry.example/thinkscale:dev@{digest}"
    assert f"--image=registry.example/thinkscale:dev@{digest}" in made["args"]


def test_the_operator_s_rights_are_the_table_s(helm: str) -> None:
    objects = objects_of(helm, {})
    assert objects["ClusterRole", NAME]["rules"] == [rule.as_object() for rule in rbac.OPERATOR]
    binding = objects["ClusterRoleBinding", NAME]
    assert binding["roleRef"]["name"] == NAME
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": NAME, "namespace": "ts-system"}
    ]


def test_with_watched_namespaces_the_rights_end_there(helm: str) -> None:
    objects = objects_of(helm, {"watchNamespaces": ["team-a", "team-b"]})
    assert ("ClusterRoleBinding", NAME) not in objects
    for namespace in ("team-a", "team-b"):
        binding = objects["RoleBinding", namespace]
        assert binding["roleRef"] == {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": NAME,
        }
        assert binding["subjects"][0]["namespace"] == "ts-system"
    assert "--namespaces=team-a,team-b" in container(objects)["args"]


@pytest.mark.parametrize("namespaces", [[], ["team-a"]], ids=["everywhere", "some"])
def test_what_lies_in_no_namespace_is_read_in_either_case(helm: str, namespaces: list[str]) -> None:
    objects = objects_of(helm, {"watchNamespaces": namespaces})
    name = f"{NAME}-cluster"
    rules = [rule.as_object() for rule in rbac.CLUSTER]
    assert objects["ClusterRole", name]["rules"] == rules
    assert objects["ClusterRoleBinding", name]["roleRef"]["name"] == name


def test_the_crd_is_the_code_s_and_stays_when_the_chart_goes(helm: str) -> None:
    made = objects_of(helm, {})[CRD]
    assert made["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert made == crd()
    assert objects_of(helm, {"crds.keep": False})[CRD] == crd()
    assert CRD not in objects_of(helm, {"crds.install": False})


def test_so_is_the_pool_s(helm: str) -> None:
    assert objects_of(helm, {"crds.keep": False})[POOL_CRD] == pool_crd.crd()
    assert POOL_CRD not in objects_of(helm, {"crds.install": False})


def test_people_s_own_roles_cover_the_resource_unless_told_not_to(helm: str) -> None:
    objects = objects_of(helm, {})
    view, edit = objects["ClusterRole", f"{NAME}-view"], objects["ClusterRole", f"{NAME}-edit"]
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert {verb for rule in view["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
    seen = {resource for rule in view["rules"] for resource in rule["resources"]}
    assert {"reasoningservices", "gpupools"} <= seen
    changed = {resource for rule in edit["rules"] for resource in rule["resources"]}
    assert "reasoningservices" in changed
    assert "gpupools" not in changed  # who edits a service must not raise its limit
    assert ("ClusterRole", f"{NAME}-edit") not in objects_of(helm, {"rbac.aggregateRoles": False})


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        ({"operator.nodeSelector": {"a": "b"}}, "nodeSelector", {"a": "b"}),
        (
            {"operator.tolerations": [{"operator": "Exists"}]},
            "tolerations",
            [{"operator": "Exists"}],
        ),
        ({"operator.affinity": {"nodeAffinity": {}}}, "affinity", {"nodeAffinity": {}}),
        ({"operator.priorityClassName": "high"}, "priorityClassName", "high"),
        ({"image.pullSecrets": [{"name": "reg"}]}, "imagePullSecrets", [{"name": "reg"}]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_scheduling_values_reach_the_pod(
    helm: str, value: dict[str, Any], field: str, expected: object
) -> None:
    assert field not in pod(objects_of(helm, {}))
    assert pod(objects_of(helm, value))[field] == expected


def test_metadata_and_flags_reach_the_pod(helm: str) -> None:
    objects = objects_of(
        helm,
        {
            "operator.podLabels": {"team": "infra", "app.kubernetes.io/component": "mine"},
            "operator.podAnnotations": {"note": "x"},
            "operator.args": ["--verbose"],
            "operator.resources": {"requests": {"cpu": "1"}},
            "serviceAccount.annotations": {"role": "y"},
        },
    )
    deployment = objects["Deployment", NAME]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert labels["team"] == "infra"
    assert deployment["selector"]["matchLabels"].items() <= labels.items(), "ours win"
    assert deployment["template"]["metadata"]["annotations"] == {"note": "x"}
    assert container(objects)["args"][-1] == "--verbose"
    assert container(objects)["resources"]["requests"]["cpu"] == "1"
    assert objects["ServiceAccount", NAME]["metadata"]["annotations"] == {"role": "y"}


def test_the_notes_show_a_service_that_the_api_server_would_take() -> None:
    notes = (CHART / "templates" / "NOTES.txt").read_text()
    sample = notes.split("<<YAML\n")[1].split("  YAML\n")[0]
    namespace = sample.split("namespace: ")[1].split("}}}")[0] + "}}"
    made = yaml.safe_load(sample.replace(namespace, "default"))
    service = ReasoningService.model_validate(made)
    assert service.spec.model_dump(by_alias=True, exclude_unset=True, mode="json") == made["spec"]
