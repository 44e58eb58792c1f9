"""Cross-field rules in CEL: what the API server refuses, and the words it refuses with.

Each rule sits at a path of the schema and reads only below it. A message says what is wrong and how
to mend it; `field` moves the error to the field that should change. The API server bounds the cost
of rules by the limits of what they read, so each list, map and string below a rule has one.

Flags of the model server that are fields here are refused in `args` one by one, so that each
refusal can name the field to use instead.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from thinkscale.api.cel import CelRule, resource_rules
from thinkscale.api.pod_rules import POD_RULES
from thinkscale.api.thinking_rules import THINKING_RULES
from thinkscale.api.traffic_rules import TRAFFIC_RULES

OWNED_FLAGS: Final[Mapping[str, str]] = {
    "model": "use model.uri",
    "served-model-name": "use model.name",
    "revision": "use model.revision",
    "max-model-len": "use engine.contextTokens",
    "max-num-seqs": "use engine.maxConcurrentRequests",
    "tensor-parallel-size": "use engine.gpus.count",
    "reasoning-parser": "use engine.reasoningParser",
    "shutdown-timeout": "use engine.drainSeconds",
    "host": "the operator sets it",
    "port": "the operator sets it",
}
"""Flags of vLLM that the operator sets, and what to use instead."""
OWNED_ELSEWHERE: Final[Mapping[tuple[str, ...], str]] = {
    ("model-id", "model-path"): "use model.uri",
    ("max-total-tokens", "max-input-tokens", "context-length"): "use engine.contextTokens",
    (
        "max-batch-size",
        "max-concurrent-requests",
        "max-running-requests",
    ): "use engine.maxConcurrentRequests",
    ("num-shard", "tp-size", "tp"): "use engine.gpus.count",
    ("graceful-termination-timeout",): "use engine.drainSeconds",
    ("hostname",): "the operator sets it",
}
"""The same of TGI and SGLang, by what to use instead."""


def _flag_rule(flag: str, instead: str) -> CelRule:
    spelled = flag.replace("-", "[-_]")
    short = "|-tp" if flag == "tensor-parallel-size" else ""
    return CelRule(
        rule=f"!has(self.args) || self.args.all(a, !a.matches('^(--{spelled}{short})(=|$)'))",
        message=f"must not contain --{flag}: {instead}",
        field=".args",
    )


def _flags_rule(flags: Sequence[str], instead: str) -> CelRule:
    *most, last = [f"--{flag}" for flag in flags]
    named = f"{', '.join(most)} or {last}" if most else last
    spelled = "|".join(flag.replace("-", "[-_]") for flag in flags)
    return CelRule(
        rule=f"!has(self.args) || self.args.all(a, !a.matches('^--({spelled})(=|$)'))",
        message=f"must not contain {named}: {instead}",
        field=".args",
    )


ROOT: Final[Sequence[CelRule]] = (
    CelRule(
        rule="size(self.metadata.name) <= 52",
        message="must be at most 52 characters, as Services and pods are named after it: choose a "
        "shorter name",
        field=".metadata.name",
    ),
    CelRule(
        rule="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        message="must be a DNS label that begins with a letter (a-z, 0-9 and '-', no dots), as a "
        "Service is named after it: choose another name",
        field=".metadata.name",
    ),
)

SPEC: Final[Sequence[CelRule]] = (
    CelRule(
        rule="self.scaling.mode != 'Auto' || !has(self.replicas)",
        message="must be absent while scaling.mode is Auto, which sets the replicas itself: remove "
        "it, or set scaling.mode to Manual",
        field=".replicas",
    ),
    CelRule(
        rule="self.scaling.mode == 'Auto' || has(self.replicas)",
        message="is required while scaling.mode is Manual or Advisory: say how many replicas to "
        "run, or set scaling.mode to Auto",
        field=".replicas",
    ),
    CelRule(
        rule="!has(self.replicas) || self.replicas <= self.scaling.maxReplicas",
        message="must be at most scaling.maxReplicas: lower it, or raise scaling.maxReplicas",
        field=".replicas",
    ),
    CelRule(
        rule=(
            "(has(self.thinking) && has(self.thinking.budget) ? self.thinking.budget.maxTokens : 0)"
            " + (has(self.answer) ? self.answer.maxTokens : 0) < self.engine.contextTokens"
        ),
        message="thinking.budget.maxTokens plus answer.maxTokens must be less than "
        "engine.contextTokens, or no prompt fits: lower one of the two, or raise the context",
        field=".engine.contextTokens",
    ),
    CelRule(
        rule=(
            "!has(self.thinking) || self.thinking.nativeBudgetCheck == 'InUse' "
            "|| self.engine.type != 'TGI'"
        ),
        message="TGI has no native budget to check: remove it; the gateway holds its budgets",
        field=".thinking.nativeBudgetCheck",
    ),
    CelRule(
        rule=(
            "!has(self.thinking) || !has(self.thinking.defaultMaxTokens) "
            "|| self.thinking.defaultMaxTokens < self.engine.contextTokens"
        ),
        message="must be less than engine.contextTokens: lower it, or raise the context",
        field=".thinking.defaultMaxTokens",
    ),
    CelRule(
        rule=(
            "!has(self.thinking) || !has(self.thinking.tiers) "
            "|| self.thinking.tiers.all(t, t.maxTokens "
            "+ (has(self.answer) ? self.answer.maxTokens : 0) < self.engine.contextTokens)"
        ),
        message="each tier's maxTokens plus answer.maxTokens must be less than "
        "engine.contextTokens, or no prompt fits: lower one of the two, or raise the context",
        field=".thinking.tiers",
    ),
    CelRule(
        rule=(
            "!has(self.model.cache) || !has(self.engine.volumeMounts) "
            "|| self.engine.volumeMounts.all(m, m.mountPath != self.model.cache.mountPath)"
        ),
        message="must not be the mountPath of one of engine.volumeMounts too: mount one of them "
        "elsewhere",
        field=".model.cache.mountPath",
    ),
    CelRule(
        rule=(
            "!self.model.uri.startsWith('pvc://') || !has(self.engine.volumeMounts) "
            "|| self.engine.volumeMounts.all(m, m.mountPath != '/models')"
        ),
        message="must not mount anything at /models, where the claim of model.uri is mounted: "
        "choose another mountPath",
        field=".engine.volumeMounts",
    ),
    CelRule(
        rule=(
            "!has(self.model.tokenSecretRef) || !has(self.engine.env) "
            "|| self.engine.env.all(e, e.name != 'HF_TOKEN')"
        ),
        message="must not be set while engine.env sets HF_TOKEN too: keep one of them",
        field=".model.tokenSecretRef",
    ),
    CelRule(
        rule=(
            "!has(self.model.cache) || !has(self.engine.env) "
            "|| self.engine.env.all(e, !(e.name in ['HF_HOME', 'VLLM_CACHE_ROOT']))"
        ),
        message="must not be set while engine.env sets HF_HOME or VLLM_CACHE_ROOT, which point into"
        " the cache: remove them from engine.env",
        field=".model.cache",
    ),
)

MODEL: Final[Sequence[CelRule]] = (
    CelRule(
        rule=(
            "self.uri.matches('^hf://[A-Za-z0-9][-A-Za-z0-9._]*/[A-Za-z0-9][-A-Za-z0-9._]*$') "
            "|| (self.uri.matches('^pvc://[a-z0-9]([-.a-z0-9]*[a-z0-9])?(/[-A-Za-z0-9._/]*)?$') "
            "&& !self.uri.contains('..'))"
        ),
        message="must be hf://ORG/NAME (Hugging Face) or pvc://CLAIM/PATH (a directory of a "
        "PersistentVolumeClaim)",
        field=".uri",
    ),
    CelRule(
        rule="!has(self.revision) || self.uri.startsWith('hf://')",
        message="only an hf:// model has a revision: remove it, or put the revision into the path "
        "of the claim",
        field=".revision",
    ),
    CelRule(
        rule="!has(self.tokenSecretRef) || self.uri.startsWith('hf://')",
        message="only an hf:// model is downloaded with a token: remove it",
        field=".tokenSecretRef",
    ),
)

ENGINE: Final[Sequence[CelRule]] = (
    *(_flag_rule(flag, instead) for flag, instead in OWNED_FLAGS.items()),
    *(_flags_rule(flags, instead) for flags, instead in OWNED_ELSEWHERE.items()),
    CelRule(
        rule="self.type != 'TGI' || !has(self.reasoningParser)",
        message="TGI has none: remove it; the gateway tells thinking from answering by the tags in "
        "the text",
        field=".reasoningParser",
    ),
    CelRule(
        rule="!has(self.args) || size(self.args) == 0 || self.args[0].startsWith('-')",
        message="must begin with a flag, as the model is set by model.uri: write --flag=value, or "
        "--flag and its value as two items",
        field=".args",
    ),
    CelRule(
        rule="!has(self.args) || self.args.all(a, !a.matches('^--[-A-Za-z0-9_.]+\\\\s'))",
        message="a flag and its value must not share one item: write --flag=value, or two items",
        field=".args",
    ),
    CelRule(
        rule=(
            "!has(self.resources) || "
            "!((has(self.resources.requests) && self.gpus.resourceName in self.resources.requests)"
            " || (has(self.resources.limits) && self.gpus.resourceName in self.resources.limits))"
        ),
        message="must not name the GPUs' resource: use engine.gpus.count",
        field=".resources",
    ),
    CelRule(
        rule=(
            "!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.podTemplate) && "
            "has(self.podTemplate.spec) && has(self.podTemplate.spec.volumes) && "
            "self.podTemplate.spec.volumes.exists(v, v.name == m.name))"
        ),
        message="each must name a volume of engine.podTemplate.spec.volumes: add the volume, or "
        "correct the name",
        field=".volumeMounts",
    ),
)

RULES: Final[Mapping[str, Sequence[CelRule]]] = {
    "": ROOT,
    "spec": SPEC,
    "spec.model": MODEL,
    "spec.engine": ENGINE,
    **resource_rules("spec.engine.resources"),
    **POD_RULES,
    **THINKING_RULES,
    **TRAFFIC_RULES,
}
"""All rules by the path of their node; the empty path is the whole object."""
