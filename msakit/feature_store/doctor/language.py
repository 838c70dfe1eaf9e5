"""Whether a text can be in a language, judged by its script alone (English and German look alike)."""

from __future__ import annotations

import re
import unicodedata

HAN = "CJK UNIFIED"
SCRIPTS: dict[str, tuple[str, ...]] = {
    "zh": (HAN,),
    "ja": (HAN, "HIRAGANA", "KATAKANA"),
    "ko": ("HANGUL", HAN),
    "ru": ("CYRILLIC",),
    "uk": ("CYRILLIC",),
    "bg": ("CYRILLIC",),
    "el": ("GREEK",),
    "ar": ("ARABIC",),
    "fa": ("ARABIC",),
    "ur": ("ARABIC",),
    "he": ("HEBREW",),
    "hi": ("DEVANAGARI",),
    "mr": ("DEVANAGARI",),
    "bn": ("BENGALI",),
    "ta": ("TAMIL",),
    "te": ("TELUGU",),
    "th": ("THAI",),
    **{
        tag: ("LATIN",)
        for tag in ("en", "de", "fr", "es", "it", "pt", "nl", "pl", "tr", "vi", "sv", "cs", "ro", "id")
    },
}
"""Language -> beginnings of the Unicode names of its letters."""
MIN_SHARE = 0.5
# UTF-8 read as Latin-1 or Windows-1252: an accented capital or "Ã" before a continuation byte's character.
MOJIBAKE = re.compile("[\u00c2\u00c3\u00e2][\u0080-\u00bf\u20ac\u201a-\u201e\u2020-\u2022\u2039\u203a\u2122]")


def base_tag(tag: str) -> str:
    """Language part of a tag: "zh-CN" is "zh"."""
    return re.split(r"[-_]", tag.strip().lower())[0]


def script_share(text: str, tag: str) -> float | None:
    """Share of letters in a language's script; None without letters or for an unknown language."""
    prefixes = SCRIPTS.get(base_tag(tag))
    letters = [char for char in text if char.isalpha()]
    if prefixes is None or not letters:
        return None
    return sum(unicodedata.name(char, "").startswith(prefixes) for char in letters) / len(letters)


def is_garbled(text: str) -> bool:
    """Whether a text shows traces of a wrong character encoding."""
    return "\ufffd" in text or MOJIBAKE.search(text) is not None
