"""The reasoner on vLLM, and a gateway before it, for as long as a `with` block lasts.

vLLM runs without a reasoning parser: it then has no budgets of its own, and the gateway forces them
alone, which is what the sweep's cuts are compared with. Its prefix cache is on, as users have it.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.engines.install import Engine
from e2e.engines.server import HOST, Server, free_port, serving
from e2e.harness.cache import REPOSITORY

MODEL = REPOSITORY / "examples" / "reasoner" / "model"
SERVED_NAME = "reasoner"
CONTEXT_TOKENS = 2048
SEATS = 64


@contextmanager
def engine_with_reasoner(engine: Engine, log: Path) -> Iterator[Server]:
    """vLLM; `StepError`: it did not start."""
    port = free_port()
    environment = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "PYTHONPATH": "",
        "LD_PRELOAD": str(engine.preload),
    }
    command = [str(engine.vllm), "serve", str(MODEL), "--served-model-name", SERVED_NAME]
    command += ["--host", HOST, "--port", str(port), "--enforce-eager"]
    command += ["--max-model-len", str(CONTEXT_TOKENS), "--max-num-seqs", str(SEATS)]
    with serving("vLLM", command, port, environment, log) as server:
        yield server


@contextmanager
def gateway_before(server: Server, directory: Path) -> Iterator[str]:
    """A gateway of one replica; yields its URL."""
    config = {"service": "demo/reasoner", "model": SERVED_NAME, "seatsPerReplica": SEATS}
    replicas = [{"name": "engine", "url": server.url, "ready": True}]
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "replicas.json").write_text(json.dumps(replicas))
    port, admin = free_port(), free_port()
    command = [sys.executable, "-m", "thinkscale", "gateway", "--config-dir", str(directory)]
    command += ["--replicas-file", str(directory / "replicas.json")]
    command += ["--host", HOST, "--port", str(port), "--admin-port", str(admin)]
    log = directory / "gateway.log"
    with serving("the gateway", command, port, {}, log):
        yield f"http://{HOST}:{port}"
