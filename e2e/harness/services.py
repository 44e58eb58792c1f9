"""What makes Services work: kube-proxy for their addresses, CoreDNS for their names.

One kube-proxy serves all nodes, because they share a network namespace; it also makes Service
addresses work for this process. CoreDNS runs as a process beside the control plane, at the address
that kubelets hand to pods.
"""

import json
import socket
import struct

from e2e.harness import netns
from e2e.harness.assets import Assets
from e2e.harness.components import Component, Run
from e2e.harness.control_plane import ControlPlane
from e2e.harness.node import Node

START_SECONDS = 60
DNS_PORT = 53
ANSWER_SECONDS = 1


def start_proxy(run: Run, assets: Assets, control_plane: ControlPlane, node: Node) -> Component:
    """Start kube-proxy in a node's mount namespace (it keeps a lock file in /run)."""
    configuration = run.directory / "kube-proxy.json"
    no_limits = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s"}
    configuration.write_text(
        json.dumps(
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "mode": "iptables",
                "clusterCIDR": "198.18.0.0/16",
                "hostnameOverride": node.spec.name,
                "nodePortAddresses": ["primary"],
                "healthzBindAddress": "",
                "clientConnection": {
                    "kubeconfig": str(control_plane.user("proxy", "system:kube-proxy"))
                },
                # Zero leaves the kernel's limits, which belong to the whole machine, alone.
                "conntrack": {**no_limits, "tcpCloseWaitTimeout": "0s"},
                "iptables": {"minSyncPeriod": "50ms"},
            }
        )
    )
    command = [assets.path("kube-proxy"), f"--config={configuration}"]
    return run.start("kube-proxy", command, node.mounts)


def start_dns(run: Run, assets: Assets, control_plane: ControlPlane) -> Component:
    """Start CoreDNS for `cluster.local`."""
    kubeconfig = control_plane.user("coredns", "coredns", "system:masters")
    corefile = run.directory / "Corefile"
    corefile.write_text(
        f""".:{DNS_PORT} {{
    bind {netns.HOST_IP}
    errors
    kubernetes cluster.local {{
        kubeconfig {kubeconfig}
        ttl 1
    }}
}}
"""
    )
    return run.start("coredns", [assets.path("coredns"), "-conf", str(corefile)])


def wait_for_dns(run: Run) -> None:
    """Return when the API server's own Service has a name."""
    name = "kubernetes.default.svc.cluster.local"
    run.wait("DNS", lambda: lookup(name), START_SECONDS, run.components["coredns"])


def lookup(name: str) -> str | None:
    """The address that the cluster's DNS gives for a name, or None; for this process, whose own
    resolver knows nothing of the cluster.
    """
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = labels + b"\0" + struct.pack(">HH", 1, 1)
    query = struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + question
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(ANSWER_SECONDS)
        client.sendto(query, (netns.HOST_IP, DNS_PORT))
        answer = client.recv(512)
    code, answers = answer[3] & 15, struct.unpack(">H", answer[6:8])[0]
    return socket.inet_ntoa(answer[-4:]) if code == 0 and answers else None
