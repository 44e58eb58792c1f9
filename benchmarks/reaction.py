"""Reaction: from a jump of thinking depth at the gateway to `spec.replicas` written.

A real API server, the operator as a process, a stand-in gateway that jumps from 0 to 24 requests;
the end is the watch event of the Deployment with more replicas. Between two jumps the service is
deleted, so that each starts from one replica. Run: `python -m benchmarks.reaction [JUMPS]`.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from e2e.harness import LocalCluster, eventually
from tests.cluster.crd_inputs import install_crd
from tests.cluster.operator_kit import SERVICE, Fleet, StandInGateway, operator
from thinkscale.api import names

IP = "127.0.7.1"


def jump(cluster: LocalCluster, number: int) -> float:
    """One reaction, in seconds."""
    namespace = f"reaction-{number}"
    cluster.kubectl("create", "namespace", namespace)
    cluster.apply(SERVICE, "-n", namespace)
    fleet = Fleet(cluster, namespace)
    with StandInGateway(IP, f"{namespace}/r1") as gateway:
        eventually(lambda: fleet.pods(names.COMPONENT_MODEL), 20)
        eventually(lambda: fleet.pods(names.COMPONENT_GATEWAY), 20)
        fleet.make_ready(names.COMPONENT_MODEL)
        fleet.make_ready(names.COMPONENT_GATEWAY, IP)
        available = "SignalsAvailable"
        eventually(lambda: fleet.condition(available).get("status") == "True", 20)
        time.sleep(3)  # an idle service: its next tick is not due for a while
        command = [cluster._kubectl, "get", "deployment", "r1-model", "-n", namespace]
        with subprocess.Popen(
            [*command, "--watch-only", "-o", "jsonpath={.spec.replicas}{'\\n'}"],
            stdout=subprocess.PIPE,
            text=True,
            env={"KUBECONFIG": str(cluster.kubeconfig)},
        ) as watching:
            assert watching.stdout is not None
            time.sleep(1)  # the watch is open
            begun = time.perf_counter()
            gateway.say(queued=16, thinking=8, arrivals=24)
            for line in watching.stdout:
                if int(line) > 1:
                    break
            seconds = time.perf_counter() - begun
            watching.terminate()
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    return seconds


def main() -> int:
    """Prints the reactions as JSON; fails if the slowest takes 2 s."""
    jumps = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with (
        tempfile.TemporaryDirectory() as directory,
        LocalCluster(nodes=0) as cluster,
    ):
        install_crd(cluster)
        with operator(cluster, Path(directory) / "log"):
            seconds = [jump(cluster, number) for number in range(jumps)]
    print(
        json.dumps(
            {
                "reaction_seconds": [round(value, 3) for value in seconds],
                "median_seconds": round(statistics.median(seconds), 3),
                "max_seconds": round(max(seconds), 3),
            }
        )
    )
    return 0 if max(seconds) < 2 else 1


if __name__ == "__main__":
    raise SystemExit(main())
