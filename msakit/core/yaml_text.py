"""YAML as plain values, with bounds that no honest file reaches.

A few hundred bytes of YAML can stand for billions of values (aliases of aliases), for a value within itself,
or for more levels than the stack holds. So values are built here from the parser's events, one at a time and
without recursion; what an alias stands for counts as often as it stands there.
"""

from __future__ import annotations

from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

MAX_CHARACTERS = 1 << 20
MAX_DEPTH = 64
MAX_VALUES = 100_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is several times faster
_STANDARD = "tag:yaml.org,2002:"
_CONSTRUCTOR = SafeConstructor()
_SCALARS: dict[str, Any] = {
    f"{_STANDARD}null": _CONSTRUCTOR.construct_yaml_null,
    f"{_STANDARD}bool": _CONSTRUCTOR.construct_yaml_bool,
    f"{_STANDARD}int": _CONSTRUCTOR.construct_yaml_int,
    f"{_STANDARD}float": _CONSTRUCTOR.construct_yaml_float,
}
_PLAIN_TAGS = {None, "!", *_SCALARS, *(f"{_STANDARD}{name}" for name in ("str", "seq", "map"))}
_NOTHING, _MERGE = object(), object()


class YamlProblem(ValueError):
    """Text that is not YAML, or YAML that is refused; the message names the line."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(f"line {line}: {problem[:200]}")


def parse_yaml(text: str) -> Any:
    """The value of a YAML text: None, numbers, texts, lists and dictionaries. Dates stay text.

    Raises:
        YamlProblem: It is not YAML; holds a key twice, a tag of its own, or a value within itself; or is
            larger than the bounds of this module.
    """
    if len(text) > MAX_CHARACTERS:
        raise YamlProblem(f"more than {MAX_CHARACTERS:,} characters", 1)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
        raise YamlProblem(f"not YAML: {problem}", mark.line + 1 if mark else 1) from error
    return builder.value


class _Collection:
    """A list or mapping that is not complete yet."""

    __slots__ = ("_key", "_merged", "anchor", "items", "start")

    def __init__(self, event: Any, start: int) -> None:
        self.anchor: str | None = event.anchor
        self.start = start
        self.items: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._key: Any = _NOTHING
        self._merged: list[dict[Any, Any]] = []

    def awaits_key(self) -> bool:
        return isinstance(self.items, dict) and self._key is _NOTHING

    def add(self, value: Any, line: int) -> None:
        if isinstance(self.items, list):
            self.items.append(value)
        elif self._key is _NOTHING:
            if isinstance(value, list | dict):
                raise YamlProblem("a list or a mapping cannot be a key", line)
            if value in self.items:
                raise YamlProblem(f"the key {value!r:.60} stands there twice", line)
            self._key = value
        else:
            key, self._key = self._key, _NOTHING
            if key is _MERGE:
                self._merge(value, line)
            else:
                self.items[key] = value

    def _merge(self, value: Any, line: int) -> None:
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            raise YamlProblem("<< takes a mapping, or a list of them", line)
        self._merged.extend(sources)

    def finished(self) -> Any:
        """The content; what was merged in comes first, and the mapping's own keys win."""
        if not self._merged:
            return self.items
        merged: dict[Any, Any] = {}
        for source in reversed(self._merged):
            merged.update(source)
        return {**merged, **self.items}


class _Builder:
    """Puts events together; `value` is the document's."""

    def __init__(self) -> None:
        self.value: Any = None
        self._open: list[_Collection] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._num_values = 0
        self._num_documents = 0

    def take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            is_key = bool(self._open) and self._open[-1].awaits_key()
            value = _MERGE if is_key and event.value == "<<" and event.implicit[0] else _scalar(event, line)
            self._add(event.anchor, value, 1, line)
        elif isinstance(event, yaml.CollectionStartEvent):
            _check_tag(event.tag, line)
            if len(self._open) == MAX_DEPTH:
                raise YamlProblem(f"more than {MAX_DEPTH} levels", line)
            self._open.append(_Collection(event, self._num_values))
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = self._open.pop()
            self._add(closed.anchor, closed.finished(), 1, line, start=closed.start)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise YamlProblem(f"*{event.anchor:.60} stands for nothing that is complete here", line)
            self._add(None, *self._anchors[event.anchor], line)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._num_documents += 1
            if self._num_documents > 1:
                raise YamlProblem("a second document; a file holds one", line)

    def _add(self, anchor: str | None, value: Any, size: int, line: int, *, start: int | None = None) -> None:
        begin = self._num_values if start is None else start
        self._num_values += size
        if self._num_values > MAX_VALUES:
            raise YamlProblem(f"more than {MAX_VALUES:,} values, counting what aliases stand for", line)
        if anchor is not None:
            if anchor in self._anchors:
                raise YamlProblem(f"&{anchor:.60} stands there twice", line)
            self._anchors[anchor] = value, self._num_values - begin
        if self._open:
            self._open[-1].add(value, line)
        else:
            self.value = value


def _check_tag(tag: str | None, line: int) -> None:
    if tag not in _PLAIN_TAGS:
        raise YamlProblem(f"the tag {tag:.60} is not one of plain data", line)


def _scalar(event: Any, line: int) -> Any:
    tag, text = event.tag, event.value
    _check_tag(tag, line)
    if tag is None and event.implicit[0]:
        candidates = Resolver.yaml_implicit_resolvers.get(text[:1], ())
        tag = next((name for name, pattern in candidates if pattern.match(text)), None)
    make = _SCALARS.get(tag or "")
    if make is None:
        return text
    try:
        return make(yaml.ScalarNode(tag, text))
    except (ValueError, KeyError) as error:
        raise YamlProblem(f"{text!r:.60} is not of the type its tag says", line) from error
