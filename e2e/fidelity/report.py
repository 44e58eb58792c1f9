"""The result as JSON and as lines for people: what was measured, what was said, what fits.

Pure. What is asked for: each indicator's p50 and p99 over the whole run within a tenth of what was
measured (or twice the spread), and the emulator's within a twentieth of the simulator's. The phases
stand beside it, each with a verdict of its own.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from e2e.engines.install import VLLM_VERSION
from e2e.fidelity import calibration, verdict
from e2e.fidelity.experiment import (
    EMULATOR_TOLERANCE,
    ENGINE_TOLERANCE,
    PHASES,
    SIZES,
    VOID_OTHERS_CORES,
    WINDOW_SECONDS,
    Found,
    profile_of,
)
from e2e.fidelity.verdict import Columns, Figure
from thinkscale.model.step_time import StepTime

VARIANTS = ("prior", "law", "unaided", "fit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The measurements beside the predictions."""

    found: Found
    measured: Columns
    simulated: Columns
    emulated: Columns
    engine_figures: tuple[Figure, ...]
    emulator_figures: tuple[Figure, ...]
    engine_overhead_seconds: float
    emulator_overhead_seconds: float

    @property
    def void(self) -> bool:
        """The machine was too busy while it was calibrated or the whole run was made. A repetition
        in a busy time is left out; the emulator's run may be busy: that can only spoil a fit.
        """
        busy = self.found.calibration_others_cores > VOID_OTHERS_CORES
        return busy or self.found.runs[0].void

    @property
    def fits(self) -> bool:
        """All that is asked for."""
        asked = (*self.engine_figures, *self.emulator_figures)
        return all(figure.fits for figure in asked if figure.phase == verdict.ALL)


def compare(found: Found) -> Compared:
    """Simulate what was measured, and set both side by side."""
    profile = profile_of(found.learnt)
    first = found.runs[0]
    overhead = verdict.overhead_seconds(first.singles, profile)
    observed = verdict.measured(first.served)
    predicted = verdict.simulated(first.served, profile, overhead)
    repeated = [
        verdict.measured(run.served).until(WINDOW_SECONDS) for run in found.runs if not run.void
    ]
    emulated = verdict.measured(found.emulated.served)
    emulator_overhead = verdict.overhead_seconds(found.emulated.singles, profile)
    again = verdict.simulated(found.emulated.served, profile, emulator_overhead)
    return Compared(
        found=found,
        measured=observed,
        simulated=predicted,
        emulated=emulated,
        engine_figures=tuple(verdict.figures(observed, predicted, repeated, ENGINE_TOLERANCE)),
        emulator_figures=tuple(verdict.figures(emulated, again, (), EMULATOR_TOLERANCE)),
        engine_overhead_seconds=overhead,
        emulator_overhead_seconds=emulator_overhead,
    )


def to_json(compared: Compared) -> dict[str, Any]:
    """Everything; seconds and tokens."""
    found, learnt = compared.found, compared.found.learnt
    return {
        "engine": f"vLLM {VLLM_VERSION} on one core",
        "sizes": dataclasses.asdict(SIZES) | {"kv_tokens": learnt.kv_tokens},
        "phases": [dataclasses.asdict(phase) for phase in PHASES],
        "void": compared.void,
        "fits": compared.fits,
        "calibration": {
            "othersCores": round(found.calibration_others_cores, 3),
            "samples": len(learnt.samples),
            "accepted": learnt.accepted,
            "coefficients": {name: _four(getattr(learnt, name)) for name in VARIANTS},
            "r2": {
                name: round(calibration.r2(getattr(learnt, name), learnt.samples), 4)
                for name in VARIANTS
            },
            "windows": [dataclasses.asdict(sample) for sample in learnt.samples],
        },
        "overheadSeconds": {
            "engine": round(compared.engine_overhead_seconds, 5),
            "emulator": round(compared.emulator_overhead_seconds, 5),
        },
        "runs": [run.to_json() for run in found.runs],
        "emulatorRun": found.emulated.to_json(),
        "engineAgainstSimulator": [figure.to_json() for figure in compared.engine_figures],
        "emulatorAgainstSimulator": [figure.to_json() for figure in compared.emulator_figures],
        "requests": _rows(compared),
    }


def spoken(compared: Compared) -> str:
    """For the terminal."""
    engine = verdict.table(
        compared.engine_figures, {"observed": "engine", "predicted": "simulator"}
    )
    emulator = verdict.table(
        compared.emulator_figures, {"observed": "emulator", "predicted": "simulator"}
    )
    end = "void: the machine was busy" if compared.void else "the machine was quiet"
    asked = "all that is asked for fits" if compared.fits else "NOT all that is asked for fits"
    return f"{engine}\n\n{emulator}\n\n{asked}; {end}"


def _four(step: StepTime) -> dict[str, float]:
    return {
        "a0Milliseconds": round(step.base_seconds * 1e3, 4),
        "a1Microseconds": round(step.sequence_seconds * 1e6, 3),
        "a2Microseconds": round(step.context_token_seconds * 1e6, 4),
        "a3Microseconds": round(step.prompt_token_seconds * 1e6, 3),
    }


def _rows(compared: Compared) -> list[dict[str, Any]]:
    """The whole run, request by request."""
    columns, said = compared.measured, compared.simulated
    return [
        {
            "phase": served.phase,
            "arrivedSeconds": round(served.intended, 4),
            "promptTokens": served.prompt_tokens,
            "thinkingTokens": served.thinking_tokens,
            "answerTokens": served.answer_tokens,
            "ttftSeconds": round(float(columns.ttft[index]), 5),
            "e2eSeconds": round(float(columns.e2e[index]), 5),
            "simulatedTtftSeconds": round(float(said.ttft[index]), 5),
            "simulatedE2eSeconds": round(float(said.e2e[index]), 5),
        }
        for index, served in enumerate(compared.found.runs[0].served)
    ]
