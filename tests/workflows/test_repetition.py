"""An evaluation of a run that was evaluated before."""

from __future__ import annotations

from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.samples.samples import Samples
from msakit.workflows.evaluate import Watch, evaluate_run
from msakit.workflows.load import load_run
from msakit.workflows.train import TrainingPlan, train_run
from tests.conftest import fill_store, tiny_pipeline


def test_a_repetition_reads_the_prompts_as_the_training_did(registry, tmp_path):
    """In bfloat16 what is read together decides on the last bits, and they on single answers."""
    store = fill_store(tmp_path / "store", num_samples=40)
    content = tiny_pipeline(
        backbone={"name": "tiny", "dtype": "bfloat16"},
        prompt={"layout": "late", "text_states": "answer"},
        training={"epochs": 1, "batch_size": 4, "learning_rate": 3e-3, "seed": 1},
    )
    resolved = resolve(parse_pipeline(content, "test"), registry)
    run = train_run(TrainingPlan(resolved, store, tmp_path / "run"), registry).run
    loaded = load_run(run.folder, registry)
    told = []
    watch = Watch(on_prepare=lambda done, total: told.append((done, total)))
    report = evaluate_run(loaded, Samples.open(store, loaded.resolved), ["test"], watch=watch)
    assert report.differences == {"test": {}}
    again = report.folders["test"] / "predictions.test.csv"
    assert again.read_bytes() == (run.folder / "predictions.test.csv").read_bytes()
    assert told[-1][0] == told[-1][1] > 0
