"""Decodes a foreign pickle with the standard library alone; runs in a limited child process.

Nothing named by the pickle is ever imported. Each admitted global is replaced by an inert builder of our own,
so the closure of what a pickle can call is this file: arrays stay bytes plus a checked dtype and shape. The
child leaves two files in its spool folder, `tree.json` (containers, scalars) and `arrays.bin` (array bytes).
"""

from __future__ import annotations

import io
import json
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from msakit.feature_store.interchange.child_runtime import ChildFailure, append_bytes, run_child

MAX_DEPTH = 32
MAX_NODES = 20_000_000
SHARED_NODES = 10_000
SHARED_BYTES = 64 << 20
"""How much a file may stand for beyond what it holds: what is stored once may be referred to many times."""
MAX_DIMENSIONS = 8
MAX_INT_BITS = 64
DTYPE_CODE = re.compile(r"(?:[biu][1248]|f[248]|b1|[SU][0-9]{1,9})\Z")


def _as_bytes(payload: object) -> bytes | bytearray | memoryview:
    """Array bytes; Python 2 wrote them as a text string, decoded here without loss by `surrogateescape`."""
    if isinstance(payload, str):
        return payload.encode("utf-8", "surrogateescape")
    if isinstance(payload, bytes | bytearray | memoryview):
        return payload
    raise ChildFailure("corrupt", f"array bytes expected, found {type(payload).__name__}")


class DtypeRecord:
    """A numpy dtype as its code ("<f4"); object arrays are "O"."""

    __slots__ = ("code",)

    def __init__(self, code: str) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Take the byte order; refuse structured and subarray dtypes."""
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise ChildFailure("unsupported", "an array has a structured dtype")
        if state[1] not in ("<", ">", "|", "="):
            raise ChildFailure("corrupt", f"unknown byte order {state[1]!r}")
        if self.code != "O":
            order = "<" if state[1] == "=" else state[1]
            self.code = order + self.code[1:]

    @property
    def item_size(self) -> int:
        """Bytes per element."""
        width = int(self.code[2:])
        return 4 * width if self.code[1] == "U" else width


class ArrayRecord:
    """A numpy array as dtype, shape, order and untouched bytes (or a plain list for object arrays)."""

    __slots__ = ("axes", "dtype", "fortran", "payload", "shape")

    def __init__(self) -> None:
        self.dtype = DtypeRecord("|b1")
        self.shape: tuple[int, ...] = (0,)
        self.fortran = False
        self.axes: tuple[int, ...] | None = None
        self.payload: Any = b""

    def __setstate__(self, state: object) -> None:
        """Take numpy's array state: ([version,] shape, dtype, is_fortran, bytes or list)."""
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise ChildFailure("corrupt", "unreadable array state")
        shape, dtype, fortran, payload = state[-4:]
        self.fill(payload, dtype, shape, fortran=bool(fortran))

    def fill(self, payload: object, dtype: object, shape: object, *, fortran: bool) -> None:
        """Check that bytes, dtype and shape agree, then keep them."""
        if isinstance(shape, int):
            shape = (shape,)
        if not isinstance(shape, tuple | list) or len(shape) > MAX_DIMENSIONS:
            raise ChildFailure("corrupt", "unreadable array shape")
        if not all(type(size) is int and size >= 0 for size in shape) or not isinstance(dtype, DtypeRecord):
            raise ChildFailure("corrupt", "unreadable array shape or dtype")
        count = math.prod(shape)
        if dtype.code == "O":
            if not isinstance(payload, list) or len(payload) != count:
                raise ChildFailure("corrupt", "an object array does not hold what its shape says")
            self.payload = payload
        else:
            data = _as_bytes(payload)
            held = data.nbytes if isinstance(data, memoryview) else len(data)
            if held != count * dtype.item_size:
                raise ChildFailure("corrupt", f"an array of shape {tuple(shape)} holds {held} bytes")
            self.payload = data
        self.dtype, self.shape, self.fortran = dtype, tuple(shape), fortran


class Builder:
    """The only kind of object a pickle may call; it has no state that a pickle could change."""

    __slots__ = ("_build",)
    _build: Callable[..., object]

    def __init__(self, build: Callable[..., object]) -> None:
        object.__setattr__(self, "_build", build)

    def __call__(self, *args: object) -> object:
        """Build the plain counterpart of what the pickle asked for."""
        try:
            return self._build(*args)
        except (TypeError, ValueError) as error:
            raise ChildFailure("corrupt", f"a pickled object could not be rebuilt: {error}") from error

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse a BUILD opcode that aims at the builder itself."""
        raise ChildFailure("corrupt", "the pickle tries to change an admitted name")

    def __setstate__(self, state: object) -> None:
        """Refuse a BUILD opcode that aims at the builder itself."""
        raise ChildFailure("corrupt", "the pickle tries to change an admitted name")


def _build_dtype(code: object, align: object = False, copy: object = True) -> DtypeRecord:
    if code in ("O", "O8", "|O"):
        return DtypeRecord("O")
    if isinstance(code, bytes):
        code = code.decode("ascii", "replace")
    if not isinstance(code, str) or not DTYPE_CODE.match(code.lstrip("<>|=")):
        raise ChildFailure("unsupported", f"an array has the dtype {code!r}")
    order = code[0] if code[0] in "<>|" else "<"
    return DtypeRecord(order + code.lstrip("<>|="))


def _build_array(kind: object, shape: object, code: object) -> ArrayRecord:
    if kind is not NDARRAY:
        raise ChildFailure("unsupported", "an array subclass")
    return ArrayRecord()


def _build_from_buffer(
    payload: object, dtype: object, shape: object, order: object, axes: object = None
) -> ArrayRecord:
    record = ArrayRecord()
    record.fill(payload, dtype, shape, fortran=order == "F")
    if order == "K" and axes is not None:
        if not isinstance(axes, tuple) or sorted(axes) != list(range(len(record.shape))):
            raise ChildFailure("corrupt", "an array's axes are not a permutation")
        record.axes = axes
    return record


def _build_scalar(dtype: object, payload: object) -> ArrayRecord:
    record = ArrayRecord()
    record.fill(payload, dtype, (), fortran=False)
    return record


def _build_encoded(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "iso-8859-1"):
        raise ChildFailure("corrupt", "an unexpected text encoding")
    return text.encode("latin-1")


def _refuse_array_call(*args: object) -> object:
    raise ChildFailure("corrupt", "the pickle calls the array type directly")


def _build_bytes(*args: object) -> bytes:
    if not args:
        return b""
    if isinstance(args[0], str) and len(args) == 2:
        return _build_encoded(*args)
    return bytes(_as_bytes(args[0]))


NDARRAY = Builder(_refuse_array_call)
_NUMPY_ROOTS = ("numpy.core", "numpy._core")
ADMITTED: dict[tuple[str, str], Builder] = {
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): Builder(_build_dtype),
    ("_codecs", "encode"): Builder(_build_encoded),
    ("collections", "OrderedDict"): Builder(lambda items=(): dict(items)),
    **{(f"{root}.multiarray", "_reconstruct"): Builder(_build_array) for root in _NUMPY_ROOTS},
    **{(f"{root}.multiarray", "scalar"): Builder(_build_scalar) for root in _NUMPY_ROOTS},
    **{(f"{root}.numeric", "_frombuffer"): Builder(_build_from_buffer) for root in _NUMPY_ROOTS},
    **{
        (module, name): Builder(build)
        for module in ("builtins", "__builtin__")
        for name, build in (
            ("set", list),
            ("frozenset", list),
            ("bytes", _build_bytes),
            ("bytearray", _build_bytes),
        )
    },
}


class RestrictedUnpickler(pickle.Unpickler):
    """Resolves the names in `ADMITTED` and no other, by exact match."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return the builder for an admitted name.

        Raises:
            ChildFailure: any other name; nothing is imported to find out what it is.
        """
        builder = ADMITTED.get((module_name, global_name))
        if builder is None:
            raise ChildFailure("foreign", f"{module_name}.{global_name}")
        return builder


class TreeWriter:
    """Turns unpickled containers into JSON and appends array bytes to one file.

    Args:
        blob: takes the bytes of arrays.
        num_bytes: size of the pickle, which bounds what its references may add up to.
    """

    def __init__(self, blob: BinaryIO, num_bytes: int) -> None:
        self._blob = blob
        self._written: dict[int, int] = {}
        self._num_nodes = 0
        self._max_nodes = min(MAX_NODES, num_bytes + SHARED_NODES)
        self._num_array_bytes = 0
        self._max_array_bytes = 2 * num_bytes + SHARED_BYTES

    def encode(self, node: object, depth: int = 0) -> object:
        """JSON for one node: scalars and lists as they are, everything else as a one-key object."""
        self._num_nodes += 1
        if depth > MAX_DEPTH or self._num_nodes > self._max_nodes:
            raise ChildFailure("corrupt", "containers are nested too deeply or without end")
        if node is None or isinstance(node, bool | float | str):
            return node
        if isinstance(node, int):
            if node.bit_length() > MAX_INT_BITS:
                raise ChildFailure("corrupt", "a number of absurd size")
            return node
        if isinstance(node, list | tuple | set | frozenset):
            return [self.encode(item, depth + 1) for item in node]
        if isinstance(node, dict):
            pairs = [[self.encode(k, depth + 1), self.encode(v, depth + 1)] for k, v in node.items()]
            return {"dict": pairs}
        if isinstance(node, ArrayRecord):
            return self._encode_array(node, depth)
        if isinstance(node, bytes | bytearray):
            return {"bytes": node.decode("latin-1")}
        raise ChildFailure("corrupt", f"the pickle ends in an unfinished {type(node).__name__}")

    def _encode_array(self, record: ArrayRecord, depth: int) -> object:
        if record.dtype.code == "O":
            values = self.encode(record.payload, depth + 1)
            return {"objects": values, "shape": list(record.shape), "fortran": record.fortran}
        self._num_array_bytes += math.prod(record.shape) * record.dtype.item_size
        if self._num_array_bytes > self._max_array_bytes:
            raise ChildFailure("corrupt", "its samples share arrays that add up to more than the file holds")
        key = id(record.payload)
        if key not in self._written:
            self._written[key] = append_bytes(self._blob, record.payload)
        return {
            "array": self._written[key],
            "dtype": record.dtype.code,
            "shape": list(record.shape),
            "fortran": record.fortran,
            "axes": record.axes,
        }


def decode_pickle(source: BinaryIO, blob: BinaryIO) -> object:
    """Decode a pickle stream, which can seek, into its JSON tree, array bytes going to `blob`.

    Raises:
        ChildFailure: the stream is torn, foreign or not a pickle of plain data; `kind` says which.
    """
    num_bytes = source.seek(0, io.SEEK_END)
    source.seek(0)
    try:
        loaded = RestrictedUnpickler(source, encoding="utf-8", errors="surrogateescape").load()
    except EOFError as error:
        raise ChildFailure("truncated", str(error) or "the file ends too early") from error
    except pickle.UnpicklingError as error:
        kind = "truncated" if "truncated" in str(error) else "corrupt"
        raise ChildFailure(kind, str(error)) from error
    except (AttributeError, ImportError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ChildFailure("corrupt", f"{type(error).__name__}: {error}") from error
    return TreeWriter(blob, num_bytes).encode(loaded)


def _decode_file(source: Path, spool: Path) -> None:
    with source.open("rb") as stream, (spool / "arrays.bin").open("wb") as blob:
        tree = decode_pickle(stream, blob)
    with (spool / "tree.json").open("w", encoding="utf-8", errors="surrogatepass") as out:
        json.dump(tree, out, ensure_ascii=True)


if __name__ == "__main__":
    run_child(_decode_file)
