"""Docker and Podman: the same command line, two programs."""

from __future__ import annotations

import json
import re
from typing import Any

from roadworthy.errors import InputError, OutsideError
from roadworthy.image.context import Context
from roadworthy.image.engines import Image
from roadworthy.image.engines.commands import installed, run

_ASK_SECONDS = 20


class Docker:
    """The engine behind `docker`."""

    name = "docker"

    def trouble(self) -> str | None:
        """Why it cannot be used now."""
        if not installed(self.name):
            return "not installed"
        try:
            run([self.name, "info", "--format", "{{json .}}"], where="", seconds=_ASK_SECONDS)
        except OutsideError as error:
            return error.what
        return None

    def pin(self, base: str) -> str:
        """The base with the digest that it was pulled by; what is only here stays as named."""
        if "@" in base:
            self._pull(base)
            return base
        self._pull(base)
        found = self.inspect(base)
        repository = _repository(base)
        for digest in found.get("RepoDigests") or ():
            name, _, value = digest.partition("@")
            if _repository(name) == repository:
                return f"{base}@{value}"
        return base

    def build(self, context: Context, tag: str, *, replace: bool) -> Image:
        """Build from the Dockerfile of the context."""
        self._check_tag(context, tag, replace=replace)
        run([self.name, "build", *self._options(context), "--tag", tag, str(context.folder)],
            where=tag)  # fmt: skip
        found = self.inspect(tag)
        return Image(tag, found["Id"], int(found["Size"]))

    def push(self, reference: str) -> str:
        """Push by tag; the digest is what the registry answered."""
        output = run([self.name, "push", reference], where=reference)
        match = re.search(r"digest: (sha256:[0-9a-f]{64})", output)
        if match:
            return match[1]
        repository = _repository(reference)
        for digest in self.inspect(reference).get("RepoDigests") or ():
            if _repository(digest.partition("@")[0]) == repository:
                return str(digest.partition("@")[2])
        raise OutsideError("the registry told no digest", where=reference)

    def inspect(self, reference: str) -> dict[str, Any]:
        """What the engine knows of an image of this machine; raises OutsideError."""
        output = run([self.name, "image", "inspect", reference], where=reference)
        found: dict[str, Any] = json.loads(output)[0]
        return found

    def _options(self, context: Context) -> list[str]:
        return []

    def _pull(self, base: str) -> None:
        """Have the base here; pulled only when it is not."""
        try:
            self.inspect(base)
        except OutsideError:
            run([self.name, "pull", base], where=base)

    def _check_tag(self, context: Context, tag: str, *, replace: bool) -> None:
        try:
            found = self.inspect(tag)
        except OutsideError:
            return
        labels = (found.get("Config") or {}).get("Labels") or found.get("Labels") or {}
        theirs = labels.get("roadworthy.model")
        if not replace and theirs != context.labels["roadworthy.model"]:
            whose = f"the model {theirs!r}" if theirs else "another image"
            raise InputError(
                f"the tag is in use by {whose}", where=tag, fix="name another tag, or --replace"
            )


class Podman(Docker):
    """The engine behind `podman`: the same words, an OCI image, times that do not change."""

    name = "podman"

    def _options(self, context: Context) -> list[str]:
        # OCI has no health check; the image keeps it in Docker's own format
        return ["--format", "docker", "--timestamp", str(context.epoch)]

    def push(self, reference: str) -> str:
        """Push by tag; podman writes the digest to a file."""
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "digest")
            run([self.name, "push", "--digestfile", str(file), reference], where=reference)
            return file.read_text().strip()


def _repository(reference: str) -> str:
    """`docker.io/library/python` for `python`, `python:3.12` and so on."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    name = f"{head}{slash}{last.partition(':')[0]}"
    first = name.partition("/")[0]
    if "/" not in name:
        return f"docker.io/library/{name}"
    if "." not in first and ":" not in first and first != "localhost":
        return f"docker.io/{name}"
    return name
