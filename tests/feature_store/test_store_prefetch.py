from __future__ import annotations

import numpy as np
import pytest
from feature_store.known_stores import NAMES, values_of

from msakit.feature_store import FeatureStore
from msakit.feature_store.reader import prefetched


@pytest.mark.parametrize("lookahead", [0, 1, 5, 50])
def test_prefetching_changes_nothing_that_is_read(store: FeatureStore, lookahead: int) -> None:
    table = store.table("demo")
    readers = [store.reader(table, modality) for modality in ("audio", "vision")]
    order = np.random.default_rng(1).permutation(table.rows())
    batches = [order[:5], order[5:10], order[10:]]
    for _ in range(2):
        seen = list(prefetched(readers, batches, lookahead))
        assert [rows.tolist() for rows in seen] == [rows.tolist() for rows in batches]
    batch = readers[0].read(seen[1])
    for place, row in enumerate(seen[1]):
        np.testing.assert_array_equal(batch.values[place, : batch.lengths[place]], values_of(NAMES[row], 6))
