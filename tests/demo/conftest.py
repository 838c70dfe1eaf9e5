"""A run that answers for media: tiny, but with the extractors of the shipped corpus."""

from __future__ import annotations

from pathlib import Path

import pytest

from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.runs.folder import Run
from msakit.samples.location import demo_store
from msakit.samples.samples import Samples
from msakit.workflows.load import load_run
from msakit.workflows.train import TrainingPlan, train_run
from tests.conftest import fill_store, tiny_pipeline

ROOT = Path(__file__).parents[2]
WIDTHS = {"audio": 40, "vision": 59}


def train(folder, registry, **changes):
    """A run on numbers, whose features are said to be those that the shipped corpus has."""
    content = tiny_pipeline(training={"epochs": 1, "batch_size": 8}, **changes)
    resolved = resolve(parse_pipeline(content, "test"), registry)
    store = fill_store(folder / "store", widths=WIDTHS)
    train_run(TrainingPlan(resolved, store, folder / "run"), registry)
    described = Samples.open(demo_store(), resolved).feature_descriptions
    Run(folder / "run").write_json("features.json", described)
    return load_run(folder / "run", registry)


@pytest.fixture(scope="session")
def scored(tmp_path_factory, registry):
    """A regression run whose fuser shows attention maps."""
    encoders = {name: {"name": "bilstm", "hidden_size": 8} for name in WIDTHS}
    return train(tmp_path_factory.mktemp("scored"), registry, encoders=encoders, fuser="cmpta")


@pytest.fixture(scope="session")
def clip():
    """A shipped clip and what is said in it."""
    return ROOT / "examples" / "clips" / "movie05708.mp4", "what is said in it"
