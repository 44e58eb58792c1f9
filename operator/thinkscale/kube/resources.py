"""The kinds of objects that the product reads or writes, as data: group, version, plural, kind.

A `Resource` knows its URL paths and nothing else. New kinds are added here and nowhere else.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from thinkscale.api import names


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind of object; cluster-scoped ones are asked for without a namespace."""

    group: str
    """Empty for the core group."""
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """What an object of this kind says in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The URL path of a collection, an object or its subresource; no namespace: of all."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


def _core(plural: str, kind: str) -> Resource:
    return Resource(group="", version="v1", plural=plural, kind=kind)


_RBAC: Final = "rbac.authorization.k8s.io"

REASONING_SERVICES: Final = Resource(
    group=names.GROUP, version=names.VERSION, plural=names.PLURAL, kind=names.KIND
)
GPU_POOLS: Final = Resource(
    group=names.GROUP, version=names.VERSION, plural=names.POOL_PLURAL, kind=names.POOL_KIND
)
NAMESPACES: Final = _core("namespaces", "Namespace")
DEPLOYMENTS: Final = Resource(group="apps", version="v1", plural="deployments", kind="Deployment")
PODS: Final = _core("pods", "Pod")
SERVICES: Final = _core("services", "Service")
CONFIG_MAPS: Final = _core("configmaps", "ConfigMap")
SERVICE_ACCOUNTS: Final = _core("serviceaccounts", "ServiceAccount")
EVENTS: Final = _core("events", "Event")
POD_DISRUPTION_BUDGETS: Final = Resource(
    group="policy", version="v1", plural="poddisruptionbudgets", kind="PodDisruptionBudget"
)
ROLES: Final = Resource(group=_RBAC, version="v1", plural="roles", kind="Role")
ROLE_BINDINGS: Final = Resource(
    group=_RBAC, version="v1", plural="rolebindings", kind="RoleBinding"
)
ENDPOINT_SLICES: Final = Resource(
    group="discovery.k8s.io", version="v1", plural="endpointslices", kind="EndpointSlice"
)

OWNED: Final = (
    SERVICE_ACCOUNTS,
    ROLES,
    ROLE_BINDINGS,
    CONFIG_MAPS,
    SERVICES,
    POD_DISRUPTION_BUDGETS,
    DEPLOYMENTS,
)
"""The kinds that the operator creates, in the order in which they are first applied: what pods need
comes before the pods.
"""

BY_KIND: Final = {resource.kind: resource for resource in (REASONING_SERVICES, *OWNED)}
