"""diagnostics.<split>.npz: what a fuser shows of chosen samples that is too large for a table.

One array a member, `<diagnostic>/<sample id>`, each of its own shape (an attention map of L text tokens
over T frames), so nothing is padded and nothing needs pickle.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msakit.core.errors import InputError

Maps = dict[str, dict[str, NDArray[np.float64]]]


def write_maps(
    path: Path,
    ids: Sequence[str],
    diagnostics: Mapping[str, Sequence[NDArray[np.float64]]],
    chosen: Iterable[int],
) -> None:
    """Write the diagnostics of the chosen samples.

    Args:
        path: diagnostics.<split>.npz.
        ids: N sample ids.
        diagnostics: Name to N arrays.
        chosen: Positions among the N.
    """
    members = {
        f"{name}/{ids[index]}": np.asarray(samples[index], dtype=np.float32)
        for index in chosen
        for name, samples in diagnostics.items()
    }
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **members)


def read_maps(path: Path) -> Maps:
    """Diagnostic name to sample id to array.

    Raises:
        InputError: The file is damaged.
    """
    maps: Maps = {}
    try:
        with np.load(path, allow_pickle=False) as members:
            for key in members.files:
                name, _, sample = key.partition("/")
                maps.setdefault(name, {})[sample] = np.asarray(members[key], dtype=np.float64)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    return maps
