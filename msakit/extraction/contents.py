"""Content digests of media files, remembered between runs: what makes two clips the same clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from msakit.feature_store import StoreError
from msakit.feature_store.digests import MediaDigests
from msakit.feature_store.keys import WHOLE, digest_file, sample_key

if TYPE_CHECKING:
    from msakit.core.interfaces import MediaClip

Digest = Callable[[Path], bytes]


@contextmanager
def remembered_digests() -> Iterator[Digest]:
    """A function from a file to its content digest; a file that has not changed is not read again.

    The digests are kept in the user's cache folder. Where that cannot be written, every file is read.
    """
    file = Path(platformdirs.user_cache_dir("msakit")) / "digests.sqlite"
    try:
        digests = MediaDigests(file)
    except StoreError:
        yield digest_file
        return
    with digests:
        yield digests.digest


def clip_key(clip: MediaClip, digest: bytes) -> bytes:
    """The address of a clip's features: content and stretch, whatever it is called and wherever it lies."""
    return sample_key(digest, microseconds(clip.start_s), microseconds(clip.end_s))


def microseconds(time_s: float | None) -> int:
    """A bound of a stretch as stored; None is the file's own."""
    return WHOLE if time_s is None else round(time_s * 1_000_000)
