"""What is kept on this machine of a release that failed: its verdict, and what it said."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from roadworthy.errors import CheckFailed, OutsideError

SHOWN_LINES = 25
"""Lines of each log that an error shows."""
_KEPT = 20


class Evidence:
    """A folder of this machine, one folder in it for each release that failed.

    Args:
        folder: Where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def listed(self) -> list[str]:
        """What is kept, the newest first."""
        if not self.folder.is_dir():
            return []
        return sorted((each.name for each in self.folder.iterdir()), reverse=True)

    def keep(
        self,
        release: str,
        verdict: object,
        what: str,
        files: Mapping[str, bytes],
        shown: Sequence[str],
    ) -> CheckFailed:
        """Keep what is known of a release, and forget what is older than the last twenty.

        Args:
            release: The release.
            verdict: What it answered, as JSON.
            what: Why it failed.
            files: Name -> content of what else is known: logs, consoles, how it ended.
            shown: Lines of these for the error.

        Returns:
            The error that shows it.

        Raises:
            OutsideError: The folder cannot be written.
        """
        moment = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}"
        folder = self.folder / f"{moment}-{release}"
        answers = msgspec.json.format(msgspec.json.encode(verdict), indent=2)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in {**files, "verdict.json": answers}.items():
                (folder / name).write_bytes(content)
            for old in self.listed()[_KEPT:]:
                shutil.rmtree(self.folder / old)
        except OSError as error:
            raise OutsideError(
                f"{what}; and what it said cannot be kept: {error.strerror or error}",
                where=str(folder),
            ) from None
        text = "\n    ".join(shown)
        return CheckFailed(
            f"{what}; callers still get what they got before\n    {text}",
            where=str(folder),
            fix=f"{', '.join(sorted(files))} and the answers are kept there; mend the cause, "
            "run again",
        )
