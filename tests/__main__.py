"""Run every test: `python -m tests`.

Tests of servers, hosts and engines wait about as long as they compute, so groups of them run side
by side. What the largest says is seen as it comes, the others' when they have ended.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GROUPS = {
    "deploying": ["tests/deploy"],
    "packing": ["tests/image", "tests/pipeline", "tests/batch"],
    "serving": ["tests/serve", "tests/monitor", "tests/observe", "tests/registry"],
}


def main() -> int:
    """Run the groups; the worst exit code."""
    pytest = [sys.executable, "-m", "pytest"]
    running = []
    for name, folders in GROUPS.items():
        log = Path(f".tests-of-{name}.log").open("w+")  # noqa: SIM115, read when it has ended
        running.append((subprocess.Popen([*pytest, *folders], stdout=log, stderr=log), log))
    apart = [f"--ignore={folder}" for folders in GROUPS.values() for folder in folders]
    codes = [subprocess.run([*pytest, "tests", *apart]).returncode]
    for process, log in running:
        codes.append(process.wait())
        log.seek(0)
        print(log.read(), flush=True)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
