"""Texts for clips that have none: written down by a transcriber, with its name beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from msakit.core.errors import MediaError
from msakit.extraction.contents import Digest, clip_key, microseconds, remembered_digests
from msakit.feature_store import FeatureStore, StoreError
from msakit.feature_store.keys import sample_key

if TYPE_CHECKING:
    from msakit.core.interfaces import MediaClip, Transcriber
    from msakit.extraction.manifest import ManifestRow

TEXT_BY = "text_by"
"""Column of a dataset: what wrote the text; "" where a person did."""


def stored_transcripts(store: FeatureStore, dataset: str, engine: str) -> dict[bytes, str]:
    """Clip to transcript, of the clips of a dataset that this engine has written down before."""
    if dataset not in store.datasets():
        return {}
    table = store.table(dataset)
    found = {}
    for row, by in enumerate(table.extra.get(TEXT_BY, ())):
        if by == engine and table.content[row]:
            bounds = (None if math.isnan(t) else float(t) for t in (table.start_s[row], table.end_s[row]))
            start, end = map(microseconds, bounds)
            found[sample_key(bytes.fromhex(table.content[row]), start, end)] = table.text[row]
    return found


def transcribe_rows(
    rows: Sequence[ManifestRow],
    transcriber: Transcriber,
    known: Mapping[bytes, str],
    on_clip: Callable[[str], None] = lambda _: None,
) -> list[ManifestRow]:
    """The rows with a text for each clip that had none; a clip without sound keeps none.

    Args:
        rows: The manifest.
        transcriber: What writes.
        known: What it wrote before (`stored_transcripts`).
        on_clip: Called with a clip's id once it is done.
    """
    written = []
    with remembered_digests() as digest:
        for row in rows:
            text = row.text or _known(row.clip, known, digest) or transcribe_clip(row.clip, transcriber)
            by = "" if row.text or not text else transcriber.engine
            written.append(replace(row, text=text, extra={**row.extra, TEXT_BY: by}))
            on_clip(row.id)
    return written


def _known(clip: MediaClip, known: Mapping[bytes, str], digest: Digest) -> str | None:
    try:
        return known.get(clip_key(clip, digest(clip.path))) if known else None
    except StoreError:
        return None  # unreadable, which extraction reports


def transcribe_clip(clip: MediaClip, transcriber: Transcriber) -> str:
    """The words spoken in a clip; "" where it has no sound or cannot be decoded, which extraction reports."""
    try:
        return transcriber.transcribe(clip)
    except MediaError:
        return ""
