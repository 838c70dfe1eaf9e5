"""Reads files from strangers in a child process with limits on memory, processor time, clock and disk.

The child never hands back anything that has to be trusted: containers come as JSON, arrays as raw bytes that
are mapped here and checked against their declared dtype and shape.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from msakit.feature_store.errors import StoreError, StoreWriteError

_GIB = 1 << 30
_PICKLE_CHILD = "msakit.feature_store.interchange.pickle_child"
_NOT_PICKLES = {
    b"version https://git-lfs": (
        "a Git LFS pointer, not the data",
        "fetch the real file with `git lfs pull`",
    ),
    b"PK\x03\x04": (
        "a zip archive (perhaps a PyTorch file)",
        "unpack it, or save its arrays with pickle or NumPy",
    ),
    b"\x1f\x8b": ("gzip-compressed", "unpack it first with `gunzip`"),
    b"BZh": ("bzip2-compressed", "unpack it first with `bunzip2`"),
    b"\x89HDF": ("an HDF5 file", "import it with `--format csd` if it is a computational sequence"),
    b"<!DOCTYPE": ("a web page (a download that needed a login?)", "download the file again"),
    b"<html": ("a web page (a download that needed a login?)", "download the file again"),
}
_DAMAGED = "compare its size or SHA-256 with the publisher's and download it again"
_FAILURES = {
    "truncated": ("ends too early", _DAMAGED),
    "corrupt": ("is not a readable file of its kind", _DAMAGED),
    "unsupported": (
        "holds something that cannot be imported",
        "save plain numeric arrays, strings and lists instead",
    ),
    "memory": (
        "needs more memory than the import allows",
        "check that it is what it claims to be; else raise the limit",
    ),
    "io": ("could not be read, or the scratch folder is full", "set TMPDIR to a folder with more free space"),
}


@dataclass(frozen=True)
class SandboxLimits:
    """Limits of a child process: bytes of address space, CPU and clock seconds, bytes per file written."""

    memory_bytes: int
    cpu_s: int
    wall_s: int
    written_bytes: int
    open_files: int = 64

    @classmethod
    def for_size(cls, num_bytes: int) -> SandboxLimits:
        """Generous limits for an honest file of this size (protocol 2 takes about 2.5 times its size)."""
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(
            memory_bytes=min(_GIB + 4 * num_bytes, max(physical, _GIB)),
            cpu_s=30 + num_bytes // 5_000_000,
            wall_s=90 + num_bytes // 2_000_000,
            written_bytes=_GIB // 16 + 4 * num_bytes,
        )


def run_sandboxed(module: str, source: Path, spool: Path, limits: SandboxLimits | None = None) -> None:
    """Run a reader module on `source` in a limited child, its results going to the folder `spool`.

    Raises:
        StoreError: the file is missing, torn, foreign, or exceeds a limit.
    """
    if not source.is_file():
        raise StoreError(f"{source}: no such file", hint="check the path")
    size = source.stat().st_size
    limits = limits or SandboxLimits.for_size(size)
    if shutil.disk_usage(spool).free < size:
        raise StoreWriteError(f"{source}: no room to unpack {size:,} bytes in {spool}", _FAILURES["io"][1])
    numbers = {name: value for name, value in asdict(limits).items() if name != "wall_s"}
    request = json.dumps({"source": str(source.resolve()), "spool": str(spool.resolve()), "limits": numbers})
    try:
        finished = subprocess.run(
            [sys.executable, "-m", module, request],
            env=_child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limits.wall_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StoreError(f"{source}: not read within {limits.wall_s} s; gave up", hint=_DAMAGED) from error
    _raise_failure(source, finished)


def _child_environment() -> dict[str, str]:
    """A bare environment: this process's import path, one thread, no HDF5 filter plug-ins, no file locks."""
    folders = [str(Path(folder).resolve()) for folder in sys.path if folder]
    return {
        "PYTHONPATH": os.pathsep.join(folders),
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "HDF5_PLUGIN_PATH": os.devnull,
        "HDF5_USE_FILE_LOCKING": "FALSE",
        "PATH": os.environ.get("PATH", ""),
    }


def _raise_failure(source: Path, finished: subprocess.CompletedProcess[bytes]) -> None:
    try:
        answer = json.loads(finished.stdout.decode("utf-8").splitlines()[-1])
        kind, detail = str(answer["kind"]), str(answer["detail"])
    except (IndexError, KeyError, TypeError, ValueError):
        kind, detail = "killed", finished.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    if kind == "done":
        return
    if kind == "foreign":
        raise StoreError(
            f"{source}: the pickle asks for {detail!r}, which is not plain data; nothing was run",
            hint="in an environment you trust, load it and save NumPy arrays, strings, lists and dicts only",
        )
    problem, hint = _FAILURES.get(kind, (f"stopped its reader (status {finished.returncode})", _DAMAGED))
    raise StoreError(f"{source}: {problem}" + (f" ({detail})" if detail else ""), hint=hint)


def load_pickle(path: Path, spool: Path, limits: SandboxLimits | None = None) -> object:
    """Plain containers of a foreign pickle; arrays are read-only maps of files in `spool`.

    `spool` must stay in place as long as the arrays are used.

    Raises:
        StoreError: not a pickle, torn, foreign (names the offending global) or too large for the limits.
    """
    check_is_pickle(path)
    return load_sandboxed(_PICKLE_CHILD, path, spool, limits)


def load_sandboxed(module: str, path: Path, spool: Path, limits: SandboxLimits | None = None) -> object:
    """Plain containers that a child module leaves in `spool` for `path`; arrays are read-only maps.

    Raises:
        StoreError: see `run_sandboxed`.
    """
    run_sandboxed(module, path, spool, limits)
    try:
        tree = json.loads((spool / "tree.json").read_text(encoding="utf-8"))
        return _TreeReader(spool / "arrays.bin").decode(tree)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: {_FAILURES['corrupt'][0]} ({error})", hint=_DAMAGED) from error


def check_is_pickle(path: Path) -> None:
    """Recognise by its first bytes what is often mistaken for a pickle.

    Raises:
        StoreError: the file is missing, empty or of another kind.
    """
    if not path.is_file():
        raise StoreError(f"{path}: no such file", hint="check the path")
    with path.open("rb") as stream:
        head = stream.read(64)
    if not head:
        raise StoreError(f"{path}: the file is empty", hint=_DAMAGED)
    for magic, (what, hint) in _NOT_PICKLES.items():
        if head.startswith(magic):
            raise StoreError(f"{path}: this is {what}", hint=hint)


class _TreeReader:
    """Rebuilds containers from the child's JSON, arrays as views of the mapped blob."""

    def __init__(self, blob: Path) -> None:
        self._bytes = np.memmap(blob, np.uint8, "r") if blob.stat().st_size else np.empty(0, np.uint8)

    def decode(self, node: Any) -> object:
        if isinstance(node, list):
            return [self.decode(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "dict" in node:
            return {self._decode_key(key): self.decode(value) for key, value in node["dict"]}
        if "bytes" in node:
            return node["bytes"].encode("latin-1")
        if "objects" in node:
            return self._decode_objects(node)
        return self._decode_array(node)

    def _decode_key(self, node: Any) -> object:
        key = self.decode(node)
        return tuple(key) if isinstance(key, list) else key

    def _decode_objects(self, node: dict[str, Any]) -> object:
        values = self.decode(node["objects"])
        if len(node["shape"]) == 1:
            return values
        array = np.empty(len(node["objects"]), dtype=object)
        for position, value in enumerate(values if isinstance(values, list) else []):
            array[position] = value
        return array.reshape(node["shape"], order="F" if node["fortran"] else "C")

    def _decode_array(self, node: dict[str, Any]) -> object:
        dtype, shape, start = np.dtype(node["dtype"]), tuple(node["shape"]), int(node["array"])
        stop = start + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        flat = np.asarray(self._bytes[start:stop]).view(dtype)
        array = flat.reshape(shape, order="F" if node["fortran"] else "C")
        if node["axes"] is not None:
            array = array.transpose(node["axes"])
        return array.tolist() if dtype.kind in "SU" or not shape else array
