"""What is in the corpus, and what linear classifiers find: `python -m examples.demo_corpus.probe STORE`.

Linear probes of the label's sign, trained on the training split, regularised by the validation split and
scored on the test split. Sequences enter as mean and deviation over time. "x" multiplies a text score with
every audio and vision statistic: what a multiplicative fusion could use and an additive one cannot. The text
score is the human rating itself ("rating"), or what a probe of a language model's states makes of the text
("--backbone").
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from msakit.feature_store import FeatureStore, SampleTable

Array = NDArray[np.float64]
_PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_SPLITS = ("train", "valid", "test")


def main() -> None:
    """Prints the statistics of the splits and the table of probes."""
    options = _arguments()
    store = FeatureStore.open(options.store)
    table = store.table("demo")
    statistics = {split: describe(table, split) for split in _SPLITS}
    audio, vision = (_summarise(store, table, modality) for modality in ("audio", "vision"))
    scores = {"rating": np.sign(np.asarray(table.extra["rating"], float))}
    if options.backbone:
        scores[options.backbone] = _text_scores(table, options.backbone)
    probes = {
        f"{what} ({name})": value
        for name, text in scores.items()
        for what, value in probe_label(table, text, audio, vision).items()
    }
    probes |= probe_delivery(table, audio, vision)
    if options.json:
        print(json.dumps({"splits": statistics, "probes": probes}, indent=2))
        return
    for split, facts in statistics.items():
        print(split, *(f"{key}: {value}" for key, value in facts.items()), sep="\n  ")
    print("\nlinear probe, accuracy on the test split")
    for name, accuracy in probes.items():
        print(f"  {name:44s} {accuracy:.3f}")


def describe(table: SampleTable, split: str) -> dict[str, object]:
    """Counts of one split."""
    rows = table.rows(split)
    label = table.label[rows]
    column = {name: [table.extra[name][row] for row in rows] for name in ("delivery", "marker", "rating")}
    return {
        "clips": len(rows),
        "speakers": len({table.speaker[row] for row in rows}),
        "delivery": dict(Counter(column["delivery"])),
        "marker": dict(Counter(column["marker"])),
        "positive ratings": round(float(np.mean(np.array(column["rating"], float) > 0)), 3),
        "positive labels": round(float(np.mean(label > 0)), 3),
        "mean absolute label": round(float(np.abs(label).mean()), 3),
    }


def probe_label(table: SampleTable, text: Array, audio: Array, vision: Array) -> dict[str, float]:
    """Accuracy of the label's sign from each modality, side by side, and multiplied."""
    sign = table.label > 0
    column = text[:, None]
    scaled = StandardScaler().fit(np.hstack([audio, vision])[table.rows("train")])
    both = scaled.transform(np.hstack([audio, vision]))
    num_audio = audio.shape[1]
    inputs = {
        "label from text": column,
        "label from audio": audio,
        "label from vision": vision,
        "label from text, audio, vision side by side": np.hstack([column, audio, vision]),
        "label from text x audio": np.hstack([column, column * both[:, :num_audio]]),
        "label from text x vision": np.hstack([column, column * both[:, num_audio:]]),
        "label from text x (audio, vision)": np.hstack([column, column * both]),
    }
    return {name: _accuracy(table, values, sign) for name, values in inputs.items()}


def probe_delivery(table: SampleTable, audio: Array, vision: Array) -> dict[str, float]:
    """Accuracy of sincere against ironic."""
    ironic = np.array([delivery == "ironic" for delivery in table.extra["delivery"]])
    inputs = {"audio": audio, "vision": vision, "audio, vision": np.hstack([audio, vision])}
    return {f"delivery from {name}": _accuracy(table, values, ironic) for name, values in inputs.items()}


def _accuracy(table: SampleTable, values: Array, truth: NDArray[np.bool_]) -> float:
    """On the test split, with the penalty that is best on the validation split."""
    train, valid, test = (table.rows(split) for split in _SPLITS)
    fits = [_probe(penalty).fit(values[train], truth[train]) for penalty in _PENALTIES]
    best = max(fits, key=lambda fit: fit.score(values[valid], truth[valid]))
    return round(float(best.score(values[test], truth[test])), 4)


def _probe(penalty: float):
    return make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=5000))


def _summarise(store: FeatureStore, table: SampleTable, modality: str) -> Array:
    """Mean and deviation over time [N, 2D]."""
    reader = store.reader(table, modality)
    sequences = (reader.read_one(row) for row in range(len(table)))
    return np.stack([np.concatenate([values.mean(0), values.std(0)]) for values in sequences]).astype(float)


def _text_scores(table: SampleTable, backbone_name: str) -> Array:
    """How positive the text is to a probe of a backbone's mean last states, in -1..1.

    The probe learns the sign of the human rating; training samples get scores from probes that did not see
    them.
    """
    from msakit.core.registry.registry import load_registry
    from msakit.plugins.backbones.config import CausalLMConfig
    from msakit.plugins.backbones.loading import load

    backbone = load(load_registry().backbone(backbone_name), CausalLMConfig())
    states = np.stack([_mean_state(backbone, text) for text in table.text])
    positive = np.asarray(table.extra["rating"], float) > 0
    train = table.rows("train")
    probe = _probe(0.003)
    scores = probe.fit(states[train], positive[train]).decision_function(states)
    scores[train] = cross_val_predict(probe, states[train], positive[train], cv=5, method="decision_function")
    return np.tanh(scores)


def _mean_state(backbone, text: str) -> Array:
    encoded = backbone.encode_text([backbone.tokenize(text)])
    return encoded.values[0].mean(0).float().cpu().numpy().astype(float)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path, help="a store with the dataset 'demo'")
    parser.add_argument("--backbone", default="", help="also probe text through this backbone (smollm2-135m)")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
