"""What `thinkscale sweep` can be told, checked before anything is paid for."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from thinkscale.cli.arguments import Misuse, counting, listed, nonnegative, parser, whole
from thinkscale.fleet.profile import PROFILES
from thinkscale.quality.graders import NAMES

AUTO = "auto"
DEFAULT_CONCURRENCY = 16
DEFAULT_ANSWER_TOKENS = 1024


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options. Misuse: some contradict each other."""
    arguments = parser("sweep", "Find the fewest thinking tokens that are good enough.")
    _asked(arguments)
    _paid(arguments)
    _served(arguments)
    options = arguments.parse_args(argv)
    if options.rate == 0:
        raise Misuse("--rate 0 is no load; give requests a second")
    if options.spec is not None and not (options.rate or options.trace):
        raise Misuse("--spec says what serves, but not what load; add --rate or --trace")
    return options


def api_key(options: argparse.Namespace) -> str | None:
    """The key from the environment. Misuse: the variable is not set."""
    if options.api_key_env is None:
        return None
    key = os.environ.get(options.api_key_env, "").strip()
    if not key:
        raise Misuse(f"the environment variable {options.api_key_env} is not set")
    return key


def _asked(arguments: argparse.ArgumentParser) -> None:
    add = arguments.add_argument
    add("--endpoint", required=True, metavar="URL", help="OpenAI's API, with or without /v1")
    add(
        "--dataset",
        required=True,
        type=Path,
        metavar="FILE.jsonl",
        help="one object a line: messages or prompt, answer; id, use_case, weight, grader",
    )
    add(
        "--budgets",
        type=listed,
        default=["0", "64", "256", "1024", "none"],
        metavar="LIST",
        help="thinking tokens at most, or none; or efforts: minimal, low, medium, high; "
        "default 0,64,256,1024,none",
    )
    add(
        "--minimums",
        type=listed,
        default=[],
        metavar="LIST",
        help="thinking tokens at least; needs an endpoint that takes raw prompts",
    )
    add("--samples", type=counting, default=1, metavar="K", help="of each row; default 1")
    add(
        "--temperature",
        type=nonnegative,
        default=None,
        metavar="T",
        help="default: the endpoint's own",
    )
    add(
        "--grader",
        metavar="NAME",
        help=f"of rows that name none: {', '.join(NAMES)}, as regex:PATTERN and external:COMMAND",
    )
    add("--model", metavar="NAME", help="default: the only one that the endpoint serves")
    add(
        "--method",
        choices=(AUTO, "reuse", "independent"),
        default=AUTO,
        help="one full trace cut at every budget, or one request each; default: reuse if the "
        "endpoint tells token ids",
    )
    add(
        "--budget-field",
        default="thinking_token_budget",
        metavar="NAME",
        help="of independent requests, as thinking.budget_tokens; default thinking_token_budget",
    )
    add(
        "--answer-tokens",
        type=counting,
        default=DEFAULT_ANSWER_TOKENS,
        metavar="N",
        help=f"an answer's at most; default {DEFAULT_ANSWER_TOKENS}",
    )
    add(
        "--request-tokens",
        type=counting,
        metavar="N",
        help="thought and answer at most where nothing else limits them; default: the context",
    )


def _paid(arguments: argparse.ArgumentParser) -> None:
    add = arguments.add_argument
    add(
        "--concurrency",
        type=counting,
        default=DEFAULT_CONCURRENCY,
        metavar="N",
        help=f"requests at once; default {DEFAULT_CONCURRENCY}",
    )
    add("--api-key-env", metavar="NAME", help="environment variable that holds the API key")
    add("--max-requests", type=whole, metavar="N", help="never send more, all runs together")
    add("--max-tokens", type=whole, metavar="N", help="never pay more, all runs together")
    add("--estimate", action="store_true", help="tell what it would cost, and stop")


def _served(arguments: argparse.ArgumentParser) -> None:
    add = arguments.add_argument
    load = arguments.add_mutually_exclusive_group()
    load.add_argument(
        "--rate",
        type=nonnegative,
        metavar="R",
        help="requests a second to reckon latencies and GPUs for",
    )
    load.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="a CSV whose arrivals are taken; lengths are the sweep's",
    )
    add("--spec", type=Path, metavar="FILE", help="the ReasoningService that serves them (YAML)")
    add("--engine", choices=sorted(PROFILES), help="what its replicas are")
    add("--seed", type=whole, default=1, metavar="N", help="of that load; default 1")
    add(
        "--margin-points",
        type=nonnegative,
        default=1.0,
        metavar="P",
        help="accuracy that may be lost, in points; default 1",
    )
    add(
        "--beside",
        type=Path,
        metavar="FILE.csv",
        help="published curves to draw too: series,thinking_tokens,score_percent",
    )
    add("--no-plots", action="store_true", help="no pictures; does without matplotlib")
    add(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="report.md, report.json, tiers.yaml, plots, and the journal to go on from",
    )
