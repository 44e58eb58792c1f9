"""What the operator costs: resident memory and CPU with 20 services, idle and under traffic.

A real API server, the operator as a process, one stand-in gateway a service (a real HTTP server on
its own loopback address). "Idle": no request anywhere. "Traffic": every gateway reports once a
second, its depth wandering by a few requests. Run: `python -m benchmarks.operator_cost [SECONDS]`.
"""

import json
import os
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import Any

from e2e.harness import LocalCluster, eventually
from tests.cluster.crd_inputs import install_crd
from tests.cluster.operator_kit import SERVICE, Fleet, Operator, StandInGateway, operator
from thinkscale.api import names

SERVICES = 20
NAMESPACE = "default"


def service(name: str) -> dict[str, Any]:
    """One of the services."""
    made = deepcopy(SERVICE)
    made["metadata"]["name"] = name
    made["spec"]["slos"] = [
        {
            "name": "first-answer",
            "indicator": "TimeToFirstAnswer",
            "thresholdMilliseconds": 10000,
            "objectivePercent": "99",
        }
    ]
    return made


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(pid: int) -> float:
    """Resident set of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def over(process: Operator, seconds: int, gateways: list[StandInGateway], moving: bool) -> Any:
    """Cost of one period."""
    wander = random.Random(1)
    depths = [3] * len(gateways)
    begun, cpu = time.monotonic(), cpu_seconds(process.process.pid)
    writes, ticks = process.writes(), process.counts("ticks")
    arrivals = 0
    while time.monotonic() - begun < seconds:
        if moving:
            arrivals += 1
            for index, gateway in enumerate(gateways):
                depths[index] = min(4, max(1, depths[index] + wander.choice((-1, 0, 1))))
                gateway.say(thinking=depths[index], answering=1, arrivals=arrivals)
        time.sleep(1)
    took = time.monotonic() - begun
    return {
        "cpu_percent_of_a_core": round(100 * (cpu_seconds(process.process.pid) - cpu) / took, 2),
        "rss_megabytes": round(resident_megabytes(process.process.pid), 1),
        "ticks_per_minute": round(60 * sum((process.counts("ticks") - ticks).values()) / took, 1),
        "writes_per_minute": {
            kind: round(60 * count / took, 1) for kind, count in (process.writes() - writes).items()
        },
    }


def main() -> int:
    """Prints both costs as JSON; fails above 120 MB or 2 % of a core."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    with (
        tempfile.TemporaryDirectory() as directory,
        LocalCluster(nodes=0) as cluster,
        ExitStack() as stack,
    ):
        install_crd(cluster)
        process = stack.enter_context(operator(cluster, Path(directory) / "log"))
        gateways = []
        for number in range(SERVICES):
            name, ip = f"r{number}", f"127.0.8.{number + 1}"
            cluster.apply(service(name), "-n", NAMESPACE)
            gateways.append(stack.enter_context(StandInGateway(ip, f"{NAMESPACE}/{name}")))
            fleet = Fleet(cluster, NAMESPACE, name)
            eventually(lambda fleet=fleet: fleet.pods(names.COMPONENT_MODEL), 20)
            eventually(lambda fleet=fleet: fleet.pods(names.COMPONENT_GATEWAY), 20)
            fleet.make_ready(names.COMPONENT_MODEL)
            fleet.make_ready(names.COMPONENT_GATEWAY, ip)
        time.sleep(10)
        result = {
            "services": SERVICES,
            "seconds": seconds,
            "idle": over(process, seconds, gateways, moving=False),
            "traffic": over(process, seconds, gateways, moving=True),
        }
    print(json.dumps(result))
    costs = (result["idle"], result["traffic"])
    small = all(cost["rss_megabytes"] < 120 for cost in costs)
    cheap = all(cost["cpu_percent_of_a_core"] < 2 for cost in costs)
    return 0 if small and cheap else 1


if __name__ == "__main__":
    raise SystemExit(main())
