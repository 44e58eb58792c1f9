"""What is made from the code is committed as the code makes it."""

from pathlib import Path

import pytest

from thinkscale.api import generated

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", generated.FILES)
def test_a_generated_file_is_current(name: str) -> None:
    assert (ROOT / name).read_text() == generated.FILES[name](), "run scripts/gen"


def test_the_generator_writes_only_what_has_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generated.main([str(tmp_path)])
    assert capsys.readouterr().out.splitlines() == [f"wrote {name}" for name in generated.FILES]
    (tmp_path / "docs/reference/api.md").write_text("edited by hand")
    generated.main([str(tmp_path)])
    assert capsys.readouterr().out == "wrote docs/reference/api.md\n"
