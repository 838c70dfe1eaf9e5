"""Reads a CMU-MultimodalSDK computational sequence (`.csd`, HDF5); runs in a limited child process.

Only hard links are followed, one component at a time; external, virtual and oddly filtered datasets are
refused, and sizes are checked against what is really stored before anything is allocated.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from msakit.feature_store.interchange.child_runtime import ChildFailure, append_bytes, run_child

MAX_ENTRIES = 1_000_000
MAX_METADATA = 256
MAX_TEXT_BYTES = 1 << 20
SMALL_BYTES = 64 << 20
"""Up to this size any ratio is believed: features of a video without a face are zeros throughout."""
MAX_RATIO = 100
SAFE_FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_LZF,
}
NUMBER_TYPES = (h5py.h5t.TypeFloatID, h5py.h5t.TypeIntegerID)


def read_csd(path: Path, blob: BinaryIO) -> dict[str, Any]:
    """Tree of a `.csd` file: root name, metadata, and arrays of every entry, their bytes going to `blob`.

    Raises:
        ChildFailure: the file is damaged, hostile, or not a computational sequence.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            roots = _members(file["/"], 2)
            if len(roots) != 1:
                raise ChildFailure(
                    "unsupported", f"a .csd file has one top-level group, this has {len(roots)}"
                )
            root = _group(file["/"], roots[0])
            data = _group(root, "data")
            entries = [[key, _read_entry(_group(data, key), blob)] for key in _members(data, MAX_ENTRIES)]
            metadata = _read_metadata(root)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ChildFailure("corrupt", reason) from error
    return {"dict": [["root", roots[0]], ["metadata", {"dict": metadata}], ["data", {"dict": entries}]]}


def _members(group: h5py.Group, limit: int) -> list[str]:
    if len(group) > limit:
        raise ChildFailure("unsupported", f"{group.name} has {len(group)} members")
    return list(group)


def _child(parent: h5py.Group, name: str) -> Any:
    if not name or "/" in name or name in (".", "..") or name not in parent:
        raise ChildFailure("unsupported", f"{parent.name} has no usable member {name!r}")
    if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
        raise ChildFailure("unsupported", f"{parent.name}/{name} is a soft or external link")
    return parent[name]


def _group(parent: h5py.Group, name: str) -> h5py.Group:
    child = _child(parent, name)
    if not isinstance(child, h5py.Group):
        raise ChildFailure("unsupported", f"{parent.name}/{name} is not a group")
    return child


def _dataset(parent: h5py.Group, name: str) -> h5py.Dataset:
    """A member whose bytes lie in this file, unpack to a sane size, and are numbers or fixed-length text."""
    dataset = _child(parent, name)
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise ChildFailure("unsupported", f"{parent.name}/{name} is not an array")
    plist = dataset.id.get_create_plist()
    if plist.get_layout() == h5py.h5d.VIRTUAL or plist.get_external_count():
        raise ChildFailure("unsupported", f"{dataset.name} keeps its data in another file")
    filters = {plist.get_filter(number)[0] for number in range(plist.get_nfilters())}
    if not filters <= SAFE_FILTERS:
        raise ChildFailure("unsupported", f"{dataset.name} uses the filters {sorted(filters - SAFE_FILTERS)}")
    num_bytes = prod(dataset.shape) * dataset.id.get_type().get_size()
    if num_bytes > max(SMALL_BYTES, MAX_RATIO * dataset.id.get_storage_size()):
        raise ChildFailure("unsupported", f"{dataset.name} declares {num_bytes:,} bytes it does not hold")
    return dataset


def _read_entry(entry: h5py.Group, blob: BinaryIO) -> dict[str, Any]:
    features, intervals = _dataset(entry, "features"), _dataset(entry, "intervals")
    for dataset in (features, intervals):
        if not 1 <= dataset.ndim <= 2 or dataset.shape[0] != features.shape[0]:
            raise ChildFailure("unsupported", f"{dataset.name} has the shape {list(dataset.shape)}")
    if intervals.ndim != 2 or intervals.shape[1] != 2:
        raise ChildFailure("unsupported", f"{intervals.name} is not [frames, 2]")
    return {"dict": [["features", _read_array(features, blob)], ["intervals", _read_array(intervals, blob)]]}


def _read_array(dataset: h5py.Dataset, blob: BinaryIO) -> dict[str, Any] | list[Any]:
    kind = dataset.id.get_type()
    if isinstance(kind, h5py.h5t.TypeStringID):
        if kind.is_variable_str() and prod(dataset.shape) > MAX_TEXT_BYTES:
            raise ChildFailure("unsupported", f"{dataset.name} holds too many strings")
        return [_text(value) for value in np.asarray(dataset[()]).reshape(-1)]
    if not isinstance(kind, NUMBER_TYPES):
        raise ChildFailure("unsupported", f"{dataset.name} holds neither numbers nor text")
    array = np.ascontiguousarray(dataset[()])
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    offset = append_bytes(blob, array.tobytes())
    return {
        "array": offset,
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "fortran": False,
        "axes": None,
    }


def _read_metadata(root: h5py.Group) -> list[list[str]]:
    if "metadata" not in root:
        return []
    group = _group(root, "metadata")
    found = []
    for name in _members(group, MAX_METADATA):
        dataset = _dataset(group, name)
        if not isinstance(dataset.id.get_type(), h5py.h5t.TypeStringID) or prod(dataset.shape) != 1:
            raise ChildFailure("unsupported", f"{dataset.name} is not one string")
        text = _text(np.asarray(dataset[()]).reshape(-1)[0])
        found.append([name, text[:MAX_TEXT_BYTES]])
    return found


def _text(value: object) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _read_file(source: Path, spool: Path) -> None:
    with (spool / "arrays.bin").open("wb") as blob:
        tree = read_csd(source, blob)
    with (spool / "tree.json").open("w", encoding="utf-8") as out:
        json.dump(tree, out, ensure_ascii=True)


if __name__ == "__main__":
    run_child(_read_file)
