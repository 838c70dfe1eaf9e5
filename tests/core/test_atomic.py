"""Atomic writes: no torn reads, no litter, a clear word when the disk is full."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import stat
import threading

import pytest

from msakit.core.atomic import write_atomically
from msakit.core.errors import MsakitError

SIZE = 50_000


def names(folder):
    return [path.name for path in folder.iterdir()]


def write_bytes(path, content):
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def keep_writing(path, letter, rounds):
    for _ in range(rounds):
        write_bytes(path, letter * SIZE)


def test_two_writers_of_one_file_never_mix(tmp_path):
    path = tmp_path / "file"
    write_bytes(path, b"a" * SIZE)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=keep_writing, args=(path, letter, 60)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.start()
    torn = 0
    while any(writer.is_alive() for writer in writers):
        content = path.read_bytes()
        torn += content not in (b"a" * SIZE, b"b" * SIZE)
    assert torn == 0
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert names(tmp_path) == ["file"]


def test_the_mode_is_what_the_umask_says_whatever_the_writer_sets(tmp_path):
    def private(temporary):
        temporary.write_bytes(b"x")
        temporary.chmod(0o600)

    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", private)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_what_a_killed_writer_left_is_removed_by_the_next_and_a_living_ones_is_not(tmp_path):
    path = tmp_path / "file"

    def die(temporary):
        temporary.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    victim = multiprocessing.get_context("fork").Process(target=write_atomically, args=(path, die))
    victim.start()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL
    assert len(names(tmp_path)) == 1
    halfway, go_on = threading.Event(), threading.Event()

    def slowly(temporary):
        temporary.write_bytes(b"slow")
        halfway.set()
        assert go_on.wait(20)

    living = threading.Thread(target=write_atomically, args=(path, slowly))
    living.start()
    assert halfway.wait(20)
    write_bytes(path, b"quick")
    assert path.read_bytes() == b"quick"
    go_on.set()
    living.join()
    assert path.read_bytes() == b"slow"
    assert names(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def full(temporary):
        temporary.write_bytes(b"ne")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(MsakitError, match=r"file cannot be written: No space left on device") as caught:
        write_atomically(path, full)
    assert "Free some space" in caught.value.hint
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_folder_that_is_gone_is_named(tmp_path):
    with pytest.raises(MsakitError, match=r"gone/file cannot be written"):
        write_bytes(tmp_path / "gone" / "file", b"x")
