from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from feature_store.interchange.corpora import CORRECT_METADATA, MISSPELT_METADATA, spans, write_csd

from msakit.feature_store import FeatureStore, StoreError
from msakit.feature_store.interchange import ImportOptions, import_files
from msakit.feature_store.interchange.csd import CsdSequence, guess_role, load_csd, parse_csd
from msakit.feature_store.interchange.sandbox import SandboxLimits, run_sandboxed

CHILD = "msakit.feature_store.interchange.csd_child"
FRAMES = np.arange(20.0, dtype=np.float32).reshape(10, 2)
SPLITS = "video,split\nv1,train\nv2,dev\n"


def _labels(path: Path, metadata: dict[str, str] | None = None) -> Path:
    entries = {
        "v1": (np.array([[1.5, 0.25], [-2.0, 0.5]]), np.array([[0.0, 4.0], [6.0, 10.0]])),
        "v2": (np.array([[3.0, 0.75]]), np.array([[0.0, 5.0]])),
    }
    return write_csd(path / "labels.csd", "Opinion Segment Labels", entries, metadata)


def _audio(path: Path) -> Path:
    return write_csd(path / "covarep.csd", "COVAREP", {"v1": (FRAMES, spans(*range(11)))})


def _words(path: Path) -> Path:
    words = np.array([b"sp", b"hello", b"there", b"good", b"bye"], "S32")[:, None]
    other = np.array([["caf\u00e9".encode()]], "S32")
    entries = {"v1": (words, spans(0, 1, 2, 4, 7, 8)), "v2": (other, spans(0, 1))}
    return write_csd(path / "words.csd", "words", entries)


def _options(path: Path, **settings: object) -> ImportOptions:
    (path / "splits.csv").write_text(SPLITS)
    return ImportOptions("mosi", split_file=path / "splits.csv", **settings)


@pytest.mark.parametrize("metadata", [CORRECT_METADATA, MISSPELT_METADATA])
def test_sequences_are_joined_by_labelled_segment(
    store: FeatureStore, tmp_path: Path, metadata: dict[str, str]
) -> None:
    files = [_labels(tmp_path, metadata), _audio(tmp_path), _words(tmp_path)]
    report = import_files(store, [str(file) for file in files], _options(tmp_path))
    table = store.table("mosi")
    assert report.format == "csd"
    assert table.id == ("v1$_$0", "v1$_$1", "v2$_$0")
    assert table.split == ("train", "train", "valid")
    assert table.label.tolist() == [1.5, -2.0, 3.0]
    assert table.extra["label_joy"].tolist() == [0.25, 0.5, 0.75]
    assert table.text == ("hello there", "bye", "café")
    assert (table.start_s.tolist(), table.end_s.tolist()) == ([0.0, 6.0, 0.0], [4.0, 10.0, 5.0])
    reader = store.reader(table, "audio")
    np.testing.assert_array_equal(reader.read_one(0), FRAMES[:4])
    np.testing.assert_array_equal(reader.read_one(1), FRAMES[6:])
    assert reader.present.tolist() == [True, True, False]


def test_intervals_of_frames_are_stored(store: FeatureStore, tmp_path: Path) -> None:
    import_files(store, [str(_labels(tmp_path)), str(_audio(tmp_path))], _options(tmp_path))
    table = store.table("mosi")
    fingerprint = table.feature("audio").fingerprint
    assert store.feature_set(fingerprint).intervals
    index = store.index(fingerprint)
    row = int(index.find(table.feature("audio").keys[1:2])[0])
    place = index.places["intervals"]
    raw = index.shards[int(index.shard[row])].path.read_bytes()
    start, length = int(place.start[row]), int(place.length[row])
    found = np.frombuffer(raw[start : start + 16 * length], "<f8").reshape(length, 2)
    np.testing.assert_array_equal(found, spans(6, 7, 8, 9, 10))


def test_aligned_sequences_are_joined_by_key(store: FeatureStore, tmp_path: Path) -> None:
    labels = write_csd(
        tmp_path / "l.csd",
        "labels",
        {f"v[{k}]": (np.array([[k - 1.0]]), np.array([[k, k + 1.0]])) for k in range(3)},
    )
    audio = write_csd(
        tmp_path / "a.csd", "x", {f"v[{k}]": (FRAMES[k : k + 2], spans(0, 1, 2)) for k in (0, 2)}
    )
    import_files(store, [str(labels), f"audio={audio}"], ImportOptions("mosi", split="test"))
    table = store.table("mosi")
    assert table.id == ("v$_$0", "v$_$1", "v$_$2")
    assert store.reader(table, "audio").present.tolist() == [True, False, True]
    np.testing.assert_array_equal(store.reader(table, "audio").read_one(2), FRAMES[2:4])


def test_minus_infinity_in_covarep_is_refused_then_zeroed(store: FeatureStore, tmp_path: Path) -> None:
    frames = FRAMES.copy()
    frames[1, 0] = -np.inf
    audio = write_csd(tmp_path / "covarep.csd", "COVAREP", {"v1": (frames, spans(*range(11)))})
    files = [str(_labels(tmp_path)), str(audio)]
    with pytest.raises(StoreError, match="1 -inf in 1 samples"):
        import_files(store, files, _options(tmp_path))
    import_files(store, files, _options(tmp_path, nonfinite="zero"))
    expected = frames[:4].copy()
    expected[1, 0] = 0
    np.testing.assert_array_equal(store.reader(store.table("mosi"), "audio").read_one(0), expected)


def _sequence(root: str, width: int) -> CsdSequence:
    return CsdSequence(f"{root}.csd", root, {}, {"v1": (np.zeros((1, width)), spans(0, 1))})


@pytest.mark.parametrize(
    ("sequences", "split_of", "label_column", "message"),
    [
        ({"labels": 2}, {}, 0, r"labels\.csd: no split is known for v1\$_\$0"),
        ({"audio": 2}, {"*": "train"}, 0, "no sequence holds the labels"),
        ({"labels": 2}, {"*": "train"}, 5, "v1\\[0\\] has 2 labels, not 6"),
    ],
)
def test_what_is_missing_is_asked_for(sequences, split_of, label_column: int, message: str) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        parse_csd({name: _sequence(name, width) for name, width in sequences.items()}, split_of, label_column)
    assert caught.value.hint


def test_roles_are_guessed_from_root_names() -> None:
    names = {
        "All Labels": "labels",
        "COVAREP": "audio",
        "FACET_4.2": "vision",
        "words": "words",
        "glove_vectors": "text",
    }
    assert {name: guess_role(_sequence(name, 2)) for name in names} == names
    with pytest.raises(StoreError, match="root name 'zzz' does not tell"):
        guess_role(_sequence("zzz", 2))


def test_a_role_is_given_once(store: FeatureStore, tmp_path: Path) -> None:
    audio = _audio(tmp_path)
    with pytest.raises(StoreError, match="is audio already"):
        import_files(store, [str(audio), f"audio={audio}"], _options(tmp_path))


# Hostile files -----------------------------------------------------------------------------


def _plain(path: Path) -> h5py.File:
    write_csd(path, "COVAREP", {"v1": (FRAMES, spans(*range(11)))})
    return h5py.File(path, "a")


def _soft_link(file: h5py.File, tmp: Path) -> None:
    file["COVAREP/data/evil"] = h5py.SoftLink("/COVAREP/data/v1")


def _external_link(file: h5py.File, tmp: Path) -> None:
    write_csd(tmp / "private.h5", "secret", {"v": (FRAMES, spans(*range(11)))})
    file["COVAREP/data/evil"] = h5py.ExternalLink(str(tmp / "private.h5"), "/secret/data/v")


def _external_group(file: h5py.File, tmp: Path) -> None:
    write_csd(tmp / "private.h5", "secret", {"v": (FRAMES, spans(*range(11)))})
    del file["COVAREP/data"]
    file["COVAREP/data"] = h5py.ExternalLink(str(tmp / "private.h5"), "/secret/data")


def _external_storage(file: h5py.File, tmp: Path) -> None:
    (tmp / "private.txt").write_bytes(b"secret!!" * 20)
    del file["COVAREP/data/v1/features"]
    external = [(str(tmp / "private.txt"), 0, 80)]
    file["COVAREP/data/v1"].create_dataset("features", (10, 2), "<f4", external=external)


def _virtual_dataset(file: h5py.File, tmp: Path) -> None:
    write_csd(tmp / "private.h5", "secret", {"v": (FRAMES, spans(*range(11)))})
    layout = h5py.VirtualLayout((10, 2), "<f4")
    layout[:] = h5py.VirtualSource(str(tmp / "private.h5"), "/secret/data/v/features", (10, 2))
    del file["COVAREP/data/v1/features"]
    file["COVAREP/data/v1"].create_virtual_dataset("features", layout)


def _size_bomb(file: h5py.File, tmp: Path) -> None:
    del file["COVAREP/data/v1/features"]
    file["COVAREP/data/v1"].create_dataset(
        "features", (1 << 40, 2), "<f4", chunks=(1024, 2), compression="gzip"
    )


def _compression_bomb(file: h5py.File, tmp: Path) -> None:
    del file["COVAREP/data/v1/features"]
    zeros = np.zeros((1 << 24, 1), np.float64)
    file["COVAREP/data/v1"].create_dataset("features", data=zeros, chunks=(1 << 20, 1), compression="gzip")


def _references(file: h5py.File, tmp: Path) -> None:
    del file["COVAREP/data/v1/features"]
    node = file["COVAREP/data/v1"].create_dataset("features", (10,), h5py.ref_dtype)
    node[0] = file["COVAREP"].ref


def _ragged_objects(file: h5py.File, tmp: Path) -> None:
    del file["COVAREP/data/v1/features"]
    file["COVAREP/data/v1"].create_dataset("features", (10,), h5py.vlen_dtype(np.float32))


def _compound(file: h5py.File, tmp: Path) -> None:
    del file["COVAREP/data/v1/features"]
    file["COVAREP/data/v1"].create_dataset("features", (10,), np.dtype([("a", "<f4"), ("b", "<f4")]))


def _cycle(file: h5py.File, tmp: Path) -> None:
    file["COVAREP/data/loop"] = file["COVAREP"]


def _two_roots(file: h5py.File, tmp: Path) -> None:
    file.create_group("other")


def _wrong_lengths(file: h5py.File, tmp: Path) -> None:
    del file["COVAREP/data/v1/intervals"]
    file["COVAREP/data/v1/intervals"] = spans(0, 1, 2)


def _no_data(file: h5py.File, tmp: Path) -> None:
    del file["COVAREP/data"]


_HOSTILE = {
    function.__name__.strip("_"): (function, message)
    for function, message in (
        (_soft_link, "is a soft or external link"),
        (_external_link, "is a soft or external link"),
        (_external_group, "is a soft or external link"),
        (_external_storage, "keeps its data in another file"),
        (_virtual_dataset, "keeps its data in another file"),
        (_size_bomb, "bytes it does not hold"),
        (_compression_bomb, "bytes it does not hold"),
        (_references, "neither numbers nor text"),
        (_ragged_objects, "neither numbers nor text"),
        (_compound, "neither numbers nor text"),
        (_cycle, "no usable member 'features'"),
        (_two_roots, "one top-level group, this has 2"),
        (_wrong_lengths, "has the shape"),
        (_no_data, "no usable member 'data'"),
    )
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, name: str) -> None:
    change, message = _HOSTILE[name]
    path = tmp_path / "evil.csd"
    with _plain(path) as file:
        change(file, tmp_path)
    spool = tmp_path / "spool"
    spool.mkdir()
    with pytest.raises(StoreError, match=message) as caught:
        load_csd(path, spool)
    assert "evil.csd" in caught.value.message
    read = b"".join(part.read_bytes() for part in spool.iterdir())
    assert b"secret" not in read


def test_torn_and_flipped_files_end_in_an_error_or_intact(tmp_path: Path) -> None:
    from msakit.feature_store.interchange.child_runtime import ChildFailure
    from msakit.feature_store.interchange.csd_child import read_csd

    path = tmp_path / "a.csd"
    _plain(path).close()
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(7)
    outcomes = set()
    for position in [*rng.integers(0, 2048, 40), *rng.integers(0, len(whole), 20)]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        outcomes.add(_outcome(read_csd, ChildFailure, path))
    for size in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        outcomes.add(_outcome(read_csd, ChildFailure, path))
    assert outcomes == {"read", "refused"}


def _outcome(read, failure: type[Exception], path: Path) -> str:
    with (path.parent / "blob").open("wb") as blob:
        try:
            read(path, blob)
        except failure:
            return "refused"
    return "read"


def test_a_reader_that_dies_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.csd"
    _plain(path).close()
    limits = SandboxLimits(memory_bytes=1 << 20, cpu_s=20, wall_s=120, written_bytes=1 << 20)
    with pytest.raises(StoreError, match=r"a\.csd: (needs more memory|stopped its reader|is not a readable)"):
        run_sandboxed(CHILD, path, tmp_path, limits)
