"""Run tasks on a Ray cluster: one session a worker, and a lost worker's tasks are done again."""

from __future__ import annotations

from collections.abc import Callable

from roadworthy.batch.tasks import Job, Model, Receipt, Task
from roadworthy.cluster import attached, lost

_WAITING = 2
"""Tasks handed out for each worker."""
_RETRIES = 5


def run_on(
    address: str | None,
) -> Callable[[list[Task], Job, Model, int, Callable[[Receipt], None]], None]:
    """What runs tasks as `local.run_local` does, on the cluster of an address.

    Args:
        address: As `roadworthy.cluster.attached` takes it.
    """

    def run(
        tasks: list[Task], job: Job, model: Model, workers: int, done: Callable[[Receipt], None]
    ) -> None:
        with attached(address, workers) as ray:
            work = ray.remote(num_cpus=1, max_retries=_RETRIES)(_work)
            shared = ray.put(model)  # once, for however many tasks
            cores = int(ray.cluster_resources().get("CPU", 1))
            queue, waiting = iter(tasks), []
            while True:
                for task in queue:
                    waiting.append(work.remote(task, job, shared))
                    if len(waiting) >= _WAITING * cores:
                        break
                if not waiting:
                    return
                ended, waiting = ray.wait(waiting, num_returns=1)
                try:
                    for receipt in ray.get(ended):
                        done(receipt)
                except ray.exceptions.RayError as error:
                    raise lost(error) from None

    return run


def _work(task: Task, job: Job, model: Model) -> Receipt:
    import os

    os.environ.setdefault("POLARS_MAX_THREADS", "1")  # before Polars is there
    from roadworthy.batch.scoring import run_task

    return run_task(task, job, model)
