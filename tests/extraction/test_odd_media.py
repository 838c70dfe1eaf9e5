"""Media and names that are unusual, broken or meant ill: each has a clear answer and nothing else is lost."""

from __future__ import annotations

import os
import struct
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

pytest.importorskip("av")
import av
from extraction.cheap_extractors import CheapExtractor
from plugins.extractors.sounds import write_tone

from msakit.core.errors import MediaError
from msakit.core.interfaces import FeatureArray, MediaClip
from msakit.extraction.extract import Extraction
from msakit.extraction.manifest import read_manifest
from msakit.extraction.media import decode_audio, decode_frames
from msakit.feature_store import FeatureStore

CLIPS = Path(__file__).parents[2] / "examples" / "clips"


class Loudness(CheapExtractor):
    """The loudness of every tenth of a second."""

    name, modality, frame_shift_s = "loudness", "audio", 0.1

    def extract(self, clip: MediaClip) -> FeatureArray:
        samples = decode_audio(clip, 8000)
        rows = np.resize(samples, (max(1, len(samples) // 800), 800))
        return FeatureArray(np.sqrt((rows**2).mean(1, keepdims=True)).astype(np.float32), 0.1)


def extract(folder: Path, manifest: str):
    (folder / "manifest.csv").write_text(manifest, encoding="utf-8")
    store = FeatureStore.create(folder / "store")
    extraction = Extraction({"audio": partial(Loudness)})
    report = extraction.run(read_manifest(folder / "manifest.csv"), store, "d")
    return report, store


@pytest.mark.parametrize(("rate_hz", "channels"), [(8000, 1), (96000, 6)])
def test_any_rate_and_number_of_channels_is_heard(tmp_path, rate_hz, channels):
    wave_form = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.repeat((wave_form * 32767).astype("<i2"), channels).tobytes())
    samples = decode_audio(MediaClip(tmp_path / "a.wav", "a"), 16000)
    assert len(samples) == pytest.approx(16000, abs=20)
    spectrum = np.abs(np.fft.rfft(samples[:16000]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=1)


def test_sound_of_no_length_and_text_that_claims_to_be_a_clip_are_refused(tmp_path):
    with pytest.raises(MediaError, match=r"empty\.wav: no audio between"):
        decode_audio(write_tone(tmp_path / "empty.wav", seconds=0), 16000)
    (tmp_path / "text.mp4").write_text("once upon a time\n" * 100)
    with pytest.raises(MediaError, match=r"text\.mp4: cannot be decoded"):
        list(decode_frames(MediaClip(tmp_path / "text.mp4", "x"), 5))


def test_a_wrong_ending_does_no_harm(tmp_path):
    write_tone(tmp_path / "a.wav", seconds=1).path.rename(tmp_path / "a.mp4")
    assert len(decode_audio(MediaClip(tmp_path / "a.mp4", "a"), 16000)) == 16000


def test_an_id_that_climbs_writes_nothing_elsewhere(tmp_path):
    folder = tmp_path / "deep" / "clips"
    folder.mkdir(parents=True)
    write_tone(folder / "a.wav", seconds=0.5)
    report, store = extract(folder, "id,path\n../../evil,a.wav\n/etc/evil,a.wav\n")
    assert report.failed == []
    assert store.table("d").id == ("../../evil", "/etc/evil")
    assert {path.name for path in tmp_path.rglob("*evil*")} == set()


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_a_name_that_is_no_utf8_is_read_all_the_same(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav"))
    write_tone(tmp_path / "a.wav", seconds=0.5).path.rename(path)
    assert len(decode_audio(MediaClip(path, "odd"), 16000)) == 8000


@contextmanager
def nobody(folder: Path) -> Iterator[None]:
    """Within it, root is a user who owns the folder and nothing else: root may read everything."""
    if os.geteuid():
        yield
        return
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_a_file_that_may_not_be_read_is_reported_and_the_others_kept(tmp_path):
    write_tone(tmp_path / "a.wav", seconds=0.5)
    extract(tmp_path, "id,path\na,a.wav\n")  # imports what a user without rights may not find
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_tone(folder / "mine.wav", seconds=0.5)
        write_tone(folder / "secret.wav", seconds=0.5).path.chmod(0)
        with nobody(folder):
            report, store = extract(folder, "id,path\nmine,mine.wav\nsecret,secret.wav\n")
            assert store.table("d").id == ("mine",)
    [problem] = report.failed
    assert problem.clip_id == "secret"
    assert "secret.wav" in problem.reason
    assert "ermission denied" in problem.reason


_FULL = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        ((_FULL, 0, 0, _FULL), "top left"),
        ((0, _FULL, -_FULL, 0), "top right"),  # a quarter clockwise
        ((-_FULL, 0, 0, -_FULL), "bottom right"),
        ((0, -_FULL, _FULL, 0), "bottom left"),
    ],
)
def test_a_telephone_held_upright_is_seen_upright(tmp_path, matrix, corner):
    """A file's matrix (ISO/IEC 14496-12, 8.3.2) takes x to ax + cy and y to bx + dy; top left is light."""
    image = np.zeros((32, 64, 3), np.uint8)
    image[:16, :16] = 255
    path = tmp_path / "portrait.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    a, b, c, d = matrix
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    seen = next(decode_frames(MediaClip(path, "portrait"), 5)).mean(2)
    assert seen.shape == ((64, 32) if b else (32, 64))
    corners = {"top left": (4, 4), "top right": (4, -5), "bottom left": (-5, 4), "bottom right": (-5, -5)}
    assert max(corners, key=lambda name: seen[corners[name]]) == corner


def test_of_two_faces_one_is_followed(monkeypatch):
    pytest.importorskip("mediapipe")
    from msakit.plugins.extractors import blendshapes
    from msakit.plugins.extractors.config import BlendshapesConfig

    faces = [next(decode_frames(MediaClip(CLIPS / f"movie0{n}.mp4", "clip"), 10)) for n in ("7075", "5708")]
    both = np.ascontiguousarray(np.concatenate(faces, axis=1))
    monkeypatch.setattr(blendshapes, "decode_frames", lambda clip, fps: iter([both] * 5))
    extractor = blendshapes.BlendshapesExtractor(**dict(BlendshapesConfig()))
    values = extractor.extract(MediaClip(Path("unused.mp4"), "two")).values
    assert values[:, -1].all()
    sides = np.sign(values[:, 55])  # x of the head: the same face in every frame
    assert len(set(sides)) == 1
