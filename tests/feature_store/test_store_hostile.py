"""Hostile HDF5 files: none is followed outside itself, none exhausts memory, each gets a clear error.

Each is made by h5py from a good single-file store and given a valid trailer, as an attacker would.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from feature_store.known_stores import AUDIO

from msakit.feature_store import FeatureStore, StoreError, StoreFormatError
from msakit.feature_store.disk.trailer import pack_trailer

SECRET = b"root:x:0:0:secret of another file" * 200
FIELD = f"feature_sets/{AUDIO.fingerprint}/fields/audio"


def seal(path: Path) -> None:
    """Append a valid trailer that covers the whole file."""
    trailer = pack_trailer([(0, path.read_bytes())])
    with path.open("ab") as file:
        file.write(trailer)


def soft_link(file: h5py.File, folder: Path) -> None:
    del file[FIELD]["values"]
    file[FIELD]["values"] = h5py.SoftLink(f"/{FIELD}/offsets")


def external_link(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["values"] = np.zeros((5, 6), "f4")
    del file[FIELD]["values"]
    file[FIELD]["values"] = h5py.ExternalLink(str(folder / "other.h5"), "/values")


def external_group(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["fields/audio/values"] = np.zeros((5, 6), "f4")
    parent = file[f"feature_sets/{AUDIO.fingerprint}"]
    del parent["fields"]
    parent["fields"] = h5py.ExternalLink(str(folder / "other.h5"), "/fields")


def external_storage(file: h5py.File, folder: Path) -> None:
    (folder / "secret.txt").write_bytes(SECRET)
    shape = file[FIELD]["values"].shape
    del file[FIELD]["values"]
    size = int(np.prod(shape)) * 4
    file[FIELD].create_dataset("values", shape, "f4", external=[(str(folder / "secret.txt"), 0, size)])


def virtual_dataset(file: h5py.File, folder: Path) -> None:
    shape = file[FIELD]["values"].shape
    with h5py.File(folder / "other.h5", "w") as other:
        other["v"] = np.zeros(shape, "f4")
    del file[FIELD]["values"]
    layout = h5py.VirtualLayout(shape, "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "v", shape)
    file[FIELD].create_virtual_dataset("values", layout)


def size_bomb(file: h5py.File, folder: Path) -> None:
    del file[FIELD]["values"]
    file[FIELD].create_dataset("values", (1 << 36, 6), "f4", chunks=(1024, 6))


def late_allocated_bomb(file: h5py.File, folder: Path) -> None:
    del file[FIELD]["values"]
    file[FIELD].create_dataset("values", (1 << 36, 6), "f4")


def offsets_bomb(file: h5py.File, folder: Path) -> None:
    file[f"feature_sets/{AUDIO.fingerprint}"].attrs["n"] = np.int64(1 << 60)


def negative_count(file: h5py.File, folder: Path) -> None:
    file[f"feature_sets/{AUDIO.fingerprint}"].attrs["n"] = np.int64(-1)


def decompression_bomb(file: h5py.File, folder: Path) -> None:
    del file[FIELD]["values"]
    file[FIELD].create_dataset("values", data=np.zeros((200_000, 6), "f4"), compression="gzip")


def cyclic_group(file: h5py.File, folder: Path) -> None:
    del file[FIELD]["values"]
    file[FIELD]["values"] = file["/feature_sets"]


def vlen_strings(file: h5py.File, folder: Path) -> None:
    del file[FIELD]["offsets"]
    file[FIELD]["offsets"] = np.array(["x"] * 13, dtype=h5py.string_dtype())


def object_references(file: h5py.File, folder: Path) -> None:
    shape = file[FIELD]["values"].shape
    del file[FIELD]["values"]
    file[FIELD].create_dataset("values", shape, h5py.ref_dtype)


def compound_type(file: h5py.File, folder: Path) -> None:
    shape = file[FIELD]["values"].shape
    del file[FIELD]["values"]
    file[FIELD]["values"] = np.zeros(shape, [("a", "f4")])


def vlen_attribute(file: h5py.File, folder: Path) -> None:
    file.attrs["encoding-type"] = "msakit.store-file"


def huge_attribute(file: h5py.File, folder: Path) -> None:
    file[f"feature_sets/{AUDIO.fingerprint}"].attrs["provenance"] = np.bytes_(b"x" * 60_000)
    file.attrs["encoding-version"] = np.full(5000, b"1.0")


def offsets_backwards(file: h5py.File, folder: Path) -> None:
    offsets = file[FIELD]["offsets"]
    offsets[3] = offsets[-1] + 5


def reordered_index(file: h5py.File, folder: Path) -> None:
    keys = file[f"feature_sets/{AUDIO.fingerprint}/keys"]
    keys[...] = keys[...][::-1]


def many_members(file: h5py.File, folder: Path) -> None:
    for number in range(70_000):
        file["tables"].create_group(f"t{number}")


def renamed_column(file: h5py.File, folder: Path) -> None:
    file["tables/demo/features"].move("audio", "unknown")


ATTACKS: list[Callable[[h5py.File, Path], None]] = [
    soft_link,
    external_link,
    external_group,
    external_storage,
    virtual_dataset,
    size_bomb,
    late_allocated_bomb,
    offsets_bomb,
    negative_count,
    decompression_bomb,
    cyclic_group,
    vlen_strings,
    object_references,
    compound_type,
    vlen_attribute,
    huge_attribute,
    offsets_backwards,
    reordered_index,
    many_members,
    renamed_column,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_hostile_file_is_refused(
    store: FeatureStore, tmp_path: Path, attack: Callable[[h5py.File, Path], None]
) -> None:
    path = tmp_path / "hostile.h5"
    store.export_single_file(path)
    with h5py.File(path, "r+") as file:
        attack(file, tmp_path)
    seal(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StoreError) as caught:
        FeatureStore.open(path)
    assert "hostile.h5" in caught.value.message
    assert caught.value.hint
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10, "kilobytes"


def test_an_edited_file_without_its_trailer_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    path = tmp_path / "edited.h5"
    store.export_single_file(path)
    with h5py.File(path, "r+") as file:
        file.attrs["note"] = "touched"
    with pytest.raises(StoreFormatError, match="not a whole file of a feature store"):
        FeatureStore.open(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89HDF\r\n\x1a\n",
        b"\x89HDF\r\n\x1a\n" + os.urandom(4000),
        os.urandom(2000),
        b"MSKT" * 100,
        b"\xff" * 28 + b"MSKT",
        bytes(20) + b"MSKT",
    ],
)
def test_what_is_no_store_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "junk.h5"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"junk\.h5"):
        FeatureStore.open(path)


def test_any_truncation_of_a_file_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    path = tmp_path / "whole.h5"
    store.export_single_file(path)
    data = path.read_bytes()
    for size in range(0, len(data), 997):
        (tmp_path / "cut.h5").write_bytes(data[:size])
        with pytest.raises(StoreError, match=r"cut\.h5"):
            FeatureStore.open(tmp_path / "cut.h5")


def test_any_flipped_bit_is_refused_or_harmless(store: FeatureStore, tmp_path: Path) -> None:
    path, other = tmp_path / "whole.h5", tmp_path / "flipped.h5"
    store.export_single_file(path)
    expected = store.reader(store.table("demo"), "audio").read(range(12)).values
    data = path.read_bytes()
    rng = np.random.default_rng(3)
    refused = 0
    for offset in rng.choice(len(data), 160, replace=False).tolist():
        flipped = bytearray(data)
        flipped[offset] ^= 1 << int(rng.integers(8))
        other.write_bytes(flipped)
        try:
            opened = FeatureStore.open(other)
            values = opened.reader(opened.table("demo"), "audio").read(range(12)).values
        except StoreError:
            refused += 1
            continue
        np.testing.assert_array_equal(values, expected)
        assert opened.table("demo").text == store.table("demo").text
    assert refused > 80


@pytest.mark.parametrize(
    ("name", "version"),
    [("", "2.0"), (f"feature_sets/{AUDIO.fingerprint}", "3.1"), (FIELD, "x"), ("tables/demo", "2.0")],
)
def test_unknown_versions_say_what_to_install(
    store: FeatureStore, tmp_path: Path, name: str, version: str
) -> None:
    path = tmp_path / "newer.h5"
    store.export_single_file(path)
    with h5py.File(path, "r+") as file:
        file[name or "/"].attrs["encoding-version"] = np.bytes_(version.encode())
    seal(path)
    with pytest.raises(StoreFormatError, match=f"version '{version}'") as caught:
        FeatureStore.open(path)
    assert "pip install --upgrade msakit" in caught.value.hint


def test_a_newer_minor_version_with_more_in_it_is_read(store: FeatureStore, tmp_path: Path) -> None:
    path = tmp_path / "newer.h5"
    store.export_single_file(path)
    with h5py.File(path, "r+") as file:
        file.attrs["encoding-version"] = np.bytes_(b"1.7")
        file.attrs["novelty"] = 3
        file[FIELD].create_dataset("confidence", data=np.ones(4))
    seal(path)
    opened = FeatureStore.open(path)
    assert opened.table("demo").id == store.table("demo").id


def test_a_newer_store_folder_is_refused(store: FeatureStore) -> None:
    document = store.path / "STORE.json"
    document.write_text('{"format":"msakit.store","version":"2.0"}')
    with pytest.raises(StoreFormatError, match=r"version '2\.0'"):
        FeatureStore.open(store.path)


def test_an_index_pointing_outside_its_shard_is_refused(store: FeatureStore) -> None:
    from dataclasses import replace

    from msakit.feature_store.disk.sample_index import Places

    index = store.index(AUDIO.fingerprint)
    place = index.places["audio"]
    for start, length in ((1 << 40, 1), (-4096, 1), (4096, 1 << 30)):
        places = Places(np.full_like(place.start, start), np.full_like(place.length, length), place.hashes)
        store._indexes[AUDIO.fingerprint] = replace(index, places=index.places | {"audio": places})
        with pytest.raises(StoreFormatError, match="outside their shard"):
            store.reader(store.table("demo"), "audio")
