"""The store and the signals source, as the one observation that the law decides on.

What could not be read is absent or failed, never zero. A workload that does not exist yet is known
to have no replicas: it is about to be created at its first size.
"""

from datetime import datetime

from thinkscale.api import names
from thinkscale.controller.known import Rollout
from thinkscale.controller.pods import replica_of
from thinkscale.controller.store import Service
from thinkscale.model.intent import Intent
from thinkscale.model.observation import FleetView, Observation
from thinkscale.model.reading import Value
from thinkscale.resources.intent import initial_replicas
from thinkscale.signals.source import GatewayAddress, SignalsReading

FLEET_SOURCE = "kubernetes"


def rollout_of(service: Service, deployment: str) -> Rollout | None:
    """What the Deployment of this name says of itself; None: it is not there."""
    known = service.known("Deployment", deployment)
    return known.rollout if known else None


def gateways_of(service: Service) -> dict[str, GatewayAddress]:
    """The gateway pods that may have requests."""
    return {
        pod.name: GatewayAddress(
            url=f"http://{bracketed(pod.ip)}:{names.GATEWAY_ADMIN_PORT}" if pod.ip else None,
            expected=pod.ready or pod.deleting,
        )
        for pod in service.component(names.COMPONENT_GATEWAY)
        if not pod.ended
    }


def bracketed(ip: str) -> str:
    """An address as URLs want it."""
    return f"[{ip}]" if ":" in ip else ip


def fleet_of(
    service: Service, intent: Intent, deployment: str, stated: int | None, now: datetime
) -> FleetView:
    """The model servers as Kubernetes shows them. Their number is the one last stated (`stated`),
    not what somebody else may have made of it since: in this the operator is the only author.
    """
    rollout = rollout_of(service, deployment)
    if stated is not None:
        desired = stated
    else:
        desired = initial_replicas(intent) if rollout is None else rollout.replicas
    return FleetView(
        replicas=tuple(
            replica_of(pod, now, intent.startup_seconds)
            for pod in service.component(names.COMPONENT_MODEL)
            if not pod.ended
        ),
        desired=desired,
        rolling=rollout is not None and rollout.rolling,
    )


def gateways_leaving(service: Service) -> int:
    """Gateway pods that only end their streams."""
    pods = service.component(names.COMPONENT_GATEWAY)
    return sum(pod.deleting and not pod.ended for pod in pods)


def observe(
    fleet: FleetView, fleet_age_seconds: float, signals: SignalsReading, epoch: str, leaving: int
) -> Observation:
    """One instant of one service. The fleet is as old as the last word of the watches. `leaving`:
    gateways that take no new request.
    """
    return Observation(
        fleet=Value(value=fleet, age_seconds=fleet_age_seconds, source=FLEET_SOURCE),
        signals=signals.signals,
        epoch=epoch,
        gateways_expected=signals.expected,
        gateways_heard=signals.heard,
        gateways_leaving=min(leaving, signals.expected),
    )
