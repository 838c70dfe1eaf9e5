"""The task prompt of a corpus that brings none: by task, language and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SCORE = {
    "en": "Please predict the sentiment intensity of the above multimodal content in the range "
    "[{low:+.1f}, {high:+.1f}]. Assistant: The sentiment is",
    "zh": "请对上述多模态内容的情感强度进行预测，范围在[{low:+.1f}, {high:+.1f}]之间。响应: 情感为",
}
_CLASS = {
    "en": "Please recognize the emotion of the above multimodal content from the target set <{labels}>. "
    "Assistant: The emotion is",
    "zh": "请选择适用于上述多模态内容的情绪标签：<{labels}>。助手: 情绪为",
}


def score_prompt(language: str, label_range: tuple[float, float]) -> str:
    """Ask for a score, in Chinese for "zh" and in English for every other language."""
    low, high = label_range
    return _SCORE.get(language, _SCORE["en"]).format(low=low, high=high)


def class_prompt(language: str, labels: Sequence[str]) -> str:
    """Ask for the index of a class, in Chinese for "zh" and in English for every other language."""
    numbered = ", ".join(f"{label}:{index}" for index, label in enumerate(labels))
    return _CLASS.get(language, _CLASS["en"]).format(labels=numbered)
