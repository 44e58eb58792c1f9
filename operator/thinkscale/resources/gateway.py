"""The gateway of one service: Deployment, Service, and the least rights that it needs.

A gateway reads one ConfigMap and the endpoints of its namespace, and nothing else. Its grace period
is the model's drain: a stream that a replica may finish must not die with the gateway in front of
it.
"""

from dataclasses import dataclass
from typing import Final

from thinkscale.api import names
from thinkscale.api.v1alpha1 import ReasoningService
from thinkscale.resources.objects import (
    Object,
    disruption_budget,
    owned,
    quantities,
    service_account,
)

USER_ID: Final = 65532
DEREGISTER_SECONDS: Final = 5
"""Between leaving the Service's endpoints and SIGTERM: kube-proxies must have noticed."""
GRACE_MARGIN_SECONDS: Final = 30
KEYS_VOLUME: Final = "api-keys"
KEYS_PATH: Final = "/etc/thinkscale/api-keys"
DEFAULT_RESOURCES: Final[Object] = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"memory": "1Gi"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayImage:
    """The product's own image, which the operator hands on to the gateways."""

    reference: str
    pull_policy: str = "IfNotPresent"


def gateway_objects(service: ReasoningService, image: GatewayImage, replicas: int) -> list[Object]:
    """Everything of the gateway but the runtime ConfigMap, with so many pods."""
    name = names.gateway_name(service.metadata.name)
    return [
        service_account(service, name, names.COMPONENT_GATEWAY),
        _role(service, name),
        _role_binding(service, name),
        _service(service),
        disruption_budget(service, name, names.COMPONENT_GATEWAY),
        _deployment(service, name, image, replicas),
    ]


def _role(service: ReasoningService, name: str) -> Object:
    read = ["get", "list", "watch"]
    return {
        **owned(service, "rbac.authorization.k8s.io/v1", "Role", name, names.COMPONENT_GATEWAY),
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "resourceNames": [names.runtime_name(service.metadata.name)],
                "verbs": read,
            },
            {
                "apiGroups": ["discovery.k8s.io"],
                "resources": ["endpointslices"],
                "verbs": read,
            },
        ],
    }


def _role_binding(service: ReasoningService, name: str) -> Object:
    return {
        **owned(
            service, "rbac.authorization.k8s.io/v1", "RoleBinding", name, names.COMPONENT_GATEWAY
        ),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [
            {"kind": "ServiceAccount", "name": name, "namespace": service.metadata.namespace}
        ],
    }


def _service(service: ReasoningService) -> Object:
    name = names.gateway_service_name(service.metadata.name)
    return {
        **owned(service, "v1", "Service", name, names.COMPONENT_GATEWAY),
        "spec": {
            "type": service.spec.gateway.service.type.value,
            "selector": names.selector(service.metadata.name, names.COMPONENT_GATEWAY),
            "ports": [
                {
                    "name": "http",
                    "port": 80,
                    "targetPort": names.GATEWAY_PORT,
                    "protocol": "TCP",
                }
            ],
        },
    }


def _deployment(service: ReasoningService, name: str, image: GatewayImage, replicas: int) -> Object:
    selector = names.selector(service.metadata.name, names.COMPONENT_GATEWAY)
    labels = names.service_labels(service.metadata.name, names.COMPONENT_GATEWAY)
    grace = service.spec.engine.drain_seconds + DEREGISTER_SECONDS + GRACE_MARGIN_SECONDS
    return {
        **owned(service, "apps/v1", "Deployment", name, names.COMPONENT_GATEWAY),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": selector},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": name,
                    "automountServiceAccountToken": True,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": grace,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": USER_ID,
                        "runAsGroup": USER_ID,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [_container(service, image)],
                    **_volumes(service),
                },
            },
        },
    }


def _volumes(service: ReasoningService) -> Object:
    """The Secret with the API keys. Mounted and not watched: nobody needs a right on Secrets, and a
    gateway that lacks its keys does not start, which the pod's events say.
    """
    auth = service.spec.gateway.auth
    if auth is None:
        return {}
    return {
        "volumes": [{"name": KEYS_VOLUME, "secret": {"secretName": auth.api_keys_secret_ref.name}}]
    }


def _keys(service: ReasoningService) -> tuple[list[str], Object]:
    """Flags and mounts that make the gateway ask for an API key."""
    if service.spec.gateway.auth is None:
        return [], {}
    mount = {"name": KEYS_VOLUME, "mountPath": KEYS_PATH, "readOnly": True}
    return [f"--api-keys-dir={KEYS_PATH}"], {"volumeMounts": [mount]}


def _tracing(service: ReasoningService) -> tuple[list[str], list[Object]]:
    """Flags and variables that make the gateway send spans, which say whose they are. The pod's
    name must be among the variables before them.
    """
    tracing = service.spec.gateway.tracing
    if tracing is None:
        return [], []
    whose = (
        f"k8s.namespace.name={service.metadata.namespace},"
        f"k8s.deployment.name={names.gateway_name(service.metadata.name)},"
        "k8s.pod.name=$(POD_NAME)"
    )
    return ["--otlp-traces"], [
        {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": tracing.endpoint},
        {"name": "OTEL_RESOURCE_ATTRIBUTES", "value": whose},
    ]


def _container(service: ReasoningService, image: GatewayImage) -> Object:
    admin = names.GATEWAY_ADMIN_PORT
    key_flags, key_mounts = _keys(service)
    tracing_flags, tracing_variables = _tracing(service)
    return {
        "name": "gateway",
        "image": image.reference,
        "imagePullPolicy": image.pull_policy,
        "args": [
            "gateway",
            f"--namespace={service.metadata.namespace}",
            f"--service={service.metadata.name}",
            f"--port={names.GATEWAY_PORT}",
            f"--admin-port={admin}",
            *key_flags,
            *tracing_flags,
        ],
        **key_mounts,
        "env": [
            {
                "name": "POD_NAME",
                "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
            },
            *tracing_variables,
        ],
        "ports": [
            {"name": "http", "containerPort": names.GATEWAY_PORT, "protocol": "TCP"},
            {"name": "admin", "containerPort": admin, "protocol": "TCP"},
        ],
        "resources": quantities(service.spec.gateway.resources) or DEFAULT_RESOURCES,
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": admin},
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 3,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": admin},
            "initialDelaySeconds": 10,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": DEREGISTER_SECONDS}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
