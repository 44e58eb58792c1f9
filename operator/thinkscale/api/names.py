"""The names that every part must agree on: group, labels, annotations, and what the owned objects
are called.

A `ReasoningService` NAME owns, in its own namespace: Deployment and headless Service `NAME-model`
(model servers), Deployment `NAME-gateway` and Service `NAME` (what clients call:
`http://NAME.NAMESPACE/v1`), one PodDisruptionBudget and ServiceAccount for each of the two, a Role
and RoleBinding `NAME-gateway`, and the ConfigMap `NAME-runtime`.
"""

from typing import Final

GROUP: Final = "thinkscale.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "ReasoningService"
PLURAL: Final = "reasoningservices"
SHORT_NAME: Final = "rsvc"
POOL_KIND: Final = "GPUPool"
POOL_PLURAL: Final = "gpupools"
POOL_SHORT_NAME: Final = "gpool"

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "thinkscale"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
SERVICE_LABEL: Final = f"{GROUP}/service"
COMPONENT_MODEL: Final = "model"
COMPONENT_GATEWAY: Final = "gateway"

FIELD_MANAGER: Final = "thinkscale-operator"
"""The one field manager of everything the operator applies."""

ROLLING_INPUTS: Final = f"{GROUP}/rolling-inputs"
"""Annotation of the model Deployment: digest of what rolls its pods when it changes."""
PINNED_TEMPLATE: Final = f"{GROUP}/pinned-template"
"""Annotation of the model Deployment: the pod template rendered from those inputs, as JSON."""
PIN_DIGEST: Final = f"{GROUP}/pin-digest"
"""Annotation of the model Deployment: digest of the two above, so that an edit by hand shows."""
POD_DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"

MODEL_PORT: Final = 8000
"""The engine's port: API, probes and metrics."""
GATEWAY_PORT: Final = 8080
"""The gateway's API port, behind port 80 of the Service."""
GATEWAY_ADMIN_PORT: Final = 9090
"""The gateway's admin port: `/signals`, `/metrics`, `/healthz`, `/readyz`. Never behind the
Service.
"""

CONFIG_KEY: Final = "config.json"
DIRECTIVE_KEY: Final = "directive.json"
STATE_KEY: Final = "state.json"
DEBT_KEY: Final = "debt.json"


def model_name(service: str) -> str:
    """Deployment, headless Service, PodDisruptionBudget and ServiceAccount of the model servers."""
    return f"{service}-model"


def gateway_name(service: str) -> str:
    """Deployment, PodDisruptionBudget, ServiceAccount, Role and RoleBinding of the gateway."""
    return f"{service}-gateway"


def gateway_service_name(service: str) -> str:
    """The Service that clients call is named after the resource."""
    return service


def runtime_name(service: str) -> str:
    """The ConfigMap with the gateway's configuration, the directive and the law's state."""
    return f"{service}-runtime"


def service_labels(service: str, component: str) -> dict[str, str]:
    """Labels of every owned object; the same pairs select the pods of one component."""
    return {
        MANAGED_BY_LABEL: MANAGED_BY,
        COMPONENT_LABEL: component,
        SERVICE_LABEL: service,
    }


def selector(service: str, component: str) -> dict[str, str]:
    """The pairs that select one component's pods: few, and never changed once applied."""
    return {COMPONENT_LABEL: component, SERVICE_LABEL: service}
