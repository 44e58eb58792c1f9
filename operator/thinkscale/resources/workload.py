"""The workload of the model servers, and what belongs to it: behind this seam a Deployment today, a
LeaderWorkerSet later. The law counts replicas, never pods.

What rolls is pinned. The Deployment carries the digest of what the user wrote in `spec.model` and
`spec.engine`, and the pod template that was rendered from it. While the digest stays, the pinned
template is restated word for word: an operator that renders differently than the one before it
(a new probe, a new default) changes nothing that runs, until the user changes what rolls. A digest
over both tells such a pin from one that was edited by hand.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from thinkscale.api import names
from thinkscale.api.v1alpha1 import ReasoningService
from thinkscale.resources.model_pods import model_pod_template
from thinkscale.resources.objects import (
    Object,
    digest,
    disruption_budget,
    owned,
    plain,
    service_account,
)

PROGRESS_MARGIN_SECONDS: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """The pod template in force, and the digest of the inputs that it was rendered from."""

    inputs: str
    template: Object

    def annotations(self) -> dict[str, str]:
        """How the Deployment remembers it."""
        return {
            names.ROLLING_INPUTS: self.inputs,
            names.PINNED_TEMPLATE: json.dumps(self.template, separators=(",", ":")),
            names.PIN_DIGEST: digest([self.inputs, self.template]),
        }


def rolling_inputs(service: ReasoningService) -> str:
    """Digest of exactly what rolls model pods when it changes. The GPUs' product is told to the law
    alone.
    """
    engine = plain(service.spec.engine)
    gpus = engine.pop("gpus", {})
    gpus.pop("product", None)
    if gpus:
        engine["gpus"] = gpus
    return digest({"model": plain(service.spec.model), "engine": engine})


def pin_of(
    service: ReasoningService, annotations: Mapping[str, str], last: Pin | None = None
) -> Pin:
    """The pin to apply: the live Deployment's (told by its annotations) while the inputs are the
    same, else a template rendered anew. What somebody edited is not taken over: then the pin that
    this process applied last (`last`) holds.
    """
    inputs = rolling_inputs(service)
    for pin in (_intact(annotations), last):
        if pin is not None and pin.inputs == inputs:
            return pin
    return Pin(inputs=inputs, template=model_pod_template(service))


def _intact(annotations: Mapping[str, str]) -> Pin | None:
    """The pin of a Deployment as an operator wrote it; None: none, damaged or edited."""
    inputs = annotations.get(names.ROLLING_INPUTS, "")
    try:
        template: Any = json.loads(annotations.get(names.PINNED_TEMPLATE, ""))
    except ValueError:
        return None
    if annotations.get(names.PIN_DIGEST) != digest([inputs, template]):
        return None
    return Pin(inputs=inputs, template=template)


def model_deployment(service: ReasoningService, pin: Pin, replicas: int) -> Object:
    """The Deployment; `spec.replicas` is always stated, since omitting it once would mean 1."""
    name = service.metadata.name
    head = owned(service, "apps/v1", "Deployment", names.model_name(name), names.COMPONENT_MODEL)
    head["metadata"]["annotations"] = pin.annotations()
    return {
        **head,
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": service.spec.engine.startup_seconds
            + PROGRESS_MARGIN_SECONDS,
            "selector": {"matchLabels": names.selector(name, names.COMPONENT_MODEL)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": pin.template,
        },
    }


def model_support(service: ReasoningService) -> list[Object]:
    """What the model pods need beside the Deployment: identity, endpoints, eviction limits."""
    name = service.metadata.name
    model = names.model_name(name)
    headless = owned(service, "v1", "Service", model, names.COMPONENT_MODEL) | {
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": False,
            "selector": names.selector(name, names.COMPONENT_MODEL),
            "ports": [
                {
                    "name": "http",
                    "port": names.MODEL_PORT,
                    "targetPort": names.MODEL_PORT,
                    "protocol": "TCP",
                }
            ],
        }
    }
    return [
        service_account(service, model, names.COMPONENT_MODEL),
        headless,
        disruption_budget(service, model, names.COMPONENT_MODEL),
    ]
