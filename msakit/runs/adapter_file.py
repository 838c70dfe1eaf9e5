"""Names and shapes in an adapter file, read before any memory is allocated for its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msakit.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

Shapes = dict[str, tuple[int, ...]]
_PREFIX, _SUFFIX = "scalers.", ".mean"


def read_shapes(file: Path) -> Shapes:
    """Names and shapes of the tensors in a safetensors file.

    Raises:
        InputError: It is damaged, or no regular file.
    """
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise InputError(f"{file} is not a regular file.")
    try:
        with safe_open(file, framework="np") as content:
            return {name: tuple(content.get_slice(name).get_shape()) for name in content.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file} is damaged: {error}") from error


def feature_widths(file: Path) -> dict[str, int]:
    """Modality to the feature width (D) an adapter was trained on, read from its feature scaling.

    Raises:
        InputError: The file is damaged.
    """
    widths = {}
    for name, shape in read_shapes(file).items():
        if name.startswith(_PREFIX) and name.endswith(_SUFFIX):
            if len(shape) != 1:
                raise InputError(f"{file} is damaged: {name} has the shape {list(shape)}, not one width.")
            widths[name.removeprefix(_PREFIX).removesuffix(_SUFFIX)] = shape[0]
    return widths


def check_shapes(file: Path, expected: Mapping[str, tuple[int, ...]], owner: Path) -> None:
    """See that a file holds exactly the tensors a pipeline describes.

    Args:
        file: The adapter.
        expected: Name to shape, as the pipeline describes them.
        owner: The pipeline's file, for the message.

    Raises:
        InputError: Names the first tensor that differs.
    """
    found = read_shapes(file)
    for name in [*expected, *found]:
        if found.get(name) != expected.get(name):
            raise InputError(
                f"{file} does not fit {owner}: {name} is {_shown(found.get(name))} in the file and "
                f"{_shown(expected.get(name))} in the pipeline."
            )


def _shown(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else str(list(shape))
