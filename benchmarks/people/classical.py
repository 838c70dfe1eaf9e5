"""Scikit-learn systems on the same text and features: trained on training, chosen on validation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, mean_absolute_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from msakit.runs.predictions import Predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msakit.feature_store import FeatureStore, SampleTable

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True, slots=True)
class Inputs:
    """One dataset: inputs [N, D] by split, and labels [N] (scores, or class indices)."""

    inputs: dict[str, Any]
    labels: dict[str, NDArray[np.float64]]


def functionals(store: FeatureStore, table: SampleTable, modality: str) -> NDArray[np.float64]:
    """Mean, deviation, 20th and 80th percentile of each column, [N, 4 D]; single rows as they are, [N, D]."""
    reader = store.reader(table, modality)
    clips = [np.asarray(reader.read_one(row), np.float64) for row in range(len(table))]
    if all(len(clip) <= 1 for clip in clips):
        return np.stack([clip[0] if len(clip) else np.zeros(reader.width) for clip in clips])
    return np.stack([_statistics(clip) for clip in clips])


def _statistics(clip: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([clip.mean(0), clip.std(0), *np.percentile(clip, [20, 80], axis=0)])


def tfidf(table: SampleTable) -> Any:
    """Words and word pairs of every text, weighed by the training split."""
    texts = np.array(table.text, dtype=object)
    vectoriser = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    return vectoriser.fit(texts[table.rows(split="train")]).transform(texts)


def split_up(table: SampleTable, inputs: Any, labels: NDArray[np.float64]) -> Inputs:
    """Inputs and labels of each split."""
    rows = {split: table.rows(split=split) for split in ("train", "valid", "test")}
    return Inputs({s: inputs[r] for s, r in rows.items()}, {s: labels[r] for s, r in rows.items()})


def best_of(models: Iterable[Any], data: Inputs, score: Callable[[Any, Any], float]) -> NDArray[np.float64]:
    """Test predictions [N] of the model that does best on the validation split."""
    fitted = [model.fit(data.inputs["train"], data.labels["train"]) for model in models]
    found = [score(data.labels["valid"], model.predict(data.inputs["valid"])) for model in fitted]
    return np.asarray(fitted[int(np.argmax(found))].predict(data.inputs["test"]), np.float64)


def weighted_f1(labels: Any, predictions: Any) -> float:
    """What classifiers are chosen by."""
    return float(f1_score(labels, predictions, average="weighted"))


def negative_mae(labels: Any, predictions: Any) -> float:
    """What regressors are chosen by."""
    return -float(mean_absolute_error(labels, predictions))


def svms() -> list[Any]:
    """Support vector machines with a Gaussian kernel on standardised inputs."""
    return [make_pipeline(StandardScaler(), SVC(C=c, class_weight="balanced")) for c in STRENGTHS]


def logistic_regressions(class_weight: str | None = None) -> list[Any]:
    """Linear classifiers of sparse words."""
    return [LogisticRegression(C=c, max_iter=2000, class_weight=class_weight) for c in STRENGTHS]


def ridges(*, scale: bool) -> list[Any]:
    """Linear regressors of sparse words, or of features, which are standardised."""
    models = [Ridge(alpha=alpha) for alpha in (0.3, *STRENGTHS, 1e3, 1e4)]
    return [make_pipeline(StandardScaler(), model) for model in models] if scale else models


def constants(task: str) -> dict[str, Any]:
    """What needs no input."""
    if task == "regression":
        return {"constant-mean": DummyRegressor(), "constant-median": DummyRegressor(strategy="median")}
    return {"constant-majority": DummyClassifier(strategy="most_frequent")}


def predictions_of(
    table: SampleTable, data: Inputs, values: NDArray[np.float64], names: tuple[str, ...]
) -> Predictions:
    """Test predictions as the table that runs write."""
    ids = tuple(table.id[row] for row in table.rows(split="test"))
    return Predictions(ids, data.labels["test"], values, label_names=names)
