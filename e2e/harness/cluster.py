"""A whole cluster: `LocalCluster` makes one on this machine, `ExistingCluster` uses what is there.

Both have the same face, so a test or the demo need not know which it has; what only a local one can
do (nodes with GPUs, addresses that pods reach) only `LocalCluster` offers. Everything local starts
side by side and is waited for in the end: the control plane's start is the longest part, so nodes
unpack their images meanwhile.
"""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from e2e.harness import assets, netns, services
from e2e.harness.cache import cache_root
from e2e.harness.client import ClusterClient
from e2e.harness.components import Run
from e2e.harness.control_plane import ControlPlane
from e2e.harness.node import Node, NodeSpec
from e2e.harness.pki import Authority

DEFAULT_NODES = 2
DEFAULT_GPUS_PER_NODE = 8
GPU_PRODUCT = "Emulated-80GB"
_in_this_process: set[Path] = set()


class LocalCluster(ClusterClient):
    """A real Kubernetes in this process's private network; a context manager.

    `nodes=0` gives a control plane alone, which needs no root. Entering moves this process into
    its network namespace for good: whatever needs the outer network must be done before, and
    threads that run already stay outside.
    """

    node_ip = netns.HOST_IP
    """The address at which pods reach servers of this process; bind them to it."""

    def __init__(
        self,
        *,
        nodes: int = DEFAULT_NODES,
        gpus_per_node: int = DEFAULT_GPUS_PER_NODE,
        images: Sequence[Path] | None = None,
        hpa_sync_seconds: int = 2,
    ) -> None:
        """`images`: docker-archives to load; None: the product's, built if the tree changed."""
        found = assets.find()
        found.require(nodes=nodes > 0)
        super().__init__(found.path("kubectl"), found.optional("helm"), None)
        self._assets = found
        self._specs = [
            NodeSpec(
                number=number,
                gpus=gpus_per_node,
                labels={"nvidia.com/gpu.product": GPU_PRODUCT} if gpus_per_node else {},
            )
            for number in range(1, nodes + 1)
        ]
        self._images = images
        self._hpa_sync_seconds = hpa_sync_seconds
        self._run: Run | None = None
        self._control_plane: ControlPlane | None = None
        self.phases: dict[str, float] = {}
        """Seconds that each part of the start took, waiting for it after those before."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._started()[1].admin_kubeconfig

    @property
    def workdir(self) -> Path:
        """The run's directory; it vanishes with the cluster."""
        return self._started()[0].directory

    @property
    def ca(self) -> Authority:
        """Issues further certificates that the cluster's components trust."""
        return self._started()[1].ca

    @property
    def logs(self) -> Path:
        """One file per component."""
        return self._started()[0].logs

    def lookup(self, service: str, namespace: str) -> str | None:
        """The address of a Service by the cluster's DNS, or None."""
        return services.lookup(f"{service}.{namespace}.svc.cluster.local")

    def start(self) -> Self:
        """Start everything and return when pods will run; cleans up after itself when it fails.

        Raises `RuntimeError` when this process has a cluster already: they would share addresses.
        """
        if _in_this_process:
            raise RuntimeError("this process has a cluster already; stop it or use another process")
        with self._phase("images"):
            store = self._image_store() if self._specs else None
        netns.enter()
        netns.reset()
        run = self._run = Run(cache_root() / "runs")
        _in_this_process.add(run.directory)
        try:
            self._start(run, store)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the cluster and remove all that it made; safe to call again."""
        if self._run is not None:
            self._run.close()
            _in_this_process.discard(self._run.directory)
            self._run = None
            netns.reset()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self, run: Run, store: Path | None) -> None:
        with self._phase("certificates"):
            control_plane = ControlPlane(run, self._assets, hpa_sync_seconds=self._hpa_sync_seconds)
        self._control_plane = control_plane
        self._kubeconfig = control_plane.admin_kubeconfig
        control_plane.start_api()
        with self._phase("container runtimes"):
            nodes = [Node(run, spec, control_plane) for spec in self._specs]
            for node in nodes:
                assert store is not None
                node.start_containerd(store)
        with self._phase("API server"):
            control_plane.wait_for_api()
        control_plane.start_controllers()
        for node in nodes:
            node.start_kubelet(self._assets)
        if nodes:
            services.start_proxy(run, self._assets, control_plane, nodes[0])
            services.start_dns(run, self._assets, control_plane)
        with self._phase("controllers"):
            control_plane.wait_for_controllers()
        with self._phase("nodes"):
            for node in nodes:
                node.wait_until_ready(self)
        if nodes:
            with self._phase("DNS"):
                services.wait_for_dns(run)

    def _image_store(self) -> Path:
        # Late, because the set-up is built on this package.
        from e2e.provision import node_store

        return node_store.build(self._images)

    def _started(self) -> tuple[Run, ControlPlane]:
        if self._run is None or self._control_plane is None:
            raise RuntimeError("the cluster is not running")
        return self._run, self._control_plane

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.phases[name] = round(time.monotonic() - begun, 2)


class ExistingCluster(ClusterClient):
    """The cluster of the current kubeconfig; nothing is started and nothing stopped."""

    def __init__(self) -> None:
        found = assets.find()
        kubectl = found.optional("kubectl") or shutil.which("kubectl")
        if kubectl is None:
            raise assets.MissingAssetsError("kubectl is missing: run `make install`")
        super().__init__(kubectl, found.optional("helm") or shutil.which("helm"), None)

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig in use."""
        default = Path.home() / ".kube" / "config"
        return Path(os.environ.get("KUBECONFIG", str(default)).split(os.pathsep)[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None
