"""Running extractors over clips, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from msakit.core.errors import MediaError, MsakitError
from msakit.core.interfaces import BatchExtractor
from msakit.extraction.media import AbsentModalityError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msakit.core.interfaces import Extractor, FeatureArray, MediaClip

T = TypeVar("T")
Factory = Callable[[], "Extractor"]

_QUEUED_PER_WORKER = 4
_extractors: dict[str, Extractor] = {}  # a worker process's own


@dataclass(frozen=True)
class Task:
    """The features of one modality of one clip, to be stored under `key`."""

    clip: MediaClip
    modality: str
    key: bytes


@dataclass(frozen=True)
class Computed:
    """The result of a task: values [T, D], or the reason why there are none.

    `absent` tells a clip without the stream (an absent modality) from one that is damaged; `notes` say what
    makes the values less reliable.
    """

    values: NDArray[np.float32] | None = None
    reason: str = ""
    absent: bool = False
    notes: tuple[str, ...] = ()


def compute(
    tasks: Sequence[Task], extractors: Mapping[str, Extractor], factories: Mapping[str, Factory], workers: int
) -> Iterator[tuple[Task, Computed]]:
    """Extract every task, in order of completion.

    Args:
        tasks: What to extract.
        extractors: Modality to extractor, used when one process is enough.
        factories: Modality to what makes an extractor; picklable, as every worker makes its own.
        workers: Number of processes; 1 extracts in this one.

    Raises:
        MsakitError: A worker process died.
    """
    jobs = list(jobs_of(tasks, extractors))
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield from zip(job, extract_clips(extractors[job[0].modality], _clips(job)), strict=True)
        return
    # Started anew rather than forked: the extractors' libraries have threads already.
    context = multiprocessing.get_context("spawn")
    number = min(workers, len(jobs))
    with ProcessPoolExecutor(number, context, _start_worker, (dict(factories), number)) as pool:
        try:
            yield from _keep_busy(pool, jobs, number * _QUEUED_PER_WORKER)
        except BrokenProcessPool as error:
            msg = "A worker process died while extracting."
            hint = "What it had finished is kept. Run again with --workers 1 to find the clip it died of."
            raise MsakitError(msg, hint=hint) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def jobs_of(tasks: Sequence[Task], extractors: Mapping[str, Extractor]) -> Iterator[list[Task]]:
    """Tasks that one call computes: one, or as many as the extractor takes at once."""
    waiting: dict[str, list[Task]] = {}
    for task in tasks:
        job = waiting.setdefault(task.modality, [])
        job.append(task)
        extractor = extractors[task.modality]
        if len(job) >= (extractor.batch_size if isinstance(extractor, BatchExtractor) else 1):
            yield waiting.pop(task.modality)
    yield from waiting.values()


def _clips(job: Sequence[Task]) -> list[MediaClip]:
    return [task.clip for task in job]


def _keep_busy(
    pool: ProcessPoolExecutor, jobs: Sequence[Sequence[Task]], num_queued: int
) -> Iterator[tuple[Task, Computed]]:
    """Results as they come, with no more than `num_queued` jobs waiting or held in memory."""
    waiting: dict[Future[list[Computed]], Sequence[Task]] = {}
    left = iter(jobs)
    while True:
        while len(waiting) < num_queued and (job := next(left, None)) is not None:
            waiting[pool.submit(_work, job[0].modality, _clips(job))] = job
        if not waiting:
            return
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            yield from zip(waiting.pop(future), future.result(), strict=True)


def _start_worker(factories: dict[str, Factory], num_workers: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the calling process's to handle
    _extractors.update({modality: make() for modality, make in factories.items()})
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // num_workers))


def _work(modality: str, clips: list[MediaClip]) -> list[Computed]:
    return extract_clips(_extractors[modality], clips)


def extract_clips(extractor: Extractor, clips: Sequence[MediaClip]) -> list[Computed]:
    """The features of each clip, several at once where the extractor can; a bad clip spoils no other."""
    if not isinstance(extractor, BatchExtractor):
        return [_attempt(lambda clip: _checked(extractor, extractor.extract(clip)), clip) for clip in clips]
    read = [_attempt(extractor.read, clip) for clip in clips]
    encoded = iter(extractor.encode([each for each in read if not isinstance(each, Computed)]))
    return [each if isinstance(each, Computed) else _checked(extractor, next(encoded)) for each in read]


def _attempt(function: Callable[[MediaClip], T], clip: MediaClip) -> T | Computed:
    """The function's result for a clip, or why there is none."""
    try:
        return function(clip)
    except AbsentModalityError as error:
        return Computed(reason=error.message, absent=True)
    except MediaError as error:
        return Computed(reason=error.message)


def _checked(extractor: Extractor, features: FeatureArray) -> Computed:
    values: Any = features.values
    if values.ndim != 2 or values.shape[1] != extractor.width or values.dtype != np.float32:
        expected = f"float32 [T, {extractor.width}]"
        msg = f"The extractor '{extractor.name}' gave {values.dtype} {list(values.shape)}, not {expected}."
        raise MsakitError(msg, hint="This is a fault of the extractor.")
    return Computed(values, notes=features.notes)
