"""Extraction by the workers of a Ray cluster, each of which writes to the store itself.

A worker has extractors and journals of its own, as any other writer of the store has: what a worker that
dies had put is sealed by the next writer that opens the store. Its values never travel to this process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msakit.core.errors import MissingExtraError, MsakitError
from msakit.extraction.pool import extract_clips

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msakit.core.interfaces import Extractor
    from msakit.extraction.pool import Task
    from msakit.extraction.storing import Destination, Outcome

Factory = Callable[[], "Extractor"]
_QUEUED_PER_WORKER = 2


class Worker:
    """One process of the cluster.

    Args:
        destination: Where the features go; a path that every machine of the cluster has.
        factories: Modality to what makes its extractor.
    """

    def __init__(self, destination: Destination, factories: Mapping[str, Factory]) -> None:
        self._extractors = {modality: make() for modality, make in factories.items()}
        self._storing = destination.open()

    def work(self, job: Sequence[Task]) -> list[Outcome]:
        """Extract and store tasks of one modality."""
        computed = extract_clips(self._extractors[job[0].modality], [task.clip for task in job])
        return [self._storing.put(task, each) for task, each in zip(job, computed, strict=True)]

    def close(self) -> None:
        """Seal what it wrote."""
        self._storing.close()


def extract_on_cluster(
    jobs: Sequence[Sequence[Task]],
    destination: Destination,
    factories: Mapping[str, Factory],
    workers: int,
) -> Iterator[tuple[Task, Outcome]]:
    """Extract and store every task, in order of completion.

    Args:
        jobs: Tasks that one call computes, of one modality each.
        destination: Where the features go.
        factories: Modality to what makes its extractor; picklable.
        workers: Number of processes, each on one processor.

    Raises:
        MissingExtraError: Ray is not installed.
        MsakitError: A worker died; what it had stored is kept.
    """
    if not jobs:
        return
    with _cluster(workers) as ray:
        remote = ray.remote(num_cpus=1)(Worker)
        crew = [remote.remote(destination, dict(factories)) for _ in range(min(workers, len(jobs)))]
        try:
            yield from _keep_busy(ray, crew, jobs)
            ray.get([worker.close.remote() for worker in crew])
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayActorError as error:
            msg = "A Ray worker died while extracting."
            hint = "What it had finished is kept. Run again with --engine processes --workers 1 to find "
            raise MsakitError(msg, hint=f"{hint}the clip it died of.") from error


def _keep_busy(
    ray: Any, crew: Sequence[Any], jobs: Sequence[Sequence[Task]]
) -> Iterator[tuple[Task, Outcome]]:
    """Outcomes as they come; whoever ends a job is given the next."""
    left = iter(jobs)
    waiting: dict[Any, tuple[Any, Sequence[Task]]] = {}

    def give(worker: Any) -> None:
        if (job := next(left, None)) is not None:
            waiting[worker.work.remote(list(job))] = (worker, job)

    for worker in [*crew] * _QUEUED_PER_WORKER:
        give(worker)
    while waiting:
        [done], _ = ray.wait(list(waiting), num_returns=1)
        worker, job = waiting.pop(done)
        outcomes = ray.get(done)
        give(worker)
        yield from zip(job, outcomes, strict=True)


@contextmanager
def _cluster(workers: int) -> Iterator[Any]:
    """Ray, connected to the cluster of RAY_ADDRESS, or to one of this machine that ends with the block."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--engine ray", "ray", "ray") from error
    own: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False}
    if os.environ.get("RAY_ADDRESS"):
        own = {}
    ray.init(log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True, **own)
    try:
        yield ray
    finally:
        ray.shutdown()
