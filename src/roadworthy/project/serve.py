"""`[package]` and `[serve]`: where bundles go, and the prediction server."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from roadworthy.project._range import Range

DialectName = Literal["invocations", "inference", "kserve", "vertex", "azure"]
_PLACES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "postgresql")
_MEGABYTES = ("max_body_mb", "log_memory_mb", "log_spool_mb")
_MAX_MB = 1_000_000_000
_MAX_RATE = 1_000_000
_SECONDS = (
    "header_seconds", "body_seconds", "keep_alive_seconds", "drain_seconds", "hang_seconds",
    "log_seconds", "otlp_seconds", "follow_seconds",
)  # fmt: skip


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _is_place(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in _PLACES and bool(parts.netloc) and parts.password is None


class PackageSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[package]`: where bundles go, which formats they hold, and what a skops file may hold."""

    formats: tuple[Literal["onnx", "joblib", "pickle", "skops"], ...] = ("onnx",)
    directory: str = "bundles"
    trusted_types: tuple[str, ...] = ()

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        dotted = all(re.fullmatch(r"\w+(\.\w+)+", name) for name in self.trusted_types)
        return [Range(dotted, "trusted_types", "full names of types, as in 'package.module.Type'")]


class ServeSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[serve]`: the prediction server."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    absent: Literal["error", "blank"] = "error"
    allow_pickle: bool = False
    max_body_mb: float = 16.0
    max_rows: int = 20_000
    max_text: int = 100_000
    max_connections: int = 4096
    max_in_flight: int = 64
    max_connections_client: int | None = None
    max_in_flight_client: int | None = None
    rate_client: float | None = None
    burst_client: int = 100
    trusted_proxies: tuple[str, ...] = ()
    proxy_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    dialects: tuple[DialectName, ...] = ("invocations", "inference", "kserve", "vertex", "azure")
    grpc_port: int | None = None
    keys: str | None = None
    jwks: str | None = None
    oidc: bool = False
    jwt_audience: str | None = None
    jwt_issuer: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    client_ca: str | None = None
    cors_origins: tuple[str, ...] = ()
    access_log: bool = False
    log_folder: str | None = None
    log_sample: float = 1.0
    log_redact: tuple[str, ...] = ()
    log_rows: int = 50_000
    feedback_folder: str | None = None
    log_memory_mb: float = 64.0
    log_seconds: float = 300.0
    log_format: Literal["jsonl", "parquet"] = "jsonl"
    log_to: str | None = None
    log_spool_mb: float = 4096.0
    otlp: str | None = None
    otlp_sample: float = 1.0
    otlp_seconds: float = 10.0
    follow: bool = False
    follow_seconds: float = 2.0
    canary: str | None = None
    canary_percent: float = 0.0
    canary_key: str = "x-request-id"
    shadow: str | None = None
    shadow_rows: int = 1000
    shadow_tolerance: float = 0.001
    shadow_queue: int = 16
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    keep_alive_seconds: float = 75.0
    drain_seconds: float = 30.0
    hang_seconds: float = 30.0

    @property
    def ships_log(self) -> bool:
        """Whether whole segments of the prediction log are brought somewhere or made Parquet."""
        return self.log_folder is not None and (
            self.log_to is not None or self.log_format != "jsonl"
        )

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        return [
            Range(0 <= self.port <= 65535, "port", "between 0 and 65535"),
            Range(0 <= self.workers <= 256, "workers", "between 0 (one a core) and 256"),
            *(
                Range(0 < getattr(self, key) <= _MAX_MB, key, f"above 0 and at most {_MAX_MB:,}")
                for key in _MEGABYTES
            ),
            Range(self.max_rows >= 1, "max_rows", "1 or more"),
            Range(self.max_text >= 100, "max_text", "100 or more"),
            Range(self.max_connections >= 1, "max_connections", "1 or more"),
            Range(not (self.oidc and self.jwks), "oidc", "left out where jwks names a file"),
            Range(
                (self.tls_certificate is None) == (self.tls_key is None),
                "tls_key",
                "given together with tls_certificate",
            ),
            Range(
                self.client_ca is None or self.tls_certificate is not None,
                "client_ca",
                "given together with tls_certificate",
            ),
            Range(
                self.grpc_port is None or 1 <= self.grpc_port <= 65535,
                "grpc_port",
                "between 1 and 65535",
            ),
            Range(self.max_in_flight >= 1, "max_in_flight", "1 or more"),
            *(
                Range(getattr(self, key) is None or getattr(self, key) >= 1, key, "1 or more")
                for key in ("max_connections_client", "max_in_flight_client")
            ),
            Range(
                self.rate_client is None or 0 < self.rate_client <= _MAX_RATE,
                "rate_client",
                f"above 0 and at most {_MAX_RATE:,} requests a second",
            ),
            Range(self.burst_client >= 1, "burst_client", "1 or more"),
            Range(
                all(map(_is_network, self.trusted_proxies)),
                "trusted_proxies",
                "addresses or networks such as 10.0.0.0/8",
            ),
            Range(0 <= self.canary_percent <= 100, "canary_percent", "between 0 and 100"),
            Range(self.canary_key == self.canary_key.lower(), "canary_key", "in lower case"),
            Range(0 <= self.log_sample <= 1, "log_sample", "between 0 and 1"),
            Range(self.log_rows >= 1, "log_rows", "1 or more"),
            Range(
                self.otlp is None
                or re.fullmatch(r"https?://[^/@\s]+(/[^@\s]*)?", self.otlp) is not None,
                "otlp",
                "the address of a collector, such as http://127.0.0.1:4318; secrets go to "
                "OTEL_EXPORTER_OTLP_HEADERS",
            ),
            Range(0 <= self.otlp_sample <= 1, "otlp_sample", "between 0 and 1"),
            Range(
                self.log_to is None or _is_place(self.log_to),
                "log_to",
                "s3://…, gs://…, az://… or postgresql://USER@HOST/DATABASE; a password comes from "
                "PGPASSWORD or the password file",
            ),
            Range(
                self.log_to is None or self.log_folder is not None,
                "log_folder",
                "given together with log_to: segments wait there",
            ),
            Range(self.shadow_rows >= 1, "shadow_rows", "1 or more"),
            Range(0 <= self.shadow_tolerance <= 1, "shadow_tolerance", "between 0 and 1"),
            Range(self.shadow_queue >= 1, "shadow_queue", "1 or more"),
            *(
                Range(0 < getattr(self, key) <= 3600, key, "above 0 and at most 3600 seconds")
                for key in _SECONDS
            ),
        ]
