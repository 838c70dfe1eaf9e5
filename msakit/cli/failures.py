"""Errors that end a command: message, remedy and exit code (2 bad input, 1 failure)."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from msakit.core.errors import InputError, MsakitError, shorten
from msakit.core.registry.containment import describe_failure
from msakit.feature_store.errors import StoreError

_LONGEST = 4000
# What the path given cannot be; anything else a file system refuses is the machine's trouble.
_BAD_PATHS = (
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY,
    errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS, errno.EINVAL, errno.ENXIO, errno.ENODEV, errno.EXDEV,
)  # fmt: skip
_REMEDIES = {
    errno.ENOENT: "Check the path.",
    errno.EACCES: "Check its permissions, or choose another place.",
    errno.EPERM: "Check its permissions, or choose another place.",
    errno.EROFS: "The file system is read-only: choose another place.",
    errno.ENOSPC: "Free some space and run the command again.",
    errno.EDQUOT: "Your quota is used up: free some space and run the command again.",
    errno.EMFILE: "Too many files are open: raise the limit with `ulimit -n`.",
    errno.ENOMEM: "Close other programs, or choose a smaller batch size.",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """The message for an exception, and the exit code."""

    message: str
    hint: str | None
    exit_code: int


def explain(error: BaseException) -> Failure:
    """The message for an exception."""
    if isinstance(error, MsakitError | StoreError):
        return Failure(shorten(error.message, _LONGEST), error.hint, error.exit_code)
    if isinstance(error, OSError) and error.errno is not None:
        return _explain_refusal(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's own
        hint = "Choose a smaller batch size or a smaller backbone, or close other programs."
        return Failure("The memory of this machine or device is used up.", hint, 1)
    # What Path.resolve raises before Python 3.13, in place of an OSError.
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):
        return Failure(f"{error}.", _REMEDIES[errno.ENOENT], InputError.exit_code)
    return Failure(
        f"Unexpected: {describe_failure(error)}",
        "This is a defect of msakit or of a plugin. To see where it happened: msakit --traceback ...",
        1,
    )


def _explain_refusal(error: OSError) -> Failure:
    """The operating system's refusal, with the path."""
    paths = [
        os.fsdecode(path)
        for path in (error.filename, error.filename2)
        if isinstance(path, str | bytes | os.PathLike)
    ]
    reason = error.strerror or describe_failure(error)
    number = error.errno or 0
    message = f"{' and '.join(paths)}: {reason}." if paths else f"The system refuses: {reason}."
    code = InputError.exit_code if paths and number in _BAD_PATHS else MsakitError.exit_code
    return Failure(message, _REMEDIES.get(number), code)
