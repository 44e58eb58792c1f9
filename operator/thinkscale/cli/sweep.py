"""`thinkscale sweep`: what thinking buys on one's own evaluation set, and what it costs.

Run again with the same `--out` it goes on where it ended: after Ctrl-C, a limit, a crash, or with
more rows, samples and budgets. Exit code 0: the plan is finished; 2: a mistake, or something ended
it early (one line says what; all that was paid for is kept, and reported); 130: interrupted.
"""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from thinkscale.cli import sweep_load, sweep_options, sweep_view
from thinkscale.cli.arguments import INTERRUPTED, MISUSE, Misuse, guarded, one_line
from thinkscale.engines.dialect import Tags
from thinkscale.errors import ThinkscaleError
from thinkscale.quality import (
    analysis,
    dataset,
    graders,
    levels,
    markdown,
    plateau,
    published,
    report,
    tiers,
)
from thinkscale.quality import estimate as estimating
from thinkscale.quality.calls import Reply
from thinkscale.quality.dataset import Row
from thinkscale.quality.endpoint import Endpoint
from thinkscale.quality.journal import Journal, Past
from thinkscale.quality.judge import Judge
from thinkscale.quality.levels import Level
from thinkscale.quality.plan import Plan
from thinkscale.quality.report import Result, Spent
from thinkscale.quality.runner import Runner
from thinkscale.quality.settings import Method, Settings
from thinkscale.quality.spending import Limits, Spending

INTERRUPTED_MESSAGE: Final = "interrupted; run the same command to go on"


def _run(argv: Sequence[str]) -> int:
    options = sweep_options.parse(argv)
    default = None if options.grader is None else graders.parse_flag(options.grader)
    wanted = levels.parse_levels(options.budgets, options.minimums)
    rows = dataset.read(options.dataset, default)
    curves = [] if options.beside is None else published.read(options.beside)
    sweep_load.check(options)
    key = sweep_options.api_key(options)
    if not options.no_plots:
        from thinkscale.quality import plots  # fails now, and not after hours, without matplotlib
    ended, result = asyncio.run(_sweep(options, rows, wanted, key))
    if result is None:
        return 0
    pictures = [] if options.no_plots else plots.draw(options.out, result, curves)
    _write(options.out, result, pictures)
    sweep_view.show(result)
    print(f"written: {options.out / 'report.md'}", file=sys.stderr)
    if ended is None:
        return 0
    print(f"thinkscale sweep: {one_line(str(ended))}", file=sys.stderr)
    return INTERRUPTED if str(ended) == INTERRUPTED_MESSAGE else MISUSE


async def _sweep(
    options: argparse.Namespace, rows: Sequence[Row], wanted: Sequence[Level], key: str | None
) -> tuple[ThinkscaleError | None, Result | None]:
    """Why it ended early, if it did, and the result; no result: only the estimate was wanted."""
    async with Endpoint(options.endpoint, key) as endpoint:
        model = options.model or await endpoint.model()
        tags = await endpoint.tags(model)
        method = _method(options.method, wanted, tags)
        settings = Settings(
            model=model,
            method=method,
            temperature=options.temperature,
            answer_tokens=options.answer_tokens,
            request_tokens=options.request_tokens,
            budget_field=options.budget_field,
        )
        plan = Plan(rows=rows, samples=options.samples, levels=wanted, settings=settings, tags=tags)
        if options.estimate:
            print(sweep_view.told(plan, _estimate(plan, {}), 0))
            return None, None
        journal = Journal(options.out)
        try:
            journal.begin(settings)
            judge = Judge(journal)
            ended = await _ask(options, plan, endpoint, journal, judge)
            _write_answers(options.out, plan, judge)
            return ended, _conclude(options, plan, journal, judge, ended)
        finally:
            journal.close()


def _method(chosen: str, wanted: Sequence[Level], tags: Tags) -> Method:
    """How levels are asked for. Misuse: the levels or the endpoint do not allow it."""
    efforts = any(level.effort for level in wanted)
    minimum = any(level.min_tokens for level in wanted)
    possible = tags.close_id is not None and bool(tags.closing_ids)
    if chosen == Method.REUSE and efforts:
        raise Misuse("efforts are the endpoint's own affair; use --method independent for them")
    if chosen == Method.REUSE and not possible:
        raise Misuse("the endpoint does not tell token ids, so nothing can be reused; "
                     "use --method independent")  # fmt: skip
    reuse = chosen != Method.INDEPENDENT and possible and not efforts
    if minimum and not reuse:
        raise Misuse("a minimum needs an endpoint that takes raw prompts and tells token ids (a "
                     "bare vLLM) and --method reuse; leave --minimums out")  # fmt: skip
    return Method.REUSE if reuse else Method.INDEPENDENT


def _estimate(plan: Plan, known: Mapping[str, Reply]) -> estimating.Estimate:
    """By the thoughts that were seen, if there are any."""
    seen = [
        answered.thinking_tokens
        for _, answered in plan.known(known)
        if answered.level.max_tokens is None and not answered.level.min_tokens
    ]
    mean = sum(seen) / len(seen) if seen else None
    return estimating.estimate(plan.rows, plan.samples, plan.levels, plan.settings.method, mean)


async def _ask(
    options: argparse.Namespace, plan: Plan, endpoint: Endpoint, journal: Journal, judge: Judge
) -> ThinkscaleError | None:
    """Everything that is not known yet; returns why it ended early."""
    past = journal.past
    print(sweep_view.told(plan, _estimate(plan, past.replies), len(past.replies)), file=sys.stderr)
    limits = Limits(requests=options.max_requests, tokens=options.max_tokens)
    spending = Spending(limits, requests=past.requests, tokens=past.tokens)
    runner = Runner(plan, endpoint, journal, spending, judge, options.concurrency)
    with _Interruptible(runner):
        showing = asyncio.create_task(sweep_view.Progressing(plan, runner).show())
        try:
            await runner.run()
        except ThinkscaleError as error:
            return error
        finally:
            showing.cancel()
            with suppress(asyncio.CancelledError):
                await showing
    return None


class _Interruptible:
    """Ctrl-C once: nothing new is sent, what is under way is waited for. Twice: at once."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._numbers = (signal.SIGINT, signal.SIGTERM)

    def __enter__(self) -> None:
        for number in self._numbers:
            asyncio.get_running_loop().add_signal_handler(number, self._stop)

    def __exit__(self, *_: object) -> None:
        self._let_go()

    def _stop(self) -> None:
        self._let_go()  # the next one is Python's own
        print("waiting for the requests under way; interrupt again to lose them", file=sys.stderr)
        self._runner.stop(INTERRUPTED_MESSAGE)

    def _let_go(self) -> None:
        for number in self._numbers:
            asyncio.get_running_loop().remove_signal_handler(number)


def _conclude(
    options: argparse.Namespace,
    plan: Plan,
    journal: Journal,
    judge: Judge,
    ended: ThinkscaleError | None,
) -> Result:
    past, margin = journal.past, options.margin_points / 100
    if ended is None:
        journal.looked(len(judge.graded))
    look = max(1, past.looks)
    alpha = plateau.alpha_of_look(look - 1)
    table = analysis.Table(
        rows=plan.rows, samples=plan.samples, levels=plan.levels, graded=judge.graded
    )
    cases = analysis.cases(table, margin, alpha)
    return Result(
        dataset=options.dataset.name,
        settings=plan.settings,
        samples=plan.samples,
        levels=plan.levels,
        margin=margin,
        alpha=alpha,
        look=look,
        unfinished="" if ended is None else one_line(str(ended)),
        estimated=any(not graded.answered.counted for graded in judge.graded.values()),
        spent=_spent(plan, past, judge),
        cases=cases,
        trade=sweep_load.trade_of(cases, options, concluded=ended is None),
    )


def _spent(plan: Plan, past: Past, judge: Judge) -> Spent:
    asked = {sample for _, sample in plan.order()}
    generated = [r.output_tokens for key, r in past.replies.items() if key.split("/")[0] in asked]
    answered = [graded.answered for graded in judge.graded.values()]
    return Spent(
        requests=past.requests,
        tokens=past.tokens,
        output_tokens=sum(generated),
        independent_output_tokens=sum(one.thinking_tokens + one.answer_tokens for one in answered),
    )


def _write_answers(directory: Path, plan: Plan, judge: Judge) -> None:
    """Every answer with its verdict, a line each: for who wants to look at the wrong ones."""
    with (directory / "answers.jsonl").open("w") as file:
        for row, sample in plan.order():
            for level in plan.levels:
                if (graded := judge.graded.get((sample, level))) is not None:
                    file.write(json.dumps(report.answer_json(row, graded)) + "\n")


def _write(directory: Path, result: Result, pictures: Sequence[str]) -> None:
    written = json.dumps(report.as_json(result), indent=1) + "\n"
    (directory / "report.json").write_text(written)
    (directory / "report.md").write_text(markdown.markdown(result, pictures))
    if not result.unfinished:
        (directory / "tiers.yaml").write_text(tiers.patch(result.cases))


main = guarded("sweep", _run)
