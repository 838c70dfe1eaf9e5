"""Media named on a command line: files, folders, patterns, manifests, and lists on standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from msakit.core.errors import InputError
from msakit.core.interfaces import MediaClip
from msakit.extraction.manifest import read_manifest

_SOUND = frozenset({".aac", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma"})
_VIDEO = frozenset({".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts"})
MEDIA = _SOUND | _VIDEO | {".webm", ".wmv"}
MANIFESTS = frozenset({".csv", ".jsonl", ".ndjson"})
STANDARD_INPUT = "-"


def find_clips(sources: Iterable[str], lines: Iterable[str] = ()) -> list[MediaClip]:
    """The clips that sources name, in order; each once.

    Args:
        sources: A media file; a folder, searched with those in it for files with a medium's ending; a
            pattern such as `clips/*.mp4`; a manifest (.csv, .jsonl); or "-" for a path a line of `lines`.
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
        yield from map(_whole, _found(source, _media_below(path), "no media files in this folder"))
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


def _whole(path: str) -> MediaClip:
    """A whole file, called by its path; bytes of the name that are no UTF-8 are shown as U+FFFD."""
    return MediaClip(Path(path), os.fsencode(path).decode("utf-8", "replace"))
