"""Nothing of a server is left when its user is gone, whatever the server made of itself."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2e.engines import keeper, server
from e2e.harness import eventually

# A server with a child that leaves its session, both of them deaf to SIGTERM if told so.
FAMILY = """
import os, signal, subprocess, sys, time
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
work = "import time; time.sleep(600)"
if sys.argv[2] == "tidy":
    work = f"import os, time; server = {os.getpid()}\\n"
    work += "while os.getppid() == server: time.sleep(0.01)\\ntime.sleep(0.2)"
    work += f"\\nopen({sys.argv[1] + '.tidied'!r}, 'w').close()"
child = subprocess.Popen([sys.executable, "-c", work], start_new_session=True)
with open(sys.argv[1] + ".new", "w") as out:
    out.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
if sys.argv[2] == "brief":
    sys.exit(0)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _hasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper with less patience."""
    script = Path(keeper.__file__).read_text()
    for patient, hasty in (
        ("TERM_SECONDS = 15.0", "TERM_SECONDS = 0.5"),
        ("LEAVE_SECONDS = 5.0", "LEAVE_SECONDS = 0.5"),
    ):
        assert patient in script
        script = script.replace(patient, hasty)
    place = tmp_path / "keeper.py"
    place.write_text(script)
    monkeypatch.setattr(keeper, "__file__", str(place))


def start(pids: Path, kind: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, keeper.__file__, sys.executable, "-c", FAMILY, str(pids), kind]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def close(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()


def family(pids: Path) -> list[int]:
    eventually(pids.exists, 10, "the server has started", poll_seconds=0.02)
    return [int(word) for word in pids.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int]) -> None:
    eventually(lambda: not any(map(alive, pids)), 5, "all are gone", poll_seconds=0.02)


def test_closing_the_pipe_ends_the_server_and_who_left_its_session(tmp_path: Path) -> None:
    process = start(tmp_path / "pids", "plain")
    members = family(tmp_path / "pids")
    assert sorted(members) == sorted(keeper.descendants(process.pid))
    close(process)
    process.wait(10)
    gone(members)


def test_an_orphan_is_found_when_the_server_ends_by_itself(tmp_path: Path) -> None:
    process = start(tmp_path / "pids", "brief")
    members = family(tmp_path / "pids")
    assert process.wait(10) == 0
    gone(members)
    close(process)


def test_a_server_that_ignores_sigterm_is_killed_after_a_while(tmp_path: Path) -> None:
    process = start(tmp_path / "pids", "deaf")
    members = family(tmp_path / "pids")
    close(process)
    process.wait(10)
    gone(members)


def test_children_have_a_moment_to_clean_up_when_their_server_is_gone(tmp_path: Path) -> None:
    process = start(tmp_path / "pids", "tidy")
    family(tmp_path / "pids")
    close(process)
    process.wait(10)
    assert (tmp_path / "pids.tidied").exists()


def test_the_server_dies_with_its_keeper(tmp_path: Path) -> None:
    process = start(tmp_path / "pids", "plain")
    main, child = family(tmp_path / "pids")
    process.kill()
    process.wait(10)
    close(process)
    gone([main])
    if alive(child):  # it left the session, and nobody is there to find it: the documented limit
        os.kill(child, signal.SIGKILL)


def test_interrupting_the_keeper_alone_does_not_end_the_server(tmp_path: Path) -> None:
    process = start(tmp_path / "pids", "plain")
    members = family(tmp_path / "pids")
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert all(map(alive, members))
    close(process)
    process.wait(10)
    gone(members)


def test_a_server_that_does_not_start_says_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such model'); raise SystemExit(1)"]
    with (
        pytest.raises(server.progress.StepError, match="no such model"),
        server.serving("it", command, server.free_port(), {}, tmp_path / "log"),
    ):
        pytest.fail("it never served")
