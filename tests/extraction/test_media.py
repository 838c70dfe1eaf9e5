"""Decoding: exact sample counts, the right frames at the right times, and errors that name the file."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from msakit.core.errors import MediaError, MissingExtraError
from msakit.core.interfaces import MediaClip
from msakit.extraction.media import NoStreamError, decode_audio, decode_frames

av = pytest.importorskip("av")
CLIP = Path(__file__).parents[2] / "examples/clips/movie03813.mp4"


def write_wav(path: Path, samples: np.ndarray, rate: int) -> MediaClip:
    """A 16-bit wav file of samples [N, channels]."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return MediaClip(path, path.stem)


def tone(hertz: float, seconds: float, rate: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def peak_hz(samples: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def write_grey_video(
    path: Path, num_frames: int, fps: int, *, audio_delay_s: float | None = None
) -> MediaClip:
    """Lossless video whose frame k is grey 5k everywhere; with a one-second tone from `audio_delay_s` on."""
    with av.open(str(path), "w", format="matroska") as container:
        video = container.add_stream("ffv1", rate=fps)
        video.width, video.height, video.pix_fmt = 64, 48, "bgr0"
        audio = (
            None if audio_delay_s is None else container.add_stream("pcm_s16le", rate=16000, layout="mono")
        )
        for index in range(num_frames):
            image = np.full((48, 64, 3), 5 * index, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode())
        if audio is not None and audio_delay_s is not None:
            block = (tone(440, 1, 16000) * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = (
                16000,
                Fraction(1, 16000),
                round(audio_delay_s * 16000),
            )
            container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return MediaClip(path, path.stem)


def greys(clip: MediaClip, fps: float) -> list[int]:
    images = list(decode_frames(clip, fps))
    assert all(image.shape == (48, 64, 3) and image.dtype == np.uint8 for image in images)
    assert all(len(np.unique(image)) == 1 for image in images)
    return [int(image[0, 0, 0]) // 5 for image in images]


def test_audio_is_mixed_down_and_resampled(tmp_path):
    stereo = np.stack([tone(440, 2, 44100), np.zeros(88200)], axis=1)
    samples = decode_audio(write_wav(tmp_path / "a.wav", stereo, 44100), 16000)
    assert samples.dtype == np.float32
    assert samples.shape == (32000,)
    assert peak_hz(samples, 16000) == pytest.approx(440, abs=1)
    assert np.abs(samples[1000:-1000]).max() == pytest.approx(0.25, abs=0.01)  # the mean of both channels


def test_a_segment_is_cut_to_the_sample(tmp_path):
    sound = np.concatenate([tone(hertz, 1, 16000) for hertz in (300, 600, 900)])[:, None]
    whole = write_wav(tmp_path / "a.wav", sound, 16000)
    part = decode_audio(MediaClip(whole.path, "part", start_s=1.0, end_s=1.75), 16000)
    assert np.array_equal(part, decode_audio(whole, 16000)[16000:28000])
    assert peak_hz(part, 16000) == pytest.approx(600, abs=2)


def test_audio_that_starts_late_is_preceded_by_silence(tmp_path):
    clip = write_grey_video(tmp_path / "v.mkv", 40, 20, audio_delay_s=0.5)
    samples = decode_audio(clip, 16000)
    assert samples.shape == (24000,)
    assert not samples[:7990].any()
    assert peak_hz(samples[8000:], 16000) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (20, list(range(20))),
        (10, list(range(0, 20, 2))),
        (40, [index // 2 for index in range(40)]),
        (8, [0, 2, 5, 7, 10, 12, 15, 17]),
    ],
)
def test_frames_are_those_on_show_at_their_time(tmp_path, fps, expected):
    assert greys(write_grey_video(tmp_path / "v.mkv", 20, 20), fps) == expected


def test_frames_of_a_segment(tmp_path):
    whole = write_grey_video(tmp_path / "v.mkv", 40, 20)
    part = MediaClip(whole.path, "part", start_s=0.52, end_s=1.02)
    assert greys(part, 10) == [10, 12, 14, 16, 18]  # at .52, .62, ... seconds


def test_a_single_frame_is_enough(tmp_path):
    assert greys(write_grey_video(tmp_path / "v.mkv", 1, 20), 10) == [0]


def test_example_clip_has_sound_and_picture_of_one_length():
    clip = MediaClip(CLIP, "example")
    images = list(decode_frames(clip, 20))
    samples = decode_audio(clip, 16000)
    assert images[0].shape == (256, 256, 3)
    assert len(samples) / 16000 == pytest.approx(len(images) / 20, abs=0.1)
    assert 0.01 < np.sqrt(np.mean(samples**2)) < 0.3


def test_absent_streams_are_told_from_damage(tmp_path):
    silent = write_grey_video(tmp_path / "v.mkv", 5, 20)
    with pytest.raises(NoStreamError, match=r"v\.mkv: no audio stream"):
        decode_audio(silent, 16000)
    blind = write_wav(tmp_path / "a.wav", tone(440, 1, 16000)[:, None], 16000)
    with pytest.raises(NoStreamError, match=r"a\.wav: no video stream"):
        list(decode_frames(blind, 10))


def damaged(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "bad.mp4"
    content = CLIP.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 3])
    elif kind == "garbage":
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    elif kind == "empty":
        path.write_bytes(b"")
    return path


@pytest.mark.parametrize("kind", ["truncated", "garbage", "empty", "missing"])
@pytest.mark.parametrize("decode", [lambda c: decode_audio(c, 16000), lambda c: list(decode_frames(c, 10))])
def test_unusable_files_are_named(tmp_path, kind, decode):
    path = damaged(tmp_path, kind)
    with pytest.raises(MediaError, match=r"bad\.mp4") as caught:
        decode(MediaClip(path, "bad"))
    assert not isinstance(caught.value, NoStreamError)
    assert caught.value.exit_code == 2
    assert caught.value.hint


@pytest.mark.parametrize("decode", [lambda c: decode_audio(c, 16000), lambda c: list(decode_frames(c, 10))])
def test_a_segment_beyond_the_end_is_refused(decode):
    with pytest.raises(MediaError, match="between 60"):
        decode(MediaClip(CLIP, "late", start_s=60.0, end_s=61.0))


@pytest.mark.parametrize(("start", "end"), [(2.0, 2.0), (2.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0)])
def test_impossible_segments_are_refused(start, end):
    with pytest.raises(MediaError, match="is empty"):
        MediaClip(CLIP, "reversed", start_s=start, end_s=end)


def test_without_pyav_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"msakit\[extract\]"):
        decode_audio(MediaClip(CLIP, "clip"), 16000)


def test_importing_it_imports_no_decoder():
    code = (
        "import sys, msakit.extraction.media; "
        "print([m for m in ('av', 'torch', 'librosa') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Files from strangers


@pytest.mark.timeout(120, func_only=True)
def test_sound_of_days_is_refused_before_memory_is_taken(tmp_path):
    late = write_grey_video(tmp_path / "late.mkv", 3, 10, audio_delay_s=100_000)
    with pytest.raises(MediaError, match="minutes of sound"):
        decode_audio(late, 16000)
    slow = write_wav(tmp_path / "slow.wav", np.zeros((100_000, 1)), 1)
    with pytest.raises(MediaError, match="sound of 1 Hz"):
        decode_audio(slow, 16000)
    long = write_wav(tmp_path / "long.wav", np.zeros((9_000_000, 1)), 1000)
    with pytest.raises(MediaError, match="minutes of sound"):
        decode_audio(long, 16000)


@pytest.mark.timeout(120, func_only=True)
def test_frames_hours_apart_are_refused(tmp_path):
    path = tmp_path / "still.mkv"
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        for pts in (0, 360_000):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(MediaError, match="minutes of video"):
        list(decode_frames(MediaClip(path, "still"), 10))


def test_pictures_too_large_for_a_camera_are_refused(tmp_path, monkeypatch):
    clip = write_grey_video(tmp_path / "large.mkv", 3, 10)
    monkeypatch.setattr("msakit.extraction.media_limits.MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(MediaError, match="64 x 48 pixels"):
        list(decode_frames(clip, 1))


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile secret.wav\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
}


@pytest.mark.timeout(120, func_only=True)
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_lists_of_other_files_are_no_media(tmp_path, kind):
    write_wav(tmp_path / "secret.wav", np.zeros((16000, 1)), 16000)
    clip = MediaClip(tmp_path / "clip.mp4", "clip")
    clip.path.write_text(PLAYLISTS[kind])
    with pytest.raises(MediaError, match=r"clip\.mp4"):
        decode_audio(clip, 16000)


def test_pipes_are_no_media(tmp_path):
    os.mkfifo(tmp_path / "clip.mp4")
    with pytest.raises(MediaError, match="no such file"):
        decode_audio(MediaClip(tmp_path / "clip.mp4", "clip"), 16000)
