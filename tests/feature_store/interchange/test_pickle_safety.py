"""Hostile pickles: none executes, reads outside itself or exhausts memory; each has a clear error."""

from __future__ import annotations

import collections
import io
import os
import pickle
import pickletools
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from msakit.feature_store import StoreError
from msakit.feature_store.interchange.child_runtime import ChildFailure
from msakit.feature_store.interchange.pickle_child import ADMITTED, decode_pickle
from msakit.feature_store.interchange.sandbox import SandboxLimits, load_pickle

CANARY = "canary"
SMALL = SandboxLimits(memory_bytes=1 << 30, cpu_s=20, wall_s=120, written_bytes=1 << 24)


def _decode(payload: bytes) -> tuple[object, bytes]:
    blob = io.BytesIO()
    return decode_pickle(io.BytesIO(payload), blob), blob.getvalue()


def _global(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def _call(module: str, name: str, arguments: bytes) -> bytes:
    """A protocol-0 pickle that calls a global with a tuple of arguments."""
    return _global(module, name) + b"(" + arguments + b"tR."


def _text(value: str) -> bytes:
    return b"V" + value.encode("raw_unicode_escape") + b"\n"


class _Reducer:
    """Pickles as a call of anything."""

    def __init__(self, function: object, *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self._call


def _gadgets() -> dict[str, bytes]:
    touch = f"import pathlib; pathlib.Path({CANARY!r}).touch()"
    unicode_global = b"\x80\x04" + b"\x8c\x02os" + b"\x8c\x06system" + b"\x93" + b"\x8c\x04true\x85R."
    dotted = b"\x80\x04" + b"\x8c\x05numpy" + b"\x8c\x11ndarray.__class__" + b"\x93."
    return {
        "os.system": pickle.dumps(_Reducer(os.system, f"touch {CANARY}"), protocol=2),
        "posix.system by text global": _call("posix", "system", _text(f"touch {CANARY}")),
        "builtins.eval": _call("builtins", "eval", _text(f"exec({touch!r})")),
        "builtins.exec": pickle.dumps(_Reducer(exec, touch)),
        "builtins.getattr": _call("builtins", "getattr", _text("x") + _text("__class__")),
        "builtins.__import__": _call("builtins", "__import__", _text("os")),
        "builtins.open": _call("builtins", "open", _text("/etc/passwd")),
        "subprocess.Popen": pickle.dumps(_Reducer(subprocess.Popen, ["touch", CANARY])),
        "unicode stack global": unicode_global,
        "dotted name": dotted,
        "functools.partial": _global("functools", "partial") + b".",
        "operator.attrgetter": _call("operator", "attrgetter", _text("__class__.__base__")),
        "numpy.testing runstring": _call("numpy.testing._private.utils", "runstring", _text(touch) + b"}"),
        "numpy.load": _call("numpy", "load", _text("x.npy")),
        "numpy.f2py": _call("numpy.f2py.crackfortran", "myeval", _text("1")),
        "torch loader": _call("torch", "load", _text("x")),
        "pandas": _call("pandas.core.frame", "DataFrame", b""),
        "types.CodeType": _global("types", "CodeType") + b".",
        "copyreg reconstructor": _call("copyreg", "_reconstructor", _global("builtins", "object")[:0]),
        "pickle in pickle": _call("pickle", "loads", _text("cos\nsystem\n")),
        "case variant": _global("Numpy", "ndarray") + b".",
        "submodule": _global("numpy.core.multiarray", "fromstring") + b".",
    }


@pytest.mark.parametrize("name", _gadgets())
def test_no_gadget_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ChildFailure) as caught:
        _decode(_gadgets()[name])
    assert caught.value.kind == "foreign"
    assert not (tmp_path / CANARY).exists()


def test_the_foreign_global_is_named_with_a_remedy(tmp_path: Path) -> None:
    file = tmp_path / "evil.pkl"
    file.write_bytes(pickle.dumps({"train": _Reducer(os.system, f"touch {tmp_path / CANARY}")}))
    with pytest.raises(StoreError) as caught:
        load_pickle(file, tmp_path)
    assert "evil.pkl: the pickle asks for 'posix.system'" in caught.value.message
    assert "nothing was run" in caught.value.message
    assert "NumPy arrays" in caught.value.hint
    assert not (tmp_path / CANARY).exists()


def _array_call(dtype: bytes, shape: bytes, payload: bytes) -> bytes:
    build = (
        _global("numpy.core.multiarray", "_reconstruct")
        + b"("
        + _global("numpy", "ndarray")
        + b"(I0\ntVb\ntR"
    )
    state = b"(I1\n" + shape + dtype + b"I00\n" + payload + b"tb."
    return build + state


def _dtype(code: str, state: bytes = b"(I3\nV<\nNNNI-1\nI-1\nI0\ntb") -> bytes:
    return _global("numpy", "dtype") + b"(" + _text(code) + b"I0\nI1\ntR" + state


_MALFORMED = {
    "too few bytes": _array_call(_dtype("f4"), b"(I4\nt", _text("abcd")),
    "too many bytes": _array_call(_dtype("f4"), b"(I1\nt", _text("abcdefgh")),
    "negative size": _array_call(_dtype("f4"), b"(I-1\nt", _text("")),
    "size bomb": _array_call(_dtype("f8"), b"(I1099511627776\nt", _text("abcd")),
    "overflowing shape": _array_call(_dtype("f8"), b"(I4294967296\nI4294967296\nI4294967296\nt", _text("")),
    "float shape": _array_call(_dtype("f4"), b"(F1.0\nt", _text("abcd")),
    "object dtype over bytes": _array_call(_dtype("O"), b"(I1\nt", _text("abcdefgh")),
    "object dtype of wrong count": _array_call(_dtype("O"), b"(I3\nt", b"(lI1\na"),
    "structured dtype": _array_call(
        _dtype("V8", b"(I3\nV|\nN(Va\nt}I8\nI1\nI16\ntb"), b"(I1\nt", _text("abcdefgh")
    ),
    "fields smuggled into a plain dtype": _array_call(
        _dtype("f4", b"(I3\nV<\nN(Va\nt}I4\nI1\nI0\ntb"), b"(I1\nt", _text("abcd")
    ),
    "void dtype": _array_call(_dtype("V8"), b"(I1\nt", _text("abcdefgh")),
    "datetime dtype": _array_call(_dtype("M8"), b"(I1\nt", _text("abcdefgh")),
    "state that is no tuple": _global("numpy.core.multiarray", "_reconstruct")
    + b"("
    + _global("numpy", "ndarray")
    + b"(I0\ntVb\ntRI7\nb.",
    "array type called directly": _global("numpy", "ndarray") + b"((I1099511627776\nttR.",
    "array type left unfinished": _global("numpy", "ndarray") + b".",
    "dtype left alone": _dtype("f4") + b".",
    "admitted name rebuilt": _global("numpy", "dtype") + b"}V__call__\nI1\nsb.",
    "admitted name with slots": b"\x80\x02" + _global("numpy", "dtype") + b"N}V_build\nI1\ns\x86b.",
    "codec other than latin-1": _call("_codecs", "encode", _text("x") + _text("rot13")),
    "bytearray of a huge length": _call("builtins", "bytearray", b"I1099511627776\n"),
    "persistent id": b"Pevil\n.",
    "extension code": b"\x80\x02\x82\x01.",
    "number of absurd size": b"\x80\x02\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b".",
    "unhashable key": b"(lI1\nd.",
    "unhashable key in dict": b"\x80\x02}]I1\ns.",
    "self-containing list": b"\x80\x02]q\x00h\x00a.",
    "deep nesting": b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
    "empty stack": b".",
    "unknown opcode": b"\x80\x02\xff.",
    "bad protocol": b"\x80\x63N.",
}


@pytest.mark.parametrize("name", _MALFORMED)
def test_malformed_streams_are_refused(name: str) -> None:
    with pytest.raises((ChildFailure, MemoryError)) as caught:
        _decode(_MALFORMED[name])
    if isinstance(caught.value, ChildFailure):
        assert caught.value.kind in ("corrupt", "unsupported", "truncated")


def test_a_pickle_reaches_nothing_but_our_builders() -> None:
    assert {type(builder).__name__ for builder in ADMITTED.values()} == {"Builder"}
    assert all(
        module.split(".")[0] in ("numpy", "_codecs", "collections", "builtins", "__builtin__")
        for module, _ in ADMITTED
    )


def test_decoding_imports_no_numpy(tmp_path: Path) -> None:
    file = tmp_path / "x.pkl"
    file.write_bytes(pickle.dumps({"a": np.arange(3)}))
    code = (
        "import sys, io, importlib.util as u\n"
        "import msakit.feature_store.interchange.pickle_child as child\n"
        "before = set(sys.modules)\n"
        f"child.decode_pickle(open({str(file)!r}, 'rb'), io.BytesIO())\n"
        "print(sorted(name for name in set(sys.modules) - before if 'numpy' in name))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"\x80\x02\x8e" + struct.pack("<Q", 1 << 40) + b"x", "ends too early|more memory"),
        (b"\x80\x05\x96" + struct.pack("<Q", 1 << 34) + b"x", "ends too early|more memory"),
        (_call("builtins", "bytearray", b"I1099511627776\n"), "not a readable file|more memory"),
        (b"\x80\x02Nr\xff\xff\xff\x0f.", "more memory"),
    ],
    ids=["bytes", "bytearray opcode", "bytearray call", "memo index"],
)
def test_size_bombs_die_in_the_child(tmp_path: Path, payload: bytes, message: str) -> None:
    file = tmp_path / "bomb.pkl"
    file.write_bytes(payload)
    with pytest.raises(StoreError, match=message):
        load_pickle(file, tmp_path, SMALL)


def test_an_expanding_pickle_meets_the_memory_limit(tmp_path: Path) -> None:
    # One text of 1 MiB in the memo, encoded ten thousand times: 10 GiB from a file of 1 MiB.
    text = b"X" + struct.pack("<I", 1 << 20) + b"x" * (1 << 20) + b"q\x00"
    encode = _global("_codecs", "encode") + b"q\x01X\x06\x00\x00\x00latin1q\x02"
    once = b"h\x01h\x00h\x02\x86R"
    file = tmp_path / "bomb.pkl"
    file.write_bytes(b"\x80\x02" + text + b"0" + encode + b"00](" + once * 10_000 + b"e.")
    with pytest.raises(StoreError, match="more memory than the import allows"):
        load_pickle(file, tmp_path, SMALL)


def test_an_endless_pickle_meets_the_clock(tmp_path: Path) -> None:
    # Doubling lists: 2^40 nodes from 200 bytes.
    bomb = b"\x80\x02]q\x00K\x01a" + b"".join(
        b"]q" + bytes([n]) + b"(h" + bytes([n - 1]) + b"h" + bytes([n - 1]) + b"e" for n in range(1, 31)
    )
    file = tmp_path / "bomb.pkl"
    file.write_bytes(bomb + b".")
    limits = SandboxLimits(memory_bytes=1 << 30, cpu_s=1, wall_s=10, written_bytes=1 << 20)
    with pytest.raises(StoreError, match=r"stopped its reader|not read within|nested too deeply|more memory"):
        load_pickle(file, tmp_path, limits)


def test_too_much_output_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "large.pkl"
    file.write_bytes(pickle.dumps({"a": np.zeros(1 << 18)}))
    limits = SandboxLimits(memory_bytes=1 << 30, cpu_s=20, wall_s=120, written_bytes=1 << 16)
    with pytest.raises(StoreError, match="scratch folder is full"):
        load_pickle(file, tmp_path, limits)


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.999])
def test_torn_files_say_so(tmp_path: Path, keep: float) -> None:
    whole = pickle.dumps({"train": {"audio": np.ones((4, 3, 2))}}, protocol=4)
    file = tmp_path / "torn.pkl"
    file.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(
        StoreError, match=r"torn\.pkl: (ends too early|the file is empty|is not a readable)"
    ) as caught:
        load_pickle(file, tmp_path)
    assert "download it again" in caught.value.hint


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"PK\x03\x04....", "a zip archive"),
        (b"\x1f\x8b\x08....", "gzip-compressed"),
        (b"\x89HDF\r\n\x1a\n....", "an HDF5 file"),
        (b"<!DOCTYPE html><html>", "a web page"),
    ],
)
def test_what_is_often_mistaken_for_a_pickle_is_recognised(tmp_path: Path, head: bytes, what: str) -> None:
    file = tmp_path / "download.pkl"
    file.write_bytes(head)
    with pytest.raises(StoreError, match=what):
        load_pickle(file, tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"absent\.pkl: no such file"):
        load_pickle(tmp_path / "absent.pkl", tmp_path)


_PLAIN = {
    "arrays": {
        f"{code}": np.arange(6).reshape(2, 3).astype(code) for code in ("<f4", ">f8", "<i2", "u1", "?", "<f2")
    },
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "permuted": np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
    "empty": np.zeros((0, 5), np.float32),
    "strings": np.array(["a", "你好"]),
    "bytes strings": np.array([b"ab", b"c"]),
    "objects": np.array(["x", 1, None, 2.5], dtype=object),
    "ragged": [np.ones((2, 3)), np.zeros((1, 3))],
    "scalars": [
        np.float32(1.5),
        np.int64(-3),
        np.bool_(True),
        np.str_("z"),
        7,
        -1.25,
        None,
        True,
        "t",
        b"raw",
    ],
    "nested": {"a": [{"b": (1, 2)}], 3: "int key"},
    "ordered": collections.OrderedDict([("x", 1), ("y", 2)]),
    "sets": [{1}, frozenset({2}), bytearray(b"ba")],
}


def _compare(found: object, expected: object) -> None:  # sets come as lists
    if isinstance(expected, np.ndarray) and expected.dtype.kind in "SUO":
        assert found == expected.tolist()
    elif isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert isinstance(found, dict)
        assert list(found) == list(expected)
        for key, value in expected.items():
            _compare(found[key], value)
    elif isinstance(expected, list | tuple):
        assert isinstance(found, list)
        for left, right in zip(found, expected, strict=True):
            _compare(left, right)
    elif isinstance(expected, set | frozenset):
        assert found == list(expected)
    else:
        plain = expected.item() if isinstance(expected, np.generic) else expected
        assert found == (bytes(plain) if isinstance(plain, bytearray) else plain)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_plain_data_arrives_unchanged(tmp_path: Path, protocol: int) -> None:
    file = tmp_path / "plain.pkl"
    file.write_bytes(pickle.dumps(_PLAIN, protocol=protocol))
    _compare(load_pickle(file, tmp_path), _PLAIN)


def test_python_2_pickles_keep_utf8_texts_and_array_bytes(tmp_path: Path) -> None:
    # As Python 2 wrote them: byte strings for text and for array content, bytes above 0x7f included.
    values = np.array([1.5, -2.25, 3e38], np.float32)
    raw = values.tobytes()
    dtype = (
        _global("numpy", "dtype")
        + b"U\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    empty = (
        _global("numpy.core.multiarray", "_reconstruct")
        + _global("numpy", "ndarray")
        + b"K\x00\x85U\x01b\x87R"
    )
    state = b"(K\x01K\x03\x85" + dtype + b"\x89U" + bytes([len(raw)]) + raw + b"tb"
    pickled = b"\x80\x02}U\x04textU\x06" + "你好".encode() + b"sU\x05audio" + empty + state + b"s."
    pickletools.dis(pickled, out=io.StringIO())
    file = tmp_path / "py2.pkl"
    file.write_bytes(pickled)
    found = load_pickle(file, tmp_path)
    assert isinstance(found, dict)
    assert found["text"] == "你好"
    np.testing.assert_array_equal(found["audio"], values)


@pytest.mark.timeout(120, func_only=True)
def test_what_is_stored_once_and_named_often_stays_bounded() -> None:
    array = np.zeros(1_000_000, np.float32)
    with pytest.raises(ChildFailure, match="add up to more than the file holds"):
        _decode(pickle.dumps([array] * 30_000))
    nested: object = ["x"] * 9
    for _ in range(9):
        nested = [nested] * 9
    with pytest.raises(ChildFailure, match="without end"):
        _decode(pickle.dumps(nested))
    tree, blob = _decode(pickle.dumps([array] * 3))
    assert isinstance(tree, list)
    assert len(tree) == 3
    assert len(blob) == array.nbytes
