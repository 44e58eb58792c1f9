"""The operator's own metrics: is it alive, is it busy, what does it write. The fleets' metrics are
the gateways'.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """A registry of its own, so that nothing of the process slips in unasked."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.ticks = Counter(
            "thinkscale_operator_ticks",
            "Ticks of the control loop by result",
            ["result"],
            registry=self.registry,
        )
        self.tick_seconds = Histogram(
            "thinkscale_operator_tick_seconds",
            "Duration of one service's tick",
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
            registry=self.registry,
        )
        self.writes = Counter(
            "thinkscale_operator_writes",
            "Writes to the Kubernetes API by kind of object",
            ["kind"],
            registry=self.registry,
        )
        self.scalings = Counter(
            "thinkscale_operator_scalings",
            "Changes of a model's replicas by reason",
            ["reason"],
            registry=self.registry,
        )
        self.services = Gauge(
            "thinkscale_operator_services", "ReasoningServices known", registry=self.registry
        )
        self.watch_age_seconds = Gauge(
            "thinkscale_operator_watch_age_seconds",
            "Since the quietest watch last heard of the API server",
            registry=self.registry,
        )

    def wrote(self, kind: str) -> None:
        """One write to the API."""
        self.writes.labels(kind=kind).inc()
