"""A small real server of Kubernetes' external-metrics API, so that a real HPA can scale by it.

`GET /apis/external.metrics.k8s.io/v1beta1/namespaces/NS/METRIC?labelSelector=service%3DNAME` is
answered from `LoadReader`; the API server reaches us through an APIService and a Service without a
selector. An unknown value is an empty list, which the HPA takes for "no data" and stays put.
"""

import base64
import http.server
import json
import ssl
import threading
import urllib.parse
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

from e2e.harness import LocalCluster, eventually

GROUP_VERSION = "external.metrics.k8s.io/v1beta1"
NAME = "external-metrics"
NAMESPACE = "default"
PORT = 7443
AVAILABLE_SECONDS = 60

Read = Callable[[str, str], float | None]
"""(service, metric) -> value; None: unknown; KeyError: no such service or metric."""


def answer(path: str, read: Read) -> dict[str, Any] | None:
    """The object for a path below the group; None: no such thing. Pure but for `read`."""
    parts = urllib.parse.urlsplit(path)
    steps = [step for step in parts.path.split("/") if step]
    if steps[:3] != ["apis", *GROUP_VERSION.split("/")]:
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": []}
    if len(steps) == 3:
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": GROUP_VERSION,
            "resources": [],
        }
    if len(steps) != 6 or steps[3] != "namespaces":
        return None
    selector = urllib.parse.parse_qs(parts.query).get("labelSelector", [""])[0]
    key, _, service = selector.partition("=")
    if key != "service":
        return None
    try:
        value = read(service, steps[5])
    except KeyError:
        return None
    item = {
        "metricName": steps[5],
        "metricLabels": {"service": service},
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "value": "" if value is None else f"{round(value * 1000)}m",
    }
    return {
        "kind": "ExternalMetricValueList",
        "apiVersion": GROUP_VERSION,
        "metadata": {},
        "items": [] if value is None else [item],
    }


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    read: ClassVar[Read]

    def do_GET(self) -> None:
        found = answer(self.path, type(self).read)
        body = json.dumps({"kind": "Status", "code": 404} if found is None else found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Be silent: the API server asks all the time."""


class ExternalMetrics:
    """Serves and registers the API while it is entered."""

    def __init__(self, cluster: LocalCluster, read: Read) -> None:
        self._cluster = cluster
        pair = cluster.ca.issue(NAME, NAME, ips=[cluster.node_ip], dns=[f"{NAME}.{NAMESPACE}.svc"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        handler = type("Handler", (_Handler,), {"read": staticmethod(read)})
        self._server = http.server.ThreadingHTTPServer((cluster.node_ip, PORT), handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> "ExternalMetrics":
        threading.Thread(target=self._server.serve_forever, daemon=True, name=NAME).start()
        for manifest in self._registration():
            self._cluster.apply(manifest)
        eventually(self._available, AVAILABLE_SECONDS, "the external-metrics API is Available")
        return self

    def __exit__(self, *_: object) -> None:
        # NB: an APIService without its server keeps every namespace from being deleted.
        for manifest in reversed(self._registration()):
            self._cluster.kubectl(
                "delete", "--ignore-not-found", "-f", "-", input=json.dumps(manifest), check=False
            )
        self._server.shutdown()
        self._server.server_close()

    def _available(self) -> bool:
        service = self._cluster.get("apiservice", "v1beta1.external.metrics.k8s.io")
        conditions = service.get("status", {}).get("conditions", [])
        return any(c["type"] == "Available" and c["status"] == "True" for c in conditions)

    def _registration(self) -> list[dict[str, Any]]:
        authority = base64.b64encode(self._cluster.ca.certificate.read_bytes()).decode()
        return [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": NAME, "namespace": NAMESPACE},
                "spec": {"ports": [{"name": "https", "port": 443, "targetPort": PORT}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": NAME,
                    "namespace": NAMESPACE,
                    "labels": {"kubernetes.io/service-name": NAME},
                },
                "addressType": "IPv4",
                "ports": [{"name": "https", "port": PORT, "protocol": "TCP"}],
                "endpoints": [
                    {"addresses": [self._cluster.node_ip], "conditions": {"ready": True}}
                ],
            },
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
                "spec": {
                    "group": "external.metrics.k8s.io",
                    "version": "v1beta1",
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                    "caBundle": authority,
                    "service": {"name": NAME, "namespace": NAMESPACE},
                },
            },
        ]
