"""Run tasks in processes of this machine, one a core."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from roadworthy.batch.tasks import Job, Model, Receipt, Task
from roadworthy.errors import OutsideError

_WAITING = 2
"""Tasks handed out for each worker: what is not handed out costs no memory."""
_LOSSES = 3
"""Times that a worker may die before the run is given up."""
_model: Model | None = None


def run_local(
    tasks: list[Task], job: Job, model: Model, workers: int, done: Callable[[Receipt], None]
) -> None:
    """Run tasks, as many at a time as there are workers.

    Args:
        tasks: What is to be done; each is independent of the others.
        job: What they have in common.
        model: The model.
        workers: Processes, one thread each.
        done: Called with each receipt as it comes.

    Raises:
        RoadworthyError: What a task raised; the receipts that are written stay.
        OutsideError: Workers died again and again.
    """
    left = {task.number: task for task in tasks}

    def finished(receipt: Receipt) -> None:
        del left[receipt.task]
        done(receipt)

    for _ in range(_LOSSES):
        try:
            _run(list(left.values()), job, model, min(workers, max(1, len(left))), finished)
            return
        except BrokenProcessPool:
            continue  # a worker died: its tasks have no receipt and are done again
    raise OutsideError(
        f"workers died {_LOSSES} times, the last with {len(left)} parts to go",
        fix="give fewer --workers or a smaller --partition-mb when memory is short, then run the "
        "same again: it goes on from there",
    )


def _run(
    tasks: list[Task], job: Job, model: Model, workers: int, done: Callable[[Receipt], None]
) -> None:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (model,))
    waiting: set[Future[Receipt]] = set()
    queue = iter(tasks)
    try:
        while True:
            for task in queue:
                waiting.add(pool.submit(_work, task, job))
                if len(waiting) >= _WAITING * workers:
                    break
            if not waiting:
                return
            ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in ended:
                done(future.result())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(model: Model) -> None:
    """Prepare a worker: one thread, no Ctrl-C of its own, no life beyond its parent's."""
    global _model
    os.environ["POLARS_MAX_THREADS"] = "1"  # before Polars is there
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _model = model


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(task: Task, job: Job) -> Receipt:
    from roadworthy.batch.scoring import run_task

    assert _model is not None
    return run_task(task, job, _model)
