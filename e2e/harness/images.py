"""The images that the cluster's nodes hold: names, cache keys and where the archives lie.

Must not know how they are built (that is `e2e.provision`); it only knows what goes in, because that
is the key.
"""

from pathlib import Path

from e2e.harness.cache import REPOSITORY, cache_root, key_of, tree

PRODUCT_REPOSITORY = "localhost/thinkscale"
PRODUCT_TAG = "dev"
PRODUCT_IMAGE = f"{PRODUCT_REPOSITORY}:{PRODUCT_TAG}"
_PROVISION = REPOSITORY / "e2e" / "provision"
_PAUSE = REPOSITORY / "e2e" / "go" / "pause"


def base_archive() -> Path:
    """The Debian base that stands in for `python:3.11-slim` where no registry is used."""
    return _archive("base", key_of(files=[_PROVISION / "base_image.py"]))


def pause_archive() -> Path:
    """The image of a pod's sandbox."""
    return _archive("pause", key_of(files=[_PROVISION / "pause.py", *tree(_PAUSE)]))


def product_archive(root: Path = REPOSITORY) -> Path:
    """The product's image for the tree at `root` as it is now."""
    key = key_of(texts=[base_archive().name], files=product_context(root), root=root)
    return _archive("product", key)


def product_context(root: Path = REPOSITORY) -> list[Path]:
    """The files that the product's image is made from."""
    names = ["Containerfile", ".containerignore", "pyproject.toml", "README.md", "LICENSE"]
    return [
        *(root / name for name in names),
        *sorted((root / "requirements").glob("*.lock")),
        *tree(root / "operator"),
    ]


def _archive(kind: str, key: str) -> Path:
    return cache_root() / "images" / kind / f"{kind}-{key}.tar"
