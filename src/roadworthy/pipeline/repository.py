"""Whether a repository is one in which the files for CI will run."""

from __future__ import annotations

from pathlib import Path

_READ_AT = {"github": ".github/workflows", "gitlab": ".gitlab-ci.yml"}


def repository_warnings(folder: Path, branch: str, system: str) -> tuple[str, ...]:
    """What would keep the files from ever running, as far as the repository's own files tell.

    Args:
        folder: The folder of the project file.
        branch: `[pipeline] branch`.
        system: The CI system.
    """
    start = folder.resolve()
    root = next((each for each in (start, *start.parents) if (each / ".git").exists()), None)
    if root is None:
        return ()
    said = []
    if root != start and system in _READ_AT:
        inside = start.relative_to(root)
        said.append(
            f"{system} reads {_READ_AT[system]} at the root of the repository only, and this is "
            f"{inside}/ in it: nothing will run; give the project a repository of its own"
        )
    main = _main_branch(root / ".git", branch)
    if main is not None and main != branch:
        said.append(
            f"the repository's branch is {main!r}, and releases come from {branch!r}: set "
            f'[pipeline] branch = "{main}" if they should come from there'
        )
    return tuple(said)


def _main_branch(git: Path, wanted: str) -> str | None:
    """The branch that the remote calls its main one, else the present one if `wanted` is none."""
    remote = _ref(git / "refs/remotes/origin/HEAD")
    if remote is not None:
        return remote.removeprefix("refs/remotes/origin/")
    present = _ref(git / "HEAD")
    if present is None or (git / "refs/heads" / wanted).exists():
        return None
    packed = git / "packed-refs"
    if packed.is_file() and f" refs/heads/{wanted}\n" in packed.read_text("utf-8", "replace"):
        return None
    return present.removeprefix("refs/heads/")


def _ref(file: Path) -> str | None:
    try:
        text = file.read_text("utf-8", "replace").strip()
    except OSError:
        return None
    return text.removeprefix("ref: ") if text.startswith("ref: ") else None
