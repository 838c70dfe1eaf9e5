"""Fixtures of the feature store's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from feature_store.known_stores import NAMES, fill

from msakit.feature_store import FeatureStore


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A store with dataset "demo": 12 samples, clip03 without vision."""
    made = FeatureStore.create(tmp_path / "store")
    made.write_table("demo", fill(made, NAMES, without_vision=("clip03",)))
    return made
