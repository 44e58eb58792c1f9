"""Stands in for NVIDIA's libraries, so that PyPI's torch imports on a machine without a GPU.

The CPU build of torch is not on PyPI; the build that is there links to fourteen CUDA libraries of
several gigabytes. No CPU operation calls them, but the dynamic linker wants every symbol to exist.
So tiny shared objects with the same names and symbols are compiled, whose functions all return 100
(cudaErrorNoDevice): `torch.cuda.is_available()` is False, and nothing else changes. Nothing of
NVIDIA's is needed or copied. Needs gcc and readelf.
"""

import re
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

NO_DEVICE = 100
OWN = ("libtorch", "libc10", "libshm", "libgomp", "libcaffe2")
SYSTEM = re.compile(
    r"^(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|ld-linux.*|libgomp|libnuma)\.so"
)
SYSTEM_VERSION = re.compile(r"(GLIBC|GCC|CXXABI|GOMP|OMP|GOACC)")
PREFIXES = {
    "libcublas": ("cublas",),
    "libcublasLt": ("cublasLt",),
    "libcudart": ("cuda", "__cuda"),
    "libcudnn": ("cudnn",),
    "libcufft": ("cufft",),
    "libcufile": ("cuFile",),
    "libcupti": ("cupti",),
    "libcurand": ("curand",),
    "libcusolver": ("cusolver",),
    "libcusparse": ("cusparse",),
    "libcusparseLt": ("cusparseLt",),
    "libnccl": ("nccl", "pnccl"),
    "libnvrtc": ("nvrtc",),
    "libnvshmem_host": ("nvshmem", "_nvshmem", "nvshmemx"),
}
"""Whose symbols begin how, for those that carry no version."""

Symbol = tuple[str, str]
"""Name and kind (FUNC, OBJECT, NOTYPE)."""


def write(directory: Path) -> list[Path]:
    """Compile the missing libraries into torch's `lib` directory; returns them."""
    libraries = sorted(
        path
        for path in directory.iterdir()
        if path.name.startswith(OWN) and ".so" in path.name and path.is_file()
    )
    needed = {name for path in libraries for name in _needed(path)}
    wanted, defined = set[Symbol](), set[str]()
    for path in libraries:
        undefined, own = _symbols(path)
        wanted |= undefined
        defined |= own
    versions = _by_library(needed, wanted, defined)
    return [_compile(directory / name, versions.get(name, {})) for name in sorted(needed)]


def _needed(library: Path) -> set[str]:
    text = _readelf("-dW", library)
    names: list[str] = re.findall(r"NEEDED.*\[(.*)\]", text)
    return {n for n in names if not SYSTEM.match(n) and not n.startswith((*OWN, "libcuda."))}


def _symbols(library: Path) -> tuple[set[Symbol], set[str]]:
    """What a library lacks (weak symbols may stay missing) and what it defines."""
    undefined, defined = set(), set()
    for line in _readelf("--dyn-syms", library, "-W").splitlines():
        words = line.split()
        if len(words) < 8 or not words[0].endswith(":"):
            continue
        kind, binding, section, name = words[3], words[4], words[6], words[7]
        if section != "UND":
            defined.add(name.split("@")[0])
        elif binding != "WEAK":
            undefined.add((name, kind))
    return undefined, defined


def _by_library(
    needed: set[str], wanted: Iterable[Symbol], defined: set[str]
) -> Mapping[str, Mapping[str, set[Symbol]]]:
    """Symbols by library and version (an empty one: unversioned)."""
    found: dict[str, dict[str, set[Symbol]]] = defaultdict(lambda: defaultdict(set))
    for full, kind in sorted(wanted):
        name, _, version = full.partition("@")
        version = version.lstrip("@")
        if name in defined or SYSTEM_VERSION.match(version):
            continue
        library = version if version in needed else _owner(name, needed)
        if library is not None:
            found[library][version].add((name, kind))
    return found


def _owner(name: str, needed: set[str]) -> str | None:
    """The library with the longest prefix of a symbol."""
    matches = [
        (len(prefix), library)
        for library, prefixes in PREFIXES.items()
        for prefix in prefixes
        if name.startswith(prefix)
    ]
    if not matches:
        return None
    library = max(matches)[1]
    return next((name for name in needed if name.startswith(f"{library}.")), None)


def _compile(library: Path, versions: Mapping[str, set[Symbol]]) -> Path:
    source = [_definition(*symbol) for symbols in versions.values() for symbol in sorted(symbols)]
    script = [
        f"{version} {{ global: {' '.join(f'{name};' for name, _ in sorted(symbols))} }};"
        for version, symbols in versions.items()
        if version
    ]
    with tempfile.TemporaryDirectory() as scratch:
        code, exports = Path(scratch) / "stub.c", Path(scratch) / "stub.map"
        code.write_text("\n".join(["typedef int I;", *source, ""]))
        exports.write_text("\n".join([*script, ""]))
        command = ["gcc", "-w", "-fno-builtin", "-O1", "-shared", "-fPIC"]
        command += [f"-Wl,-soname,{library.name}", "-o", str(library), str(code)]
        if script:
            command.append(f"-Wl,--version-script={exports}")
        subprocess.run(command, check=True)
    return library


def _definition(name: str, kind: str) -> str:
    if kind == "OBJECT":
        return f"char {name}[4096];"
    if "ErrorString" in name or "ErrorName" in name or "get_error" in name.lower():
        return f'const char *{name}(void){{return "stub: no device";}}'
    if name.startswith("__cuda") or name in ("cudaGetLastError", "cudaPeekAtLastError"):
        return f"long {name}(void){{return 0;}}"
    return f"I {name}(void){{return {NO_DEVICE};}}"


def _readelf(what: str, library: Path, *more: str) -> str:
    command = ["readelf", what, *more, str(library)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
