"""What people and machines see: errors, JSON, progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from roadworthy.errors import FindingsError, RoadworthyError, RowsError
from roadworthy.progress import Progress, Report


def print_error(error: RoadworthyError, *, as_json: bool) -> None:
    """Write an error: one JSON document on standard output, or text on standard error."""
    if as_json:
        content: dict[str, Any] = {"what": error.what, "where": error.where, "fix": error.fix}
        if isinstance(error, RowsError):
            content["problems"] = [problem._asdict() for problem in error.problems]
        if isinstance(error, FindingsError):
            content["findings"] = error.findings
        print_json({"error": content, "exit_code": error.exit_code})
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
    console.print(f"[bold red]error:[/] {escape(error.what)}")
    if error.where:
        console.print(f"  [bold]where:[/] {escape(error.where)}")
    if error.fix:
        console.print(f"  [bold]what to do:[/] {escape(error.fix)}")


def print_json(value: Any) -> None:
    """Write one JSON document on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
    sys.stdout.flush()


class Board:
    """A live line of progress on a terminal, plain lines elsewhere.

    Args:
        budget: The job's budget in seconds.
        quiet: Show nothing.
    """

    def __init__(self, budget: float, *, quiet: bool) -> None:
        self.start = time.monotonic()
        self.budget = budget
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.now: Progress | None = None
        self.shown = ""

    def __call__(self, progress: Progress) -> None:
        """Take note of where the job stands."""
        self.now = progress
        if not self.console.is_terminal and progress.step != self.shown:
            self.shown = progress.step
            detail = (
                f" ({progress.detail})" if progress.step != "search" and progress.detail else ""
            )
            self.console.print(f"{self._seconds():5.1f} s  {escape(progress.step)}{escape(detail)}")

    def begin(self, step: str, detail: str) -> None:
        """Take note of a new step."""
        self(Progress(step, detail))

    def _seconds(self) -> float:
        return time.monotonic() - self.start

    def __rich__(self) -> Any:
        now = self.now
        grid = Table.grid(padding=(0, 2))
        left = max(0.0, self.budget - self._seconds())
        best = ""
        if now is not None and now.best is not None:
            best = f"best {now.metric} {now.best:.4g}"
        parts = f"{now.done}/{now.total} fits" if now is not None and now.total else ""
        grid.add_row(
            Text(now.step if now else "start", style="bold cyan"),
            now.detail if now else "",
            parts,
            Text(best, style="green"),
            Text(f"{left:.0f} s left", style="dim"),
        )
        return grid

    @contextmanager
    def live(self) -> Iterator[Board]:
        """Show the line while the job runs."""
        if not self.console.is_terminal or self.console.quiet:
            yield self
            return
        with Live(self, console=self.console, refresh_per_second=8, transient=True):
            yield self


@contextmanager
def counted(*, quiet: bool) -> Iterator[Report]:
    """A bar of parts done on a terminal, a line for each tenth of them elsewhere."""
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, quiet=quiet, highlight=False)
    shown = -1
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}"))
    with Bar(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        line = bar.add_task("start", total=None)

        def report(progress: Progress) -> None:
            nonlocal shown
            if console.is_terminal:
                text = escape(f"{progress.step}: {progress.detail}")
                bar.update(
                    line, description=text, completed=progress.done, total=progress.total or None
                )
                return
            tenth = 10 * progress.done // progress.total if progress.total else -1
            if tenth > shown:
                shown = tenth
                console.print(
                    f"{progress.step}: {progress.done:,} of {progress.total:,} parts, "
                    f"{escape(progress.detail)}"
                )

        yield report
