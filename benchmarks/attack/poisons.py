"""What hostile files hold. Each poison writes one at a path; payloads would leave the file `executed`."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

Poison = Callable[[Path], object]
_DEEP = 100_000


def _bytes(content: bytes) -> Poison:
    return lambda path: path.write_bytes(content)


def _text(content: str) -> Poison:
    return lambda path: path.write_text(content, encoding="utf-8")


def _link(target: str) -> Poison:
    return lambda path: path.symlink_to(target)


def _bomb(opening: str, closing: str, joined: Callable[[int, str], str]) -> str:
    """Ten levels of nine aliases each."""
    lines = ["a0: &a0 {k: v}"]
    for level in range(1, 10):
        inner = ", ".join(joined(index, f"*a{level - 1}") for index in range(9))
        lines.append(f"a{level}: &a{level} {opening}{inner}{closing}")
    return "\n".join(lines)


ANYTHING: dict[str, Poison] = {
    "empty": _bytes(b""),
    "zeros": _bytes(b"\0" * 4096),
    "not UTF-8": _bytes(b"\xff\xfe\x80" * 50),
    "UTF-16": _bytes("id,path\na,b\n".encode("utf-16")),
    "pipe": lambda path: os.mkfifo(path),
    "folder": lambda path: path.mkdir(),
    "link to a device": _link("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to nothing": _link("/nowhere/at/all"),
    "one long line": _bytes(b"x" * 3_000_000),
    "escapes": _text("\x1b]0;owned\x07\x1b[31m\x9b31m\u202e\n"),
    "pickle that runs": lambda path: path.write_bytes(running_pickle(path)),
    "deep brackets": _text("[" * _DEEP),
    "deep braces": _text('{"a":' * _DEEP),
    "null": _text("null"),
    "list": _text("[1, 2, 3]"),
    "number": _text("1e400"),
    "wrong types": _text('{"dataset": 3, "family": [], "splits": "x", "id": {}, "seed": {}, "weights": 7}'),
    "huge numbers": _text('{"seed": 1e308, "step": ' + "9" * 400 + ', "width": -1, "x": NaN}'),
    "half a file": lambda path: path.write_bytes(b'{"dataset": "mosei", "fami'),
}
"""For every reader, whatever it reads."""

YAML: dict[str, Poison] = {
    "list bomb": _text(_bomb("[", "]", lambda _, alias: alias)),
    "map bomb": _text(_bomb("{", "}", lambda index, alias: f"k{index}: {alias}")),
    "merge bomb": _text(_bomb("{<<: [", "]}", lambda _, alias: alias)),
    "itself": _text("a: &a {b: *a}"),
    "python tag": _text("a: !!python/object/apply:os.system ['touch executed']"),
    "deep dashes": _text("- " * _DEEP),
    "many keys": _text("".join(f"k{index}: 1\n" for index in range(60_000))),
    "key twice": _text("dataset: mosei\ndataset: mosi\n"),
}

TABLES: dict[str, Poison] = {
    "short row": _text("id,path,text,label,split\na,a.wav,hi,1,train\nb,b.wav\n"),
    "open quote": _text('id,path,text,label,split\na,a.wav,"hi,1,train\nb,b.wav,ok,1,train\n'),
    "long cell": _text(f"id,path,text,label,split\na,a.wav,{'x' * 200_000},1,train\n"),
    "column twice": _text("id,path,text,label,label,split\na,a.wav,hi,1,2,train\n"),
    "label too large": _text(
        "id,path,text,label,split,utterance_id,utterance\na,a.wav,hi,1e400,train,1e300,1e300\n"
    ),
    "many columns": _text("id,path,text,label," + ",".join(f"c{n}" for n in range(9000)) + "\n"),
    "formula": _text("id,path,text,label,split\n=cmd|'/c calc'!A1,a.wav,hi,x,train\n"),
}


class _Runs:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[..., int], tuple[str]]:
        return os.system, (f"touch {self._marker}",)


def _world_of(path: Path) -> Path:
    """The world a path lies in: the folder with the store, which no poison replaces."""
    return next(folder for folder in path.parents if (folder / "store").is_dir())


def running_pickle(path: Path) -> bytes:
    """A pickle that leaves the marker in its world when it is loaded by pickle."""
    return pickle.dumps(_Runs(_world_of(path) / "executed"))


def shared_arrays(path: Path) -> None:
    """30,000 samples that share one array of 4 MB."""
    array = np.zeros((1000, 1000), np.float32)
    column = [array] * 30_000
    path.write_bytes(pickle.dumps({"train": {"id": list(range(30_000)), "audio": column, "text": column}}))


def shared_lists(path: Path) -> None:
    """Lists of lists, nine at a level."""
    value: object = ["x"] * 9
    for _ in range(9):
        value = [value] * 9
    path.write_bytes(pickle.dumps({"train": {"id": value}}))


PICKLES: dict[str, Poison] = {
    "eval": _bytes(b'cbuiltins\neval\n(S\'open("executed","w")\'\ntR.'),
    "getattr": _bytes(b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR."),
    "shared arrays": shared_arrays,
    "shared lists": shared_lists,
    "long integer": _bytes(b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"1."),
    "frame beyond the end": _bytes(b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"."),
    "memo of two billion": _bytes(b"\x80\x02Nr" + struct.pack("<I", 2**31 - 1) + b"."),
    "array of a terabyte": _bytes(
        pickle.dumps({"train": {"audio": np.zeros(4, np.float32)}}).replace(
            b"K\x04\x85", b"J\xff\xff\xff\x7f\x85"
        )
    ),
}


def _npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


ARRAYS: dict[str, Poison] = {
    "objects": _bytes(
        _npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n(S'x'\ntR.")
    ),
    "terabyte": _bytes(_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 4)}")),
    "code": _bytes(_npy("__import__('os').system('touch executed')")),
    "negative": _bytes(_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 4)}", b"\0" * 64)),
}


def zip_bomb(path: Path) -> None:
    """An npz whose one array unpacks to 2 GB."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("map/a.npy", "w", force_zip64=True) as member,
    ):
        member.write(_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (536870912,)}"))
        for _ in range(2048):
            member.write(b"\0" * (1 << 20))


ARCHIVES: dict[str, Poison] = {"zip bomb": zip_bomb}


def _safetensors(header: dict[str, object], body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def _tensor(shape: list[int], size: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}


TENSORS: dict[str, Poison] = {
    "two billion by nothing": _bytes(_safetensors({"scalers.audio.mean": _tensor([2_000_000_000, 0], 0)})),
    "no shape": _bytes(_safetensors({"scalers.audio.mean": _tensor([], 4)}, b"\0" * 4)),
    "other width": _bytes(_safetensors({"scalers.audio.mean": _tensor([9], 36)}, b"\0" * 36)),
    "beyond the end": _bytes(_safetensors({"scalers.audio.mean": _tensor([9], 1 << 40)})),
    "header of an exabyte": _bytes(struct.pack("<Q", 1 << 60) + b"{}"),
}


def _flipped(content: bytes) -> bytes:
    """Every 997th byte changed by a bit."""
    return bytes(byte ^ (index % 997 == 0) for index, byte in enumerate(content))


def _sound(rate: int, num_samples: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\0\0" * num_samples)
    return buffer.getvalue()


MEDIA: dict[str, Poison] = {
    "1 Hz": _bytes(_sound(1, 100_000)),
    "hours at 1 kHz": _bytes(_sound(1000, 9_000_000)),
    "no samples": _bytes(_sound(16000, 0)),
    "ffconcat": _text("ffconcat version 1.0\nfile /etc/passwd\n"),
    "playlist": _text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
    "sdp": _text("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"),
    "half a clip": lambda path: path.write_bytes(_CLIP.read_bytes()[:20_000]),
    "flipped clip": lambda path: path.write_bytes(
        bytes(byte ^ (i % 997 == 0) for i, byte in enumerate(_CLIP.read_bytes()))
    ),
}
_CLIP = Path(__file__).parents[2] / "examples" / "clips" / "movie03813.mp4"
