"""Which classical systems each corpus is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from msakit.feature_store import FeatureStore
from people import classical
from people.corpora import VOICES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from msakit.feature_store import SampleTable
    from msakit.runs.predictions import Predictions

EMOTIONS = {
    "emodb": ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness"),
    "meld": ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"),
}


def classical_systems(corpus: str, store: Path, fold: str) -> Iterator[tuple[str, Predictions]]:
    """Name and test predictions of every system."""
    opened = FeatureStore.open(store)
    yield from {"emodb": _emodb, "meld": _meld, "mosi": _mosi}[corpus](opened, fold)


def class_indices(table: SampleTable, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Class index of every sample [N]."""
    return np.array([names.index(name) for name in table.label_name], np.float64)


def _emodb(store: FeatureStore, fold: str) -> Iterator[tuple[str, Predictions]]:
    names = EMOTIONS["emodb"]
    for voice in VOICES:
        table = store.table(f"{voice}_{fold}")
        labels = class_indices(table, names)
        data = classical.split_up(table, classical.functionals(store, table, "audio"), labels)
        found = classical.best_of(classical.svms(), data, classical.weighted_f1)
        yield f"svm-{voice}", classical.predictions_of(table, data, found, names)
    for name, model in classical.constants("classification").items():
        found = classical.best_of([model], data, classical.weighted_f1)
        yield name, classical.predictions_of(table, data, found, names)


def _meld(store: FeatureStore, fold: str) -> Iterator[tuple[str, Predictions]]:
    names, table = EMOTIONS["meld"], store.table(fold)
    data = classical.split_up(table, classical.tfidf(table), class_indices(table, names))
    models = {
        **{name: [model] for name, model in classical.constants("classification").items()},
        "tfidf-logistic": classical.logistic_regressions(),
        "tfidf-logistic-balanced": classical.logistic_regressions("balanced"),
    }
    for name, candidates in models.items():
        found = classical.best_of(candidates, data, classical.weighted_f1)
        yield name, classical.predictions_of(table, data, found, names)


def _mosi(store: FeatureStore, fold: str) -> Iterator[tuple[str, Predictions]]:
    table = store.table(fold)
    words = classical.tfidf(table)
    voice, face = (classical.functionals(store, table, name) for name in ("audio", "vision"))
    for name, model in classical.constants("regression").items():
        yield name, _regress(table, words, [model])
    yield "tfidf-ridge", _regress(table, words, classical.ridges(scale=False))
    for name, features in {"audio": voice, "vision": face, "audio-vision": np.hstack([voice, face])}.items():
        yield f"{name}-ridge", _regress(table, features, classical.ridges(scale=True))
        both = sparse.hstack([words, _standardised(table, features) / np.sqrt(features.shape[1])]).tocsr()
        yield f"tfidf-{name}-ridge", _regress(table, both, classical.ridges(scale=False))


def _regress(table: SampleTable, inputs: NDArray[np.float64], models: list[object]) -> Predictions:
    data = classical.split_up(table, inputs, np.asarray(table.label, np.float64))
    found = np.clip(classical.best_of(models, data, classical.negative_mae), -3, 3)
    return classical.predictions_of(table, data, found, ())


def _standardised(table: SampleTable, features: NDArray[np.float64]) -> NDArray[np.float64]:
    train = features[table.rows(split="train")]
    return (features - train.mean(0)) / np.maximum(train.std(0), 1e-6)
