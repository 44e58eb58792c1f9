"""Builds etcd, Kubernetes, Helm and CoreDNS from their pinned Go modules into the cache.

The modules are built in turn, and within one the binaries in their order: later ones reuse what the
earlier compiled. A module's directory appears in the cache only when all of it is built.
"""

import os
import shutil

from e2e.harness import assets, golang
from e2e.harness.cache import exclusively, keep_newest
from e2e.provision import progress

KEPT_BUILDS = 9
"""Of all modules together."""


def build() -> None:
    """Build every module that is not in the cache; `StepError` when Go is missing or fails."""
    if _is_complete(assets.find()):
        return
    with exclusively("go"):
        _build_missing(assets.find())


def _is_complete(found: assets.Assets) -> bool:
    return all(name in found.binaries for module in golang.MODULES for name in module.binaries)


def _build_missing(found: assets.Assets) -> None:
    for module in golang.MODULES:
        if all(name in found.binaries for name in module.binaries):
            continue
        if not golang.compiler():
            raise progress.StepError(f"Go is needed to build {', '.join(module.binaries)}")
        _build(module)


def _build(module: golang.GoModule) -> None:
    final = golang.binary_directory(module.name)
    unfinished = final.with_name(f"{final.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    environment = {**os.environ, **golang.BUILD_ENVIRONMENT}
    names = ", ".join(module.binaries)
    try:
        with progress.step(f"Building {names} ({golang.compiler()})"):
            progress.run(
                f"download of {module.name}'s modules",
                ["go", "mod", "download"],
                directory=module.directory,
                environment=environment,
            )
            for name, package in module.binaries.items():
                command = ["go", "build", "-trimpath", "-ldflags", module.linker_flags()]
                progress.run(
                    f"go build {name}",
                    [*command, "-o", str(unfinished / name), package],
                    directory=module.directory,
                    environment=environment,
                )
                progress.say(f"  {name} built")
        shutil.rmtree(final, ignore_errors=True)
        unfinished.rename(final)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    keep_newest(final.parent, keep=KEPT_BUILDS)
