"""What must stay true of the tree itself."""

import operator as stdlib_operator
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def tracked_files() -> list[Path]:
    """Every file under version control."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def test_the_source_root_does_not_shadow_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not list((ROOT / "operator").glob("*.py"))
    assert stdlib_operator.itemgetter(0)([7]) == 7
    assert "site-packages" not in (stdlib_operator.__file__ or "")


def test_a_python_started_in_the_tree_still_finds_the_standard_operator() -> None:
    code = "import operator, collections; print(operator.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert str(ROOT) not in found


@pytest.mark.parametrize("lock", ["runtime.lock", "dev.lock"])
def test_every_locked_package_is_pinned_with_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    pins = re.findall(r"^([A-Za-z0-9_.-]+)==\S+", text, flags=re.M)
    assert len(pins) > 20
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text


def test_nothing_tracked_names_a_home_directory_or_a_temporary_path() -> None:
    # Spelled in pieces, or this test would find itself.
    forbidden = re.compile("/(" + "|".join(["wo" + "rk/", "ro" + "ot/", "ho" + "me/[a-z]"]) + ")")
    allowed_suffixes = {".lock", ".sum", ".csv", ".png", ".gz", ".sse"}
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()[:100]}"
        for path in tracked_files()
        if path.suffix not in allowed_suffixes
        for line in path.read_text(errors="replace").splitlines()
        if forbidden.search(line)
    ]
    assert found == []
