"""Reading HDF5 from strangers: only plain arrays, only inside the file, nothing before its bounds are known.

HDF5 parses structure here and nothing else, out of memory: every array's bytes are read by offset, after the
checks.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import h5py
import numpy as np

from msakit.feature_store.disk.files import read_exactly
from msakit.feature_store.disk.trailer import read_structure
from msakit.feature_store.dtypes import Array, storage_dtype
from msakit.feature_store.errors import StoreError, StoreFormatError, StoreReadError
from msakit.feature_store.regular import SHORTAGES, open_regular, reading

MAX_CHILDREN = 65_536
MAX_NAME_BYTES = 255
MAX_ATTRIBUTE_BYTES = 65_536
OUT_OF_MEMORY = SHORTAGES[errno.ENOMEM]
UNSIGNED_64 = "uint64"


@dataclass(frozen=True)
class Extent:
    """Where one array lies in a file: plain bytes, row-major, little-endian."""

    offset: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """The numpy type of one element (bfloat16 as its bit pattern)."""
        return np.dtype("<u8") if self.dtype == UNSIGNED_64 else storage_dtype(self.dtype)

    @property
    def num_bytes(self) -> int:
        """Size of the whole array."""
        return prod(self.shape) * self.numpy_dtype.itemsize


class SafeFile:
    """An HDF5 file opened for reading, with checked access to its groups, attributes and array positions."""

    def __init__(self, path: Path, file: h5py.File, fd: int) -> None:
        self.path = path
        self.root: h5py.Group = file["/"]
        self.fd = fd
        self.num_bytes = os.fstat(fd).st_size

    def group(self, parent: h5py.Group, name: str) -> h5py.Group:
        """Return a child group reached by a hard link."""
        child = self._child(parent, name)
        if not isinstance(child, h5py.Group):
            raise self.refusal(f"{_join(parent, name)} is not a group")
        return child

    def has(self, group: h5py.Group, name: str) -> bool:
        """Tell whether a group has a member of this name, reachable or not."""
        return name.encode() in group.id

    def children(self, group: h5py.Group) -> list[str]:
        """Names of a group's members, sorted; bounded, hard links only."""
        if len(group) > MAX_CHILDREN:
            raise self.refusal(f"{group.name} has {len(group)} members, more than {MAX_CHILDREN}")
        names = sorted(group)
        for name in names:
            self._check_link(group, name)
        return names

    def extent(self, parent: h5py.Group, name: str) -> Extent:
        """Return the checked position of a contiguous little-endian array of numbers."""
        where = _join(parent, name)
        dataset = self._child(parent, name)
        if not isinstance(dataset, h5py.Dataset):
            raise self.refusal(f"{where} is not an array")
        plist = dataset.id.get_create_plist()
        if plist.get_layout() != h5py.h5d.CONTIGUOUS or plist.get_external_count() or plist.get_nfilters():
            raise self.refusal(f"{where} is not stored contiguously inside this file")
        shape = dataset.shape
        if shape is None or not 1 <= len(shape) <= 2:
            raise self.refusal(f"{where} is not a one- or two-dimensional array")
        extent = Extent(dataset.id.get_offset() or 0, tuple(map(int, shape)), self._dtype(dataset, where))
        if dataset.id.get_storage_size() != extent.num_bytes:
            raise self.refusal(f"{where} declares {extent.num_bytes} bytes and stores another number")
        if extent.num_bytes and not 0 < extent.offset <= self.num_bytes - extent.num_bytes:
            raise self.refusal(f"{where} reaches beyond the end of the file")
        return extent

    def read(self, extent: Extent) -> Array:
        """Read an array whose extent was checked."""
        with reading(self.path):
            data = read_exactly(self.fd, extent.num_bytes, extent.offset)
        return np.frombuffer(data, extent.numpy_dtype).reshape(extent.shape)

    def array(self, parent: h5py.Group, name: str, dtype: str, shape: tuple[int, ...]) -> Array:
        """Read an array that must have exactly this type and shape."""
        extent = self.extent(parent, name)
        if extent.dtype != dtype or extent.shape != shape:
            raise self.refusal(
                f"{_join(parent, name)} is {extent.dtype}{list(extent.shape)}, expected {dtype}{list(shape)}"
            )
        return self.read(extent)

    def text(self, node: h5py.Group, name: str) -> str:
        """Read a fixed-length string attribute."""
        attribute = self._attribute(node, name)
        kind = attribute.get_type()
        if not isinstance(kind, h5py.h5t.TypeStringID) or kind.is_variable_str():
            raise self.refusal(f"attribute {name!r} of {node.name} is not a fixed-length string")
        raw = np.empty((), dtype=f"S{kind.get_size()}")
        attribute.read(raw, mtype=kind)
        try:
            return bytes(raw.item()).decode()
        except UnicodeDecodeError as error:
            raise self.refusal(f"attribute {name!r} of {node.name} is not UTF-8") from error

    def integer(self, node: h5py.Group, name: str) -> int:
        """Read a scalar integer attribute."""
        attribute = self._attribute(node, name)
        if not isinstance(attribute.get_type(), h5py.h5t.TypeIntegerID):
            raise self.refusal(f"attribute {name!r} of {node.name} is not an integer")
        raw = np.empty((), dtype=np.int64)
        attribute.read(raw)
        return int(raw)

    def refusal(self, reason: str) -> StoreFormatError:
        """Build the error for a file that is not what the format says."""
        return StoreFormatError(
            f"{self.path}: {reason}",
            "It is damaged or was not written by msakit; run `msakit store validate`, or restore it.",
        )

    def _attribute(self, node: h5py.Group, name: str) -> h5py.h5a.AttrID:
        if not h5py.h5a.exists(node.id, name.encode()):
            raise self.refusal(f"{node.name} has no attribute {name!r}")
        attribute = h5py.h5a.open(node.id, name.encode())
        if attribute.shape != () or attribute.get_storage_size() > MAX_ATTRIBUTE_BYTES:
            raise self.refusal(f"attribute {name!r} of {node.name} is not a small scalar")
        return attribute

    def _child(self, parent: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
        self._check_link(parent, name)
        return parent[name]

    def _check_link(self, parent: h5py.Group, name: str) -> None:
        # h5py resolves a path silently through external links; one component at a time it cannot.
        if not name or "/" in name or name in (".", ".."):
            raise self.refusal(f"{parent.name} has a member with the unusable name {name!r}")
        if name.encode() not in parent.id:
            raise self.refusal(f"{_join(parent, name)} is missing")
        if parent.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise self.refusal(f"{_join(parent, name)} is a soft or external link")

    def _dtype(self, dataset: h5py.Dataset, where: str) -> str:
        kind = dataset.id.get_type()
        name = _dtype_name(kind)
        if name is None or kind.committed():
            raise self.refusal(f"{where} has a type the format does not have")
        return name


@contextmanager
def open_safely(path: Path) -> Iterator[SafeFile]:
    """Open an HDF5 file for reading, without locks and without following anything out of it.

    Raises:
        StoreError: when the file cannot be opened.
        StoreReadError: when the machine could not read it, whatever its bytes are.
        StoreFormatError: when its structure is not sound.
        StoreCorruptError: when its structure does not match its checksum.
    """
    with reading(path):
        fd = open_regular(path)
    try:
        with reading(path):
            image = read_structure(fd, path)
        with h5py.File(image, "r") as file:
            yield SafeFile(path, file, fd)
    except MemoryError as error:
        raise StoreReadError(f"cannot read {path}: out of memory", OUT_OF_MEMORY) from error
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OSError) and error.errno:  # the system's word, not HDF5's
            with reading(path):
                raise
        raise _unreadable(path, str(error) or type(error).__name__) from error
    finally:
        os.close(fd)


def _unreadable(path: Path, reason: str) -> StoreError:
    """Translate an HDF5 error about a structure in memory: damaged, or out of memory."""
    line = reason.splitlines()[0]
    if "alloc" in line:
        return StoreReadError(f"cannot read {path}: out of memory ({line})", OUT_OF_MEMORY)
    return StoreFormatError(
        f"{path}: not a readable HDF5 file ({line})",
        "It is damaged, truncated or of another kind; restore it from a copy.",
    )


def bfloat16_type() -> h5py.h5t.TypeFloatID:
    """Return bfloat16 as a self-describing HDF5 float type, which any HDF5 tool reads correctly."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_ebias(127)
    kind.set_size(2)
    return kind


def hdf5_type(name: str) -> h5py.h5t.TypeID:
    """Return the HDF5 type of a storage type name."""
    if name == "bfloat16":
        return bfloat16_type()
    if name == UNSIGNED_64:
        return h5py.h5t.STD_U64LE
    return h5py.h5t.py_create(storage_dtype(name))


_PLAIN_TYPES = ("float16", "float32", "float64", "int32", "int64", "uint8", UNSIGNED_64)


def _dtype_name(kind: h5py.h5t.TypeID) -> str | None:
    for name in _PLAIN_TYPES:
        if kind.equal(hdf5_type(name)):
            return name
    return "bfloat16" if kind.equal(bfloat16_type()) else None


def _join(parent: h5py.Group, name: str) -> str:
    return f"{(parent.name or '').rstrip('/')}/{name}"
