from __future__ import annotations

from pathlib import Path

import pytest

from msakit.feature_store import FeatureStore


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore.create(tmp_path / "store")
