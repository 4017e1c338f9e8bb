"""Buildah: builds and pushes, and has nothing that runs."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from roadworthy.errors import InputError, OutsideError
from roadworthy.image.context import Context
from roadworthy.image.engines import Image
from roadworthy.image.engines.commands import installed, run


class Buildah:
    """The engine behind `buildah`."""

    name = "buildah"

    def trouble(self) -> str | None:
        """Why it cannot be used now."""
        if not installed(self.name):
            return "not installed"
        try:
            run([self.name, "info"], where="", seconds=20)
        except OutsideError as error:
            return error.what
        return None

    def pin(self, base: str) -> str:
        """The base with its digest."""
        try:
            found = self._inspect(base)
        except OutsideError:
            run([self.name, "pull", base], where=base)
            found = self._inspect(base)
        digest = found.get("FromImageDigest")
        local = str(found.get("FromImage", "")).startswith("localhost/")
        return base if "@" in base or local or not digest else f"{base}@{digest}"

    def build(self, context: Context, tag: str, *, replace: bool) -> Image:
        """Build from the Dockerfile of the context, with times that do not change."""
        self._check_tag(context, tag, replace=replace)
        command = [self.name, "bud", "--format", "docker", "--timestamp", str(context.epoch),
                   "--tag", tag, str(context.folder)]  # fmt: skip
        run(command, where=tag)
        found = self._inspect(tag)
        size = json.loads(run([self.name, "images", "--json", tag], where=tag))[0]
        return Image(tag, found["FromImageID"], _bytes(str(size.get("size", "0"))))

    def push(self, reference: str) -> str:
        """Push by tag; buildah writes the digest to a file."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "digest")
            run([self.name, "push", "--digestfile", str(file), reference], where=reference)
            return file.read_text().strip()

    def _inspect(self, reference: str) -> dict[str, Any]:
        command = [self.name, "inspect", "--type", "image", reference]
        found: dict[str, Any] = json.loads(run(command, where=reference))
        return found

    def _check_tag(self, context: Context, tag: str, *, replace: bool) -> None:
        try:
            labels = self._inspect(tag)["Docker"]["config"].get("Labels") or {}
        except (OutsideError, KeyError):
            return
        if not replace and labels.get("roadworthy.model") != context.labels["roadworthy.model"]:
            raise InputError(
                "the tag is in use by another image",
                where=tag,
                fix="name another tag, or --replace",
            )


def _bytes(text: str) -> int:
    number, _, unit = text.partition(" ")
    return int(float(number) * {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}.get(unit.upper(), 1))
