"""The images that the cluster's nodes hold: names, cache keys and where the archives lie.

Must not know how they are built (that is `e2e.provision`); it only knows what goes in, because that
is the key.
"""

from pathlib import Path

from e2e.harness.assets import MissingAssetsError
from e2e.harness.cache import REPOSITORY, cache_root, key_of, tree

PRODUCT_REPOSITORY = "localhost/thinkscale"
PRODUCT_TAG = "dev"
PRODUCT_IMAGE = f"{PRODUCT_REPOSITORY}:{PRODUCT_TAG}"
PROVISION = Path(__file__).resolve().parents[1] / "provision"


def base_archive() -> Path:
    """The Debian base that stands in for `python:3.11-slim` where no registry is used."""
    return cache_root() / "images" / f"base-{key_of(files=[PROVISION / 'base_image.py'])}.tar"


def pause_archive() -> Path:
    """The image of a pod's sandbox."""
    return cache_root() / "images" / f"pause-{key_of(files=[PROVISION / 'pause.py'])}.tar"


def product_archive() -> Path:
    """The product's image for the tree as it is now."""
    files = [
        REPOSITORY / "Containerfile",
        REPOSITORY / ".containerignore",
        REPOSITORY / "pyproject.toml",
        REPOSITORY / "README.md",
        REPOSITORY / "LICENSE",
        *sorted((REPOSITORY / "requirements").glob("*.lock")),
        *tree(REPOSITORY / "operator"),
    ]
    return (
        cache_root() / "images" / f"product-{key_of(texts=[base_archive().name], files=files)}.tar"
    )


def product_archives(*, pause_only: bool = False) -> list[Path]:
    """The archives that every node needs; `MissingAssetsError` when one is not built."""
    archives = [pause_archive()] if pause_only else [pause_archive(), product_archive()]
    if missing := [archive.name for archive in archives if not archive.exists()]:
        raise MissingAssetsError(f"images are not built: {', '.join(missing)}; run `make install`")
    return archives
