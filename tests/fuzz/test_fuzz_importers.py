"""Random and damaged foreign files against the importers (`make fuzz`): an answer or a clear error."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from feature_store.interchange.corpora import mmsa_corpus, mse_split, pad, spans, write_csd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from msakit.feature_store import StoreError
from msakit.feature_store.interchange.child_runtime import ChildFailure
from msakit.feature_store.interchange.corpus import ImportedCorpus
from msakit.feature_store.interchange.csd_child import read_csd
from msakit.feature_store.interchange.mmsa import parse_mmsa
from msakit.feature_store.interchange.mse import parse_mse
from msakit.feature_store.interchange.padding import find_span
from msakit.feature_store.interchange.pickle_child import ADMITTED, decode_pickle
from msakit.feature_store.interchange.survey import survey_corpus
from msakit.feature_store.interchange.table_csv import parse_csv

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "50"))
ANSWERED, REFUSED, EXHAUSTED, BUG = range(4)
KILLED = -1
HEADROOM_BYTES = 1 << 30

fuzzed = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def run_limited(work: Callable[[], object]) -> int:
    """Outcome of `work` in a fork that may take a GiB and two seconds more; its own exceptions are bugs."""
    pid = os.fork()
    if pid == 0:
        outcome = BUG
        try:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + HEADROOM_BYTES,) * 2)
            resource.setrlimit(
                resource.RLIMIT_CPU, (int(resource.getrusage(resource.RUSAGE_SELF).ru_utime) + 2,) * 2
            )
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            work()
            outcome = ANSWERED
        except ChildFailure:
            outcome = REFUSED
        except (MemoryError, RecursionError):
            outcome = EXHAUSTED
        finally:
            os._exit(outcome)
    status = os.waitpid(pid, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else KILLED


# Pickles -----------------------------------------------------------------------------------

names = st.sampled_from(
    [*ADMITTED, ("os", "system"), ("builtins", "eval"), ("numpy", "load"), ("builtins", "getattr")]
)
opcodes = st.one_of(
    st.sampled_from(
        [
            bytes([code])
            for code in b"().012NIJKMTUX]abdelqstu}\x81\x85\x86\x87\x88\x89\x8a\x8f\x90\x91\x93\x94R"
        ]
    ),
    names.map(lambda name: f"c{name[0]}\n{name[1]}\n".encode()),
    st.integers(0, 255).map(lambda number: b"K" + bytes([number])),
    st.binary(max_size=12).map(lambda data: b"C" + bytes([len(data)]) + data),
    st.text(max_size=8).map(lambda text: b"\x8c" + bytes([len(text.encode())]) + text.encode()),
    st.integers(0, 3).map(lambda number: b"h" + bytes([number])),
    st.integers(0, 3).map(lambda number: b"q" + bytes([number])),
)
WHOLE = pickle.dumps({"train": {"audio": np.ones((2, 3, 2), np.float32), "id": ["a", "b"]}}, protocol=4)


@fuzzed
@given(parts=st.lists(opcodes, max_size=40))
def test_no_opcode_sequence_does_more_than_answer_or_refuse(parts: list[bytes]) -> None:
    stream = b"\x80\x04" + b"".join(parts) + b"."
    assert run_limited(lambda: decode_pickle(io.BytesIO(stream), io.BytesIO())) in (
        ANSWERED,
        REFUSED,
        EXHAUSTED,
    )


@fuzzed
@given(
    position=st.integers(0, len(WHOLE) - 1),
    content=st.binary(min_size=1, max_size=6),
    size=st.integers(0, len(WHOLE)),
)
def test_damaged_pickles_are_answered_or_refused(position: int, content: bytes, size: int) -> None:
    changed = bytearray(WHOLE)
    changed[position : position + len(content)] = content
    damaged = bytes(changed[: len(WHOLE) - size // 8])
    outcome = run_limited(lambda: decode_pickle(io.BytesIO(damaged), io.BytesIO()))
    assert outcome in (ANSWERED, REFUSED, EXHAUSTED, KILLED)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=15,
)


@fuzzed
@given(value=plain, protocol=st.integers(0, 5))
def test_plain_values_are_decoded_exactly(value: Any, protocol: int) -> None:
    tree = decode_pickle(io.BytesIO(pickle.dumps(value, protocol=protocol)), io.BytesIO())
    assert _rebuild(json.loads(json.dumps(tree))) == value


def _rebuild(node: Any) -> Any:
    if isinstance(node, list):
        return [_rebuild(item) for item in node]
    if isinstance(node, dict):
        return {_rebuild(key): _rebuild(value) for key, value in node["dict"]}
    return node


# Parsers -----------------------------------------------------------------------------------

arrays = st.tuples(st.lists(st.integers(0, 4), max_size=4), st.sampled_from(["<f4", "<f8", "<i8", "?"])).map(
    lambda spec: np.ones(spec[0], spec[1])
)
values = plain | arrays | st.lists(arrays, max_size=3)
mmsa_keys = st.sampled_from([*mmsa_corpus()["train"], "labels", "msakit_columns", "spectrogram"])


def _consume(parse: Callable[[], ImportedCorpus]) -> None:
    """Parse and read every sequence; StoreError is the one exception a file may cause."""
    try:
        corpus = parse()
        survey_corpus(corpus)
    except StoreError:
        return
    for modality in corpus.modalities.values():
        for row in range(len(corpus.rows)):
            sequence = modality.load(row)
            assert sequence is None or sequence.ndim == 2


@fuzzed
@given(
    changes=st.lists(st.tuples(st.sampled_from(["train", "valid", "test"]), mmsa_keys, values), max_size=4)
)
def test_mmsa_files_with_odd_columns(changes: list[tuple[str, str, Any]]) -> None:
    corpus = mmsa_corpus()
    for split, key, value in changes:
        corpus[split][key] = value
    decoded = {split: {key: _plain(value) for key, value in data.items()} for split, data in corpus.items()}
    _consume(lambda: parse_mmsa(decoded, "x.pkl"))


@fuzzed
@given(tree=plain | st.dictionaries(st.sampled_from(["train", "valid", "dev", "other"]), values, max_size=3))
def test_arbitrary_trees_are_no_corpus(tree: Any) -> None:
    _consume(lambda: parse_mmsa(tree, "x.pkl"))
    _consume(lambda: parse_mse([("train", tree, "x.pkl")]))


@fuzzed
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(["text", "audio", "video", "audio_len", "video_len", "label", "features"]),
            values,
        ),
        max_size=4,
    )
)
def test_mse_files_with_odd_samples(changes: list[tuple[int, str, Any]]) -> None:
    samples = mse_split(4)
    for number, key, value in changes:
        target = samples[number]
        if key in ("label", "features"):
            target[key] = value
        elif isinstance(target["features"], dict):
            target["features"][key] = value
    _consume(lambda: parse_mse([("train", samples, "x.pkl")]))


def _plain(value: Any) -> Any:
    """What the sandbox makes of a column: text and object arrays become lists."""
    return value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind in "SUO" else value


@fuzzed
@given(content=st.text(max_size=200) | st.lists(st.text(max_size=10), max_size=12).map(",".join))
def test_csv_of_anything(content: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data_train.csv"
        path.write_bytes(("id,text,label,start,utterance_id\n" + content).encode("utf-8", "surrogatepass"))
        _consume(lambda: parse_csv([("", path)], {})[0])


@fuzzed
@given(
    length=st.integers(1, 8),
    total=st.integers(1, 12),
    side=st.sampled_from(["back", "front"]),
    seed=st.integers(0, 1000),
)
def test_padding_is_found_exactly(length: int, total: int, side: str, seed: int) -> None:
    total = max(total, length)
    # Positive throughout: with zeros inside a sequence the two sides cannot always be told apart.
    sequence = np.random.default_rng(seed).uniform(0.1, 1, (length, 2))
    padded = pad(sequence, total, side)
    span = find_span(padded, length)
    np.testing.assert_array_equal(padded[span.start : span.stop], sequence)


# Computational sequences -------------------------------------------------------------------


@settings(max_examples=max(20, EXAMPLES // 2), deadline=None)
@given(
    damage=st.lists(
        st.tuples(st.integers(0, 1 << 30), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4
    )
)
def test_damaged_csd_files_are_answered_or_refused(damage: list[tuple[int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csd"
        write_csd(path, "COVAREP", {"v1": (np.arange(20.0).reshape(10, 2), spans(*range(11)))})
        content = bytearray(path.read_bytes())
        for position, change in damage:
            start = position % len(content)
            content[start : start + len(change)] = change
        path.write_bytes(content)
        # HDF5 itself may loop or crash on a damaged file: hence the limited child in which importers read it.
        assert run_limited(lambda: read_csd(path, io.BytesIO())) in (ANSWERED, REFUSED, EXHAUSTED, KILLED)
