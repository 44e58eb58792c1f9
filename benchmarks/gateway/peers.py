"""What is measured: the engine alone, nginx, our gateway and LiteLLM, each as one process.

nginx is the system's, or Debian's package unpacked in the project's cache (half a megabyte; the
system stays as it is). LiteLLM gets a virtual environment of its own there. Both are optional for
the run, not for its verdict: what could not be had is said.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gateway import environments
from e2e.harness.cache import cache_root
from e2e.provision import progress

LITELLM = environments.Program(
    name="litellm",
    requirement="litellm[proxy]==1.108.7",
    download_megabytes=200,
    disk_megabytes=760,
    hint=" (LITELLM=no leaves it out)",
)
KEY = "sk-benchmark-0123456789"
MODEL = "m"
PROXY_CORE = 1
START_SECONDS = 90.0
_HERE = Path(__file__).parent


class Missing(RuntimeError):
    """A peer cannot be had here; the text says why."""


@dataclass(slots=True, kw_only=True)
class Peer:
    """A running proxy."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End it, and whatever it started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def nginx(place: Path, engine_port: int, port: int) -> Peer:
    """One worker, in one process."""
    conf = (_HERE / "nginx.conf").read_text()
    for name, value in {"UPSTREAM": engine_port, "LISTEN": port, "PLACE": place}.items():
        conf = conf.replace(f"@{name}@", str(value))
    (place / "nginx.conf").write_text(conf)
    command = [_nginx_binary(), "-p", str(place), "-c", str(place / "nginx.conf")]
    return start("nginx", port, command, place, core=PROXY_CORE)


def gateway(place: Path, engine_port: int, port: int, admin_port: int) -> Peer:
    """Ours: phases seen, tokens counted, budgets held, metrics kept."""
    config = {"service": "n/s", "model": MODEL, "seatsPerReplica": 4096, "maxTokens": 100_000}
    replicas = [{"name": "r", "url": f"http://127.0.0.1:{engine_port}"}]
    (place / "config.json").write_text(json.dumps(config))
    (place / "replicas.json").write_text(json.dumps(replicas))
    command = [
        *(sys.executable, "-m", "thinkscale", "gateway", "--host", "127.0.0.1"),
        *("--port", str(port), "--admin-port", str(admin_port)),
        *("--config-dir", str(place), "--replicas-file", str(place / "replicas.json")),
    ]
    ready = f"http://127.0.0.1:{admin_port}/readyz"
    return start("gateway", port, command, place, ready=ready, core=PROXY_CORE)


def litellm(place: Path, engine_port: int, port: int) -> Peer:
    """One worker, its key in memory, no database."""
    config = {
        "model_list": [
            {
                "model_name": MODEL,
                "litellm_params": {
                    "model": f"openai/{MODEL}",
                    "api_base": f"http://127.0.0.1:{engine_port}/v1",
                    "api_key": "none",
                },
            }
        ],
        "general_settings": {"master_key": KEY},
    }
    (place / "litellm.yaml").write_text(json.dumps(config))  # JSON is YAML
    command = [
        *(str(_litellm_command()), "--config", str(place / "litellm.yaml")),
        *("--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"),
    ]
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    ready = f"http://127.0.0.1:{port}/health/liveliness"
    return start(
        "litellm", port, command, place, environment=environment, ready=ready, core=PROXY_CORE
    )


def start(
    name: str,
    port: int,
    command: Sequence[str],
    place: Path,
    *,
    environment: Mapping[str, str] | None = None,
    ready: str | None = None,
    core: int | None = None,
) -> Peer:
    """Start it, on this core alone if there is one, and wait until it answers; or `Missing`."""
    log = place / f"{name}.log"
    pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*pinned, *command],
            env={**os.environ, **(environment or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    peer = Peer(name=name, port=port, process=process)
    deadline = time.monotonic() + START_SECONDS
    while not _answers(ready or f"http://127.0.0.1:{port}/"):
        if process.poll() is not None or time.monotonic() > deadline:
            peer.stop()
            raise Missing(f"{name} does not start: {log.read_text()[-2000:]}")
        time.sleep(0.1)
    return peer


def free_ports(number: int) -> list[int]:
    """That many that nobody listens on now."""
    probes = [socket.socket() for _ in range(number)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except urllib.error.HTTPError as error:
        return error.code != 503
    except OSError:
        return False
    return True


def _nginx_binary() -> str:
    found = shutil.which("nginx")
    if found is not None:
        return found
    place = cache_root() / "nginx"
    binary = place / "usr" / "sbin" / "nginx"
    if not binary.exists():
        if shutil.which("apt-get") is None:
            raise Missing("nginx is not installed, and there is no apt-get to get it with")
        place.mkdir(parents=True, exist_ok=True)
        progress.say(f"nginx is not installed: its package (0.5 MB) goes to {place}")
        try:
            progress.run("nginx download", ["apt-get", "download", "nginx"], directory=place)
            package = next(place.glob("nginx_*.deb"))
            progress.run("nginx unpack", ["dpkg-deb", "--extract", str(package), str(place)])
        except progress.StepError as error:
            raise Missing(f"nginx cannot be had: {error}") from error
    return str(binary)


def _litellm_command() -> Path:
    try:
        return environments.installed(LITELLM) / "litellm"
    except progress.StepError as error:
        raise Missing(f"LiteLLM cannot be installed: {error}") from error
