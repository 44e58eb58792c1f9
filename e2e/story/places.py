"""Where the story plays: a cluster of our own on this machine, or that of the current kubeconfig.

A place hands out a cluster with the operator installed, and takes everything away afterwards. On a
cluster that belongs to somebody it asks first, keeps to a namespace of its own, asks for no GPU,
never touches a node, and removes all it made: release, namespace, and the CRDs if they came with
us.
"""

import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.harness import PRODUCT_IMAGE, ClusterClient, ExistingCluster, LocalCluster, assets
from e2e.story.view import Progress

CHART = Path(__file__).parents[2] / "charts" / "thinkscale"
OPERATOR_NAMESPACE = "thinkscale-system"
RELEASE = "thinkscale"
CRD = "reasoningservices.thinkscale.dev"
CRDS = (CRD, "gpupools.thinkscale.dev")
OPERATOR_LABELS = "app.kubernetes.io/name=thinkscale,app.kubernetes.io/component=operator"
INSTALL_SECONDS = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A cluster with the operator in it."""

    cluster: ClusterClient
    namespace: str
    image: str
    gpus: int | None
    """GPUs per replica; None: as the service's YAML says."""
    local: bool
    """Whether this process reaches pods and Services by their addresses."""

    @property
    def kubectl_command(self) -> list[str]:
        """kubectl bound to this cluster, for long-lived watches."""
        kubectl = assets.find().binaries.get("kubectl") or shutil.which("kubectl") or "kubectl"
        if self.local:
            return [str(kubectl), "--kubeconfig", str(self.cluster.kubeconfig)]  # type: ignore[attr-defined]
        return [str(kubectl)]


@contextmanager
def local_place(progress: Progress, *, namespace: str) -> Iterator[Place]:
    """A real Kubernetes on this machine: two nodes with eight emulated GPUs each."""
    cluster = LocalCluster()
    try:
        with progress.step("starting Kubernetes: control plane, 2 nodes with 8 GPUs each, DNS"):
            cluster.start()
        install_operator(cluster, progress, PRODUCT_IMAGE)
        cluster.kubectl("create", "namespace", namespace)
        yield Place(
            cluster=cluster, namespace=namespace, image=PRODUCT_IMAGE, gpus=None, local=True
        )
    finally:
        with progress.step("stopping Kubernetes"):
            cluster.stop()


@contextmanager
def existing_place(progress: Progress, *, image: str, ask: bool = True) -> Iterator[Place]:
    """The cluster of the current kubeconfig. `image` is `REPOSITORY:TAG` that its nodes can pull.

    Raises SystemExit if the person says no.
    """
    cluster = ExistingCluster()
    namespace = f"thinkscale-demo-{time.strftime('%H%M%S')}"
    context = cluster.kubectl("config", "current-context").stdout.strip()
    progress.say(
        f"This uses the cluster of the current kubeconfig (context {context}): a namespace\n"
        f"{namespace} with the operator and up to 8 small pods without GPUs, and the CRDs\n"
        f"{' and '.join(CRDS)} if they are not there yet. All of it is removed at the end."
    )
    if ask and not _agreed():
        raise SystemExit("Nothing was done.")
    there = {crd for crd in CRDS if cluster.kubectl("get", "crd", crd, check=False).returncode == 0}
    operator_is_there = bool(cluster.get("deployments", "-A", "-l", OPERATOR_LABELS)["items"])
    try:
        cluster.kubectl("create", "namespace", namespace)
        if operator_is_there:
            progress.say("  There is an operator already: it will serve the demo.")
        else:
            install_operator(
                cluster,
                progress,
                image,
                namespace=namespace,
                release=namespace,
                values={
                    "watchNamespaces[0]": namespace,
                    "crds.install": "false" if CRD in there else "true",
                },
            )
        yield Place(cluster=cluster, namespace=namespace, image=image, gpus=0, local=False)
    finally:
        with progress.step(f"removing namespace {namespace} and all that came with it"):
            made = [] if CRD in there else [crd for crd in CRDS if crd not in there]
            _remove(cluster, namespace, release=not operator_is_there, crds=made)


def install_operator(
    cluster: ClusterClient,
    progress: Progress,
    image: str,
    *,
    namespace: str = OPERATOR_NAMESPACE,
    release: str = RELEASE,
    values: Mapping[str, str] | None = None,
) -> None:
    """`helm install` of the chart, as the README says it."""
    repository, _, tag = image.rpartition(":")
    told = {"image.repository": repository, **(values or {})}
    settings = [part for key, value in told.items() for part in ("--set", f"{key}={value}")]
    with progress.step("installing the operator: helm install thinkscale charts/thinkscale"):
        cluster.helm(
            "install", release, str(CHART), "--namespace", namespace, "--create-namespace",
            *settings, "--set-string", f"image.tag={tag}",
            "--wait", "--timeout", f"{INSTALL_SECONDS}s",
            timeout_seconds=INSTALL_SECONDS + 10,
        )  # fmt: skip


def _remove(cluster: ClusterClient, namespace: str, *, release: bool, crds: Sequence[str]) -> None:
    """Take away what was made, in the order in which nothing is left behind."""
    cluster.kubectl(
        "delete", "reasoningservices", "--all", "-n", namespace, check=False, timeout_seconds=300
    )
    if release:
        cluster.helm("uninstall", namespace, "--namespace", namespace, "--wait", check=False)
    cluster.kubectl("delete", "namespace", namespace, check=False, timeout_seconds=300)
    if crds:
        cluster.kubectl("delete", "crd", *crds, "--ignore-not-found", check=False)


def _agreed() -> bool:
    if os.environ.get("YES") == "1":
        return True
    if not sys.stdin.isatty():
        raise SystemExit("Nobody is there to ask: set YES=1 if this cluster may be used.")
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")
