"""Known vulnerabilities of an image, as Trivy or Grype finds them; neither is part of Roadworthy.

What they print is read by their documented JSON: https://trivy.dev/latest/docs/configuration/
reporting/ and https://github.com/anchore/grype (the `json` output).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any, Literal, get_args

import msgspec

from roadworthy.errors import OutsideError
from roadworthy.image.engines.commands import run

Severity = Literal["unknown", "low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


class Vulnerability(msgspec.Struct, frozen=True, kw_only=True):
    """A known vulnerability of a package in the image.

    Attributes:
        id: Its name in a public list: CVE-…, GHSA-….
        package: The package.
        version: The version that is in the image.
        fixed: The version that mends it; empty when there is none yet.
        severity: How bad it is.
    """

    id: str
    package: str
    version: str
    fixed: str
    severity: Severity


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What a scanner found.

    Attributes:
        reference: The image.
        scanner: The program that looked.
        found: What it found, the worst first.
    """

    reference: str
    scanner: str
    found: tuple[Vulnerability, ...]

    def at_least(self, severity: Severity) -> list[Vulnerability]:
        """Those that are as bad as this or worse."""
        least = SEVERITIES.index(severity)
        return [each for each in self.found if SEVERITIES.index(each.severity) >= least]


def scanner() -> str | None:
    """The program that would look, if one is here."""
    return next((name for name in _SCANNERS if shutil.which(name)), None)


def scan(reference: str, *, layout: bool = False) -> Scan:
    """List the known vulnerabilities of an image.

    Args:
        reference: The image, or the folder of an OCI layout.
        layout: Whether it is the latter.

    Raises:
        OutsideError: No scanner is here, or it failed.
    """
    name = scanner()
    if name is None:
        raise OutsideError(
            f"no scanner is here: looked for {' and '.join(_SCANNERS)}; nothing was scanned",
            where=reference,
            fix="install Trivy (trivy.dev) or Grype (github.com/anchore/grype), and scan again",
        )
    arguments, read = _SCANNERS[name]
    output = run([name, *arguments(reference, layout)], where=reference)
    try:
        found = read(msgspec.json.decode(output))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        raise OutsideError(
            f"{name} printed something else than its JSON report", where=reference
        ) from None
    unique = {(each.id, each.package, each.version): each for each in found}
    return Scan(reference=reference, scanner=name, found=tuple(sorted(
        unique.values(),
        key=lambda each: (-SEVERITIES.index(each.severity), each.package, each.id),
    )))  # fmt: skip


def _trivy_arguments(reference: str, layout: bool) -> list[str]:
    source = ["--input", reference] if layout else [reference]
    return ["image", "--quiet", "--scanners", "vuln", "--format", "json", *source]


def _grype_arguments(reference: str, layout: bool) -> list[str]:
    return [f"oci-dir:{reference}" if layout else reference, "--quiet", "--output", "json"]


def _trivy(report: Any) -> list[Vulnerability]:
    return [
        Vulnerability(
            id=str(each["VulnerabilityID"]),
            package=str(each["PkgName"]),
            version=str(each.get("InstalledVersion", "")),
            fixed=str(each.get("FixedVersion", "")),
            severity=_severity(each.get("Severity")),
        )
        for result in report.get("Results") or ()
        for each in result.get("Vulnerabilities") or ()
    ]


def _grype(report: Any) -> list[Vulnerability]:
    return [
        Vulnerability(
            id=str(each["vulnerability"]["id"]),
            package=str(each["artifact"]["name"]),
            version=str(each["artifact"].get("version", "")),
            fixed=", ".join((each["vulnerability"].get("fix") or {}).get("versions") or ()),
            severity=_severity(each["vulnerability"].get("severity")),
        )
        for each in report["matches"]
    ]


def _severity(text: Any) -> Severity:
    told = str(text).lower()
    if told == "negligible":
        return "low"
    return next((each for each in SEVERITIES if each == told), "unknown")


_Reader = Callable[[Any], list[Vulnerability]]
_SCANNERS: dict[str, tuple[Callable[[str, bool], list[str]], _Reader]] = {
    "trivy": (_trivy_arguments, _trivy),
    "grype": (_grype_arguments, _grype),
}
