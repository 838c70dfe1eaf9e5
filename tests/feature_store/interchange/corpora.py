"""Small corpora in the layouts of the field, for the tests of importers and exporter."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np

SPLIT_SIZES = {"train": 6, "valid": 3, "test": 4}
AUDIO_FRAMES, VISION_FRAMES, TEXT_TOKENS = 9, 7, 5


def pad(sequence: np.ndarray, length: int, side: str = "back") -> np.ndarray:
    """Zeros around a sequence [T, D], by hand."""
    padded = np.zeros((length, sequence.shape[1]), sequence.dtype)
    start = 0 if side == "back" else length - len(sequence)
    padded[start : start + len(sequence)] = sequence
    return padded


def mmsa_split(split: str, count: int, *, seed: int = 0, vision_side: str = "back") -> dict[str, Any]:
    """One split with every key the official files have; lengths vary and reach the maximum once."""
    rng = np.random.default_rng([seed, len(split), count])
    audio_lengths = [AUDIO_FRAMES, *rng.integers(1, AUDIO_FRAMES, count - 1).tolist()]
    vision_lengths = [VISION_FRAMES, *rng.integers(1, VISION_FRAMES, count - 1).tolist()]
    token_counts = [TEXT_TOKENS, *rng.integers(2, TEXT_TOKENS, count - 1).tolist()]
    audio = [rng.normal(size=(length, 4)).astype(np.float32) for length in audio_lengths]
    vision = [rng.normal(size=(length, 3)) for length in vision_lengths]
    tokens = np.zeros((count, 3, TEXT_TOKENS), np.float32)
    for row, num in enumerate(token_counts):
        tokens[row, 0, :num] = rng.integers(100, 30_000, num)
        tokens[row, 1, :num] = 1
    return {
        "raw_text": np.array([f"{split} says {row}: café 你好" for row in range(count)]),
        "id": [f"{split}Video{row // 2}$_${row}" for row in range(count)],
        "audio": np.stack([pad(item, AUDIO_FRAMES) for item in audio]),
        "vision": np.stack([pad(item, VISION_FRAMES, vision_side) for item in vision]),
        "text": rng.normal(size=(count, TEXT_TOKENS, 6)).astype(np.float32),
        "text_bert": tokens,
        "audio_lengths": audio_lengths,
        "vision_lengths": vision_lengths,
        "regression_labels": rng.uniform(-3, 3, count).astype(np.float32),
        "regression_labels_T": rng.uniform(-1, 1, count).astype(np.float32),
        "regression_labels_A": rng.uniform(-1, 1, count).astype(np.float32),
        "regression_labels_V": rng.uniform(-1, 1, count).astype(np.float32),
        "classification_labels": rng.integers(0, 3, count),
        "annotations": np.array(["Positive", "Neutral", "Negative"], dtype=object)[rng.integers(0, 3, count)],
    }


def mmsa_corpus(**settings: Any) -> dict[str, dict[str, Any]]:
    """All three splits."""
    return {split: mmsa_split(split, count, **settings) for split, count in SPLIT_SIZES.items()}


def mse_split(count: int, classes: tuple[str, ...] = ("joy", "anger"), seed: int = 0) -> list[dict[str, Any]]:
    """MELD as MSE-Adapter stores it; the last sample has no video."""
    rng = np.random.default_rng([seed, count])
    samples = []
    for row in range(count):
        audio = rng.normal(size=(int(rng.integers(1, 6)), 3)).astype(np.float32)
        video = rng.normal(size=(int(rng.integers(1, 4)), 2)).astype(np.float32)
        missing = row == count - 1
        features = {
            "text": f"utterance {row}",
            "audio": pad(audio, 6),
            "video": np.zeros((4, 2), np.float32) if missing else pad(video, 4),
            "audio_len": len(audio),
            "video_len": 1 if missing else len(video),
        }
        samples.append({"features": features, "label": classes[row % len(classes)]})
    return samples


def write_pickle(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


CORRECT_METADATA = {"dimension names": '["sentiment", "joy"]', "computational sequence version": '"1.0"'}
MISSPELT_METADATA = {"dimension namescomputational sequence version": '["sentiment", "joy"]'}


def write_csd(
    path: Path,
    root: str,
    entries: dict[str, tuple[np.ndarray, np.ndarray]],
    metadata: dict[str, str] | None = None,
) -> Path:
    """A `.csd` file as the SDK writes it: gzip-9 datasets, metadata as one-element arrays of strings."""
    with h5py.File(path, "w") as file:
        data = file.create_group(root).create_group("data")
        for key, (features, intervals) in entries.items():
            group = data.create_group(key)
            group.create_dataset("features", data=features, compression="gzip", compression_opts=9)
            group.create_dataset("intervals", data=intervals, compression="gzip", compression_opts=9)
        notes = file[root].create_group("metadata")
        for key, value in {"root name": f'"{root}"', **(metadata or CORRECT_METADATA)}.items():
            notes.create_dataset(key, shape=(1,), dtype=h5py.string_dtype())[0] = value
    return path


def spans(*borders: float) -> np.ndarray:
    """Intervals [T, 2] between consecutive borders in seconds."""
    return np.stack([borders[:-1], borders[1:]], axis=1)
