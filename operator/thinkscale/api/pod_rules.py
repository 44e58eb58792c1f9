"""CEL rules of the parts that are Kubernetes' own: environment, labels, volumes, tolerations.

Kubernetes would refuse most of these too, but only in the Deployment, after the resource was
accepted; here the person who writes it sees the message.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from thinkscale.api.cel import LABEL_KEY, QUANTITY, CelRule, exactly_one
from thinkscale.api.names import GROUP

POD_LABELS: Final[Sequence[CelRule]] = (
    CelRule(
        rule=(
            f"self.all(k, !k.startsWith('{GROUP}/') && !(k in ['app.kubernetes.io/managed-by', "
            "'app.kubernetes.io/component', 'pod-template-hash']))"
        ),
        message=f"must not set {GROUP}/*, app.kubernetes.io/managed-by, "
        "app.kubernetes.io/component or pod-template-hash, which the operator and Kubernetes set: "
        "choose another key",
    ),
    CelRule(
        rule=f"self.all(k, k.matches('{LABEL_KEY}'))",
        message="each key must be a label name, with or without a DNS prefix: [example.com/]name",
    ),
)

POD_ANNOTATIONS: Final[Sequence[CelRule]] = (
    CelRule(
        rule=(
            f"self.all(k, !k.startsWith('{GROUP}/') "
            "&& k != 'controller.kubernetes.io/pod-deletion-cost')"
        ),
        message=f"must not set {GROUP}/* or controller.kubernetes.io/pod-deletion-cost, which the "
        "operator sets: choose another key",
    ),
    CelRule(
        rule=f"self.all(k, k.matches('{LABEL_KEY.replace('A-Z', 'A-Z')}'))",
        message="each key must be a qualified name: [example.com/]name",
    ),
)

NODE_SELECTOR: Final[Sequence[CelRule]] = (
    CelRule(
        rule=f"self.all(k, k.matches('{LABEL_KEY}'))",
        message="each key must be a label name, with or without a DNS prefix: [example.com/]name",
    ),
)

TOLERATION: Final[Sequence[CelRule]] = (
    CelRule(
        rule="!has(self.value) || !has(self.operator) || self.operator == 'Equal'",
        message="must be absent with operator Exists: remove it, or set operator to Equal",
        field=".value",
    ),
    CelRule(
        rule="has(self.key) || (has(self.operator) && self.operator == 'Exists')",
        message="without a key must be Exists, which tolerates every taint: set it, or name a key",
        field=".operator",
    ),
    CelRule(
        rule="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
        message="needs effect NoExecute: set it, or remove tolerationSeconds",
        field=".tolerationSeconds",
    ),
)

TOPOLOGY_SPREAD: Final[Sequence[CelRule]] = (
    CelRule(
        rule="!has(self.minDomains) || self.whenUnsatisfiable == 'DoNotSchedule'",
        message="needs whenUnsatisfiable DoNotSchedule: set it, or remove minDomains",
        field=".minDomains",
    ),
)

SECCOMP: Final[Sequence[CelRule]] = (
    CelRule(
        rule="(self.type == 'Localhost') == has(self.localhostProfile)",
        message="goes with type Localhost, and only with it: set both, or neither",
        field=".localhostProfile",
    ),
)

SECURITY_CONTEXT: Final[Sequence[CelRule]] = (
    CelRule(
        rule=(
            "!(has(self.runAsNonRoot) && self.runAsNonRoot && has(self.runAsUser) "
            "&& self.runAsUser == 0)"
        ),
        message="must not be 0 (root) while runAsNonRoot is true: choose another user",
        field=".runAsUser",
    ),
    CelRule(
        rule=(
            "!(has(self.privileged) && self.privileged && has(self.allowPrivilegeEscalation) "
            "&& !self.allowPrivilegeEscalation)"
        ),
        message="cannot be false while privileged is true: remove one of them",
        field=".allowPrivilegeEscalation",
    ),
)


POD_SPEC: Final = "spec.engine.podTemplate.spec"
POD_RULES: Final[Mapping[str, Sequence[CelRule]]] = {
    "spec.engine.env[]": (
        exactly_one("each variable needs value or valueFrom, not both", "value", "valueFrom"),
    ),
    "spec.engine.env[].valueFrom": (
        exactly_one(
            "needs secretKeyRef or configMapKeyRef, not both", "secretKeyRef", "configMapKeyRef"
        ),
    ),
    "spec.engine.envFrom[]": (
        exactly_one("needs secretRef or configMapRef, not both", "secretRef", "configMapRef"),
    ),
    "spec.engine.securityContext": SECURITY_CONTEXT,
    "spec.engine.securityContext.seccompProfile": SECCOMP,
    "spec.engine.podTemplate.metadata.labels": POD_LABELS,
    "spec.engine.podTemplate.metadata.annotations": POD_ANNOTATIONS,
    f"{POD_SPEC}.nodeSelector": NODE_SELECTOR,
    f"{POD_SPEC}.tolerations[]": TOLERATION,
    f"{POD_SPEC}.topologySpreadConstraints[]": TOPOLOGY_SPREAD,
    f"{POD_SPEC}.volumes[].emptyDir.sizeLimit": (QUANTITY,),
    f"{POD_SPEC}.volumes[]": (
        CelRule(
            rule="!self.name.startsWith('thinkscale-')",
            message="must not begin with thinkscale-, as the operator's own volumes do: choose "
            "another name",
            field=".name",
        ),
        exactly_one(
            "each volume needs exactly one source: configMap, secret, persistentVolumeClaim, "
            "emptyDir, hostPath or nfs",
            "configMap",
            "secret",
            "persistentVolumeClaim",
            "emptyDir",
            "hostPath",
            "nfs",
        ),
    ),
}
