"""Running extractors over clips, in this process or in several."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.core.errors import MediaError, MsakitError
from msakit.extraction.media import NoStreamError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msakit.core.interfaces import Extractor, MediaClip

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
    """What came of a task: values [T, D], or the reason why there are none.

    `absent` tells a clip without the stream (an absent modality) from one that is damaged.
    """

    values: NDArray[np.float32] | None = None
    reason: str = ""
    absent: bool = False


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
    if workers == 1 or len(tasks) < 2:
        for task in tasks:
            yield task, _extract(extractors[task.modality], task.clip)
        return
    # Started anew rather than forked: the extractors' libraries have threads already.
    context = multiprocessing.get_context("spawn")
    number = min(workers, len(tasks))
    with ProcessPoolExecutor(number, context, _start_worker, (dict(factories),)) as pool:
        try:
            yield from _keep_busy(pool, tasks, number * _QUEUED_PER_WORKER)
        except BrokenProcessPool as error:
            msg = "A worker process died while extracting."
            hint = "What it had finished is kept. Run again with --workers 1 to find the clip it died of."
            raise MsakitError(msg, hint=hint) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _keep_busy(
    pool: ProcessPoolExecutor, tasks: Sequence[Task], num_queued: int
) -> Iterator[tuple[Task, Computed]]:
    """Results as they come, with no more than `num_queued` tasks waiting or held in memory."""
    waiting: dict[Future[Computed], Task] = {}
    left = iter(tasks)
    while True:
        while len(waiting) < num_queued and (task := next(left, None)) is not None:
            waiting[pool.submit(_work, task.modality, task.clip)] = task
        if not waiting:
            return
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            yield waiting.pop(future), future.result()


def _start_worker(factories: dict[str, Factory]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the calling process's to handle
    _extractors.update({modality: make() for modality, make in factories.items()})


def _work(modality: str, clip: MediaClip) -> Computed:
    return _extract(_extractors[modality], clip)


def _extract(extractor: Extractor, clip: MediaClip) -> Computed:
    try:
        values: Any = extractor.extract(clip).values
    except NoStreamError as error:
        return Computed(reason=error.message, absent=True)
    except MediaError as error:
        return Computed(reason=error.message)
    if values.ndim != 2 or values.shape[1] != extractor.width or values.dtype != np.float32:
        expected = f"float32 [T, {extractor.width}]"
        msg = f"The extractor '{extractor.name}' gave {values.dtype} {list(values.shape)}, not {expected}."
        raise MsakitError(msg, hint="This is a fault of the extractor.")
    return Computed(values)
