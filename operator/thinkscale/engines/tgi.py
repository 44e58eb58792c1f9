"""TGI's command line, probes and drain (3.3; read, not run).

TGI re-validates a long generation every 1,024 tokens against `--max-input-tokens`: with its default
a reasoning answer ends at that length, without a word. So the longest input is all of the context
but one token. Its seats are the size of its batch; `--max-concurrent-requests` is another thing, a
limit on what may run *and wait*, beyond which everything is refused. SIGTERM closes the port at
once, for continuations too, and lets open streams finish.
"""

from collections.abc import Mapping
from typing import Final

from thinkscale.engines.adapter import LaunchPlan
from thinkscale.engines.drain import drain_command

COUNTS: Final = "tgi_batch_current_size|tgi_queue_size"
WAITING_SHARE: Final = 4
"""So many times its seats may wait or run: the gateways order the queue, this is for bursts."""


class Tgi:
    """The adapter for TGI 3.3."""

    health_path: str = "/health"
    command: tuple[str, ...] = ()

    def arguments(self, plan: LaunchPlan) -> tuple[str, ...]:
        """`text-generation-launcher`'s arguments, the user's own last. It has no name of its own
        for what it serves (clients' names end at the gateway), and no reasoning parser.
        """
        arguments = [f"--model-id={plan.model}"]
        if plan.revision:
            arguments.append(f"--revision={plan.revision}")
        arguments += [
            "--hostname=0.0.0.0",
            f"--port={plan.port}",
            f"--max-total-tokens={plan.context_tokens}",
            f"--max-input-tokens={plan.context_tokens - 1}",
            f"--max-batch-size={plan.seats}",
            f"--max-concurrent-requests={plan.seats * WAITING_SHARE}",
        ]
        if plan.gpus > 1:
            arguments.append(f"--num-shard={plan.gpus}")
        arguments.append(f"--graceful-termination-timeout={plan.drain_seconds}")
        return (*arguments, *plan.extra_args)

    def cache_environment(self, directory: str) -> Mapping[str, str]:
        """The hub's cache."""
        return {"HF_HOME": f"{directory}/huggingface"}

    def drain_command(self, port: int, within_seconds: int) -> tuple[str, ...]:
        """Waits until the batch and the queue are empty."""
        return drain_command(COUNTS, port, within_seconds)
