"""How each engine is started, asked and emptied. What an adapter writes, the emulator understands:
its flags are the engines' own.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from thinkscale.emulator.options import Options, parse
from thinkscale.engines import DIALECTS, adapter_for
from thinkscale.engines.adapter import LaunchPlan

ENGINES = sorted(DIALECTS)
PLAN = LaunchPlan(
    model="acme/r1",
    revision="abc",
    served_name="r1",
    port=8000,
    context_tokens=4096,
    seats=32,
    gpus=2,
    reasoning_parser=None,
    drain_seconds=600,
    extra_args=("--seed=7",),
)


def understood(engine: str, plan: LaunchPlan) -> Options:
    """The emulator's reading of an adapter's arguments."""
    dialect = engine.lower()
    return parse(["--dialect", dialect, *adapter_for(engine).arguments(plan)])


@pytest.mark.parametrize("engine", ENGINES)
def test_the_emulator_understands_what_the_adapter_writes(engine: str) -> None:
    options = understood(engine, PLAN)
    assert options.model == "acme/r1"
    assert options.revision == "abc"
    assert (options.host, options.port) == ("0.0.0.0", 8000)
    assert options.max_model_len == 4096
    assert options.profile.seats == 32
    assert options.tensor_parallel == 2
    assert options.lengths.seed == 7
    assert options.served_name == ("acme/r1" if engine == "TGI" else "r1")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_users_own_flags_come_last_and_one_gpu_needs_no_flag(engine: str) -> None:
    arguments = adapter_for(engine).arguments(replace(PLAN, gpus=1, revision=None))
    assert arguments[-1] == "--seed=7"
    text = " ".join(arguments)
    assert not any(word in text for word in ("parallel", "shard", "tp-size", "revision"))


def test_tgi_takes_a_whole_thought_as_input_and_leaves_room_for_bursts() -> None:
    options = understood("TGI", PLAN)
    assert options.max_input_tokens == 4095
    assert options.max_queued == 4 * 32
    assert options.shutdown_timeout_seconds == 600


def test_sglang_shows_metrics_and_obeys_budgets_where_it_can() -> None:
    assert understood("SGLang", PLAN).shows_metrics
    assert not understood("SGLang", PLAN).strict_thinking
    parsing = understood("SGLang", replace(PLAN, reasoning_parser="deepseek-r1"))
    assert parsing.strict_thinking
    assert parsing.parser.value == "deepseek_r1"
    assert adapter_for("SGLang").command == ("python3", "-m", "sglang.launch_server")


@pytest.mark.parametrize("engine", ENGINES)
def test_downloads_and_compiled_code_land_below_the_cache(engine: str) -> None:
    environment = adapter_for(engine).cache_environment("/cache")
    assert environment["HF_HOME"] == "/cache/huggingface"
    assert all(path.startswith("/cache/") for path in environment.values())
    assert len(set(environment.values())) == len(environment)


PAGES = {
    "VLLM": ('vllm:num_requests_running{{engine="0"}} {n}\n', "vllm:num_requests_swapped 5\n"),
    "TGI": ("tgi_batch_current_size {n}\ntgi_queue_size 0\n", "tgi_batch_next_size_count 5\n"),
    "SGLang": (
        'sglang:num_running_reqs{{tp_rank="0"}} 0.0\nsglang:num_queue_reqs{{tp_rank="0"}} {n}\n',
        'sglang:num_running_reqs_offline_batch{tp_rank="0"} 5.0\n',
    ),
}


class Page(BaseHTTPRequestHandler):
    """Answers /metrics."""

    text: ClassVar[str] = ""

    def do_GET(self) -> None:
        body = Page.text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("engine", ["TGI", "SGLang"])
def test_the_drain_waits_for_the_engines_own_counts_and_no_others(engine: str, port: int) -> None:
    counts, others = PAGES[engine]
    Page.text = counts.format(n="2.0") + others
    command = list(adapter_for(engine).drain_command(port, 10))
    waiting = subprocess.Popen([sys.executable, *command[1:-2], "10", "0.2"])
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(1)
    Page.text = counts.format(n="0.0") + others
    assert waiting.wait(5) == 0
