"""Manifests of corpora as they are: MMSA-FET's label.csv and MELD's dialogue tables, in msakit's columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msakit.feature_store import StoreError
from msakit.feature_store.interchange.mse import split_from_name

Record = Mapping[str, Any]
_ENDINGS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".wav", ".flac", ".mp3")
_MMSA = frozenset({"video_id", "clip_id", "text"})
_MELD = frozenset({"Utterance", "Dialogue_ID", "Utterance_ID"})


def is_known(names: frozenset[str]) -> bool:
    """Whether a header is one of the layouts that name no `id` and `path`."""
    return names >= _MMSA or names >= _MELD


def in_our_columns(record: Record, manifest: Path) -> Record:
    """A record of a known layout in the columns of a manifest; any other as it is.

    MMSA-FET: the clip is Raw/VIDEO/CLIP.mp4 (or VIDEO/CLIP.mp4, any ending) beside the table, `mode` the
    split. MELD: the clip is diaX_uttY.mp4 beside the table or one folder below it; the split is read off
    the table's name; StartTime and EndTime count from the start of the episode, so they are kept as columns.
    """
    if "path" in record:
        return record
    if record.keys() >= _MMSA:
        return _from_mmsa(record, manifest.parent)
    return _from_meld(record, manifest) if record.keys() >= _MELD else record


def _from_mmsa(record: Record, folder: Path) -> Record:
    video, clip = str(record["video_id"]).strip(), str(record["clip_id"]).strip()
    ours = {"video_id", "clip_id", "mode", "text", "label"}
    return {
        "id": f"{video}$_${clip}",
        "path": _find(folder, [f"Raw/{video}", video], clip),
        "text": record["text"],
        "label": record.get("label"),
        "split": _split(str(record.get("mode") or "")),
        "video": video,
        **{name: value for name, value in record.items() if name not in ours},
    }


def _from_meld(record: Record, manifest: Path) -> Record:
    dialogue, utterance = str(record["Dialogue_ID"]).strip(), str(record["Utterance_ID"]).strip()
    name, split = f"dia{dialogue}_utt{utterance}", _split_in_name(manifest)
    folders = ["", *sorted(each.name for each in manifest.parent.iterdir() if each.is_dir())]
    ours = {"Utterance", "Dialogue_ID", "Utterance_ID", "Speaker", "Emotion"}
    return {
        "id": "-".join(filter(None, (split, name))),
        "path": _find(manifest.parent, folders, name),
        "text": record["Utterance"],
        "label_name": record.get("Emotion"),
        "split": split,
        "speaker": record.get("Speaker"),
        "dialogue": "-".join(filter(None, (split, dialogue))),
        "utterance": utterance,
        **{key: value for key, value in record.items() if key not in ours},
    }


def _split(mode: str) -> str:
    return {"dev": "valid", "val": "valid"}.get(mode.strip().lower(), mode.strip().lower())


def _split_in_name(manifest: Path) -> str:
    try:
        return split_from_name(manifest)
    except StoreError:
        return ""


def _find(folder: Path, below: list[str], stem: str) -> str:
    """The clip's path, relative to the folder; the likeliest one where there is none."""
    for place in below:
        for ending in _ENDINGS:
            if (folder / place / f"{stem}{ending}").is_file():
                return str(Path(place) / f"{stem}{ending}")
    return str(Path(below[0]) / f"{stem}{_ENDINGS[0]}")
