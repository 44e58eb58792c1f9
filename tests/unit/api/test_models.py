"""The models read what the API server stores, and nothing can change them afterwards."""

from typing import Any

import pytest
from pydantic import ValidationError

from thinkscale.api.v1alpha1 import OnExhausted, ReasoningService, ScalingMode

STORED: dict[str, Any] = {
    "apiVersion": "thinkscale.dev/v1alpha1",
    "kind": "ReasoningService",
    "metadata": {
        "name": "r1",
        "namespace": "team-a",
        "uid": "0b1c",
        "generation": 7,
        "resourceVersion": "12",
        "managedFields": [{"manager": "kubectl"}],
    },
    "spec": {
        "model": {"uri": "hf://a/b"},
        "engine": {
            "image": "i",
            "contextTokens": 4096,
            "resources": {"requests": {"cpu": 8, "memory": "64Gi"}},
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        },
        "thinking": {"budget": {"maxTokens": 10, "onExhausted": "Stop"}},
        "scaling": {"mode": "Manual", "maxReplicas": 2},
        "replicas": 1,
    },
}


def test_fields_have_snake_case_names_inside() -> None:
    service = ReasoningService.model_validate(STORED)
    assert service.metadata.resource_version == "12"
    assert service.spec.engine.max_concurrent_requests == 128
    assert service.spec.scaling.mode is ScalingMode.MANUAL
    assert service.spec.thinking.budget is not None
    assert service.spec.thinking.budget.on_exhausted is OnExhausted.STOP


def test_quantities_keep_their_spelling() -> None:
    resources = ReasoningService.model_validate(STORED).spec.engine.resources
    assert resources is not None
    assert dict(resources.requests) == {"cpu": 8, "memory": "64Gi"}


def test_fields_of_a_newer_crd_are_ignored_so_that_going_back_is_safe() -> None:
    newer = STORED | {"spec": STORED["spec"] | {"rollout": {"maxSurge": 1}}}
    assert ReasoningService.model_validate(newer).spec == (
        ReasoningService.model_validate(STORED).spec
    )


def test_what_is_invalid_in_the_schema_is_invalid_here() -> None:
    with pytest.raises(ValidationError, match=r"spec\.scaling\.maxReplicas"):
        ReasoningService.model_validate(STORED | {"spec": STORED["spec"] | {"scaling": {}}})


def test_a_read_resource_cannot_be_changed() -> None:
    service = ReasoningService.model_validate(STORED)
    with pytest.raises(ValidationError, match="frozen"):
        service.spec.scaling.max_replicas = 9


def test_what_was_written_comes_out_as_it_went_in() -> None:
    service = ReasoningService.model_validate(STORED)
    assert service.spec.model_dump(by_alias=True, exclude_unset=True, mode="json") == STORED["spec"]
