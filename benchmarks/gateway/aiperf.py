"""NVIDIA's aiperf, a client that knows nothing of us: installed, run, and what it measured.

It counts tokens itself, so it needs a tokenizer, and its own comes from the net. The emulated
engine says a word with its space as one token, and so does the tokenizer that is made here: what
aiperf counts is independent of every `usage`. (`HF_HUB_OFFLINE` makes it take a path for a name,
so that is unset.)
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.gateway import environments
from e2e.provision import progress

AIPERF = environments.Program(
    name="aiperf", requirement="aiperf==0.13.0", download_megabytes=240, disk_megabytes=1180
)
LIMIT_SECONDS = 300
"""Of a run, its half a minute of starting and ending within."""
_TOKENIZER = r"""
import sys
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

made = Tokenizer(models.WordLevel({"<unknown>": 0, "<end>": 1}, unk_token="<unknown>"))
made.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n\n|\s?\S+"), "removed", invert=True)
fast = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unknown>", eos_token="<end>")
fast.save_pretrained(sys.argv[1])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What aiperf saw of one run; seconds are means over its requests."""

    requests: int
    failed: int
    prompt_tokens: int
    """As `usage` tells, like the next."""
    told_thinking_tokens: int
    thinking_tokens: int
    """As aiperf counts, like the next."""
    answer_tokens: int
    first_token_seconds: float
    first_answer_seconds: float
    """Its "time to first output token"."""
    last_token_seconds: float
    whole_seconds: float
    """To the end of the response."""
    token_seconds: float
    """Its "inter-token latency"."""

    @classmethod
    def of(cls, export: Mapping[str, Any]) -> Self:
        """Read its `profile_export_aiperf.json`; what it leaves out is 0."""

        def told(name: str) -> float:
            return float(export.get(name, {}).get("avg", 0.0))

        finished = round(told("request_count"))
        return cls(
            requests=finished,
            failed=round(told("completed_request_count")) - finished,
            prompt_tokens=round(told("total_usage_prompt_tokens")),
            told_thinking_tokens=round(told("total_usage_reasoning_tokens")),
            thinking_tokens=round(told("total_reasoning_tokens")),
            answer_tokens=round(told("total_output_tokens")),
            first_token_seconds=told("time_to_first_token") / 1e3,
            first_answer_seconds=told("time_to_first_output_token") / 1e3,
            last_token_seconds=told("request_latency") / 1e3,
            whole_seconds=told("http_req_duration") / 1e3,
            token_seconds=told("inter_token_latency") / 1e3,
        )

    @property
    def answer_token_seconds(self) -> float:
        """Mean between tokens of an answer."""
        gaps = max(1.0, self.answer_tokens / max(1, self.requests) - 1)
        return (self.last_token_seconds - self.first_answer_seconds) / gaps


class Client:
    """The installed client, and its work files."""

    def __init__(self, place: Path) -> None:
        """Install it if need be, and make its tokenizer; `StepError` says what failed."""
        self._place = place
        self._bin = environments.installed(AIPERF)
        self._environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
        self._tokenizer = place / "tokenizer"
        make = [str(self._bin / "python"), "-c", _TOKENIZER, str(self._tokenizer)]
        progress.run("aiperf tokenizer", make, environment=self._environment)

    def run(
        self,
        name: str,
        url: str,
        *,
        model: str,
        endpoint: str,
        requests: int,
        rate: float,
        extra: Sequence[str] = (),
    ) -> Seen:
        """Send that many streaming requests at that rate a second, and tell what came.

        `StepError` if aiperf failed or no request was answered.
        """
        prompts, out = self._place / f"{name}.jsonl", self._place / name
        lines = (json.dumps({"text": f"Question {n}: is it so?"}) for n in range(requests))
        prompts.write_text("\n".join(lines) + "\n")
        command = [
            *(
                "timeout",
                str(LIMIT_SECONDS),
                str(self._bin / "aiperf"),
                "profile",
                "--model",
                model,
                "--url",
                url,
            ),
            *("--endpoint-type", endpoint, "--streaming", "--tokenizer", str(self._tokenizer)),
            *("--input-file", str(prompts), "--custom-dataset-type", "single_turn"),
            *("--request-count", str(requests), "--request-rate", str(rate)),
            *("--arrival-pattern", "constant", "--random-seed", "1", "--workers-max", "1"),
            *("--artifact-dir", str(out), "--ui", "none"),
            *("--no-server-metrics", "--no-gpu-telemetry"),
            *(part for given in extra for part in ("--extra-inputs", given)),
        ]
        progress.run(f"aiperf {name}", command, environment=self._environment)
        export = out / "profile_export_aiperf.json"
        if not export.exists():
            raise progress.StepError(f"aiperf {name} measured nothing")
        return Seen.of(json.loads(export.read_text()))
