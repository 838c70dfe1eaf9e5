"""The content of a store as plain data, for people and programs (`msakit store ls`, `info`)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from msakit.feature_store.disk.files import list_folder
from msakit.feature_store.disk.layout import StoreFolder
from msakit.feature_store.disk.sample_index import SampleIndex
from msakit.feature_store.errors import StoreError
from msakit.feature_store.store import FeatureStore


def describe_store(store: FeatureStore) -> dict[str, Any]:
    """Return one line's worth about every dataset and feature set.

    What cannot be read has a member `error` in its line and hides nothing else; `quarantined` are the files
    that recovery or repair put aside.
    """
    return {
        "path": str(store.path),
        "read_only": store.read_only,
        "datasets": [_line("dataset", name, _dataset_line, store) for name in store.datasets()],
        "feature_sets": [_line("fingerprint", name, _stored_line, store) for name in store.fingerprints()],
        "quarantined": [str(path) for path in quarantined_files(store)],
    }


def quarantined_files(store: FeatureStore) -> list[Path]:
    """Files that were put aside as damaged, in every feature set."""
    if store.read_only:
        return []
    folders = StoreFolder(store.path).feature_sets()
    return [path for folder in folders for path in list_folder(folder.quarantine)]


def describe_dataset(store: FeatureStore, name: str) -> dict[str, Any]:
    """Return everything about a dataset but its rows."""
    table = store.table(name)
    labels = table.label[np.isfinite(table.label)]
    return _dataset_line(store, name) | {
        "versions": store.versions(name),
        "columns": list(table.columns()),
        "speakers": len(set(table.speaker) - {""}),
        "dialogues": len(set(table.dialogue) - {""}),
        "languages": sorted(set(table.language) - {""}),
        "labels": {
            "numeric": len(labels),
            "range": [float(labels.min()), float(labels.max())] if len(labels) else None,
            "names": sorted(set(table.label_name) - {""}),
        },
        "features": {
            modality: {"feature_set": item.fingerprint, "present": int(np.count_nonzero(item.present))}
            for modality, item in table.features.items()
        },
        "attributes": dict(table.attributes),
    }


def describe_feature_set(store: FeatureStore, prefix: str) -> dict[str, Any]:
    """Return everything about a feature set: its settings, sizes, and who made it.

    Raises:
        StoreError: when no feature set, or several, begin with `prefix`.
    """
    feature_set = store.feature_set(prefix)
    index = store.index(feature_set.fingerprint)
    lengths = index.places[feature_set.modality].length
    settings: dict[str, Any] = json.loads(feature_set.canonical)
    return _feature_set_line(index) | {
        "settings": settings,
        "frames": {
            "total": int(lengths.sum(dtype=np.int64)),
            "shortest": int(lengths.min(initial=0)) if not len(lengths) else int(lengths.min()),
            "longest": int(lengths.max(initial=0)),
        },
        "duplicates": index.num_duplicates,
        "conflicts": [key.hex() for key in index.conflicts],
        "provenance": _provenance(index),
    }


def _line(
    key: str, name: str, describe: Callable[[FeatureStore, str], dict[str, Any]], store: FeatureStore
) -> dict[str, Any]:
    try:
        return describe(store, name)
    except StoreError as error:
        return {key: name, "error": error.message, "hint": error.hint}


def _stored_line(store: FeatureStore, fingerprint: str) -> dict[str, Any]:
    return _feature_set_line(store.index(fingerprint))


def _dataset_line(store: FeatureStore, name: str) -> dict[str, Any]:
    table = store.table(name)
    return {
        "dataset": name,
        "version": table.version,
        "samples": len(table),
        "splits": table.splits(),
        "present": {name: int(np.count_nonzero(item.present)) for name, item in table.features.items()},
    }


def _feature_set_line(index: SampleIndex) -> dict[str, Any]:
    feature_set = index.feature_set
    return {
        "fingerprint": feature_set.fingerprint,
        "modality": feature_set.modality,
        "extractor": feature_set.extractor,
        "width": feature_set.width,
        "dtype": feature_set.dtype,
        "frame_shift_s": feature_set.frame_shift_s,
        "samples": len(index),
        "shards": len(index.shards),
        "bytes": sum(
            int(index.places[spec.name].length.sum(dtype=np.int64)) * spec.row_bytes
            for spec in feature_set.fields
        ),
    }


def _provenance(index: SampleIndex) -> list[dict[str, Any]]:
    """Distinct provenance documents with the number of samples each accounts for."""
    counts: dict[str, int] = {}
    for ref in index.shards:
        counts[ref.provenance] = counts.get(ref.provenance, 0) + ref.num_samples
    return [{"samples": count} | json.loads(document) for document, count in counts.items()]
