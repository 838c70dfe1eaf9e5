"""Tensors of a CTranslate2 model file (`model.bin`), read without CTranslate2.

Little-endian, as CTranslate2 writes it in its version 6: format version, name and revision of the model's
specification, the number of variables, then for each its name, shape, type and bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

import torch

from msakit.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_VERSION = 6
_TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)


def read_tensors(file: BinaryIO, name: str) -> dict[str, Tensor]:
    """Every variable of a model file; scalars have shape [].

    Args:
        file: The opened file.
        name: What to call it in messages.

    Raises:
        InputError: It is no such file, is damaged, or is quantized.
    """
    try:
        version = _unsigned(file, 4)
        if version != _VERSION:
            raise InputError(f"{name}: CTranslate2 format version {version}; only {_VERSION} is known.")
        _string(file)  # the specification's name
        _unsigned(file, 4)  # its revision
        return dict(_variable(file) for _ in range(_unsigned(file, 4)))
    except (EOFError, IndexError, RuntimeError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: not a complete CTranslate2 model.", hint="Install it again.") from error


def _variable(file: BinaryIO) -> tuple[str, Tensor]:
    variable = _string(file)
    shape = [_unsigned(file, 4) for _ in range(_unsigned(file, 1))]
    dtype = _TYPES[_unsigned(file, 1)]
    content = bytearray(_exactly(file, _unsigned(file, 4)))
    return variable, torch.frombuffer(content, dtype=dtype).reshape(shape)


def _string(file: BinaryIO) -> str:
    return _exactly(file, _unsigned(file, 2)).rstrip(b"\0").decode()


def _unsigned(file: BinaryIO, num_bytes: int) -> int:
    return int(struct.unpack({1: "<B", 2: "<H", 4: "<I"}[num_bytes], _exactly(file, num_bytes))[0])


def _exactly(file: BinaryIO, num_bytes: int) -> bytes:
    content = file.read(num_bytes)
    if len(content) != num_bytes:
        raise EOFError
    return content
