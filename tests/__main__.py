"""Run every test: `python -m tests`.

Tests of servers, hosts and engines wait about as long as they compute, so groups of them run side
by side. What the rest says is seen as it comes, what groups say when they have ended.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GROUPS = [  # which take about as long as each other
    ["tests/deploy"],
    ["tests/image", "tests/pipeline", "tests/batch", "tests/deploy/gcp"],
    ["tests/serve", "tests/monitor", "tests/observe", "tests/registry", "tests/deploy/kubernetes"],
]


def main() -> int:
    """Run the groups; the worst exit code."""
    running = []
    for number, folders in enumerate(GROUPS):
        log = Path(f".tests-{number}.log").open("w+")  # noqa: SIM115, read when it has ended
        running.append((subprocess.Popen(_pytest(folders), stdout=log, stderr=log), log))
    codes = [subprocess.run(_pytest(["tests"])).returncode]
    for process, log in running:
        codes.append(process.wait())
        log.seek(0)
        print(log.read(), flush=True)
    return max(codes)


def _pytest(folders: list[str]) -> list[str]:
    """The command that runs the tests below some folders, less those of other groups."""
    others = [each for group in GROUPS if group != folders for each in group]
    below = tuple(f"{folder}/" for folder in folders)
    apart = [f"--ignore={other}" for other in others if other.startswith(below)]
    return [sys.executable, "-m", "pytest", *folders, *apart]


if __name__ == "__main__":
    sys.exit(main())
