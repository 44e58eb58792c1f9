"""SGLang's command line, probes and drain (0.5.20 and later; read, not run).

It is silent without `--enable-metrics`, and its native budget is ignored in silence without
`--enable-strict-thinking`, which needs a reasoning parser. SIGTERM makes it finish what it has
without a limit of its own, refusing what is new; then it kills itself, so a clean end has exit code
137 and is no lack of memory. The image's entrypoint is a shell, hence the command.
"""

from collections.abc import Mapping
from typing import Final

from thinkscale.engines.adapter import LaunchPlan
from thinkscale.engines.drain import drain_command

COUNTS: Final = "sglang:num_running_reqs|sglang:num_queue_reqs"
COMMAND: Final = ("python3", "-m", "sglang.launch_server")


class Sglang:
    """The adapter for SGLang."""

    health_path: str = "/health"
    command: tuple[str, ...] = COMMAND

    def arguments(self, plan: LaunchPlan) -> tuple[str, ...]:
        """`sglang.launch_server`'s arguments, the user's own last."""
        arguments = [f"--model-path={plan.model}"]
        if plan.revision:
            arguments.append(f"--revision={plan.revision}")
        arguments += [
            f"--served-model-name={plan.served_name}",
            "--host=0.0.0.0",
            f"--port={plan.port}",
            f"--context-length={plan.context_tokens}",
            f"--max-running-requests={plan.seats}",
            "--enable-metrics",
        ]
        if plan.gpus > 1:
            arguments.append(f"--tp-size={plan.gpus}")
        if plan.reasoning_parser:
            arguments.append(f"--reasoning-parser={plan.reasoning_parser}")
            arguments.append("--enable-strict-thinking")
        return (*arguments, *plan.extra_args)

    def cache_environment(self, directory: str) -> Mapping[str, str]:
        """The hub's cache, and those of the two compilers that its kernels come from."""
        return {
            "HF_HOME": f"{directory}/huggingface",
            "TORCHINDUCTOR_CACHE_DIR": f"{directory}/inductor",
            "TRITON_CACHE_DIR": f"{directory}/triton",
        }

    def drain_command(self, port: int, within_seconds: int) -> tuple[str, ...]:
        """Waits until nothing runs and nothing is queued."""
        return drain_command(COUNTS, port, within_seconds)
