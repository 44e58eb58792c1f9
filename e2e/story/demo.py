"""`make demo`: the product's main job, on a real Kubernetes, in under six minutes.

Applies a ReasoningService with kubectl, plays recorded reasoning traffic against its OpenAI API,
shows what happens while it happens, waits until the fleet has shrunk back, and ends with a summary
and a picture in `runs/`. What is asserted is little on purpose, but it is asserted: no request may
fail, the fleet must have grown and shrunk; otherwise the exit code is 1 and the cluster's state is
printed.

Environment, as `make demo` passes it: `KEEP=1` leaves the cluster up until Ctrl-C; `JSON=FILE` also
writes the summary there; `DEMO_CLUSTER=existing` uses the cluster of the current kubeconfig and
needs `DEMO_IMAGE=REPOSITORY:TAG` (and `YES=1` where nobody can be asked).
"""

import argparse
import dataclasses
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from e2e.harness import eventually
from e2e.harness.diagnostics import collect
from e2e.story import plot
from e2e.story.generator import Stream
from e2e.story.lag import LagWatch
from e2e.story.outcomes import Slo
from e2e.story.places import Place, existing_place, local_place
from e2e.story.run import ROOT, TrafficRun, new_directory
from e2e.story.sampling import Sampler, Watches
from e2e.story.services import DEMO, filled_in, load, model_of, slos_of
from e2e.story.summary import spoken, summarize
from e2e.story.traffic import SAMPLE, random_plan_field, read_trace, shortened
from e2e.story.view import Moment, Progress, View

NAME = "demo"
READY_SECONDS = 120
STORY_SECONDS = 320
"""The story ends then whatever happens: with the rest it stays under six minutes."""
QUIET_SECONDS = 4.0
"""The fleet must have been back at its minimum for so long."""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; every option's default may come from the environment."""
    parser = argparse.ArgumentParser(
        prog="make demo", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    environment = os.environ
    parser.add_argument("--keep", action="store_true", default=environment.get("KEEP") == "1")
    parser.add_argument("--cluster", default=environment.get("DEMO_CLUSTER") or "local",
                        choices=["local", "existing"])  # fmt: skip
    parser.add_argument("--image", default=environment.get("DEMO_IMAGE", ""))
    parser.add_argument("--json", type=Path, default=environment.get("JSON") or None)
    parser.add_argument("--trace", type=Path, default=SAMPLE, help="another trace")
    parser.add_argument("--length-divisor", type=float, default=10.0,
                        help="divides every length of the trace, and no time")  # fmt: skip
    args = parser.parse_args(argv)
    if args.cluster == "existing" and ":" not in args.image.rpartition("/")[2]:
        parser.error(
            "DEMO_CLUSTER=existing needs DEMO_IMAGE=REPOSITORY:TAG that its nodes can pull"
        )
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """The whole story; 0 if it went as it should."""
    begun = time.monotonic()
    args = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Inherited as ignored by whatever a script starts in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    console = Console(highlight=False)
    progress = Progress(console)
    try:
        with ExitStack() as stack:
            place = stack.enter_context(_place(args, progress))
            directory = new_directory(NAME)
            try:
                summary = tell(args, place, console, progress, directory, begun)
            except Exception:
                print(collect(place.cluster, place.namespace))
                raise
            if args.keep:
                _keep(place, progress, directory)
    except KeyboardInterrupt:
        progress.say("Stopped.")
        return 130
    return 0 if summary["failed"] == 0 and summary["scale_ups"] and summary["scale_downs"] else 1


def _place(args: argparse.Namespace, progress: Progress) -> Any:
    if args.cluster == "existing":
        return existing_place(progress, image=args.image)
    return local_place(progress, namespace=NAME)


def tell(
    args: argparse.Namespace,
    place: Place,
    console: Console,
    progress: Progress,
    directory: Path,
    begun: float,
) -> dict[str, Any]:
    """Apply, play, watch, sum up; returns the summary."""
    plan_field = random_plan_field()
    manifest = filled_in(
        load(DEMO / "service.yaml"), name=NAME, image=place.image, plan_field=plan_field,
        gpus=place.gpus,
    )  # fmt: skip
    slos = slos_of(manifest)
    with ExitStack() as stack:
        watches = Watches(place.kubectl_command, place.namespace).start()
        stack.callback(watches.stop)
        with progress.step("kubectl apply -f examples/demo/service.yaml; first replicas start"):
            place.cluster.apply(manifest, "-n", place.namespace)
            eventually(lambda: watches.ready(NAME), READY_SECONDS, "ReasoningService demo is Ready")
        url = stack.enter_context(reachable(place, NAME, directory))
        requests = shortened(read_trace(args.trace), args.length_divisor)
        stream = Stream(
            name=NAME, url=url, model=model_of(manifest), plan_field=plan_field,
            requests=tuple(requests),
        )  # fmt: skip
        setup_seconds = time.monotonic() - begun
        commands = helpful_commands(place, url, model_of(manifest), directory)
        progress.say("\n".join(["", "While it runs, in another terminal:", *commands, ""]))
        run = stack.enter_context(
            TrafficRun(directory, [stream], stop_after_seconds=STORY_SECONDS - 10)
        )
        sampler = Sampler(watches, [NAME], run.now).start()
        stack.callback(sampler.stop)
        lag = stack.enter_context(LagWatch(watches)) if place.local else None
        watch(console, run, sampler, slos, commands, manifest["spec"]["scaling"]["minReplicas"])
        samples = sampler.series[NAME]
        summary = summarize(
            run.outcomes(), samples, slos, setup_seconds=setup_seconds, run_seconds=run.now()
        )
        if lag is not None:
            summary["emulator_lag_p99_seconds"] = lag.p99_seconds
            summary["void"] = lag.void
    finish(args, console, directory, summary, slos, samples, run)
    return summary


def watch(
    console: Console,
    run: TrafficRun,
    sampler: Sampler,
    slos: Sequence[Slo],
    commands: Sequence[str],
    fewest: int,
) -> None:
    """Show the run until the traffic is over and the fleet is back at its minimum."""
    back_since: list[float] = []

    def over() -> bool:
        if run.now() > STORY_SECONDS:
            return True
        newest = sampler.newest().get(NAME)
        if not run.finished() or newest is None or max(newest.pods, newest.desired) > fewest:
            back_since.clear()
            return False
        back_since.append(run.now())
        return run.now() - back_since[0] >= QUIET_SECONDS

    def look() -> Moment:
        return Moment(
            second=max(0.0, run.now()),
            samples=sampler.newest(),
            outcomes=run.by_stream(),
            intended=run.intended(),
        )

    View(console, look, slos, commands=commands).run(over)


def finish(
    args: argparse.Namespace,
    console: Console,
    directory: Path,
    summary: dict[str, Any],
    slos: Sequence[Slo],
    samples: list[Any],
    run: TrafficRun,
) -> None:
    """Pictures and numbers: on the terminal, in the run's directory, and in `JSON=FILE`."""
    outcomes = run.outcomes()
    picture = directory / "demo.png"
    plot.draw_png(
        picture, f"{len(outcomes)} requests of recorded R1 traffic on one ReasoningService",
        samples, outcomes, slos[0],
    )  # fmt: skip
    drawn = plot.terminal_plot(
        samples, outcomes, slos[0], width=min(console.width, 120), colour=console.is_terminal
    )
    print(drawn)
    print("\n".join(spoken(summary, slos)))
    if summary.get("void"):
        print(
            "void            the machine was too busy for the emulated model servers "
            f"({summary['emulator_lag_p99_seconds'] * 1000:.1f} ms late, p99): believe no latency"
        )
    for outcome in [outcome for outcome in outcomes if outcome.failed][:5]:
        print(f"failed          request {outcome.index}: {outcome.status} {outcome.error}")
    print(f"picture         {picture.relative_to(ROOT)}")
    text = json.dumps(summary, indent=1) + "\n"
    (directory / "summary.json").write_text(text)
    told = [dataclasses.asdict(sample) for sample in samples]
    (directory / "samples.json").write_text(json.dumps(told) + "\n")
    if args.json:
        args.json.write_text(text)


@contextmanager
def reachable(place: Place, service: str, directory: Path) -> Iterator[str]:
    """The URL (up to `/v1`) at which this process reaches a service's gateway."""
    if place.local:
        address = place.cluster.kubectl(
            "get", "service", service, "-n", place.namespace, "-o", "jsonpath={.spec.clusterIP}"
        ).stdout
        yield f"http://{address}/v1"
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*place.kubectl_command, "port-forward", "-n", place.namespace]
    with (directory / "port-forward.log").open("wb") as log:
        forward = subprocess.Popen(
            [*command, f"service/{service}", f"{port}:80"], stdout=log, stderr=log
        )
        try:
            eventually(lambda: _accepts(port), 20, "kubectl port-forward accepts connections")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            forward.terminate()
            forward.wait(10)


def _accepts(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


def helpful_commands(place: Place, url: str, model: str, directory: Path) -> list[str]:
    """What a person could type meanwhile; a local cluster is entered through a small script."""
    prefix = ""
    if place.local:
        prefix = f"{enter_script(place, directory).relative_to(ROOT)} "
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Why?"}]})
    return [
        f"  {prefix}kubectl get rsvc -n {place.namespace} -w",
        f"  {prefix}kubectl describe rsvc {NAME} -n {place.namespace}",
        f"  {prefix}kubectl get pods -n {place.namespace} -w",
        f"  {prefix}curl {url}/chat/completions -H 'content-type: application/json' "
        f"-d {shlex.quote(body)}",
    ]


def enter_script(place: Place, directory: Path) -> Path:
    """A script that runs a command inside the private network of this process's cluster."""
    kubectl, _, kubeconfig = place.kubectl_command
    path = shlex.quote(str(Path(kubectl).parent))
    script = directory / "enter"
    script.write_text(
        "#!/bin/sh\n"
        "# Runs a command inside the demo's private network, with its kubectl and kubeconfig.\n"
        f"exec nsenter --net=/proc/{os.getpid()}/ns/net env "
        f'KUBECONFIG={shlex.quote(kubeconfig)} PATH={path}:"$PATH" "$@"\n'
    )
    script.chmod(0o755)
    return script


def _keep(place: Place, progress: Progress, directory: Path) -> None:
    progress.say("")
    progress.say("The cluster stays up. Use it from another terminal:")
    if place.local:
        enter = enter_script(place, directory).relative_to(ROOT)
        progress.say(f"  {enter} sh            # a shell inside; kubectl is on its PATH")
        progress.say(f"  {enter} kubectl get rsvc,pods -n {place.namespace}")
    else:
        progress.say(f"  kubectl get rsvc,pods -n {place.namespace}")
    progress.say(f"Stop it with Ctrl-C here, or with: kill {os.getpid()}")
    # To be told to stop is how this is meant to end, so it is no failure.
    with suppress(KeyboardInterrupt, SystemExit):
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
