"""`/metrics`: the same books as `/signals`, for Prometheus. Built when asked, so that the hot path
pays nothing for it.

No engine exports thinking apart from answering; these do. `service` is NAMESPACE/NAME, so that one
grouped query reads a whole fleet.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.histogram import Bins
from thinkscale.gateway.tally import Row

PREFIX = "thinkscale_gateway_"


class _Books:
    """A collector over one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._service = gateway.config.service if gateway.config else ""

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield from self._requests()
        yield from self._latencies()
        yield from self._budgets()
        yield from self._fleet()
        yield from self._clients()

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(PREFIX + name, text, labels=["service"])
        family.add_metric([self._service], value)
        return family

    def _counters(self, name: str, text: str, label: str, values: dict[str, int]) -> Metric:
        family = CounterMetricFamily(PREFIX + name, text, labels=["service", label])
        for key, value in values.items():
            family.add_metric([self._service, key], value)
        return family

    def _requests(self) -> Iterator[Metric]:
        ledger = self._gateway.ledger
        phases = ledger.phases()
        family = GaugeMetricFamily(
            PREFIX + "requests_in_phase", "Requests now, by phase.", labels=["service", "phase"]
        )
        for phase in ("queued", "thinking", "answering"):
            family.add_metric([self._service, phase], getattr(phases, phase))
        yield family
        yield self._gauge("thinking_depth", "Requests queued or thinking.", phases.depth)
        yield from self._queue()
        totals = ledger.totals
        arrivals = CounterMetricFamily(
            PREFIX + "arrivals", "Requests accepted.", labels=["service"]
        )
        arrivals.add_metric([self._service], totals.arrivals)
        yield arrivals
        yield self._counters(
            "requests",
            "Requests that ended, by outcome.",
            "outcome",
            {
                "completed": totals.completed,
                "failed": totals.failed,
                "cancelled": totals.cancelled,
                "refused": totals.refused,
            },
        )
        yield self._counters(
            "tokens",
            "Tokens, by phase.",
            "phase",
            {
                "prompt": totals.prompt_tokens,
                "thinking": totals.thinking_tokens,
                "answering": totals.answer_tokens,
            },
        )
        yield self._counters(
            "retries",
            "Requests sent to another replica: from their beginning, or from what the client had.",
            "reason",
            {"away": totals.retried, "resumed": totals.resumed},
        )
        miscounted = CounterMetricFamily(
            PREFIX + "miscounted_streams",
            "Streams whose tokens are not those that the engine's usage tells of.",
            labels=["service"],
        )
        miscounted.add_metric([self._service], totals.miscounted)
        yield miscounted

    def _queue(self) -> Iterator[Metric]:
        router = self._gateway.router
        fresh = router.fresh(self._gateway.clock())
        yield self._gauge("held", "Requests held at the gateway.", router.held)
        family = GaugeMetricFamily(
            PREFIX + "held_by_line",
            "Requests held: those who can still be in time, and the late, who wait for them.",
            labels=["service", "line"],
        )
        family.add_metric([self._service, "fresh"], fresh)
        family.add_metric([self._service, "late"], router.held - fresh)
        yield family
        yield self._histogram(
            "held_seconds",
            "Arrival to dispatch: without room under the ceiling requests wait.",
            self._gateway.ledger.held,
        )

    def _latencies(self) -> Iterator[Metric]:
        ledger = self._gateway.ledger
        yield self._histogram("time_to_first_token_seconds", "Arrival to first token.", ledger.ttft)
        yield self._histogram(
            "time_to_first_answer_seconds", "Arrival to first answer token.", ledger.ttfa
        )
        yield self._histogram("e2e_seconds", "Arrival to end of completed requests.", ledger.e2e)
        yield self._histogram(
            "time_per_thinking_token_seconds", "Mean of a request.", ledger.thinking_pace
        )
        yield self._histogram(
            "time_per_answer_token_seconds", "Mean of a request.", ledger.answer_pace
        )
        family = CounterMetricFamily(
            PREFIX + "slo_requests", "Requests by SLO.", labels=["service", "slo", "met"]
        )
        for name, counts in ledger.slo_counts(self._gateway.clock()).items():
            family.add_metric([self._service, name, "true"], counts.good)
            family.add_metric([self._service, name, "false"], counts.bad)
        yield family

    def _histogram(self, name: str, text: str, bins: Bins) -> Metric:
        family = HistogramMetricFamily(PREFIX + name, text, labels=["service"])
        family.add_metric(
            [self._service], buckets=_buckets(bins.edges, bins.counts), sum_value=bins.sum_seconds
        )
        return family

    def _budgets(self) -> Iterator[Metric]:
        counts = self._gateway.ledger.budget
        yield self._counters(
            "budget_events",
            "What budget forcing did.",
            "event",
            {
                "applied": counts.applied,
                "cut": counts.cut,
                "cut_by_load": counts.cut_by_load,
                "extended": counts.extended,
            },
        )
        yield self._counters(
            "budget_violations",
            "Native budgets that an engine broke, by how. The gateway made them good.",
            "cause",
            {cause.value: count for cause, count in counts.violations.items()},
        )
        yield self._gauge(
            "replicas_native_budget_doubted",
            "Replicas whose thinking budgets the gateway holds alone, since they broke one.",
            len(self._gateway.trust.doubted),
        )
        yield self._counters(
            "canaries",
            "Replicas whose native budget was tried before their first request, by the result.",
            "result",
            {result.value: count for result, count in counts.canaries.items()},
        )
        yield self._gauge(
            "replicas_unproven",
            "Replicas that are ready and get no request before their native budget was tried.",
            len(self._gateway.proofs.waiting),
        )
        withheld = CounterMetricFamily(
            PREFIX + "withheld_thinking_tokens",
            "What the declared budgets would still have allowed to thoughts cut by load.",
            labels=["service"],
        )
        withheld.add_metric([self._service], counts.withheld_tokens)
        yield withheld
        points = CounterMetricFamily(
            PREFIX + "withheld_score_points",
            "Expected score, in percent points, that thoughts cut by load have lost.",
            labels=["service"],
        )
        points.add_metric([self._service], counts.withheld_millipoints / 1000)
        yield points
        yield self._gauge(
            "brownout", "1 while fresh requests wait too long.", self._gateway.brownout.on
        )
        limit = self._gateway.effective_max_tokens()
        if limit is not None:
            yield self._gauge(
                "effective_max_thinking_tokens", "Age at which thoughts are closed now.", limit
            )
        tiers = GaugeMetricFamily(
            PREFIX + "tier_max_thinking_tokens",
            "The same by tier that tells its quality, while load lowers any.",
            labels=["service", "tier"],
        )
        for tier, tokens in self._gateway.brownout.tokens_by_tier.items():
            tiers.add_metric([self._service, tier], tokens)
        yield tiers

    def _fleet(self) -> Iterator[Metric]:
        gateway = self._gateway
        serving = gateway.router.serving()
        yield self._gauge("replicas_serving", "Replicas that get new requests.", len(serving))
        yield self._gauge(
            "replicas_out",
            "Ready replicas that get no request since they fail.",
            len(gateway.router.out(gateway.clock())),
        )
        yield self._counters(
            "conversation_turns",
            "Later turns of conversations, by where they went.",
            "replica",
            {"same": gateway.router.returned, "another": gateway.router.strayed},
        )
        ejections = CounterMetricFamily(
            PREFIX + "ejections", "Times that a failing replica was left alone.", labels=["service"]
        )
        ejections.add_metric([self._service], gateway.ledger.totals.ejected)
        yield ejections
        backlog = sum(
            gateway.ledger.work(name, gateway.clock()) for name in gateway.router.replicas
        )
        yield self._gauge("backlog_tokens", "Expected tokens still to come.", round(backlog))
        if gateway.directive is not None:
            order = InfoMetricFamily(
                PREFIX + "directive", "The directive in force.", labels=["service"]
            )
            order.add_metric([self._service], {"id": gateway.directive.id})
            yield order

    def _clients(self) -> Iterator[Metric]:
        tally = self._gateway.tally
        yield from self._rows("tier", "Empty: no tier.", tally.tiers)
        yield from self._rows("key", "By the id of the API key.", tally.keys)
        family = CounterMetricFamily(
            PREFIX + "unauthorized", "Requests without a valid API key.", labels=["service"]
        )
        family.add_metric([self._service], tally.unauthorized)
        yield family

    def _rows(self, label: str, text: str, rows: Mapping[str, Row]) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            f"{PREFIX}{label}_requests",
            f"Requests that ended. {text}",
            labels=["service", label, "outcome"],
        )
        tokens = CounterMetricFamily(
            f"{PREFIX}{label}_tokens",
            f"Tokens of requests that ended. {text}",
            labels=["service", label, "phase"],
        )
        for name, row in rows.items():
            for outcome, count in row.outcomes.items():
                requests.add_metric([self._service, name, outcome.value], count)
            tokens.add_metric([self._service, name, "thinking"], row.thinking_tokens)
            tokens.add_metric([self._service, name, "answering"], row.answer_tokens)
        yield requests
        yield tokens


def _buckets(edges: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    names = [*(str(edge) for edge in edges), "+Inf"]
    return list(zip(names, accumulate(counts), strict=True))


def exposition(gateway: Gateway) -> tuple[bytes, str]:
    """The page and its content type."""
    registry = CollectorRegistry()
    registry.register(_Books(gateway))
    return generate_latest(registry), CONTENT_TYPE_LATEST
