"""Where fits run: in threads of this process, or as tasks of a Ray cluster.

A fit is pure: encoded rows, a configuration and means go in, a score and margins come out. So the
search is the same wherever its fits run, and for a seed comes to the same result when the budget
cuts nothing.
"""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

from roadworthy.cluster import attached, lost
from roadworthy.train.candidates import Fitted, Problem
from roadworthy.train.fits import Fit, FoldRows, fit_and_score
from roadworthy.train.portfolio import Entry
from roadworthy.train.scoring import Metric

_RETRIES = 3
_LOOK = 0.25
"""Seconds between two looks whether the user ended the search."""


class Executor(Protocol):
    """What runs one fit; called from as many threads as there are fits at a time.

    Attributes:
        workers: Fits at a time that it can run; None: as many as this machine has cores.
    """

    workers: int | None

    def fit(
        self, entry: Entry, problem: Problem, data: FoldRows, metric: Metric, *, keep: bool
    ) -> tuple[Fit, Fitted | None]:
        """Fit and score one configuration on one fold; with `keep` the estimator comes too."""
        ...


class Threads:
    """Fits in the caller's thread."""

    workers: int | None = None

    def fit(
        self, entry: Entry, problem: Problem, data: FoldRows, metric: Metric, *, keep: bool
    ) -> tuple[Fit, Fitted | None]:
        """Fit and score here."""
        return fit_and_score(entry, problem, data.train, data.valid, metric)


class RayTasks:
    """Fits as tasks of one core each; the rows of a fold lie in the object store once.

    The task of a worker that is lost is run again by another, and no other task is touched.

    Args:
        ray: The library, attached to a cluster.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._fit = ray.remote(num_cpus=1, max_retries=_RETRIES)(_fit_there)
        self._ended = ray.remote(num_cpus=0)(_Ended).remote()
        self._rows: dict[int, tuple[FoldRows, Any]] = {}
        self._lock = threading.Lock()
        self._told = False
        self.workers: int | None = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def fit(
        self, entry: Entry, problem: Problem, data: FoldRows, metric: Metric, *, keep: bool
    ) -> tuple[Fit, Fitted | None]:
        """Fit and score on the cluster, and wait for it."""
        # clocks and events are of one machine: what travels is the time that is left
        plain = problem._replace(stop=None, deadline=0.0)
        task = self._fit.remote(
            entry, plain, problem.seconds_left, self._stored(data), metric, keep, self._ended
        )
        while not self._ray.wait([task], timeout=_LOOK)[0]:
            self._pass_on(problem.stop)
        try:
            found: tuple[Fit, Fitted | None] = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            return Fit(note=f"set aside: {lost(error).what[:200]}"), None
        return found

    def _stored(self, data: FoldRows) -> Any:
        with self._lock:
            known = self._rows.get(id(data))
            if known is None:
                known = self._rows[id(data)] = data, self._ray.put(data)
            return known[1]

    def _pass_on(self, stop: threading.Event | None) -> None:
        if stop is not None and stop.is_set() and not self._told:
            self._told = True
            self._ray.get(self._ended.tell.remote())


@contextlib.contextmanager
def ray_tasks(address: str | None, workers: int | None) -> Iterator[RayTasks]:
    """Tasks of the cluster at an address, as `roadworthy.cluster.attached` takes it.

    Raises:
        OutsideError: Ray is not installed, or no cluster answers.
    """
    with attached(address, workers) as ray:
        yield RayTasks(ray)


class _Ended:
    """Knows on the cluster whether the user ended the search."""

    def __init__(self) -> None:
        self._ended = False

    def tell(self) -> None:
        self._ended = True

    def asked(self) -> bool:
        return self._ended


def _fit_there(
    entry: Entry,
    problem: Problem,
    seconds: float,
    data: FoldRows,
    metric: Metric,
    keep: bool,
    ended: Any,
) -> tuple[Fit, Fitted | None]:
    """One fit in a worker of the cluster."""
    from threadpoolctl import threadpool_limits

    stop, over = threading.Event(), threading.Event()
    listener = threading.Thread(target=_listen, args=(ended, stop, over), daemon=True)
    listener.start()
    there = problem._replace(deadline=time.monotonic() + seconds, stop=stop)
    try:
        with warnings.catch_warnings(), threadpool_limits(1, "blas"):
            warnings.simplefilter("ignore")
            fit, fitted = fit_and_score(entry, there, data.train, data.valid, metric)
    finally:
        over.set()
    return fit, fitted if keep else None


def _listen(ended: Any, stop: threading.Event, over: threading.Event) -> None:
    import ray

    while not over.wait(_LOOK):
        with contextlib.suppress(ray.exceptions.RayError):
            if ray.get(ended.asked.remote()):
                stop.set()
                return
