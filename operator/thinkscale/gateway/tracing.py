"""OpenTelemetry spans of requests, with their phases as child spans; off unless asked for.

A request's span is a server's, named and described by the GenAI conventions; `queued`, `thinking`
and `answering` are its children, written when it is over from the instants in the books, so a token
costs nothing. The client's W3C trace context is taken up, and the engine gets ours. Where to send
them, how often and what to sample is said by the standard OTEL_* variables, which the SDK reads.
Nothing of a prompt or an answer is in a span. The SDK is an optional extra: it is imported here and
only when spans are asked for.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from thinkscale.engines.dialect import Route
from thinkscale.errors import ThinkscaleError
from thinkscale.gateway.flight import Flight
from thinkscale.gateway.slo import Outcome

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

SCOPE: Final = "thinkscale_gateway"
SERVICE: Final = "thinkscale-gateway"
"""Unless the environment names it."""
_OPERATIONS: Final = {Route.CHAT: "chat", Route.COMPLETIONS: "text_completion"}
CONTEXT_HEADERS: Final = ("traceparent", "tracestate")
CLOSE_SECONDS: Final = 1.0
"""So long a gateway that ends waits for its last spans to be taken."""


class NoSdk(ThinkscaleError):
    """The optional extra is not installed."""


class Trace(Protocol):
    """One request's."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What the engine gets."""
        ...

    def end(self, flight: Flight, outcome: Outcome, now: float) -> None:
        """The request is over. `now`: on the clock of the flight's instants."""
        ...


class Tracing(Protocol):
    """Makes the spans of all requests."""

    def begin(self, route: Route, model: str, headers: Mapping[str, str]) -> Trace:
        """A request has arrived. `headers`: the client's."""
        ...

    def close(self) -> None:
        """Send what is left, within `CLOSE_SECONDS`."""
        ...


def otlp() -> Tracing:
    """Spans sent by OTLP over HTTP. Raises `NoSdk`."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise NoSdk("spans need an extra: pip install 'thinkscale[otlp]'") from None
    resource = Resource.create()  # what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        resource = Resource.create({"service.name": SERVICE})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return _Otlp(provider)


class _Otlp:
    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.tracer = provider.get_tracer(SCOPE)
        self.propagator = TraceContextTextMapPropagator()
        self._provider = provider
        self._kind = SpanKind.SERVER

    def begin(self, route: Route, model: str, headers: Mapping[str, str]) -> Trace:
        operation = _OPERATIONS[route]
        given = {name: headers[name] for name in CONTEXT_HEADERS if name in headers}
        span = self.tracer.start_span(
            f"{operation} {model}",
            context=self.propagator.extract(given),
            kind=self._kind,
            attributes={
                "gen_ai.operation.name": operation,
                "gen_ai.request.model": model,
            },
        )
        return _OtlpTrace(self, span)

    def close(self) -> None:
        """NB: the SDK's own end waits for an exporter that tries a collector again, for ten seconds
        and more, and takes no limit of ours. Its thread is a daemon, as this one is.
        """
        end = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        end.start()
        end.join(CLOSE_SECONDS)


class _OtlpTrace:
    def __init__(self, tracing: _Otlp, span: "Span") -> None:
        from opentelemetry.trace import set_span_in_context

        self._tracing = tracing
        self._span = span
        self._context = set_span_in_context(span)

    @property
    def headers(self) -> Mapping[str, str]:
        told: dict[str, str] = {}
        self._tracing.propagator.inject(told, context=self._context)
        return told

    def end(self, flight: Flight, outcome: Outcome, now: float) -> None:
        from opentelemetry.trace import StatusCode

        span = self._span
        if span.is_recording():
            ahead = time.time_ns() - round(now * 1e9)
            for name, begun, over in phases(flight, now):
                child = self._tracing.tracer.start_span(
                    name, context=self._context, start_time=ahead + round(begun * 1e9)
                )
                child.end(ahead + round(over * 1e9))
            span.set_attributes(dict(attributes(flight)))
            if outcome is not Outcome.COMPLETED:
                span.set_attribute("error.type", outcome.value)
            if outcome is Outcome.FAILED:
                span.set_status(StatusCode.ERROR)
        span.end()


def phases(flight: Flight, now: float) -> Iterator[tuple[str, float, float]]:
    """(name, begin, end) of each phase that a request was in. Pure."""
    first, answer = flight.first_token, flight.answer_begun
    yield "queued", flight.arrived, first if first is not None else now
    if first is not None and (answer is None or answer > first):
        yield "thinking", first, answer if answer is not None else now
    if answer is not None:
        yield "answering", answer, now


def attributes(flight: Flight) -> Iterator[tuple[str, str | int]]:
    """What is told of a request that is over. Pure."""
    yield "gen_ai.usage.input_tokens", flight.prompt
    yield "gen_ai.usage.output_tokens", flight.output
    yield "thinkscale.thinking_tokens", flight.thinking
    if flight.limit is not None:
        yield "thinkscale.budget_tokens", flight.limit
    if flight.tier:
        yield "thinkscale.tier", flight.tier
    if flight.replica is not None:
        yield "thinkscale.replica", flight.replica
