"""Every right that the operator has: two tables, from which the chart's ClusterRoles are written.

Two rules shape it. A controller may only grant what it holds itself (Kubernetes refuses the rest as
escalation), so what the gateways' Roles need is here too. And nothing is here that no code uses:
no secrets, no nodes, no wildcard. The operator never updates, it applies (which needs `create` as
well as `patch`); and never deletes, as all it makes is owned and goes with its owner.

What lies in no namespace is a table of its own: it is granted for the whole cluster even where the
rest ends at some namespaces.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from thinkscale.api.names import GROUP, PLURAL, POOL_PLURAL

READ: Final = ("get", "list", "watch")
OWN: Final = (*READ, "create", "patch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Verbs on some resources of one API group, and what they are for."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str

    def as_object(self) -> dict[str, list[str]]:
        """The rule as a Role or ClusterRole spells it."""
        return {
            "apiGroups": [self.group],
            "resources": list(self.resources),
            "verbs": list(self.verbs),
        }


OPERATOR: Final[Sequence[Rule]] = (
    Rule(group=GROUP, resources=(PLURAL,), verbs=READ, why="what is asked for"),
    Rule(
        group=GROUP,
        resources=(f"{PLURAL}/status",),
        verbs=("patch",),
        why="what was seen and decided",
    ),
    Rule(
        group=GROUP,
        resources=(f"{PLURAL}/finalizers",),
        verbs=("update",),
        why="owner references, where OwnerReferencesPermissionEnforcement is on",
    ),
    Rule(
        group="apps",
        resources=("deployments",),
        verbs=OWN,
        why="model servers and gateways, and the number of replicas",
    ),
    Rule(
        group="",
        resources=("services", "configmaps", "serviceaccounts"),
        verbs=OWN,
        why="what clients call, the runtime configuration, the pods' identities",
    ),
    Rule(
        group="policy",
        resources=("poddisruptionbudgets",),
        verbs=OWN,
        why="drains take one pod at a time",
    ),
    Rule(
        group="rbac.authorization.k8s.io",
        resources=("roles", "rolebindings"),
        verbs=OWN,
        why="what a gateway may read in its own namespace",
    ),
    Rule(
        group="",
        resources=("pods",),
        verbs=(*READ, "patch"),
        why="replica states; the deletion cost of those that go first",
    ),
    Rule(
        group="discovery.k8s.io",
        resources=("endpointslices",),
        verbs=READ,
        why="granted on to gateways: which replicas are ready",
    ),
    Rule(
        group="",
        resources=("events",),
        verbs=("create",),
        why="why something happened, for people",
    ),
)

CLUSTER: Final[Sequence[Rule]] = (
    Rule(group=GROUP, resources=(POOL_PLURAL,), verbs=READ, why="GPU limits that services share"),
    Rule(
        group=GROUP,
        resources=(f"{POOL_PLURAL}/status",),
        verbs=("patch",),
        why="how a limit is shared",
    ),
    Rule(
        group="",
        resources=("namespaces",),
        verbs=READ,
        why="which namespaces a GPU limit selects by their labels",
    ),
)
"""Rights on what lies in no namespace."""
