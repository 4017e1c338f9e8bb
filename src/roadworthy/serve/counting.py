"""Counting what is served: a recorder for each version, windows in the store, drift for metrics.

The path of a request copies its vector; everything else happens in a thread, every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from roadworthy.observe.compaction import compact
from roadworthy.observe.counts import Counts
from roadworthy.observe.effect import effects
from roadworthy.observe.recording import Recorder, writer_name
from roadworthy.observe.store import HOUR, WindowStore
from roadworthy.serve.metrics import Drift, ServerMetrics
from roadworthy.serve.models import Model
from roadworthy.serve.predictions import Predictor
from roadworthy.serve.problems import RequestProblem
from roadworthy.serve.routes import Route

log = logging.getLogger("roadworthy.serve")
_DRIFT_HOURS = 24
_DRIFT_SECONDS = 60.0
_MIN_ROWS = 200
"""Rows below which nothing is said of drift."""
_NICER = 5


class Counting:
    """Counts what a worker serves.

    Args:
        models: The models.
        metrics: Where requests are counted, and drift is shown.
        folder: Of the windows.
        seconds: How often windows are written.
        hours_days: Days for which they are kept by the hour; older ones become days.
    """

    def __init__(
        self,
        models: Sequence[Model],
        metrics: ServerMetrics,
        folder: Path,
        seconds: float,
        hours_days: int,
    ) -> None:
        self.models = models
        self.metrics = metrics
        self.store = WindowStore(folder)
        self.seconds = seconds
        self.hours_days = hours_days
        self.recorders: dict[str, Recorder] = {}
        self._writer = writer_name()
        self._silent: set[str] = set()
        self._new: list[Recorder] = []
        self._due = time.monotonic() + seconds
        self._drift_due = self._compact_due = time.monotonic()
        self._told: dict[str, list[int]] = {}
        self._threads = ThreadPoolExecutor(2, "counting", _stand_back)

    def attach(self) -> None:
        """Record every version that answers and has a reference."""
        for model in self.models:
            for predictor in model.answering():
                if predictor.recorder is None:
                    predictor.recorder = self._recorder(predictor)

    def _recorder(self, predictor: Predictor) -> Recorder | None:
        bundle, version = predictor.bundle, predictor.bundle.version
        if version not in self.recorders and bundle.reference is not None:
            self.recorders[version] = Recorder(
                bundle.manifest.name, version, bundle.contract, bundle.plan, bundle.reference,
                self.store, self._writer,
            )  # fmt: skip
            recorder = self.recorders[version]
            recorder.on_full = partial(self._drain_soon, recorder)
            self._new.append(recorder)
        return self.recorders.get(version)

    def refused(self, route: Route, problem: RequestProblem) -> None:
        """Note which columns a request was refused for."""
        model = next((one for one in self.models if one.name == route.model), None)
        recorder = model.current.recorder if model is not None else None
        if recorder is not None:
            recorder.refuse([one.column for one in problem.problems])

    def due(self) -> bool:
        """Whether windows are to be written."""
        return time.monotonic() >= self._due

    async def write(self) -> None:
        """Count what waits and write the windows, in a thread."""
        self._due = time.monotonic() + self.seconds
        self._hand_over()
        work = [one for one in self.recorders.values() if one.swap()]
        new, self._new = self._new, []
        loop, retired = asyncio.get_running_loop(), self._retired()
        await loop.run_in_executor(self._threads, self._write, work, new, retired)

    def _drain_soon(self, recorder: Recorder) -> None:
        """Count what waits in a thread: requests are answered meanwhile."""
        asyncio.get_running_loop().run_in_executor(self._threads, recorder.drain)

    def _retired(self) -> list[Recorder]:
        """Take away the recorders of versions that answered nothing for a while and will not."""
        answering = {
            predictor.bundle.version for model in self.models for predictor in model.answering()
        }
        silent = {
            version
            for version, recorder in self.recorders.items()
            if version not in answering and not recorder.swap()
        }
        gone = silent & self._silent
        self._silent = silent - gone
        return [self.recorders.pop(version) for version in gone]

    def _write(self, work: list[Recorder], new: list[Recorder], retired: list[Recorder]) -> None:
        for recorder in retired:
            recorder.close()
        for recorder in work:
            recorder.drain()
            if recorder.unwritten is not None:
                log.error("counts wait, for they cannot be written: %s", recorder.unwritten)
        for recorder in new:
            if (rows := recorder.recover()) and recorder.unwritten is None:
                log.warning("%d rows of an ended worker were counted", rows)
        if time.monotonic() >= self._drift_due:
            self._drift_due = time.monotonic() + _DRIFT_SECONDS
            self.metrics.drift = [each for model in self.models for each in self._drift(model)]

        if time.monotonic() >= self._compact_due:
            self._compact_due = time.monotonic() + HOUR
            try:
                compact(self.store, now=time.time(), hours_days=self.hours_days)
            except OSError as error:
                log.error("old counts stay by the hour: %s", error.strerror)

    def _drift(self, model: Model) -> list[Drift]:
        """How the last day's rows of the current version differ, of all workers and hosts."""
        bundle = model.current.bundle
        if bundle.reference is None:
            return []
        since = int(time.time() // HOUR) - _DRIFT_HOURS
        total = Counts.empty(bundle.reference.layout.size)
        for _, counts in self.store.windows(model.name, bundle.version, since=since):
            with contextlib.suppress(ValueError):
                total = total.merged(counts)
        found = []
        for column, effect in effects(bundle.reference, total.cells).items():
            if effect.rows >= _MIN_ROWS:
                found += [
                    Drift(model.name, column, "psi", effect.psi),
                    Drift(model.name, column, "blank_share", effect.blank),
                    Drift(model.name, column, "unseen_share", effect.unseen),
                    Drift(model.name, column, "outside_share", effect.outside),
                ]
        return found

    def _hand_over(self) -> None:
        """Add the requests since the last time to the current version's counts."""
        for model in self.models:
            recorder = model.current.recorder
            now = self.metrics.of_model(model.name)
            before = self._told.get(model.name, [0] * len(now))
            since = [int(each) for each in np.subtract(now, before)]
            if recorder is not None and any(since):
                recorder.serve(since[2:], since[0], since[1])
                self._told[model.name] = now

    def close(self) -> None:
        """Count and write everything; the worker ends."""
        self._hand_over()
        for recorder in self.recorders.values():
            recorder.close()


def _stand_back() -> None:
    """Let the thread that answers go first, where both want the same core."""
    if sys.platform != "linux":  # elsewhere a priority is the whole process's
        return
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.nice(0) + _NICER)
