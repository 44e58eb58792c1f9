"""Bad input is refused by the real API server, in words that name the field and the mend."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from e2e.harness import ClusterClient
from tests.cluster.crd_inputs import SMALLEST_POOL, changed, install_crd

TABLE: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    (Path(__file__).parent / "refusals.yaml").read_text()
)
POOL_ROWS = TABLE.pop("pools")
ROWS = [row for rows in TABLE.values() for row in rows]
Kubectl = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module", autouse=True)
def _crd(control_plane: ClusterClient) -> None:
    install_crd(control_plane)


def whole_message(name: str, errors: list[str], kind: str = "ReasoningService") -> str:
    """What kubectl prints of these errors."""
    text = errors[0] if len(errors) == 1 else "".join(f"\n* {error}" for error in errors)
    return f'The {kind} "{name}" is invalid: {text}\n'


@pytest.mark.parametrize("row", ROWS, ids=[row["why"].replace(" ", "-") for row in ROWS])
def test_bad_input_is_refused_and_the_mended_one_accepted(
    row: dict[str, Any], kubectl: Kubectl, namespace: str
) -> None:
    bad, good = changed(row["given"]), changed(row["mended"])
    apply = ("apply", "-n", namespace, "-f", "-")
    refused = kubectl(*apply, input=json.dumps(bad), check=False)
    assert refused.returncode == 1
    assert refused.stderr == whole_message(bad["metadata"]["name"], row["refused"])
    accepted = kubectl(*apply, input=json.dumps(good))
    assert accepted.stdout == (
        f"reasoningservice.thinkscale.dev/{good['metadata']['name']} created\n"
    )


@pytest.mark.parametrize("row", POOL_ROWS, ids=[row["why"].replace(" ", "-") for row in POOL_ROWS])
def test_a_bad_pool_is_refused_and_the_mended_one_accepted(
    row: dict[str, Any], kubectl: Kubectl
) -> None:
    bad, good = changed(row["given"], SMALLEST_POOL), changed(row["mended"], SMALLEST_POOL)
    refused = kubectl("apply", "-f", "-", input=json.dumps(bad), check=False)
    assert refused.returncode == 1
    assert refused.stderr == whole_message("p1", row["refused"], "GPUPool")
    accepted = kubectl("apply", "--dry-run=server", "-f", "-", input=json.dumps(good))
    assert accepted.stdout == "gpupool.thinkscale.dev/p1 created (server dry run)\n"


def test_the_table_has_as_many_cross_field_rules_as_promised() -> None:
    assert len(ROWS) >= 25
    assert len(TABLE["across_fields"]) >= 12
    assert len({row["why"] for row in ROWS}) == len(ROWS)


def test_a_field_that_does_not_exist_is_refused_by_name(kubectl: Kubectl, namespace: str) -> None:
    misspelt = changed({"spec.scaling.maxReplica": 5})
    refused = kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(misspelt), check=False)
    assert refused.stderr.endswith(
        'strict decoding error: unknown field "spec.scaling.maxReplica"\n'
    )


def test_a_field_that_does_not_exist_is_dropped_when_the_writer_only_warns(
    control_plane: ClusterClient, namespace: str
) -> None:
    misspelt = changed({"spec.scaling.maxReplica": 5})
    done = control_plane.kubectl(
        "apply", "-n", namespace, "--validate=warn", "-f", "-", input=json.dumps(misspelt)
    )
    assert done.stderr == 'Warning: unknown field "spec.scaling.maxReplica"\n'
    stored = control_plane.get("rsvc", "r1", "-n", namespace)
    assert "maxReplica" not in stored["spec"]["scaling"]


def test_rules_hold_for_changes_too(kubectl: Kubectl, namespace: str) -> None:
    kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(changed({})))
    patch = json.dumps({"spec": {"scaling": {"minReplicas": 9}}})
    refused = kubectl(
        "patch", "rsvc", "r1", "-n", namespace, "--type=merge", "-p", patch, check=False
    )
    assert refused.stderr == whole_message(
        "r1",
        [
            "spec.scaling.minReplicas: Invalid value: must be at most maxReplicas: lower it, or "
            "raise maxReplicas"
        ],
    )
