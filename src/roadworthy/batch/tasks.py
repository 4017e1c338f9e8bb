"""What a run consists of: its plan, its tasks and what is left of a finished one, as plain data."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from roadworthy.batch.places import Input
from roadworthy.batch.text import Layout
from roadworthy.contract import Contract
from roadworthy.prepare.plan import FeaturePlan

Format = Literal["parquet", "csv"]
BadRows = Literal["stop", "reject"]


class Model(NamedTuple):
    """A bundle's verified parts, as they are handed to workers."""

    contract: Contract
    plan: FeaturePlan
    core: bytes
    version: str


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a file that one worker scores.

    Attributes:
        number: Its place in the run.
        input: The file.
        kind: `parquet`: row groups `start` to `stop`; `text`: bytes `start` to `stop` of UTF-8;
            `whole`: all of a text file that is packed or in another encoding.
        first: The number of its first row in the file.
        rows: Its rows, as far as known beforehand.
        layout: How text is written.
    """

    number: int
    input: Input
    kind: Literal["parquet", "text", "whole"]
    start: int = 0
    stop: int = 0
    first: int = 0
    rows: int | None = None
    layout: Layout | None = None


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all tasks of a run have in common.

    Attributes:
        output: The folder or prefix that is written.
        format: Of the partitions.
        bad_rows: `stop` ends the run at a row that breaks the contract, `reject` lists it.
        keep: Columns that are written beside the predictions.
        partition_bytes: Text, or Parquet before packing, that goes into one partition.
    """

    output: str
    format: Format
    bad_rows: BadRows
    keep: tuple[str, ...]
    partition_bytes: int


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run: the model's version, the job, the tasks."""

    version: str
    job: Job
    tasks: tuple[Task, ...]

    def same_run(self, version: str, job: Job, inputs: list[Input]) -> bool:
        """Whether it is the plan of this model, job and these files, unchanged."""
        planned = {task.input.path: task.input for task in self.tasks}
        return (self.version, self.job) == (version, job) and planned == {
            each.path: each for each in inputs
        }


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A written file: its name, its rows, its size and the SHA-256 of its content."""

    name: str
    rows: int
    bytes: int
    sha256: str


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a finished task left: it is written last, and what has none is done again.

    Attributes:
        task: The task's number.
        rows: Rows of the input.
        parts: Partitions of predictions.
        rejects: Lists of the rows that were rejected.
    """

    task: int
    rows: int
    parts: tuple[Part, ...]
    rejects: tuple[Part, ...] = ()

    @property
    def rejected(self) -> int:
        """Rows that have no prediction."""
        return self.rows - sum(part.rows for part in self.parts)

    @property
    def name(self) -> str:
        """Its file."""
        return receipt_name(self.task)


PLAN, MANIFEST, PROGRESS = "_plan.json", "_manifest.json", "_progress/"


def receipt_name(task: int) -> str:
    """The file of a task's receipt."""
    return f"{PROGRESS}{task:06d}.json"
