"""What is preloaded into the real engine keeps the promises of what it stands in for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.engines.install import compile_yield

INTERRUPTED = """
import os, signal
came = []
signal.signal(signal.SIGALRM, lambda *_: came.append(1))
signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
while len(came) < 300:
    os.sched_yield()
signal.setitimer(signal.ITIMER_REAL, 0)
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc, as the engine does")
def test_a_wait_that_a_signal_interrupts_is_no_failure(tmp_path: Path) -> None:
    """vLLM's core died of it: a SIGTERM in the midst of a step, which only asks it to drain."""
    library = tmp_path / "patient_yield.so"
    compile_yield(library)
    child = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert child.returncode == 0, child.stderr
