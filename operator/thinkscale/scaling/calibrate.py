"""The engine's step time, learnt from its own counters: recursive least squares on four numbers.

`t = a0 + a1·b + a2·K + a3·p`. Between two scrapes of a replica that worked all the time, t is the
time over the steps, b the tokens generated per step, K the context held, p the prompt tokens per
step. The coefficients are learnt as multiples of a prior (the catalogue's, trusted to 30 %), since
a1 and a2 cannot be told apart while the context stays the same: what the data do not say stays as
the prior has it. Outliers are rejected by their normalised innovation; eight in a row are no
outliers any more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from thinkscale.model.observation import MergedSignals
from thinkscale.model.signals import ReplicaSignals
from thinkscale.model.step_time import StepTime

Four = tuple[float, float, float, float]
Matrix = tuple[Four, Four, Four, Four]

PRIOR_DEVIATION: Final = 0.3
WIDE_DEVIATION: Final = 1.0
FORGETTING: Final = 0.998
NOISE: Final = 0.04
GATE: Final = 9.0
MOST_REJECTIONS: Final = 8
LEAST, MOST = 0.3, 3.0
WIDEST: Final = 30.0
"""Of the multiples, where no catalogue knows the hardware."""
UNKNOWN_SHARES: Final[Four] = (1.0, 1.7e-3, 4.9e-6, 3.3e-3)
"""a1, a2 and a3 over a0 of the reference profile, where nothing else is known."""
SHORTEST_SECONDS: Final = 12.0
LONGEST_SECONDS: Final = 120.0
FEWEST_RUNNING: Final = 3.0
"""With fewer at either end, a replica may have been idle in between."""
MOST_SPREAD: Final = 1.5
KEPT: Final = 8
"""Replicas whose counters are remembered; any of them teach as well as all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A replica's counters at one instant."""

    at: float
    steps: int
    generated: int
    prompts: int
    context: int
    running: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What is known of the step time."""

    prior: Four | None = None
    """Seconds; what the multiples multiply."""
    wide: bool = False
    """No catalogue knows the hardware; the prior is a guess from the pace."""
    multiples: Four = (1.0, 1.0, 1.0, 1.0)
    covariance: Matrix | None = None
    rejections: int = 0
    samples: int = 0
    baselines: Mapping[str, Baseline] | None = None
    kv_tokens: int | None = None
    """As the engines said last."""


def step_time(known: Calibration) -> StepTime | None:
    """The learnt coefficients; None: neither a catalogue nor an engine has told any."""
    if known.prior is None or (known.wide and known.samples == 0):
        return None
    base, sequence, context, prompt = (
        p * m for p, m in zip(known.prior, known.multiples, strict=True)
    )
    return StepTime(
        base_seconds=base,
        sequence_seconds=sequence,
        context_token_seconds=context,
        prompt_token_seconds=prompt,
    )


def observe(
    known: Calibration,
    at: float,
    signals: MergedSignals,
    prior: StepTime | None,
    pace_seconds: float | None,
) -> Calibration:
    """Learn from every replica's counters since it was last looked at. `pace_seconds`: of a token,
    measured by the gateways; a guess starts from it.
    """
    known = _with_prior(known, prior, pace_seconds)
    baselines: dict[str, Baseline] = {}
    before = known.baselines or {}
    for name in sorted(signals.replicas, key=lambda name: (name not in before, name)):
        replica = signals.replicas[name]
        if replica.engine is not None and replica.engine.kv_capacity_tokens:
            known = replace(known, kv_tokens=replica.engine.kv_capacity_tokens)
        now = _baseline(replica, at)
        if now is None or len(baselines) >= KEPT:
            continue
        old = before.get(name)
        if old is not None and 0 <= now.at - old.at < SHORTEST_SECONDS and old.steps <= now.steps:
            baselines[name] = old
            continue
        baselines[name] = now
        sample = None if old is None else _sample(old, now)
        if sample is not None and known.prior is not None:
            known = learn(known, *sample)
    return replace(known, baselines=baselines)


def learn(known: Calibration, seconds: float, load: Four) -> Calibration:
    """One update by a step that took so long under (1, b, K, p).

    Prior 15.5, .027, .000076, .051 ms with b = 97, K = 290,000 and p = 20: 41.2 ms are expected. A
    step of 45 ms is (45 - 41.2)/45 = 8 % off, far less than the prior's own doubt, so nearly all of
    it is learnt at once.
    """
    assert known.prior is not None
    x = tuple(p * v for p, v in zip(known.prior, load, strict=True))
    covariance = known.covariance or _diagonal(_deviation(known) ** 2)
    innovation = seconds - _dot(x, known.multiples)
    spread = [_dot(row, x) for row in covariance]
    variance = _dot(x, spread) + (NOISE * seconds) ** 2
    if innovation**2 / variance > GATE and known.rejections < MOST_REJECTIONS:
        return replace(known, rejections=known.rejections + 1)
    gain = [s / variance for s in spread]
    lowest, highest = (1 / WIDEST, WIDEST) if known.wide else (LEAST, MOST)
    moved = (
        round(min(highest, max(lowest, m + g * innovation)), 6)
        for m, g in zip(known.multiples, gain, strict=True)
    )
    return replace(
        known,
        multiples=_four(moved),
        covariance=_updated(covariance, gain, spread, _deviation(known)),
        rejections=0,
        samples=known.samples + 1,
    )


def _with_prior(
    known: Calibration, prior: StepTime | None, pace_seconds: float | None
) -> Calibration:
    """A catalogue's prior that changed starts all over; a guess is made once."""
    if prior is not None:
        four = (
            prior.base_seconds,
            prior.sequence_seconds,
            prior.context_token_seconds,
            prior.prompt_token_seconds,
        )
        return known if known.prior == four else Calibration(prior=four)
    if known.prior is not None and known.wide:
        return known
    if pace_seconds is None or pace_seconds <= 0:
        return known if known.prior is None else Calibration()
    guess = _four(round(share * pace_seconds, 12) for share in UNKNOWN_SHARES)
    return Calibration(prior=guess, wide=True)


def _baseline(replica: ReplicaSignals, at: float) -> Baseline | None:
    engine = replica.engine
    if engine is None or engine.steps is None or engine.generated_tokens is None:
        return None
    return Baseline(
        at=round(at - engine.age_seconds, 3),
        steps=engine.steps,
        generated=engine.generated_tokens,
        prompts=engine.prompt_tokens or 0,
        context=replica.context_tokens,
        running=engine.running,
    )


def _sample(old: Baseline, now: Baseline) -> tuple[float, Four] | None:
    """Seconds of a step and its load; None: the replica restarted, idled or was not seen."""
    elapsed, steps = now.at - old.at, now.steps - old.steps
    generated, prompts = now.generated - old.generated, now.prompts - old.prompts
    if not SHORTEST_SECONDS <= elapsed <= LONGEST_SECONDS or steps <= 0:
        return None
    if generated < 0 or prompts < 0 or min(old.running, now.running) < FEWEST_RUNNING:
        return None
    decoding, running = generated / steps, (old.running + now.running) / 2
    if not running / MOST_SPREAD <= decoding <= running * MOST_SPREAD:
        return None
    return elapsed / steps, (1.0, decoding, (old.context + now.context) / 2, prompts / steps)


def _deviation(known: Calibration) -> float:
    return WIDE_DEVIATION if known.wide else PRIOR_DEVIATION


def _diagonal(variance: float) -> Matrix:
    rows = [[variance if i == j else 0.0 for j in range(4)] for i in range(4)]
    return _matrix(rows)


def _updated(
    covariance: Matrix, gain: Sequence[float], spread: Sequence[float], deviation: float
) -> Matrix:
    """(P - k·(P·x)ᵀ)/λ, symmetric, with no deviation beyond the prior's: forgetting would let what
    the data never say drift off.
    """
    p = [
        [(covariance[i][j] - gain[i] * spread[j]) / FORGETTING for j in range(4)] for i in range(4)
    ]
    scale = [min(1.0, deviation / max(1e-12, p[i][i]) ** 0.5) for i in range(4)]
    return _matrix(
        [[0.5 * (p[i][j] + p[j][i]) * scale[i] * scale[j] for j in range(4)] for i in range(4)]
    )


def _matrix(rows: Sequence[Sequence[float]]) -> Matrix:
    one, two, three, four = (_four(round(value, 10) for value in row) for row in rows)
    return one, two, three, four


def _four(values: Iterable[float]) -> Four:
    one, two, three, four = values
    return one, two, three, four


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
