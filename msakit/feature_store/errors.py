"""Errors of the feature store, each carrying what to do about it."""

from __future__ import annotations


class StoreError(Exception):
    """A store, a file or a value cannot be used.

    Attributes:
        message: what is wrong, naming the file and the key.
        hint: what to do about it; may be empty.
        exit_code: 2 for bad input, 1 for an operation that failed.
    """

    exit_code: int = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\n{hint}" if hint else message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[StoreError], tuple[str, str]]:
        """Keep message and hint apart when the error crosses a process boundary."""
        return type(self), (self.message, self.hint)


class StoreFormatError(StoreError):
    """A file is not what the format says: foreign, hostile, or of an unknown version."""


class StoreVersionError(StoreFormatError):
    """A file is of a version this release does not read; nothing is wrong with it."""


class StoreReadError(StoreError):
    """The machine could not read (descriptors, memory, disk); this says nothing about the bytes."""

    exit_code = 1


class StoreCorruptError(StoreError):
    """Stored bytes do not match their checksum."""

    exit_code = 1


class StoreWriteError(StoreError):
    """The operating system refused a write; nothing acknowledged is lost."""

    exit_code = 1
