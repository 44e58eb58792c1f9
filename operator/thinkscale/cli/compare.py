"""`thinkscale compare`: policies x scenarios x seeds over several processes, and the report.

Finished runs stay in OUT/runs and are not made again; interrupting it loses only those under way,
and `--finished` then reports the scenarios of which every run is there.
"""

import argparse
import json
import multiprocessing
import os
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from thinkscale.cli import terminal
from thinkscale.cli.arguments import (
    INTERRUPTED,
    Misuse,
    counting,
    guarded,
    listed,
    parser,
    whole_list,
)
from thinkscale.cli.terminal import Tally
from thinkscale.simulation import compare, contestants, plots, report, results
from thinkscale.simulation.choose import scenario_of
from thinkscale.simulation.compare import Job, Plan, Runs
from thinkscale.simulation.contestants import Contestant
from thinkscale.simulation.record import Record
from thinkscale.simulation.results import Row


def _options(argv: Sequence[str]) -> argparse.Namespace:
    arguments = parser("compare", "Compare policies over scenarios and seeds; write a report.")
    arguments.add_argument(
        "--policies",
        type=listed,
        required=True,
        metavar="A,B,...",
        help=f"of {', '.join(contestants.names())}; kpa:0.7 one setting, kpa:* all of them",
    )
    arguments.add_argument(
        "--scenarios", type=listed, required=True, metavar="A,B,...", help="names, or trace files"
    )
    arguments.add_argument(
        "--seeds", type=whole_list, default=[1], metavar="1,2 or 11-16", help="default 1"
    )
    arguments.add_argument("--jobs", type=counting, default=os.cpu_count() or 1, metavar="N")
    arguments.add_argument("--out", type=Path, required=True, metavar="DIR")
    arguments.add_argument(
        "--sweep",
        action="store_true",
        help="every policy at all its settings too, for the table at equal attainment",
    )
    arguments.add_argument(
        "--no-oracle", action="store_true", help="leave the oracle out: no ratios to it"
    )
    arguments.add_argument(
        "--finished",
        action="store_true",
        help="make no run: report the scenarios whose runs are all finished",
    )
    arguments.add_argument("--no-brownout", action="store_true")
    arguments.add_argument("--traces", type=Path, metavar="DIR", help="full recordings")
    return arguments.parse_args(argv)


def _run(argv: Sequence[str]) -> int:
    options = _options(argv)
    plan = _plan(options)
    for name in plan.scenarios:
        scenario_of(name, plan.seeds[0], brownout=plan.brownout, traces=plan.traces)
    runs = Runs(options.out / "runs")
    try:
        runs.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misuse(f"{options.out}: cannot be written ({error.strerror})") from error
    wanted = compare.jobs(plan)
    found = runs.finished(wanted)
    if options.finished:
        wanted = _whole_scenarios(wanted, found, options.out)
    _finish(runs, [job for job in wanted if job.key not in found], found, options.jobs)
    made = compare.beside_oracle(compare.asked(wanted, found))
    command = shlex.join(["thinkscale", "compare", *argv])
    table = results.rows(made)
    _write(options.out, made, table, command)
    _show(table)
    return 0


def _plan(options: argparse.Namespace) -> Plan:
    words = list(options.policies)
    if not options.no_oracle:
        words.append(contestants.ORACLE)
    chosen: dict[str, Contestant] = {}
    for contestant in (c for word in words for c in contestants.parse(word)):
        if contestant.label not in chosen or not contestant.searched:  # named by itself too
            chosen[contestant.label] = contestant
    if options.sweep:
        for contestant in tuple(chosen.values()):
            for other in contestants.searched(contestant):
                chosen.setdefault(other.label, other)
    return Plan(
        policies=tuple(chosen.values()),
        scenarios=tuple(dict.fromkeys(options.scenarios)),
        seeds=tuple(options.seeds),
        brownout=not options.no_brownout,
        traces=options.traces,
    )


def _whole_scenarios(wanted: Sequence[Job], found: Mapping[str, Record], out: Path) -> list[Job]:
    """The jobs of the scenarios that lack none. Misuse: there is no such scenario."""
    missing = Counter(job.scenario for job in wanted if job.key not in found)
    whole = [job for job in wanted if job.scenario not in missing]
    if not whole:
        raise Misuse(
            f"{out}: no scenario is finished by the present code; run it without --finished"
        )
    for name, count in missing.items():
        print(f"left out: {name}, {count} runs are missing", file=sys.stderr)
    return whole


def _finish(runs: Runs, missing: Sequence[Job], found: dict[str, Record], processes: int) -> None:
    """Make what is missing, keep each as it comes, and add it to what was found."""
    if not missing:
        return
    total = Tally([job.scenario for job in missing], processes)
    with terminal.tally(total) as show:
        for job, made, seconds in _made(missing, processes):
            runs.keep(job, made)
            found[job.key] = made
            total.finish(job.scenario, seconds)
            show(f"{made['policy']} on {made['scenario']}, seed {made['seed']}")


def _made(missing: Sequence[Job], processes: int) -> Iterator[tuple[Job, Record, float]]:
    """Runs as they finish; several at once in fresh processes (none inherits another's state)."""
    if processes == 1 or len(missing) == 1:
        for job in missing:
            yield (job, *_timed(job))
        return
    context = multiprocessing.get_context("spawn")
    # `main` leaves the semaphores of an interrupted pool to Python's tracker, which takes them away
    # and would say so; it inherits this.
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    pool = ProcessPoolExecutor(min(processes, len(missing)), context)
    with _interrupts_held_back():  # workers inherit it: Ctrl-C reaches every process of a terminal
        under_way: dict[Future[tuple[Record, float]], Job] = {
            pool.submit(_timed, job): job for job in missing
        }
    try:
        while under_way:
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                yield (under_way.pop(future), *future.result())
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()  # what is under way would go on for minutes
        raise
    pool.shutdown()


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """An interrupt meanwhile comes afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _timed(job: Job) -> tuple[Record, float]:
    begun = time.monotonic()
    made = compare.execute(job)
    return made, time.monotonic() - begun


def _write(out: Path, made: Sequence[Record], table: Sequence[Row], command: str) -> None:
    code = compare.fingerprint()
    drawn = _draw(out, table)
    (out / "report.md").write_text(report.markdown(table, command, code, drawn))
    (out / "report.json").write_text(
        json.dumps(report.as_json(made, table, command, code), indent=1)
    )


def _draw(out: Path, table: Sequence[Row]) -> Mapping[str, str]:
    """A picture per scenario; their names relative to the report."""
    drawn = {}
    for scenario in dict.fromkeys(row.scenario for row in table):
        mine = [row for row in table if row.scenario == scenario]
        name = f"plots/{scenario}.png"
        plots.frontier(
            out / name,
            f"{scenario}, {_counted(len(mine[0].seeds), 'seed')}",
            [
                plots.Point(
                    policy=row.family,
                    setting=row.setting,
                    gpu_hours=row.gpu_hours,
                    attainment=row.attainment,
                    chosen=not row.searched,
                )
                for row in mine
                if row.family != contestants.ORACLE
            ],
            oracle_gpu_hours=next((r.gpu_hours for r in mine if r.family == "oracle"), None),
            target=mine[0].target,
        )
        drawn[scenario] = name
    return drawn


def _show(table: Sequence[Row]) -> None:
    head = ["scenario", "policy", "attainment", "low", "clean", "GPU-hours", "/ oracle",
            "/ thinkscale", "cut", "reversals/day"]  # fmt: skip
    lines = []
    for row in table:
        ratio = row.gpu_hours_to_thinkscale
        lines.append(
            [
                row.scenario,
                row.policy,
                f"{row.attainment * 100:.2f} %",
                "" if (low := row.attainment_lower_95) is None else f"{low * 100:.2f} %",
                f"{row.attainment_clean * 100:.2f} %",
                f"{row.gpu_hours:.1f}",
                "" if row.gpu_hours_to_oracle is None else f"{row.gpu_hours_to_oracle:.3f}",
                "" if ratio is None else f"{ratio.estimate:.3f}",
                f"{row.truncated_share * 100:.2f} %",
                "" if row.reversals_per_day is None else f"{row.reversals_per_day:.0f}",
            ]
        )
    terminal.table(head, lines)


def main(argv: Sequence[str]) -> int:
    """The command. An interrupt ends the process here: Python would first wait for the executor,
    which may wait for ever for workers that were terminated.
    """
    code = guarded("compare", _run)(argv)
    if code == INTERRUPTED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
