from __future__ import annotations

import numpy as np
import pytest
from feature_store.known_stores import NAMES, values_of

from msakit.feature_store import FeatureStore, StoreError
from msakit.feature_store.batches import BatchOrder, prefetched

ROWS = np.arange(100, 1100)


@pytest.mark.parametrize("shuffle", ["global", "block", "none"])
def test_every_epoch_visits_every_row_once(shuffle: str) -> None:
    order = BatchOrder(ROWS, 7, seed=3, shuffle=shuffle)
    epochs = [np.concatenate(list(order)) for _ in range(3)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), ROWS)
    assert len(order) == 143
    assert np.array_equal(epochs[0], epochs[1]) == (shuffle == "none")
    again = BatchOrder(ROWS, 7, seed=3, shuffle=shuffle)
    np.testing.assert_array_equal(np.concatenate(list(again)), epochs[0])


def test_block_shuffling_stays_within_its_window() -> None:
    order = BatchOrder(ROWS, 64, shuffle="block", block_size=50, window=2).epoch_order()
    for start in range(0, 1000, 100):
        assert len({(row - 100) // 50 for row in order[start : start + 100].tolist()}) == 2
    assert not np.array_equal(order[:100], np.sort(order[:100]))


@pytest.mark.parametrize("stop", [1, 50, 142])
def test_an_interrupted_epoch_goes_on(stop: int) -> None:
    whole = BatchOrder(ROWS, 7, seed=5)
    expected = [rows.tolist() for _ in range(2) for rows in whole]
    first = BatchOrder(ROWS, 7, seed=5)
    seen = [rows.tolist() for _, rows in zip(range(stop), first, strict=False)]
    second = BatchOrder(ROWS, 7, seed=5)
    second.load_state_dict(first.state_dict())
    seen += [rows.tolist() for rows in second] + [rows.tolist() for rows in second]
    assert seen == expected
    with pytest.raises(StoreError, match="seed 5"):
        BatchOrder(ROWS, 7, seed=6).load_state_dict(first.state_dict())


def test_no_rows_and_bad_sizes() -> None:
    for shuffle in ("global", "block", "none"):
        assert list(BatchOrder(np.zeros(0, np.int64), 4, shuffle=shuffle)) == []
    with pytest.raises(StoreError, match="positive"):
        BatchOrder(ROWS, 0)


@pytest.mark.parametrize("lookahead", [0, 1, 5, 50])
def test_prefetching_changes_nothing_that_is_read(store: FeatureStore, lookahead: int) -> None:
    table = store.table("demo")
    readers = [store.reader(table, modality) for modality in ("audio", "vision")]
    batches = list(BatchOrder(table.rows(), 5, seed=1))
    for _ in range(2):
        seen = list(prefetched(readers, batches, lookahead))
        assert [rows.tolist() for rows in seen] == [rows.tolist() for rows in batches]
    batch = readers[0].read(seen[1])
    for place, row in enumerate(seen[1]):
        np.testing.assert_array_equal(batch.values[place, : batch.lengths[place]], values_of(NAMES[row], 6))
