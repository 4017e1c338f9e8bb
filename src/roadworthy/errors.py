"""Every error a user can meet: what is wrong, where, and what to do."""

from __future__ import annotations

from typing import Any, NamedTuple


class RoadworthyError(Exception):
    """An error that carries its own diagnosis.

    Args:
        what: What is wrong, in one sentence.
        where: File, row, column or key it concerns.
        fix: What the user can do about it.

    Attributes:
        exit_code: Exit code of the command line (design: 1 a check failed, 2 bad input,
            3 something outside is missing or refused).
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  what to do: {self.fix}")
        return "\n".join(lines)


class InputError(RoadworthyError):
    """A table, a row, an option or a file that cannot be used as it is."""


class ProjectError(InputError):
    """A project file with an unknown key or a wrong value."""


class CheckFailed(RoadworthyError):  # noqa: N818 (a verdict, not a fault)
    """A gate, the parity check or a verification said no."""

    exit_code = 1


class FindingsError(CheckFailed):
    """Serious findings in a table that the project does not acknowledge.

    Args:
        what: All of them, in words.
        findings: All of them, as plain data.
        fix: What to do about each.
    """

    def __init__(self, what: str, findings: list[dict[str, Any]], *, fix: str) -> None:
        super().__init__(what, fix=fix)
        self.findings = findings


class OutsideError(RoadworthyError):
    """Something outside Roadworthy is missing or refused: a port, a disk, a package."""

    exit_code = 3


class UnfitError(InputError):
    """Something outside that is there and cannot be used: to try again does not help."""

    exit_code = 3


class Problem(NamedTuple):
    """One thing wrong with one cell or row of a request.

    Attributes:
        reason: What is wrong, without the caller's data.
        column: Column name, or None when the row as a whole is meant.
        row: Zero-based row number, or None when the request as a whole is meant.
    """

    reason: str
    column: str | None = None
    row: int | None = None

    def __str__(self) -> str:
        place = []
        if self.row is not None:
            place.append(f"row {self.row}")
        if self.column is not None:
            place.append(f"column {self.column!r}")
        return f"{', '.join(place)}: {self.reason}" if place else self.reason


class RowsError(InputError):
    """Rows that break the contract.

    Args:
        problems: What is wrong, cell by cell; at most the first ones found.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        first = "; ".join(str(problem) for problem in problems[:5])
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        super().__init__(
            f"the rows break the model's contract: {first}{more}",
            fix="compare the rows with the model's contract (GET /contract, bundle.contract)",
        )
