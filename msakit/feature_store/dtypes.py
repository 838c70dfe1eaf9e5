"""Value types of the store and the conversions numpy does not know.

bfloat16 has no numpy type: in memory it is its bit pattern in ``<u2``, named by the string "bfloat16".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from msakit.feature_store.errors import StoreError

Array = npt.NDArray[np.generic]

STORAGE_DTYPES: dict[str, np.dtype[np.generic]] = {
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
    "uint8": np.dtype("u1"),
}


def storage_dtype(name: str) -> np.dtype[np.generic]:
    """Return the numpy type that holds values of the named storage type.

    Raises:
        StoreError: for a name the format does not have.
    """
    try:
        return STORAGE_DTYPES[name]
    except KeyError:
        known = ", ".join(STORAGE_DTYPES)
        raise StoreError(f"unknown feature dtype {name!r}", f"Use one of: {known}.") from None


def encode(values: Array, name: str) -> Array:
    """Convert numeric `values` to the storage type `name`, C-contiguous and little-endian.

    Raises:
        StoreError: for values that are not real numbers or integers the type cannot hold.
    """
    target = storage_dtype(name)
    if values.dtype.kind not in "fiu":
        raise StoreError(
            f"values have dtype {values.dtype}, which is not a real number", "Pass a float or integer array."
        )
    if name == "bfloat16":
        return float32_to_bfloat16(np.ascontiguousarray(values, dtype="<f4"))
    if target.kind in "iu":
        return _encode_integers(values, target)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=target)


def decode_float32(values: Array, name: str) -> npt.NDArray[np.float32]:
    """Convert stored `values` of type `name` to float32 (a copy unless they are float32 already)."""
    if name == "bfloat16":
        return bfloat16_to_float32(values)
    return values.astype(np.float32, copy=False)


def float32_to_bfloat16(values: Array) -> npt.NDArray[np.uint16]:
    """Round float32 to bfloat16 bit patterns, to nearest even; NaN stays NaN."""
    floats = values.astype(np.float32, copy=False)
    bits = floats.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    # Rounding would turn a NaN whose payload sits in the low half into infinity: set a high bit instead.
    return np.where(np.isnan(floats), (bits >> 16) | 0x40, rounded).astype(np.uint16)


def bfloat16_to_float32(bits: Array) -> npt.NDArray[np.float32]:
    """Widen bfloat16 bit patterns to float32, exactly."""
    wide = np.left_shift(bits.astype(np.uint32), np.uint32(16))
    return wide.view(np.float32)


def count_nonfinite(values: Array, name: str) -> int:
    """Count NaN and infinities in stored `values` of type `name`."""
    if name == "bfloat16":
        exponent = bits_exponent(values)
        return int(np.count_nonzero(exponent == 0xFF))
    if values.dtype.kind != "f":
        return 0
    return int(values.size - np.count_nonzero(np.isfinite(values)))


def bits_exponent(bits: Array) -> npt.NDArray[np.uint16]:
    """Return the 8 exponent bits of bfloat16 bit patterns; all ones means NaN or infinity."""
    return np.right_shift(bits.astype(np.uint16, copy=False), np.uint16(7)) & np.uint16(0xFF)


def zero_nonfinite(values: Array, name: str) -> Array:
    """Return a copy of stored `values` with NaN and infinities replaced by zero."""
    bad = bits_exponent(values) == 0xFF if name == "bfloat16" else ~np.isfinite(values)
    return np.where(bad, np.zeros((), values.dtype), values)


def _encode_integers(values: Array, target: np.dtype[np.generic]) -> Array:
    limits = np.iinfo(target.str)
    if values.size and (values.min() < limits.min or values.max() > limits.max):
        raise StoreError(f"values do not fit {target}", "Choose a wider dtype for the feature set.")
    stored = np.ascontiguousarray(values, dtype=target)
    if values.dtype.kind == "f" and not np.array_equal(stored, values):
        raise StoreError(
            f"values are not whole numbers, the feature set is {target}", "Choose a float dtype."
        )
    return stored
