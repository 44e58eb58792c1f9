"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler, as a real cluster runs them.

Flags follow controller-runtime's envtest, plus what envtest leaves out because it has no
controllers: ServiceAccounts, garbage collection, the front proxy for aggregated APIs, the
Node authorizer. The wait at the end is for the default ServiceAccount, without which no pod is
admitted.
"""

import ssl
import urllib.request
from pathlib import Path

from e2e.harness import netns, pki
from e2e.harness.assets import Assets
from e2e.harness.components import Component, Run

SERVICE_NETWORK = "10.96.0.0/16"
FIRST_SERVICE_IP = "10.96.0.1"
SERVER = f"https://{netns.HOST_IP}:6443"
ETCD = "http://127.0.0.1:2379"
START_SECONDS = 60
PROBE_SECONDS = 2
CLIENT_QPS = 300
"""The controllers create some forty ServiceAccounts first of all; at the default 20 a second the
cluster's first pod would wait five seconds for them."""


class ControlPlane:
    """The four processes and the certificates that the rest of the cluster needs."""

    def __init__(self, run: Run, assets: Assets, *, hpa_sync_seconds: int) -> None:
        self._run = run
        self._assets = assets
        self._hpa_sync_seconds = hpa_sync_seconds
        self.pki = run.directory / "pki"
        self.pki.mkdir()
        self.ca = pki.Authority(self.pki, "ca", "thinkscale-ca")
        self._front_proxy_ca = pki.Authority(self.pki, "front-proxy-ca", "thinkscale-front-proxy")
        self._token_keys = pki.write_token_keys(self.pki)
        self.admin_kubeconfig = self.user("admin", "admin", "system:masters")
        self._trust = ssl.create_default_context(cafile=str(self.ca.certificate))
        self._trust.load_cert_chain(self.pki / "admin.crt", self.pki / "admin.key")
        self._distrust = ssl.create_default_context()
        self._distrust.check_hostname = False
        self._distrust.verify_mode = ssl.CERT_NONE

    def user(self, base: str, common_name: str, *organizations: str) -> Path:
        """A kubeconfig for a new client certificate."""
        client = self.ca.issue(base, common_name, organizations)
        return pki.write_kubeconfig(
            self._run.directory / f"{base}.kubeconfig",
            server=SERVER,
            authority=self.ca.certificate,
            client=client,
        )

    def start_api(self) -> Component:
        """Start etcd and the API server (which waits for etcd by itself)."""
        self._run.start("etcd", self._etcd())
        return self._run.start("kube-apiserver", self._apiserver())

    def wait_for_api(self) -> None:
        """Return when the API server says it is ready."""
        self._wait("kube-apiserver", f"{SERVER}/readyz", self._trust)

    def start_controllers(self) -> None:
        """Start the controllers and the scheduler; the API must be ready."""
        self._run.start("kube-controller-manager", self._controller_manager())
        self._run.start("kube-scheduler", self._scheduler())

    def wait_for_controllers(self) -> None:
        """Return when pods can be created and will be scheduled."""
        self._wait("kube-controller-manager", "https://127.0.0.1:10257/healthz", self._distrust)
        self._wait("kube-scheduler", "https://127.0.0.1:10259/readyz", self._distrust)
        account = f"{SERVER}/api/v1/namespaces/default/serviceaccounts/default"
        self._wait("kube-controller-manager", account, self._trust)

    def _wait(self, component: str, url: str, context: ssl.SSLContext) -> None:
        def answers() -> bool:
            with urllib.request.urlopen(url, context=context, timeout=PROBE_SECONDS) as response:
                return bool(response.status == 200)

        self._run.wait(url, answers, START_SECONDS, self._run.components[component])

    def _etcd(self) -> list[str]:
        return [
            self._assets.path("etcd"),
            f"--data-dir={self._run.directory / 'etcd'}",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _apiserver(self) -> list[str]:
        serving = self.ca.issue(
            "apiserver",
            "kube-apiserver",
            ips=["127.0.0.1", netns.HOST_IP, FIRST_SERVICE_IP],
            dns=["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
        )
        kubelet_client = self.ca.issue("apiserver-kubelet", "apiserver-kubelet", ["system:masters"])
        proxy_client = self._front_proxy_ca.issue("front-proxy-client", "front-proxy-client")
        return [
            self._assets.path("kube-apiserver"),
            f"--etcd-servers={ETCD}",
            "--bind-address=0.0.0.0",
            "--secure-port=6443",
            f"--advertise-address={netns.HOST_IP}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self.ca.certificate}",
            f"--kubelet-client-certificate={kubelet_client.certificate}",
            f"--kubelet-client-key={kubelet_client.key}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={self._token_keys.certificate}",
            f"--service-account-signing-key-file={self._token_keys.key}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--requestheader-client-ca-file={self._front_proxy_ca.certificate}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={proxy_client.certificate}",
            f"--proxy-client-key-file={proxy_client.key}",
            "--enable-aggregator-routing=true",
        ]

    def _controller_manager(self) -> list[str]:
        kubeconfig = self.user("kcm", "system:kube-controller-manager")
        return [
            self._assets.path("kube-controller-manager"),
            *_server_flags(kubeconfig),
            f"--kube-api-qps={CLIENT_QPS}",
            f"--kube-api-burst={2 * CLIENT_QPS}",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self._token_keys.key}",
            f"--root-ca-file={self.ca.certificate}",
            f"--cluster-signing-cert-file={self.ca.certificate}",
            f"--cluster-signing-key-file={self.ca.files.key}",
            "--node-monitor-period=2s",
            "--node-monitor-grace-period=16s",
            f"--horizontal-pod-autoscaler-sync-period={self._hpa_sync_seconds}s",
        ]

    def _scheduler(self) -> list[str]:
        kubeconfig = self.user("scheduler", "system:kube-scheduler")
        return [self._assets.path("kube-scheduler"), *_server_flags(kubeconfig)]


def _server_flags(kubeconfig: Path) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
    ]
