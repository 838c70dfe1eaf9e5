"""diagnostics.<split>.npz: what a fuser shows of some samples that is too large for a table.

One array a member, `<diagnostic>/<sample id>`, each of its own shape (an attention map of L text tokens
over T frames), so nothing is padded and nothing needs pickle. `tokens/<sample id>` holds the L tokens.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from msakit.core.errors import InputError

LARGEST_MAPS = 256 * 2**20
MOST_MEMBERS = 20_000
_TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class Maps:
    """Attention maps and the like.

    Attributes:
        arrays: Diagnostic name to sample id to array.
        tokens: Sample id to its text tokens.
    """

    arrays: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)
    tokens: dict[str, list[str]] = field(default_factory=dict)


def merged(parts: Iterable[Maps]) -> Maps:
    """Maps of different samples together."""
    whole = Maps()
    for part in parts:
        whole.tokens.update(part.tokens)
        for name, samples in part.arrays.items():
            whole.arrays.setdefault(name, {}).update(samples)
    return whole


def write_maps(path: Path, maps: Maps) -> None:
    """Write diagnostics.<split>.npz."""
    members: dict[str, NDArray[np.generic]] = {
        f"{name}/{sample}": values.astype(np.float32)
        for name, samples in maps.arrays.items()
        for sample, values in samples.items()
    }
    members |= {f"{_TOKENS}/{sample}": np.array(words, np.str_) for sample, words in maps.tokens.items()}
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **members)


def read_maps(path: Path) -> Maps:
    """Read a diagnostics.<split>.npz.

    Raises:
        InputError: The file is damaged, or unpacks to more than it should ever hold.
    """
    maps = Maps()
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive, path)
            for member in archive.infolist():
                name, _, sample = member.filename.removesuffix(".npy").partition("/")
                with archive.open(member) as file:
                    values = _read_array(file, member.file_size)
                if name == _TOKENS:
                    maps.tokens[sample] = [str(word) for word in values.ravel().tolist()]
                else:
                    maps.arrays.setdefault(name, {})[sample] = values.astype(np.float64)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    return maps


def _check_sizes(archive: zipfile.ZipFile, path: Path) -> None:
    members = archive.infolist()
    total = sum(member.file_size for member in members)
    if total > LARGEST_MAPS or len(members) > MOST_MEMBERS:
        raise InputError(
            f"{path} unpacks to {len(members):,} arrays of {total:,} bytes, too many to be maps."
        )


def _read_array(file: IO[bytes], size: int) -> NDArray[np.generic]:
    """One array, once its header is known to claim no more than its `size` in bytes."""
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran_order, dtype = read_header(file)
    if dtype.kind not in "fU" or math.prod(shape) * dtype.itemsize > size:
        msg = f"an array of shape {shape} and type {dtype} in {size} bytes"
        raise ValueError(msg)
    content = file.read(math.prod(shape) * dtype.itemsize)
    values: NDArray[np.generic] = np.frombuffer(content, dtype).reshape(
        shape, order="F" if fortran_order else "C"
    )
    return values
