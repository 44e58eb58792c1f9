"""The images for the nodes, built if need be and unpacked: what a node starts from."""

from collections.abc import Sequence
from pathlib import Path

from e2e.harness import assets, images, node_images
from e2e.harness.cache import exclusively
from e2e.provision import base_image, pause, product_image, progress


def build(others: Sequence[Path] | None = None) -> Path:
    """The unpacked store with the pause image and the product's (or `others` instead of it).

    Builds whatever is not in the cache; `MissingAssetsError` when that is impossible here.
    """
    try:
        with exclusively("images"):
            return _build(others)
    except (progress.StepError, OSError) as error:
        raise assets.MissingAssetsError(f"images cannot be built: {error}") from error


def _build(others: Sequence[Path] | None) -> Path:
    pause.build()
    if others is None:
        base_image.build()
        others = [product_image.build()]
    archives = [images.pause_archive(), *others]
    if not node_images.is_stored(archives):
        with progress.step("Unpacking the images for the nodes"):
            return node_images.store(archives)
    return node_images.store(archives)
