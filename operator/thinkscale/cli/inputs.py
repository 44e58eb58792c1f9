"""From what was typed to a scenario: a name or a trace, and perhaps the very resource of a user.

`--spec` replaces what a scenario declares by what the resource declares: limits, objectives,
budget, seats, GPUs, gateways. The engine's truth is the catalogue's where it knows the model and
the GPUs, else the scenario's; the load and what goes wrong stay the scenario's, but that no thought
is longer than the declared budget: bounds, oracle and predictions reckon with the lengths as given.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from thinkscale.api.v1alpha1 import ReasoningService
from thinkscale.cli.arguments import Misuse, Parser, whole
from thinkscale.fleet.profile import PROFILES, Profile
from thinkscale.model.intent import Intent
from thinkscale.resources.intent import intent_of
from thinkscale.simulation import scenarios
from thinkscale.simulation.choose import scenario_of
from thinkscale.simulation.live import Live, workload_of
from thinkscale.simulation.scenario import Scenario, uncut


def add_scenario(arguments: Parser, *, live: bool = False) -> None:
    """The flags that choose a scenario; `live`: a running service too, and `smooth` by default."""
    chosen = arguments.add_mutually_exclusive_group(required=not live)
    chosen.add_argument(
        "--scenario",
        default="smooth" if live else None,
        metavar="NAME",
        help=f"one of {', '.join(scenarios.NAMES)}; with variants, like drift+lost0.2+boot60"
        + ("; default smooth" if live else ""),
    )
    chosen.add_argument(
        "--trace",
        metavar="FILE",
        help="a CSV with arrival_s, prompt_tokens, reasoning_tokens, answer_tokens (or .csv.gz)",
    )
    if live:
        chosen.add_argument(
            "--gateway", action="append", metavar="URL", help="admin port; once for each gateway"
        )
    arguments.add_argument("--spec", type=Path, metavar="FILE", help="a ReasoningService (YAML)")
    arguments.add_argument(
        "--engine", choices=sorted(PROFILES), help="what the replicas are in truth"
    )
    arguments.add_argument("--seed", type=whole, default=1, metavar="N", help="default 1")
    arguments.add_argument(
        "--no-brownout", action="store_true", help="nobody's thought may be cut by load"
    )
    arguments.add_argument(
        "--traces", type=Path, metavar="DIR", help="full recordings, instead of those shipped"
    )


def scenario(options: argparse.Namespace, live: Live | None = None) -> Scenario:
    """The scenario that was chosen. Misuse, TraceError, UnknownScenario, TooFewRequests."""
    brownout = not options.no_brownout
    if live is not None:
        workload = workload_of(live, options.seed)
        made = scenarios.replay(workload, options.seed, brownout=brownout)
    else:
        name = str(Path(options.trace).absolute()) if options.trace else options.scenario
        made = scenario_of(name, options.seed, brownout=brownout, traces=options.traces)
    return on_fleet(made, options, brownout=brownout)


def on_fleet(made: Scenario, options: argparse.Namespace, *, brownout: bool) -> Scenario:
    """On what `--spec` declares and `--engine` names."""
    if options.spec is not None:
        made = _as_declared(made, service(options.spec), brownout=brownout)
    if options.engine is not None:
        made = on(made, PROFILES[options.engine], told=options.spec is None)
    return made


def _as_declared(made: Scenario, declared: ReasoningService, *, brownout: bool) -> Scenario:
    intent = intent_of(declared)
    if not brownout:
        intent = uncut(intent)
    profile = replace(_truth(intent, made.profile), seats=intent.seats_per_replica)
    if intent.budget.max_tokens is not None:
        made = replace(made, workload=made.workload.within(intent.budget.max_tokens))
    return replace(
        made,
        intent=intent,
        profile=profile,
        gateways=max(1, declared.spec.gateway.min_replicas),
        initial_replicas=_first(made, intent, profile),
    )


def _truth(intent: Intent, otherwise: Profile) -> Profile:
    """The replica that the catalogue knows for this model on these GPUs."""
    if intent.step_time is None or intent.kv_tokens is None:
        return otherwise
    return replace(
        otherwise,
        name="catalogue",
        base_seconds=intent.step_time.base_seconds,
        sequence_seconds=intent.step_time.sequence_seconds,
        context_token_seconds=intent.step_time.context_token_seconds,
        prompt_token_seconds=intent.step_time.prompt_token_seconds,
        kv_tokens=intent.kv_tokens,
    )


def on(made: Scenario, profile: Profile, *, told: bool) -> Scenario:
    """On other engines; `told`: the policy's prior says so too; seats and GPUs are theirs."""
    intent = made.intent
    if told:
        intent = replace(
            intent,
            step_time=profile.step_time,
            kv_tokens=profile.kv_tokens,
            seats_per_replica=profile.seats,
            gpus_per_replica=profile.gpus,
        )
    profile = replace(profile, seats=intent.seats_per_replica)
    return replace(
        made, profile=profile, intent=intent, initial_replicas=_first(made, intent, profile)
    )


def _first(made: Scenario, intent: Intent, profile: Profile) -> int:
    return scenarios.initial_replicas(made.workload, profile, intent, made.warm_up_seconds)


def service(path: Path) -> ReasoningService:
    """The ReasoningService in a file. Misuse: file, field and mend in one line."""
    try:
        documents = [d for d in yaml.safe_load_all(path.read_text()) if d is not None]
    except OSError as error:
        raise Misuse(f"{path}: cannot be read ({error.strerror}); give a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Misuse(f"{path}: is not YAML: {error}") from error
    found = [d for d in documents if isinstance(d, dict) and d.get("kind") == "ReasoningService"]
    if len(found) != 1:
        raise Misuse(f"{path}: holds {len(found)} objects of kind ReasoningService; give it one")
    manifest = found[0]
    metadata = manifest.get("metadata")
    if isinstance(metadata, dict):
        metadata.setdefault("namespace", "default")
    try:
        declared = ReasoningService.model_validate(manifest)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Misuse(f"{path}: {field}: {first['msg']}") from error
    _refuse_unknown(path, manifest.get("spec", {}), declared)
    _refuse_contradictions(path, declared)
    return declared


def _refuse_unknown(path: Path, written: Any, declared: ReasoningService) -> None:
    """A misspelt field would be ignored in silence, and something else be simulated."""
    understood = declared.spec.model_dump(by_alias=True, exclude_unset=True, mode="json")
    if (field := _unknown(written, understood, "spec")) is not None:
        raise Misuse(f"{path}: {field}: there is no such field; remove it or correct its name")


def _unknown(written: Any, understood: Any, where: str) -> str | None:
    if isinstance(written, dict) and isinstance(understood, dict):
        for key, value in written.items():
            if key not in understood:
                return f"{where}.{key}"
            if (found := _unknown(value, understood[key], f"{where}.{key}")) is not None:
                return found
    if isinstance(written, list) and isinstance(understood, list):
        for number, pair in enumerate(zip(written, understood, strict=False)):
            if (found := _unknown(*pair, f"{where}.{number}")) is not None:
                return found
    return None


def _refuse_contradictions(path: Path, declared: ReasoningService) -> None:
    """Those of the API server's cross-field rules that a simulation would stumble over."""
    scaling, budget = declared.spec.scaling, declared.spec.thinking.budget
    if scaling.min_replicas > scaling.max_replicas:
        raise Misuse(
            f"{path}: spec.scaling.minReplicas: {scaling.min_replicas} is more than maxReplicas "
            f"{scaling.max_replicas}; lower it"
        )
    floor = budget.floor_tokens if budget else None
    if budget and floor is not None and not budget.min_tokens <= floor <= budget.max_tokens:
        raise Misuse(
            f"{path}: spec.thinking.budget.floorTokens: {floor} is not between minTokens "
            f"{budget.min_tokens} and maxTokens {budget.max_tokens}; correct it"
        )
