"""The supervisor: starts workers, replaces the dead and the hung, and ends them in order.

It loads neither NumPy nor the model, so that it costs little memory and cannot fail on either.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from roadworthy.errors import CheckFailed, InputError, OutsideError, RoadworthyError
from roadworthy.serve.orders import Orders, Served, Word

log = logging.getLogger("roadworthy.serve")
_ERRORS = {1: CheckFailed, 2: InputError, 3: OutsideError}
_PROGRAM = "from roadworthy.serve.worker import main; raise SystemExit(main())"
_SHIPPER = "from roadworthy.serve.prediction_log.shipping import main; raise SystemExit(main())"
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(4 << 20), "MALLOC_TRIM_THRESHOLD_": str(16 << 20)}
"""For the GNU allocator: what a batch took stays for the next one. Given back to the system
each time it would be fetched anew page by page, which costs more than to answer the batch."""
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MAX_PAUSE = 5.0
_START_SECONDS = 120.0


class Worker:
    """A worker process, or the prediction log's shipper, as the supervisor sees it."""

    def __init__(self, orders: Orders, program: str = _PROGRAM) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(orders.socket,),
            env={**_MEMORY, **os.environ},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.output = self.process.stdout
        os.set_blocking(self.output.fileno(), False)
        self.process.stdin.write(msgspec.json.encode(orders) + b"\n")
        self.process.stdin.flush()
        self.ready = False
        self.served: tuple[Served, ...] = ()
        self.heard = time.monotonic()
        self.failure: Word | None = None
        self._held = b""

    def listen(self) -> bool:
        """Read what the worker says; False when it has ended."""
        read = self.output.read()
        if read == b"":
            return False
        *lines, self._held = (self._held + (read or b"")).split(b"\n")
        for line in lines:
            try:
                word = msgspec.json.decode(line, type=Word)
            except msgspec.DecodeError:
                continue  # a library printed something
            self.heard = time.monotonic()
            if word.kind == "ready":
                self.ready, self.served = True, word.served
            elif word.kind == "failed":
                self.failure = word
        return True

    def end(self, seconds: float) -> None:
        """Close its input, which tells it to finish, and wait; then kill it."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            log.error("the prediction log's shipper does not end: killed; what is left stays")
            self.process.kill()
            self.process.wait()

    def send(self, number: int) -> None:
        """Send a signal."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


class Supervisor:
    """Keeps the wanted number of workers running.

    Args:
        orders: What each worker is told.
        on_ready: Called once with the models, when every worker answers.
    """

    def __init__(self, orders: Orders, on_ready: Callable[[tuple[Served, ...]], None]) -> None:
        self.orders = orders
        self.on_ready = on_ready
        self.workers: list[Worker] = []
        self.shipper: Worker | None = None
        self._ships_at = 0.0 if orders.options.ships_log else math.inf
        self.announced = False
        self._served_once = False
        self._pause = 0.1
        self._start_at = 0.0
        self._selector = selectors.DefaultSelector()
        self._stop_by: float | None = None
        self._wake_read, self._wake_write = socket.socketpair()

    def run(self) -> None:
        """Run until SIGINT or SIGTERM, then let the workers finish.

        Raises:
            RoadworthyError: A worker cannot start, before any was ready.
        """
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        previous = {number: signal.signal(number, self._stop) for number in _ENDING}
        waker = signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        try:
            while self.workers or self._stop_by is None:
                self._fill_up()
                self._wait()
                self._look_after()
        finally:
            signal.set_wakeup_fd(waker)
            for number, handler in previous.items():
                signal.signal(number, handler)
            for worker in self.workers:
                worker.process.kill()
                worker.process.wait()
            if self.shipper is not None:
                self.shipper.end(self.orders.options.drain_seconds)
            self._selector.close()
            self._wake_read.close()
            self._wake_write.close()

    def _stop(self, number: int, _: object) -> None:
        if self._stop_by is None:
            self._stop_by = time.monotonic() + self.orders.options.drain_seconds + 2.0
        for worker in self.workers:
            worker.send(signal.SIGTERM)

    def _fill_up(self) -> None:
        if self.shipper is None and time.monotonic() >= self._ships_at and self._stop_by is None:
            self.shipper = Worker(self.orders, _SHIPPER)
            self._selector.register(self.shipper.output, selectors.EVENT_READ, self.shipper)
        missing = self.orders.options.workers - len(self.workers)
        if self._stop_by is not None or missing <= 0 or time.monotonic() < self._start_at:
            return
        for _ in range(missing):
            worker = Worker(self.orders)
            self.workers.append(worker)
            self._selector.register(worker.output, selectors.EVENT_READ, worker)

    def _wait(self) -> None:
        for key, _ in self._selector.select(timeout=0.5):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._wake_read.recv(4096)
            elif not key.data.listen():
                self._bury(key.data)
        self._served_once = self._served_once or any(worker.ready for worker in self.workers)
        if not self.announced and self.workers and all(w.ready for w in self.workers):
            self.announced = True
            self.on_ready(self.workers[0].served)

    def _bury(self, worker: Worker) -> None:
        self._selector.unregister(worker.output)
        if worker is self.shipper:
            log.error("the prediction log's shipper ended with code %d", worker.process.wait())
            self.shipper, self._ships_at = None, time.monotonic() + _MAX_PAUSE
            return
        self.workers.remove(worker)
        code = worker.process.wait()
        if self._stop_by is not None:
            return
        if not self._served_once:
            raise _start_error(worker, code)
        log.error("worker %d ended with code %d: replaced", worker.process.pid, code)
        self._start_at = time.monotonic() + (0.0 if worker.ready else self._pause)
        self._pause = 0.1 if worker.ready else min(2 * self._pause, _MAX_PAUSE)

    def _look_after(self) -> None:
        now = time.monotonic()
        for worker in self.workers:
            patience = self.orders.options.hang_seconds if worker.ready else _START_SECONDS
            if self._stop_by is None and now - worker.heard > patience:
                log.error("worker %d does not react: killed", worker.process.pid)
                worker.process.kill()
            elif self._stop_by is not None and now > self._stop_by:
                worker.process.kill()


def _start_error(worker: Worker, code: int) -> RoadworthyError:
    word = worker.failure
    if word is None:
        return OutsideError(f"the server's worker ended with code {code} before it was ready")
    return _ERRORS.get(word.exit_code, RoadworthyError)(word.what, where=word.where, fix=word.fix)
