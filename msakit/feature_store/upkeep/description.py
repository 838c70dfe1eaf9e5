"""What a store holds, as plain data for people and programs (`msakit store ls`, `info`)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from msakit.feature_store.disk.catalog import Catalog
from msakit.feature_store.disk.shard import provenance_of
from msakit.feature_store.store import FeatureStore


def describe_store(store: FeatureStore) -> dict[str, Any]:
    """Return one line's worth about every dataset and feature set."""
    return {
        "path": str(store.path),
        "read_only": store.read_only,
        "datasets": [_dataset_line(store, name) for name in store.datasets()],
        "feature_sets": [_feature_set_line(store.catalog(name)) for name in store.feature_sets()],
    }


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
    catalog = store.catalog(feature_set.fingerprint)
    lengths = catalog.places[feature_set.modality].length
    settings: dict[str, Any] = json.loads(feature_set.canonical)
    return _feature_set_line(catalog) | {
        "settings": settings,
        "frames": {
            "total": int(lengths.sum(dtype=np.int64)),
            "shortest": int(lengths.min(initial=0)) if not len(lengths) else int(lengths.min()),
            "longest": int(lengths.max(initial=0)),
        },
        "duplicates": catalog.num_duplicates,
        "conflicts": [key.hex() for key in catalog.conflicts],
        "provenance": _provenance(catalog),
    }


def _dataset_line(store: FeatureStore, name: str) -> dict[str, Any]:
    table = store.table(name)
    return {
        "dataset": name,
        "version": table.version,
        "samples": len(table),
        "splits": table.splits(),
        "present": {name: int(np.count_nonzero(item.present)) for name, item in table.features.items()},
    }


def _feature_set_line(catalog: Catalog) -> dict[str, Any]:
    feature_set = catalog.feature_set
    return {
        "fingerprint": feature_set.fingerprint,
        "modality": feature_set.modality,
        "extractor": feature_set.extractor,
        "width": feature_set.width,
        "dtype": feature_set.dtype,
        "frame_shift_s": feature_set.frame_shift_s,
        "samples": len(catalog),
        "shards": len(catalog.shards),
        "bytes": sum(
            int(catalog.places[spec.name].length.sum(dtype=np.int64)) * spec.row_bytes
            for spec in feature_set.fields
        ),
    }


def _provenance(catalog: Catalog) -> list[dict[str, Any]]:
    """Distinct provenance documents with the number of samples each accounts for."""
    counts: dict[str, int] = {}
    for ref in catalog.shards:
        counts[ref.provenance] = counts.get(ref.provenance, 0) + ref.num_samples
    paths = {ref.provenance: ref.path for ref in catalog.shards}
    return [{"samples": count} | provenance_of(text, paths[text]) for text, count in counts.items()]
