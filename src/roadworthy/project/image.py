"""`[image]`: the container image that serves a model."""

from __future__ import annotations

from typing import Literal

import msgspec

from roadworthy.project._range import Range

Engine = Literal["auto", "docker", "podman", "buildah", "none"]
Extra = Literal["arrow", "aws", "azure", "gcp", "grpc", "jwt", "registry", "zstd"]


class ImageSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[image]`: the container image that serves a model.

    Attributes:
        base: A Debian-like image with CPython and pip; give a digest to pin it.
        engine: What builds; `auto` takes the first of docker, podman and buildah that answers.
        extras: What the server takes besides JSON and CSV; `registry`: it can fetch its model;
            `aws`, `azure`, `gcp`: it opens what a key of theirs sealed.
        model: `inside` the image, `mounted` when it starts, or `fetched` from the registry then.
        memory_mb: Memory that `image test` gives the container.
        latency_ms: The 99th percentile of one row that `image test` allows.
        fail_on: The least severity with which `image scan` fails.
        source: Address of the source code, for the image's label.
        licence: SPDX expression of the model and its code, for the image's label.
    """

    base: str = "python:3.12-slim"
    engine: Engine = "auto"
    extras: tuple[Extra, ...] = ()
    model: Literal["inside", "mounted", "fetched"] = "inside"
    memory_mb: int = 512
    latency_ms: float = 50.0
    fail_on: Literal["low", "medium", "high", "critical", "never"] = "critical"
    source: str | None = None
    licence: str | None = None

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        return [
            Range(bool(self.base.strip()), "base", "an image's name"),
            Range(self.memory_mb >= 64, "memory_mb", "64 or more"),
            Range(self.latency_ms > 0, "latency_ms", "above 0"),
        ]
