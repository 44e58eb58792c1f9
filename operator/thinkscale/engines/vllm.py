"""vLLM's command line, probes and drain.

vLLM's own answer to SIGTERM is to abort what it runs; with `--shutdown-timeout` it finishes
what it has but refuses what is new. So SIGTERM is held back (see `drain`), and `--shutdown-timeout`
stays as the second line.
"""

from collections.abc import Mapping
from typing import Final

from thinkscale.engines.adapter import LaunchPlan
from thinkscale.engines.drain import drain_command

COUNTS: Final = "vllm:num_requests_running|vllm:num_requests_waiting"


class Vllm:
    """The adapter for vLLM 0.18 and later, and for all that speaks its command line."""

    health_path: str = "/health"
    command: tuple[str, ...] = ()

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
        return drain_command(COUNTS, port, within_seconds)
