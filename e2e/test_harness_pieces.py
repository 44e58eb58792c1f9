"""The harness's rules, without a cluster: what is found where, what makes a key, how one waits."""

from pathlib import Path

import pytest

from e2e.harness import MissingAssetsError, NotYetError, assets, cache, eventually, fixtures, golang
from e2e.provision import product_image


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with nothing built; returns a directory for binaries."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("KUBEBUILDER_ASSETS", "CI", "USE_EXISTING_CLUSTER"):
        monkeypatch.delenv(name, raising=False)
    for module in golang.MODULES:
        for binary in module.binaries:
            monkeypatch.delenv(f"TEST_ASSET_{binary.upper().replace('-', '_')}", raising=False)
    directory = tmp_path / "bin"
    directory.mkdir()
    return directory


def put(directory: Path, *names: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).write_text("#!/bin/sh\n")
        (directory / name).chmod(0o755)


def test_a_named_file_wins_over_a_directory_and_that_over_the_cache(
    bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    built = golang.binary_directory("kubernetes")
    put(built, "etcd", "kubectl", "kube-apiserver")
    put(bare, "etcd", "kubectl")
    put(tmp_path / "own", "my-etcd")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(bare))
    monkeypatch.setenv("TEST_ASSET_ETCD", str(tmp_path / "own" / "my-etcd"))
    found = assets.find()
    assert found.path("etcd") == str(tmp_path / "own" / "my-etcd")
    assert found.path("kubectl") == str(bare / "kubectl")
    assert found.path("kube-apiserver") == str(built / "kube-apiserver")


def test_without_a_kubelet_a_control_plane_is_still_possible(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bare, *assets.API_BINARIES, *assets.CONTROLLER_BINARIES)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(bare))
    found = assets.find()
    found.require(nodes=False)
    with pytest.raises(MissingAssetsError, match=r"kubelet.*make install"):
        found.require(nodes=True)


@pytest.mark.usefixtures("bare")
def test_what_is_missing_skips_a_test_here_and_fails_it_in_ci(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(pytest.skip.Exception, match="etcd"):
        fixtures.require(nodes=False)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="etcd"):
        fixtures.require(nodes=False)


def test_a_key_depends_on_texts_names_and_contents(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    two.write_text("a")
    keys = [
        cache.key_of(["x"], [one], root=tmp_path),
        cache.key_of(["y"], [one], root=tmp_path),
        cache.key_of(["x"], [two], root=tmp_path),
        cache.key_of(["x"], [one, two], root=tmp_path),
    ]
    one.write_text("b")
    keys.append(cache.key_of(["x"], [one], root=tmp_path))
    assert len(set(keys)) == len(keys)
    assert cache.key_of(["x"], [one], root=tmp_path) == keys[-1]


def test_servers_are_built_with_the_version_that_the_module_pins() -> None:
    kubernetes = next(module for module in golang.MODULES if module.name == "kubernetes")
    version = golang.pinned_version(kubernetes.directory / "go.mod", "k8s.io/kubernetes")
    assert f"-X k8s.io/component-base/version.gitVersion={version}" in kubernetes.linker_flags()


def test_the_image_is_built_with_tools_from_the_lock_file_alone() -> None:
    lock = (cache.REPOSITORY / "requirements" / "dev.lock").read_text()
    selected = product_image.select(lock, product_image.BUILD_TOOLS)
    assert selected.count("==") == len(product_image.BUILD_TOOLS)
    assert selected.count("--hash=") >= len(product_image.BUILD_TOOLS)
    containerfile = (cache.REPOSITORY / "Containerfile").read_text()
    assert f"({'|'.join(product_image.BUILD_TOOLS)})==" in containerfile


def test_waiting_returns_what_came_true_and_says_what_it_last_saw() -> None:
    answers = iter([0, 0, 7])
    assert eventually(lambda: next(answers), 1) == 7

    def refuses() -> bool:
        raise ConnectionError("refused")

    with pytest.raises(NotYetError, match=r"the door opens: not within 0\.05 s.*refused"):
        eventually(refuses, 0.05, "the door opens")
