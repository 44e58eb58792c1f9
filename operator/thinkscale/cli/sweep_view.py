"""What a person sees of a sweep: the estimate, the progress, the table at the end."""

import asyncio
import time
from collections import Counter
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from thinkscale.cli import terminal
from thinkscale.quality import markdown
from thinkscale.quality.estimate import Estimate
from thinkscale.quality.plan import Plan
from thinkscale.quality.report import Result
from thinkscale.quality.runner import Runner
from thinkscale.quality.settings import Method

EVERY_SECONDS: Final = 0.5
LOGGED_SECONDS: Final = 10.0


def told(plan: Plan, made: Estimate, known: int) -> str:
    """The estimate in words."""
    fewest, most = made.fewest_requests, made.most_requests
    count = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    how = "prefix reuse" if plan.settings.method is Method.REUSE else "independent requests"
    text = (
        f"{len(plan.rows):,} rows x {plan.samples} sample(s) x {len(plan.levels)} levels by {how}: "
        f"{count} requests, about {made.output_tokens:,} output and {made.prompt_tokens:,} prompt "
        f"tokens if a thought takes {made.assumed_thinking_tokens:,} where nothing limits it"
    )
    return text + (f"; {known:,} replies are there already" if known else "")


class Progressing:
    """Rate, remaining time, running accuracy; a bar on a terminal, a line now and then in a log."""

    def __init__(self, plan: Plan, runner: Runner) -> None:
        self._plan = plan
        self._runner = runner
        self._total = len(plan.rows) * plan.samples * len(plan.levels)
        self._begun = time.monotonic()
        self._had = len(runner.judge.graded)

    async def show(self) -> None:
        """Until cancelled."""
        console = Console(stderr=True)
        if not console.is_terminal:
            while True:
                await asyncio.sleep(LOGGED_SECONDS)
                console.print(self._line(), highlight=False, soft_wrap=True)
        with Progress(BarColumn(), TextColumn("{task.description}"), console=console) as bar:
            task = bar.add_task("", total=self._total)
            while True:
                bar.update(task, completed=self._done, description=self._line())
                await asyncio.sleep(EVERY_SECONDS)

    @property
    def _done(self) -> int:
        return len(self._runner.judge.graded)

    def _line(self) -> str:
        runner, elapsed = self._runner, time.monotonic() - self._begun
        fresh = self._done - self._had
        left = "?" if not fresh else terminal.clock((self._total - self._done) * elapsed / fresh)
        parts = [
            f"{self._done:,}/{self._total:,} answers",
            f"{runner.replies / max(elapsed, 1e-9):.1f} replies/s",
            f"{left} to go",
            f"{runner.spending.requests:,} requests, {runner.spending.tokens:,} tokens",
            self._accuracy(),
        ]
        if runner.retries:
            parts.append(f"{runner.retries} sent again")
        if runner.paused:
            parts.append(f"waiting: {runner.paused}")
        return ", ".join(parts)

    def _accuracy(self) -> str:
        """Right answers by level so far."""
        right, count = Counter[str](), Counter[str]()
        for (_, level), graded in list(self._runner.judge.graded.items()):
            count[level.name] += 1
            right[level.name] += graded.right
        shown = (
            f"{level.name}: {right[level.name] / count[level.name]:.0%}"
            for level in self._plan.levels
            if count[level.name]
        )
        return "right " + " ".join(shown)


def show(result: Result) -> None:
    """The table and what follows from it, on stdout."""
    for case in result.cases:
        lines = [
            [
                point.level.name,
                f"{point.accuracy.value * 100:.1f} %",
                f"{point.accuracy.low * 100:.1f} to {point.accuracy.high * 100:.1f}",
                f"{point.thinking_mean:,.1f}",
                f"{point.cut_share * 100:.1f} %",
                f"{point.fixed} / {point.broken}",
            ]
            for point in case.points
        ]
        head = [f"{case.name}, {case.rows} rows", "accuracy", "95 % interval", "mean thinking",
                "cut", "fixed / broken"]  # fmt: skip
        terminal.table(head, lines)
        for sentence in markdown.conclusion(case, result):
            print(sentence.replace("**", ""))
    if result.trade is not None:
        lines = [
            [
                point.name,
                f"{point.accuracy * 100:.1f} %",
                f"{point.ttfa_seconds[2]:,.3g}",
                f"{point.e2e_seconds[2]:,.3g}",
                f"{point.replicas}",
                f"{point.gpus}",
            ]
            for point in result.trade.points
        ]
        head = [result.trade.load, "accuracy", "p99 first answer, s", "p99 end to end, s",
                "replicas", "GPUs"]  # fmt: skip
        terminal.table(head, lines)
