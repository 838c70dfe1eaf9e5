"""Media named on a command line: files, folders, patterns, manifests, and lists on standard input."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from msakit.core.errors import InputError
from msakit.core.files import read_text
from msakit.core.interfaces import MediaClip
from msakit.extraction.manifest import ManifestRow, read_manifest

_SOUND = frozenset({".aac", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma"})
_VIDEO = frozenset({".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts"})
MEDIA = _SOUND | _VIDEO | {".webm", ".wmv"}
MANIFESTS = frozenset({".csv", ".jsonl", ".ndjson"})
STANDARD_INPUT = "-"

_NO_MEDIA = "no media files in this folder"


def find_clips(sources: Iterable[str], lines: Iterable[str] = ()) -> list[MediaClip]:
    """The clips that sources name, in order; each once.

    Args:
        sources: A media file; a folder, searched with those in it for files with a medium's ending, the
            words beside them in .txt files; a pattern such as `clips/*.mp4`; a manifest (.csv, .jsonl);
            or "-" for a path a line of `lines`.
        lines: Standard input.

    Raises:
        InputError: A source names nothing.
        ConfigError: A manifest is invalid.
    """
    clips: dict[str, MediaClip] = {}
    for source in sources:
        for clip in _clips_of(source, lines):
            clips.setdefault(clip.clip_id, clip)
    return list(clips.values())


def read_rows(place: Path) -> list[ManifestRow]:
    """The clips of a manifest, or of a folder: every media file in it and in those below.

    A file of a folder is called by its path in it without the ending (with it where two would have one
    name). What is said in it is read from a text file of the same name beside it, if there is one.

    Raises:
        InputError: The folder has no media, or a file cannot be read as text.
        ConfigError: The manifest is invalid.
    """
    if not place.is_dir():
        return read_manifest(place)
    paths = [Path(path) for path in _found(str(place), _media_below(place), _NO_MEDIA)]
    names = [_name(str(path.relative_to(place).with_suffix(""))) for path in paths]
    twice = {name for name, number in Counter(names).items() if number > 1}
    return [
        ManifestRow(name + path.suffix if name in twice else name, "", _text_beside(path), path=path)
        for name, path in zip(names, paths, strict=True)
    ]


def with_texts(clips: Sequence[MediaClip], texts: Sequence[str]) -> list[MediaClip]:
    """The clips with their texts: none given, one for all of them, or one for each.

    Raises:
        InputError: The number of texts is another one.
    """
    if not texts:
        return list(clips)
    if len(texts) not in (1, len(clips)):
        hint = "Give the text once, or once for each file."
        raise InputError(f"{len(texts)} texts for {len(clips)} files.", hint=hint)
    spoken = [*texts] * len(clips) if len(texts) == 1 else texts
    return [replace(clip, text=said) for clip, said in zip(clips, spoken, strict=True)]


def _clips_of(source: str, lines: Iterable[str]) -> Iterator[MediaClip]:
    path = Path(source)
    if source == STANDARD_INPUT:
        yield from (_whole(line.strip()) for line in lines if line.strip())
    elif path.is_dir():
        for found in _found(source, _media_below(path), _NO_MEDIA):
            yield replace(_whole(found), text=_text_beside(Path(found)))
    elif path.suffix.lower() in MANIFESTS:
        yield from (row.clip for row in read_manifest(path))
    elif not path.exists() and glob.has_magic(source):
        matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - absolute patterns too
        yield from map(_whole, _found(source, matches, "no file matches this pattern"))
    else:
        yield _whole(source)


def _media_below(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in MEDIA and path.is_file())


def _found(source: str, paths: list[str], problem: str) -> list[str]:
    if not paths:
        raise InputError(f"{source}: {problem}.", hint="Name files, a folder, a pattern or a manifest.")
    return paths


def _text_beside(path: Path) -> str:
    """The words in NAME.txt beside NAME.mp4; "" where there is no such file."""
    beside = path.with_suffix(".txt")
    return " ".join(read_text(beside).split()) if beside.is_file() else ""


def _whole(path: str) -> MediaClip:
    """A whole file, called by its path."""
    return MediaClip(Path(path), _name(path))


def _name(path: str) -> str:
    """A path as text: bytes that are no UTF-8 as escapes, so that two names stay two."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
