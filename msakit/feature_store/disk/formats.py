"""Element types of the format and the versions this release reads."""

from __future__ import annotations

import h5py

from msakit.feature_store.disk.hdf5 import SafeFile
from msakit.feature_store.errors import StoreVersionError

STORE_FORMAT, STORE_VERSION = "msakit.store", "1.0"

READABLE_MAJORS: dict[str, int] = {
    "msakit.store": 1,
    "msakit.store-file": 1,
    "msakit.shard": 1,
    "msakit.table": 1,
    "ragged": 1,
    "dict": 1,
    "string-array": 1,
    "numeric-array": 1,
    "feature-column": 1,
}
"""Encoding type -> major version that this release reads. A minor version only adds what may be ignored."""


def check_encoding(file: SafeFile, group: h5py.Group, expected: str) -> None:
    """Check that an element is of the expected type and of a version this release reads.

    Raises:
        StoreFormatError: for another type.
        StoreVersionError: for another version, saying what to install.
    """
    found, version = file.text(group, "encoding-type"), file.text(group, "encoding-version")
    if found != expected:
        raise file.refusal(f"{group.name} is a {found!r}, expected a {expected!r}")
    check_version(found, version, f"{file.path}: {group.name}")


def check_version(encoding_type: str, version: str, where: str) -> None:
    """Refuse a version whose major number this release does not read.

    Raises:
        StoreVersionError: for any other major version or a malformed one.
    """
    major, dot, minor = version.partition(".")
    readable = READABLE_MAJORS[encoding_type]
    if dot and major.isdigit() and minor.isdigit() and int(major) == readable:
        return
    raise StoreVersionError(
        f"{where} is {encoding_type} version {version!r}; this msakit reads version {readable}.x",
        "Install the msakit that wrote it, or a newer one: pip install --upgrade msakit",
    )
