from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from msakit.feature_store import StoreError
from msakit.feature_store.digests import MediaDigests


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"first")
    return path


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on reading a file is an error."""

    def refuse(path: object) -> bytes:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr("msakit.feature_store.digests.digest_file", refuse)


def test_an_unchanged_file_is_read_once(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with MediaDigests(tmp_path / "cache" / "digests.sqlite") as digests:
        assert digests.digest(clip) == hashlib.sha256(b"first").digest()
    forget(monkeypatch)
    (tmp_path / "link.mp4").symlink_to(clip)
    with MediaDigests(tmp_path / "cache" / "digests.sqlite") as digests:
        assert digests.digest(clip) == hashlib.sha256(b"first").digest()
        assert digests.digest(tmp_path / "link.mp4") == hashlib.sha256(b"first").digest()
    with (
        MediaDigests(tmp_path / "cache" / "digests.sqlite", rehash=True) as digests,
        pytest.raises(AssertionError, match="read again"),
    ):
        digests.digest(clip)


def test_a_changed_file_is_read_again(tmp_path: Path, clip: Path) -> None:
    with MediaDigests(tmp_path / "digests.sqlite") as digests:
        digests.digest(clip)
        before = clip.stat()
        clip.write_bytes(b"other")  # same size
        os.utime(clip, ns=(before.st_atime_ns, before.st_mtime_ns))  # same time: ctime tells
        assert digests.digest(clip) == hashlib.sha256(b"other").digest()


def test_what_cannot_be_used_is_named(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "junk.sqlite").write_bytes(b"not a database, certainly not one of ours" * 50)
    with pytest.raises(StoreError, match=r"junk\.sqlite"):
        MediaDigests(tmp_path / "junk.sqlite")
    with MediaDigests(tmp_path / "digests.sqlite") as digests, pytest.raises(StoreError, match=r"gone\.mp4"):
        digests.digest(tmp_path / "gone.mp4")


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_names_that_are_no_utf8_are_remembered_too(tmp_path):
    files = [tmp_path / os.fsdecode(name) for name in (b"\xff.mp4", b"\xfe.mp4")]
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]))
    with MediaDigests(tmp_path / "digests.sqlite") as digests:
        for _ in range(2):
            assert [digests.digest(file) for file in files] == [
                hashlib.sha256(file.read_bytes()).digest() for file in files
            ]


def test_a_link_to_itself_is_named(tmp_path: Path) -> None:
    loop = tmp_path / "loop.wav"
    loop.symlink_to(loop)
    with (
        MediaDigests(tmp_path / "digests.sqlite") as digests,
        pytest.raises(StoreError, match=r"cannot read .*loop\.wav"),
    ):
        digests.digest(loop)
