"""What is kept of a fleet's release that failed: its verdict and its machines' consoles."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from roadworthy.errors import CheckFailed, OutsideError

_KEPT = 20
_SHOWN = 25


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
        self, release: str, verdict: object, what: str, consoles: Mapping[str, str]
    ) -> CheckFailed:
        """Keep it.

        Returns:
            The error that shows it.

        Raises:
            OutsideError: The folder cannot be written.
        """
        moment = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}"
        folder = self.folder / f"{moment}-{release}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            answers = msgspec.json.format(msgspec.json.encode(verdict), indent=2)
            (folder / "verdict.json").write_bytes(answers)
            for machine, text in consoles.items():
                (folder / f"{machine}.console").write_text(text, "utf-8")
            for old in self.listed()[_KEPT:]:
                shutil.rmtree(self.folder / old)
        except OSError as error:
            raise OutsideError(
                f"{what}; and what it said cannot be kept: {error.strerror or error}",
                where=str(folder),
            ) from None
        shown = [line for text in consoles.values() for line in text.splitlines()[-_SHOWN:]]
        return CheckFailed(
            f"{release}: {what}; callers still get what they got before\n    "
            + "\n    ".join(shown),
            where=str(folder),
            fix="consoles and answers are kept there; mend the cause, then run the same again",
        )
