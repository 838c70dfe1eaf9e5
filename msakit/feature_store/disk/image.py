"""The HDF5 structure of a file, held in memory: kilobytes among gigabytes of arrays."""

from __future__ import annotations

import os

from msakit.feature_store.disk.files import Buffer

PAGE = 4096


class StructureImage:
    """A sparse file in memory, which HDF5 lays its structure out in or parses it from.

    So HDF5 never touches a disk: when it fails, the bytes are wrong, and not the machine.
    """

    def __init__(self) -> None:
        self.size = 0
        self._pages: dict[int, bytearray] = {}
        self._spans: list[tuple[int, int]] = []
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def truncate(self, size: int) -> int:
        """Set the size."""
        self.size = size
        return size

    def flush(self) -> None:
        """Nothing is buffered."""

    def write(self, data: Buffer) -> int:
        """Store bytes at the position."""
        view, start = memoryview(data).cast("B"), self._position
        done = 0
        while done < len(view):
            number, place = divmod(start + done, PAGE)
            count = min(PAGE - place, len(view) - done)
            page = self._pages.get(number)
            if page is None:
                page = self._pages[number] = bytearray(PAGE)
            page[place : place + count] = view[done : done + count]
            done += count
        self._spans.append((start, start + done))
        self._position = start + done
        self.size = max(self.size, self._position)
        return done

    def readinto(self, target: memoryview) -> int:
        """Fill `target` from the position; what was never written reads as zeros."""
        start, done = self._position, 0
        while done < len(target):
            number, place = divmod(start + done, PAGE)
            count = min(PAGE - place, len(target) - done)
            page = self._pages.get(number)
            target[done : done + count] = page[place : place + count] if page is not None else bytes(count)
            done += count
        self._position = start + done
        return done

    def read(self, num_bytes: int) -> bytes:
        """Read from the position."""
        target = bytearray(num_bytes)
        self.readinto(memoryview(target))
        return bytes(target)

    def written(self) -> list[tuple[int, bytes]]:
        """Disjoint (offset, bytes) of everything written, in order of offset."""
        spans: list[list[int]] = []
        for start, stop in sorted(self._spans):
            if spans and start <= spans[-1][1]:
                spans[-1][1] = max(spans[-1][1], stop)
            else:
                spans.append([start, stop])
        pieces = []
        for start, stop in spans:
            self.seek(start)
            pieces.append((start, self.read(stop - start)))
        return pieces
