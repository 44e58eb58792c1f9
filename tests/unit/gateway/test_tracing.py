"""Spans by OTLP: a real gateway process sends them to a receiver that decodes the protobuf."""

import contextlib
import json
import socket
import socketserver
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.unit.gateway.asking import chat
from thinkscale.gateway import tracing
from thinkscale.gateway.flags import parse
from thinkscale.gateway.tracing import CLOSE_SECONDS

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@dataclass
class Receiver:
    """What an OTLP collector would have got."""

    spans: list[Any] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)
    scopes: set[str] = field(default_factory=set)
    headers: dict[str, str] = field(default_factory=dict)

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            told = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.resources.append(told)
            for scope in resource.scope_spans:
                self.scopes.add(scope.scope.name)
                self.spans.extend(scope.spans)

    def of(self, trace: str) -> dict[str, Any]:
        """The spans of a trace, by name."""
        return {span.name: span for span in list(self.spans) if span.trace_id.hex() == trace}


@pytest.fixture(scope="module")
def receiver() -> Iterator[tuple[Receiver, str]]:
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.headers = dict(self.headers)
            assert self.path == "/v1/traces"
            told.take(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield told, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Heard(socketserver.ThreadingTCPServer):
    """A wire to the engine that keeps what the gateway said."""

    def __init__(self, engine_port: int) -> None:
        self.said = b""
        self.engine_port = engine_port
        super().__init__(("127.0.0.1", 0), Wire)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Wire(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        assert isinstance(self.server, Heard)
        far = socket.create_connection(("127.0.0.1", self.server.engine_port))
        back = threading.Thread(target=self._back, args=(far,))
        back.start()
        with contextlib.suppress(OSError):
            while data := self.request.recv(65536):
                self.server.said += data
                far.sendall(data)
            far.shutdown(socket.SHUT_RDWR)
        back.join()
        far.close()

    def _back(self, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                self.request.sendall(data)
            self.request.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def traced(
    alone: Any, engines: Any, receiver: tuple[Receiver, str]
) -> Iterator[tuple[Any, Receiver, Heard]]:
    """A gateway that sends spans, its receiver, and what it said to its engine."""
    told, url = receiver
    engine = engines("--reasoning-parser", "deepseek_r1", step=2.0)
    heard = Heard(engine.port)
    threading.Thread(target=heard.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        environment.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=t1")
        environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        flags = ["--otlp-traces", "--model", "tiny", "--budget-max", "50"]
        gateway = alone(*flags, "--upstream", heard.url)
    gateway.until(lambda: "Serving" in gateway.log and all(gateway.ready().values()))
    yield gateway, told, heard
    gateway.stop()
    heard.shutdown()
    heard.server_close()


def ask(gateway: Any, trace: str, body: dict[str, Any]) -> bytes:
    head = {"Content-Type": "application/json", "traceparent": f"00-{trace}-{CALLER}-01"}
    request = urllib.request.Request(
        gateway.url + "/v1/chat/completions", json.dumps(body).encode(), head
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return bytes(answer.read())


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_request_is_a_span_with_its_phases_as_children(
    traced: tuple[Any, Receiver, Heard],
) -> None:
    gateway, told, heard = traced
    ask(gateway, TRACE, chat(20, 10))
    gateway.until(lambda: "chat tiny" in told.of(TRACE))
    spans = told.of(TRACE)
    root = spans.pop("chat tiny")
    assert set(spans) == {"queued", "thinking", "answering"}
    assert root.parent_span_id.hex() == CALLER
    assert {span.parent_span_id for span in spans.values()} == {root.span_id}
    queued, thinking, answering = spans["queued"], spans["thinking"], spans["answering"]
    assert root.start_time_unix_nano <= queued.start_time_unix_nano
    assert queued.end_time_unix_nano == thinking.start_time_unix_nano
    assert thinking.end_time_unix_nano == answering.start_time_unix_nano
    assert thinking.end_time_unix_nano - thinking.start_time_unix_nano > 20e6  # 20 tokens of 2 ms
    assert answering.end_time_unix_nano <= root.end_time_unix_nano
    said = attributes(root)
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.request.model"] == "tiny"
    assert said["gen_ai.usage.output_tokens"] >= said["thinkscale.thinking_tokens"] + 10
    assert 0 < said["thinkscale.thinking_tokens"] <= 20
    assert said["thinkscale.budget_tokens"] == 50
    assert said["thinkscale.replica"]
    assert told.scopes == {"thinkscale_gateway"}
    assert told.resources[0]["service.name"] == "thinkscale-gateway"
    assert told.resources[0]["deployment.environment.name"] == "test"
    assert told.headers["x-tenant"] == "t1"
    # The engine's own spans, if it makes any, are children of ours.
    assert f"traceparent: 00-{TRACE}-{root.span_id.hex()}-01".encode() in heard.said
    assert CALLER.encode() not in heard.said


def test_a_refused_request_is_told_with_its_error_and_nothing_that_was_said(
    traced: tuple[Any, Receiver, Heard],
) -> None:
    gateway, told, _ = traced
    trace = "1" * 32
    with pytest.raises(urllib.error.HTTPError):
        ask(gateway, trace, chat(5, 5, temperature=-3.0))
    gateway.until(lambda: "chat tiny" in told.of(trace))
    spans = told.of(trace)
    assert attributes(spans["chat tiny"])["error.type"] == "refused"
    assert set(spans) == {"chat tiny", "queued"}
    assert not any(b"hello" in span.SerializeToString() for span in told.spans)


def test_what_the_caller_does_not_sample_is_passed_on_and_not_told(
    traced: tuple[Any, Receiver, Heard],
) -> None:
    gateway, told, heard = traced
    unsampled, sampled = "2" * 32, "3" * 32
    body = json.dumps(chat(3, 3)).encode()
    head = {"Content-Type": "application/json", "traceparent": f"00-{unsampled}-{CALLER}-00"}
    url = gateway.url + "/v1/chat/completions"
    with urllib.request.urlopen(urllib.request.Request(url, body, head), timeout=20) as answer:
        answer.read()
    ask(gateway, sampled, chat(3, 3))
    gateway.until(lambda: "chat tiny" in told.of(sampled))
    assert not told.of(unsampled)
    assert f"traceparent: 00-{unsampled}-".encode() in heard.said


def ended(gateway: Any) -> float:
    """Seconds from the signal to the end of its process."""
    begun = time.monotonic()
    gateway.terminate()
    assert gateway.process.wait(20) == 0, gateway.log
    return time.monotonic() - begun


def traced_to(url: str, alone: Any, engines: Any) -> Any:
    """A gateway that has served a request whose spans it has not tried to send yet."""
    engine = engines("--reasoning-parser", "deepseek_r1")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
        gateway = alone("--otlp-traces", "--model", "tiny", "--upstream", engine.url)
    gateway.until(lambda: "Serving" in gateway.log and all(gateway.ready().values()))
    ask(gateway, "4" * 32, chat(3, 3))
    return gateway


def test_the_last_spans_are_sent_at_the_end(
    alone: Any, engines: Any, receiver: tuple[Receiver, str]
) -> None:
    told, url = receiver
    ended(traced_to(url, alone, engines))
    assert "chat tiny" in told.of("4" * 32)


def test_the_end_does_not_wait_for_a_collector_that_is_away(alone: Any, engines: Any) -> None:
    with socket.socket() as collector:
        collector.bind(("127.0.0.1", 0))  # ours, and nobody listens
        gateway = traced_to(f"http://127.0.0.1:{collector.getsockname()[1]}", alone, engines)
        assert ended(gateway) < CLOSE_SECONDS + 2.0


def test_without_the_flag_there_are_no_spans_and_no_sdk_is_asked_for() -> None:
    flags = ["--upstream", "http://127.0.0.1:1"]
    assert parse(flags).tracing is None


def test_without_the_extra_the_flag_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> tracing.Tracing:
        raise tracing.NoSdk("spans need an extra: pip install 'thinkscale[otlp]'")

    monkeypatch.setattr("thinkscale.gateway.flags.otlp", missing)
    with pytest.raises(SystemExit) as ended:
        parse(["--upstream", "http://127.0.0.1:1", "--otlp-traces"])
    assert ended.value.code == 2
    assert "thinkscale[otlp]" in capsys.readouterr().err
