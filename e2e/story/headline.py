"""`make headline`: scaling on thinking, not on requests.

One cluster, one generator, the same requests at the same times for every fleet; all services come
from one YAML and differ in the name. What differs is how long the model thinks: 300 tokens on
average for `short`, 3,000 for the others (divided by ten, like all lengths here). Two fleets belong
to the operator; beside them the long-thinking traffic runs on a fleet of fixed size and on two
under real HorizontalPodAutoscalers, on the arrival rate and on concurrency. The rate's target is
tuned so that the short-thinking traffic just meets its SLO; a sixth fleet proves that it does.

At the end the operator's long-thinking fleet gets one very long request per replica and nothing
else, so that it must give up replicas that are busy: each must finish what it has.
"""

import argparse
import dataclasses
import json
import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from e2e.harness import LocalCluster, eventually
from e2e.harness.diagnostics import collect
from e2e.story.drain import DrainWatch, victims
from e2e.story.external_metrics import ExternalMetrics
from e2e.story.gateway_load import LoadReader
from e2e.story.generator import Stream
from e2e.story.headline_plot import draw
from e2e.story.headline_result import FLEETS, Fleet, Result, problems, requests_for, spoken
from e2e.story.lag import LagWatch
from e2e.story.outcomes import Slo
from e2e.story.places import Place, local_place
from e2e.story.rivals import autoscaler
from e2e.story.run import ROOT, TrafficRun, new_directory
from e2e.story.sampling import Sample, Sampler, Watches
from e2e.story.services import DEMO, Manifest, filled_in, fixed_at, load, model_of, slos_of
from e2e.story.traffic import Request, random_plan_field
from e2e.story.view import Moment, Progress, View

NAMESPACE = "headline"
READY_SECONDS = 120
STOP_AFTER_SECONDS = 225
PROBE_TOKENS = 3700
"""How long the drain's requests think: 109 s at 29.5 ms a token, so that a minute and more is still
to go when the scale-down begins, some 20 to 40 s after they were sent.
"""
PROBE_EARLIEST_SECOND, PROBE_LATEST_SECOND = 78.0, 108.0
SETTLED_DEPTH = 4
"""They are sent when the load falls, half of the seats are free and nobody is on his way: in an
overload they would queue, and whoever is given up later would have nothing to do.
"""
QUIET_SECONDS = 4.0


def run(place: Place, cluster: LocalCluster, console: Console, directory: Path) -> Result:
    """Start the fleets, play the traffic, look; needs a cluster with the operator in it."""
    progress = Progress(console)
    plan_field = random_plan_field()
    template = load(DEMO / "headline.yaml")
    manifests = {
        fleet.name: _manifest(template, fleet, place.image, plan_field) for fleet in FLEETS
    }
    names = [fleet.name for fleet in FLEETS]
    with ExitStack() as stack:
        watches = Watches(place.kubectl_command, place.namespace).start()
        stack.callback(watches.stop)
        reader = stack.enter_context(LoadReader(watches, names))
        with progress.step(
            f"starting {len(FLEETS)} fleets, one replica each, and the rivals' HPAs"
        ):
            for manifest in manifests.values():
                cluster.apply(manifest, "-n", place.namespace)
            stack.enter_context(ExternalMetrics(cluster, reader.value))
            rivals = _start_rivals(cluster, place.namespace, manifests)
            eventually(
                lambda: all(watches.ready(name) for name in names), READY_SECONDS, "all fleets"
            )
            eventually(
                lambda: all(_scales(cluster, place.namespace, name) for name in rivals),
                READY_SECONDS,
                "the HPAs see their metrics",
                poll_seconds=0.5,
            )
        streams = [
            Stream(
                name=fleet.name,
                url=_url(cluster, place.namespace, fleet.name),
                model=model_of(manifests[fleet.name]),
                plan_field=plan_field,
                requests=requests_for(fleet),
            )
            for fleet in FLEETS
        ]
        return _play(stack, watches, streams, slos_of(template), console, directory)


def _start_rivals(
    cluster: LocalCluster, namespace: str, manifests: dict[str, Manifest]
) -> list[str]:
    """Apply the HPAs; returns their names."""
    rivals = [fleet for fleet in FLEETS if fleet.metric]
    for fleet in rivals:
        hpa = autoscaler(
            manifests[fleet.name], name=fleet.name, metric=fleet.metric, target=fleet.target
        )
        cluster.apply(hpa, "-n", namespace)
    return [fleet.name for fleet in rivals]


def _scales(cluster: LocalCluster, namespace: str, name: str) -> bool:
    conditions = cluster.get("hpa", name, "-n", namespace).get("status", {}).get("conditions", [])
    return any(c["type"] == "ScalingActive" and c["status"] == "True" for c in conditions)


def _play(
    stack: ExitStack,
    watches: Watches,
    streams: list[Stream],
    slos: list[Slo],
    console: Console,
    directory: Path,
) -> Result:
    traffic = stack.enter_context(
        TrafficRun(directory, streams, stop_after_seconds=STOP_AFTER_SECONDS)
    )
    sampler = Sampler(watches, [stream.name for stream in streams], traffic.now).start()
    stack.callback(sampler.stop)
    lag = stack.enter_context(LagWatch(watches))
    drain = stack.enter_context(DrainWatch(watches, "long", traffic.now))
    long = next(stream for stream in streams if stream.name == "long")
    probing: list[TrafficRun] = []

    def over() -> bool:
        now = traffic.now()
        newest = sampler.newest()["long"]
        if not probing and now >= PROBE_EARLIEST_SECOND and _settled(newest, now):
            probing.append(_probe(stack, traffic, long, newest.ready, directory))
        if now >= STOP_AFTER_SECONDS + QUIET_SECONDS:
            return True
        finished = traffic.finished() and bool(probing) and probing[0].finished()
        return finished and _quiet(sampler.series["long"])

    def look() -> Moment:
        return Moment(
            second=max(0.0, traffic.now()),
            samples=sampler.newest(),
            outcomes=traffic.by_stream(),
            intended=traffic.intended(),
        )

    View(console, look, slos).run(over)
    lag.ask()
    return Result(
        fleets=FLEETS,
        outcomes=traffic.by_stream(),
        samples=sampler.series,
        slo=slos[0],
        probes=list(probing[0].outcomes()) if probing else [],
        victims=victims(drain.looks),
        void=lag.void,
        emulator_lag_p99_seconds=lag.p99_seconds,
        emulator_steps=lag.steps,
        run_seconds=traffic.now(),
    )


def _settled(sample: Sample, now: float) -> bool:
    """The fleet is as large as it gets, and has room; or there is no more time to wait for it."""
    roomy = sample.depth is not None and sample.depth <= SETTLED_DEPTH * sample.ready
    return (roomy and sample.ready >= sample.desired) or now >= PROBE_LATEST_SECOND


def _probe(
    stack: ExitStack, traffic: TrafficRun, stream: Stream, replicas: int, directory: Path
) -> TrafficRun:
    """Two very long requests for each replica, so that whoever is given up is busy."""
    at = math.ceil(traffic.now()) + 1.0
    long_request = Request(
        at_seconds=at, prompt_tokens=10, thinking_tokens=PROBE_TOKENS, answer_tokens=20
    )
    probes = dataclasses.replace(stream, name="probe", requests=(long_request,) * 2 * replicas)
    return stack.enter_context(
        TrafficRun(
            directory,
            [probes],
            stop_after_seconds=STOP_AFTER_SECONDS,
            name="probe",
            zero=traffic.zero,
        )
    )


def _quiet(samples: Sequence[Sample]) -> bool:
    """The fleet has been back at one replica for some seconds."""
    recent = [s for s in samples if s.second >= samples[-1].second - QUIET_SECONDS]
    return all(sample.desired == 1 and sample.pods == 1 for sample in recent)


def _manifest(template: Manifest, fleet: Fleet, image: str, plan_field: str) -> Manifest:
    made = filled_in(template, name=fleet.name, image=image, plan_field=plan_field)
    return made if fleet.scaler == "thinkscale" else fixed_at(made, 1)


def _url(cluster: LocalCluster, namespace: str, service: str) -> str:
    address = cluster.get("service", service, "-n", namespace)["spec"]["clusterIP"]
    return f"http://{address}/v1"


def main(argv: Sequence[str] | None = None) -> int:
    """Run, tell, draw; 0 if everything is as the headline says."""
    parser = argparse.ArgumentParser(prog="make headline")
    parser.add_argument("--json", type=Path, default=os.environ.get("JSON") or None)
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    console = Console(highlight=False)
    directory = new_directory("headline")
    begun = time.monotonic()
    with local_place(Progress(console), namespace=NAMESPACE) as place:
        assert isinstance(place.cluster, LocalCluster)
        try:
            result = run(place, place.cluster, console, directory)
        except Exception:
            print(collect(place.cluster, NAMESPACE))
            raise
    text = json.dumps(result.to_json(), indent=1) + "\n"
    (directory / "headline.json").write_text(text)
    if args.json:
        args.json.write_text(text)
    picture = directory / "headline.png"
    draw(picture, result)
    print("\n".join(spoken(result)))
    print(f"picture: {picture.relative_to(ROOT)}; {time.monotonic() - begun:.0f} s in all")
    wrong = problems(result)
    for problem in wrong:
        print(f"WRONG: {problem}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
