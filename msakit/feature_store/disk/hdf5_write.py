"""Writing HDF5 such that a full disk is an ordinary error.

HDF5 lays out its structure in memory (`StructureImage`); the arrays' bytes and then the structure are written
with `pwrite`. Writing through the library instead crashed the process in most runs on a full disk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np

from msakit.feature_store.disk.files import Buffer, write_all
from msakit.feature_store.disk.hdf5 import MAX_ATTRIBUTE_BYTES, hdf5_type
from msakit.feature_store.disk.image import StructureImage
from msakit.feature_store.disk.trailer import pack_trailer
from msakit.feature_store.dtypes import Array
from msakit.feature_store.errors import StoreError

ALIGNMENT = 4096
LONGEST_TEXT_BYTES = MAX_ATTRIBUTE_BYTES - 1024
"""HDF5 keeps an attribute with its description in one message of at most 64 KB."""


@dataclass
class _Pending:
    dataset: h5py.Dataset
    buffers: Sequence[Buffer]


class FileBuilder:
    """Plans an HDF5 file of contiguous arrays and writes it in one pass.

    Example:
        with FileBuilder() as builder:
            builder.array(builder.root, "keys", "uint8", (n, 16), [keys])
            builder.write(path)
    """

    def __init__(self) -> None:
        self._image = StructureImage()
        self._file = h5py.File(
            self._image, "w", libver="earliest", alignment_threshold=ALIGNMENT, alignment_interval=ALIGNMENT
        )
        self.root: h5py.Group = self._file["/"]
        self._pending: list[_Pending] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._file.close()

    def group(self, parent: h5py.Group, name: str, encoding_type: str, encoding_version: str) -> h5py.Group:
        """Create a group that says what it is."""
        group = parent.create_group(name)
        self.encoding(group, encoding_type, encoding_version)
        return group

    def encoding(self, group: h5py.Group, encoding_type: str, encoding_version: str) -> None:
        """Stamp the attributes every element carries."""
        self.text(group, "encoding-type", encoding_type)
        self.text(group, "encoding-version", encoding_version)

    def text(self, group: h5py.Group, name: str, value: str) -> None:
        """Write a fixed-length UTF-8 string attribute."""
        raw = value.encode()
        if len(raw) > LONGEST_TEXT_BYTES:
            raise StoreError(
                f"attribute {name!r} has {len(raw)} bytes, more than an attribute holds", "Shorten it."
            )
        # Never zero-length: HDF5 has no empty string type.
        group.attrs.create(name, np.bytes_(raw), dtype=h5py.string_dtype("utf-8", max(1, len(raw))))

    def integer(self, group: h5py.Group, name: str, value: int) -> None:
        """Write a scalar int64 attribute."""
        group.attrs.create(name, np.int64(value))

    def array(
        self, group: h5py.Group, name: str, dtype: str, shape: tuple[int, ...], buffers: Sequence[Buffer]
    ) -> None:
        """Plan an array whose bytes are `buffers`, one after another."""
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.CONTIGUOUS)
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple(shape)
        identifier = h5py.h5d.create(group.id, name.encode(), hdf5_type(dtype), space, plist)
        self._pending.append(_Pending(h5py.Dataset(identifier), buffers))

    def numbers(self, group: h5py.Group, name: str, dtype: str, values: Array) -> None:
        """Plan an array held in memory; `values` must be of the storage type already."""
        buffers = [np.ascontiguousarray(values).data.cast("B")] if values.size else []
        self.array(group, name, dtype, values.shape, buffers)

    def write(self, path: Path) -> None:
        """Write and fsync the file at `path`, which must not exist; structure last.

        Raises:
            OSError: as the system says; the partial file is the caller's to remove.
            StoreError: when the structure is larger than a reader takes.
        """
        placed = [(pending.dataset.id.get_offset() or 0, pending.buffers) for pending in self._pending]
        self._pending.clear()
        self._file.close()
        structure = self._image.written()
        trailer = pack_trailer(structure)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            for offset, buffers in placed:
                write_all(fd, buffers, offset)
            for offset, data in structure:
                write_all(fd, [data], offset)
            write_all(fd, [trailer], self._image.size)
            os.fsync(fd)
        finally:
            os.close(fd)
