"""What is kept of a release that failed: its log, how it ended, what it answered."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec

from roadworthy.bundle.manifest import to_json
from roadworthy.deploy.docker.engine import Engine
from roadworthy.errors import CheckFailed, OutsideError

_LOG_LINES = 200
_SHOWN_LINES = 25
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
        self, engine: Engine, container: str, release: str, verdict: object, what: str
    ) -> CheckFailed:
        """Keep what is known of a container.

        Returns:
            The error that shows it.

        Raises:
            OutsideError: The folder cannot be written.
        """
        log = engine.log(container, _LOG_LINES)
        state = engine.containers(f"roadworthy.release={release}").get(container, {})
        ended = {**state.get("State", {}), "RestartCount": state.get("RestartCount", 0)}
        moment = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}"
        folder = self.folder / f"{moment}-{release}"
        files = {
            "log.txt": f"{log}\n".encode(),
            "exit.json": to_json(ended),
            "verdict.json": msgspec.json.format(msgspec.json.encode(verdict), indent=2),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                (folder / name).write_bytes(content)
            self._trim()
        except OSError as error:
            raise OutsideError(
                f"{what}; and what it said cannot be kept: {error.strerror or error}",
                where=str(folder),
            ) from None
        shown = "\n    ".join(log.splitlines()[-_SHOWN_LINES:])
        code = f"exit code {ended.get('ExitCode')}, restarts {ended['RestartCount']}"
        return CheckFailed(
            f"{what}; callers still get what they got before\n    {code}\n    {shown}",
            where=str(folder),
            fix="the log, the exit code and the answers are kept there; mend the cause, run again",
        )

    def _trim(self) -> None:
        for name in self.listed()[_KEPT:]:
            for file in (self.folder / name).iterdir():
                file.unlink()
            (self.folder / name).rmdir()
