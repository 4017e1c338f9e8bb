"""What the container may not do: one list, for the tests that run it, for compose and for people.

After the CIS Docker Benchmark (1.6, section 5) and Kubernetes' restricted pod security standard.
"""

from __future__ import annotations

TMP_MB = 16
PIDS = 128
GRACE_SECONDS = 40
"""The server drains for 30 seconds; after this the engine kills it."""
TMPFS = f"/tmp:size={TMP_MB}m,mode=1777,noexec,nosuid,nodev"


def run_options(memory_mb: int) -> list[str]:
    """Options of `docker run` and `podman run`.

    Args:
        memory_mb: Memory, in MiB; there is no swap beyond it.
    """
    return [
        "--read-only",
        f"--tmpfs={TMPFS}",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        f"--memory={memory_mb}m",
        f"--memory-swap={memory_mb}m",
        f"--pids-limit={PIDS}",
    ]
