"""Text from elsewhere made safe to show: a terminal obeys control characters, whoever wrote them."""

from __future__ import annotations

import re

# C0 and C1 controls, marks that reorder a line, and lone surrogates, which no output can encode.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSEEN_IN_JSON = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with characters that would act on a terminal written as escapes; lines and tabs stay."""
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def visible_json(text: str) -> str:
    """JSON that means the same, with those characters as escapes (JSON itself escapes the others)."""
    return _UNSEEN_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
