"""A private network namespace for this process and all that it starts.

Everything of a cluster listens inside, on addresses of the benchmark range 198.18.0.0/15 (RFC
2544), so no port of it is ever visible on the machine, clusters of several processes never collide,
and the network vanishes with the last process inside.

NB: this is `unshare` in this very process and not `ip netns exec`: the latter remounts /sys, hides
/sys/fs/cgroup, and the kubelet then dies of "failed to find cgroup mounts". Threads that run
already stay outside, so enter before any that should speak to the cluster starts. Once inside there
is no way to the outer network: whatever must be downloaded comes first.
"""

import ctypes
import os
import subprocess
from pathlib import Path

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

NODE_NETWORK = "198.18.0"
HOST_IP = f"{NODE_NETWORK}.1"
"""Where this process (and the control plane) is reached from pods."""
MAX_NODES = 8

_state = {"inside": False}


def node_ip(number: int) -> str:
    """The address of node `number` (1..MAX_NODES); node 1 does not share it with the host."""
    return f"{NODE_NETWORK}.{10 + number}"


def pod_subnet(number: int) -> str:
    """The pods of node `number`."""
    return f"198.18.{100 + number}.0/24"


def enter() -> None:
    """Move this process into its own network namespace; does nothing when it is there already.

    Without root it also enters a user namespace, which is enough for a control plane without
    nodes. Raises `OSError` when the kernel refuses (a user namespace needs a single thread).
    """
    if _state["inside"]:
        return
    if os.geteuid() == 0:
        _unshare(CLONE_NEWNET)
    else:
        _enter_as_mapped_root()
    _build_network()
    _state["inside"] = True


def inside() -> bool:
    """Whether `enter` has been called in this process."""
    return _state["inside"]


def reset() -> None:
    """Remove what nodes left in the namespace: pod bridges and the proxy's rules."""
    links = subprocess.run(
        ["ip", "-o", "link", "show", "type", "bridge"], capture_output=True, text=True, check=False
    )
    for line in links.stdout.splitlines():
        name = line.split(":")[1].strip().split("@")[0]
        if name.startswith("cni"):
            _ip("link", "delete", name)
    for table in ("nat", "filter", "mangle"):
        for action in ("-F", "-X"):
            subprocess.run(
                ["iptables", "-w", "-t", table, action], capture_output=True, check=False
            )


def _enter_as_mapped_root() -> None:
    user, group = os.geteuid(), os.getegid()
    _unshare(CLONE_NEWUSER | CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _build_network() -> None:
    _ip("link", "set", "lo", "up")
    # Not every kernel has the dummy driver; a bridge does as the nodes' interface.
    _ip("link", "add", "br-node", "type", "bridge")
    for address in [HOST_IP, *(node_ip(number) for number in range(1, MAX_NODES + 1))]:
        _ip("addr", "add", f"{address}/24", "dev", "br-node")
    _ip("link", "set", "br-node", "up")
    # The kubelet and the API server look for their address on the interface of the default route.
    _ip("route", "add", "default", "via", HOST_IP, "dev", "br-node")
    # Both belong to the namespace; the machine's own stay as they are.
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    bridged = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if bridged.exists():
        bridged.write_text("1")


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter a private network namespace: {os.strerror(number)}")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
