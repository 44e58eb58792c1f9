"""vLLM's command line, probes and drain.

vLLM's own answer to SIGTERM is to abort what it runs; with `--shutdown-timeout` it finishes
what it has but refuses what is new, and a budget that the gateway forces needs a second request to
the same replica. So SIGTERM is held back: the drain command polls vLLM's own counts on loopback and
returns only when running + waiting has been zero for a while (a continuation leaves a gap of
milliseconds between two requests). `--shutdown-timeout` stays as the second line.
"""

from collections.abc import Mapping
from typing import Final

from thinkscale.engines.adapter import LaunchPlan

DRAIN_SCRIPT: Final = """\
import re, sys, time, urllib.request
url, limit, calm = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
count = re.compile(r"^vllm:num_requests_(?:running|waiting)(?:\\{[^}]*\\})? ([0-9.eE+-]+)", re.M)
end = time.monotonic() + limit
quiet_since, failures = time.monotonic(), 0
while time.monotonic() < end and failures < 10:
    try:
        text = urllib.request.urlopen(url, timeout=2).read().decode()
        failures = 0
        if sum(float(value) for value in count.findall(text)) > 0:
            quiet_since = time.monotonic()
    except OSError:
        failures += 1
        quiet_since = time.monotonic()
    if time.monotonic() - quiet_since >= calm:
        break
    time.sleep(0.25)
"""
"""Python, the one interpreter that every vLLM image has. An engine that does not answer
ten times running is dead: there is nothing to wait for.
"""

CALM_SECONDS: Final = 4
"""Zero for so long: longer than it takes gateways to see that the replica is going, and than the
gap between a thought that was cut and its continuation.
"""


class Vllm:
    """The adapter for vLLM 0.18 and later, and for all that speaks its command line."""

    health_path: str = "/health"

    def arguments(self, plan: LaunchPlan) -> tuple[str, ...]:
        """`vllm serve`'s arguments: the model first, the user's own last."""
        arguments = [plan.model]
        if plan.revision:
            arguments.append(f"--revision={plan.revision}")
        arguments += [
            f"--served-model-name={plan.served_name}",
            "--host=0.0.0.0",
            f"--port={plan.port}",
            f"--max-model-len={plan.context_tokens}",
            f"--max-num-seqs={plan.seats}",
        ]
        if plan.gpus > 1:
            arguments.append(f"--tensor-parallel-size={plan.gpus}")
        if plan.reasoning_parser:
            arguments.append(f"--reasoning-parser={plan.reasoning_parser}")
        arguments.append(f"--shutdown-timeout={plan.drain_seconds}")
        return (*arguments, *plan.extra_args)

    def cache_environment(self, directory: str) -> Mapping[str, str]:
        """The hub's cache and vLLM's compile cache under one directory."""
        return {
            "HF_HOME": f"{directory}/huggingface",
            "VLLM_CACHE_ROOT": f"{directory}/vllm",
        }

    def drain_command(self, port: int, within_seconds: int) -> tuple[str, ...]:
        """Waits until the engine has nothing running and nothing waiting."""
        url = f"http://127.0.0.1:{port}/metrics"
        return ("python3", "-c", DRAIN_SCRIPT, url, str(within_seconds), str(CALM_SECONDS))
