"""The identity of a run's data: recorded when it is trained, compared when it is verified."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from msakit.feature_store import SampleTable
    from msakit.samples.samples import Samples


def identify(store: Path, samples: Samples) -> dict[str, Any]:
    """Where the samples are, and what would be different if they were others."""
    table = samples.table
    return {
        "store": str(store.resolve()),
        "dataset": samples.dataset.name,
        "table_version": table.version,
        "table_digest": table_digest(table),
        "splits": table.splits(),
        "feature_sets": {name: column.fingerprint for name, column in table.features.items()},
    }


def table_digest(table: SampleTable) -> str:
    """SHA-256 over every sample's id, split, text, label, dialogue, speaker and feature keys.

    Feature keys are content addresses of the media, so with the feature sets' fingerprints they stand for
    the features themselves.
    """
    digest = hashlib.sha256()
    for column in (table.id, table.split, table.text, table.label_name, table.speaker, table.dialogue):
        for cell in column:
            content = cell.encode()
            digest.update(len(content).to_bytes(8, "little") + content)
    for numbers in (table.label, table.utterance, table.start_s, table.end_s):
        digest.update(numbers.tobytes())
    for name in sorted(table.features):
        features = table.features[name]
        digest.update(name.encode() + features.keys.tobytes() + features.present.tobytes())
    return digest.hexdigest()
