"""The image of a pod's sandbox: one static binary, packed without any container tool."""

import hashlib
import io
import json
import os
import tarfile
import tempfile
from pathlib import Path

from e2e.harness import golang, images, node_images
from e2e.harness.cache import REPOSITORY
from e2e.provision import progress

_SOURCE = REPOSITORY / "e2e" / "go" / "pause"


def build() -> None:
    """Build the image unless the cache has it."""
    archive = images.pause_archive()
    if archive.exists():
        return
    archive.parent.mkdir(parents=True, exist_ok=True)
    with (
        progress.step("Building the pods' sandbox image"),
        tempfile.TemporaryDirectory(dir=archive.parent) as scratch,
    ):
        binary = Path(scratch) / "pause"
        progress.run(
            "go build pause",
            ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(binary), "."],
            directory=_SOURCE,
            environment={**os.environ, **golang.BUILD_ENVIRONMENT},
        )
        unfinished = Path(scratch) / "pause.tar"
        _pack(binary.read_bytes(), unfinished)
        unfinished.rename(archive)


def _pack(binary: bytes, archive: Path) -> None:
    """Write a docker-archive with one layer that holds one file."""
    layer = _tar({"pause": (binary, 0o755)})
    layer_digest = hashlib.sha256(layer).hexdigest()
    configuration = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
    }
    text = json.dumps(configuration).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [node_images.PAUSE_IMAGE], "Layers": ["layer.tar"]}]
    files = {
        name: (text, 0o644),
        "layer.tar": (layer, 0o644),
        "manifest.json": (json.dumps(manifest).encode(), 0o644),
    }
    archive.write_bytes(_tar(files))


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return output.getvalue()
