"""One real node: a containerd and a kubelet of its own, in a mount namespace of its own.

Several nodes share the machine and the network namespace; what would clash is separated:
compiled-in paths (/var/lib/kubelet, /run/containerd, /var/lib/cni, /var/log/containers) lie on
private tmpfs, each node has its pod subnet, its bridge and its control group. GPUs are capacity
written into the node's status, which the kubelet keeps and the scheduler and the kubelet's
admission both obey.

NB: a kubelet sets kernel parameters of the whole machine (vm.overcommit_memory, kernel.panic, ...).
It writes only what differs from its wish, so it is shown files, mounted over /proc/sys in its
namespace, that hold its wishes already: the machine's own values are never touched.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.harness import cgroups, netns, node_images
from e2e.harness.assets import CNI_DIRECTORY, Assets
from e2e.harness.client import ClusterClient
from e2e.harness.components import Component, ComponentError, Run
from e2e.harness.control_plane import ControlPlane

PRIVATE_DIRECTORIES = ("/run", "/var/lib", "/var/log")
KERNEL_WISHES = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
START_SECONDS = 60
MOUNT_SECONDS = 10
MAX_SOCKET_PATH = 100
"""The kernel allows 107 bytes for a socket's path."""
GPU_RESOURCE = "nvidia.com/gpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """What one node has."""

    number: int
    gpus: int
    labels: dict[str, str]

    @property
    def name(self) -> str:
        """The node's name in Kubernetes."""
        return f"node{self.number}"


class Node:
    """Starts one node; the pieces are apart so that nodes and control plane start side by side."""

    def __init__(self, run: Run, spec: NodeSpec, control_plane: ControlPlane) -> None:
        self._run = run
        self.spec = spec
        self._control_plane = control_plane
        self.directory = run.directory / spec.name
        self.directory.mkdir()
        self._ip = netns.node_ip(spec.number)
        self.mounts: Path | None = None
        """The node's mount namespace, as a path within the run."""
        self._socket = self.directory / "containerd.sock"
        if len(str(self._socket)) > MAX_SOCKET_PATH:
            raise ComponentError(
                f"{self._socket} is too long a path for a socket: shorten the cache's"
            )
        if any(self.directory.is_relative_to(path) for path in PRIVATE_DIRECTORIES):
            raise ComponentError(f"the cache must not lie in {' or '.join(PRIVATE_DIRECTORIES)}")

    def start_containerd(self, images: Path) -> Component:
        """Start the container runtime with the images that are unpacked under `images`."""
        self.mounts = self._make_mounts()
        node_images.link(images, self.directory / "containerd")
        cni = self.directory / "cni"
        cni.mkdir()
        (cni / "10-bridge.conflist").write_text(json.dumps(self._cni()))
        config = self.directory / "containerd.toml"
        config.write_text(
            node_images.containerd_config(
                root=self.directory / "containerd",
                state=self.directory / "state",
                socket=self._socket,
                cni_configuration=cni,
                cni_binaries=CNI_DIRECTORY,
            )
        )
        command = [shutil.which("containerd") or "containerd", "--config", str(config)]
        return self._run.start(f"containerd-{self.spec.name}", command, self.mounts)

    def start_kubelet(self, assets: Assets) -> Component:
        """Start the kubelet; the API must be ready."""
        name = self.spec.name
        group = cgroups.create(self._run.cgroup, name)
        serving = self._control_plane.ca.issue(
            f"kubelet-{name}", f"system:node:{name}", ["system:nodes"], ips=[self._ip], dns=[name]
        )
        kubeconfig = self._control_plane.user(name, f"system:node:{name}", "system:nodes")
        config = self.directory / "kubelet.json"
        config.write_text(json.dumps(self._kubelet(group, serving.certificate, serving.key)))
        labels = ",".join(f"{key}={value}" for key, value in self.spec.labels.items())
        command = [
            assets.path("kubelet"),
            f"--config={config}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={name}",
            f"--node-ip={self._ip}",
            f"--root-dir={self.directory / 'kubelet'}",
            f"--node-labels={labels}",
        ]
        return self._run.start(f"kubelet-{name}", command, self.mounts)

    def wait_until_ready(self, client: ClusterClient) -> None:
        """Return when the node is Ready and has its GPUs."""
        name = self.spec.name

        def ready() -> bool:
            node = client.kubectl("get", "node", name, "-o", "json", check=False)
            if node.returncode != 0:
                return False
            conditions = json.loads(node.stdout)["status"].get("conditions", [])
            return {"Ready": "True"}.items() <= {c["type"]: c["status"] for c in conditions}.items()

        kubelet = self._run.components[f"kubelet-{name}"]
        self._run.wait(f"{name} Ready", ready, START_SECONDS, kubelet)
        if self.spec.gpus:
            quantity = {GPU_RESOURCE: str(self.spec.gpus)}
            patch = json.dumps({"status": {"capacity": quantity, "allocatable": quantity}})
            client.kubectl(
                "patch", "node", name, "--subresource=status", "--type=merge", "--patch", patch
            )

    def _make_mounts(self) -> Path:
        """Start a process that does nothing but hold the namespace; returns the namespace."""
        wishes = self.directory / "sysctl"
        lines = [f"mount -t tmpfs -o mode=755 tmpfs {path}" for path in PRIVATE_DIRECTORIES]
        lines.append("mkdir -p /var/lib/kubelet /run/containerd /run/lock")
        for name, value in KERNEL_WISHES.items():
            wish = wishes / name
            wish.parent.mkdir(parents=True, exist_ok=True)
            wish.write_text(f"{value}\n")
            if Path("/proc/sys", name).exists():
                lines.append(f"mount --bind {wish} /proc/sys/{name}")
        made = self.directory / "mounts-made-by"
        lines += [f"echo $$ > {made}", "exec sleep infinity"]
        command = ["unshare", "--mount", "sh", "-c", " && ".join(lines)]
        holder = self._run.start(f"mounts-{self.spec.name}", command)
        self._run.wait("mounts", lambda: made.read_text().strip(), MOUNT_SECONDS, holder)
        return Path(f"/proc/{made.read_text().strip()}/ns/mnt")

    def _cni(self) -> dict[str, Any]:
        subnet = netns.pod_subnet(self.spec.number)
        address_management = {
            "type": "host-local",
            "dataDir": str(self.directory / "ipam"),
            "ranges": [[{"subnet": subnet}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {
            "type": "bridge",
            "bridge": f"cni{self.spec.number}",
            "isGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": address_management,
        }
        return {"cniVersion": "0.4.0", "name": "thinkscale", "plugins": [bridge]}

    def _kubelet(self, group: str, certificate: Path, key: Path) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self._ip,
            "readOnlyPort": 0,
            "healthzPort": 0,
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self._control_plane.ca.certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(certificate),
            "tlsPrivateKeyFile": str(key),
            "clusterDNS": [netns.HOST_IP],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": group,
            # Since 1.35 the kubelet refuses version 1 unless told; many machines still have it.
            "failCgroupV1": False,
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "serializeImagePulls": False,
            "maxPods": 200,
            "nodeStatusUpdateFrequency": "2s",
            "nodeLeaseDurationSeconds": 12,
            "podLogsDir": str(self.directory / "pod-logs"),
            "volumePluginDir": str(self.directory / "volume-plugins"),
            "evictionHard": {
                "memory.available": "50Mi",
                "nodefs.available": "0%",
                "nodefs.inodesFree": "0%",
                "imagefs.available": "0%",
            },
            "imageGCHighThresholdPercent": 100,
        }
