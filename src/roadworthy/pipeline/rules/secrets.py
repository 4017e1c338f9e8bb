"""Secrets that stand in a file, and keys of clouds that live for long."""

from __future__ import annotations

import re

from roadworthy.pipeline.rules._base import Findings

_NAMES = re.compile(
    r"(?i)(^|[-_.])(password|passwd|passphrase|secret|token|api[-_]?key|access[-_]?key"
    r"|private[-_]?key|signing[-_]?key|credentials?)$"
)
_PUBLIC = re.compile(r"(?i)^(id-token|persist-credentials|cancel.*|true|false|read|write|none|)$")
_REFERENCE = re.compile(r"\$|^env:|^/|credentials\(|^[\w./-]+\.(pem|pub|key|json|token)$")
_SHAPES = {
    "a key of AWS": re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a token of GitHub": re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,})\b"),
    "a token of GitLab": re.compile(r"\bgl(pat|ptt|dt|rt)-[\w-]{20,}"),
    "a key of Google": re.compile(r"\bAIza[\w-]{35}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a token of Slack": re.compile(r"\bxox[abprs]-[\w-]{10,}"),
    "a password in an address": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@$]*:[^\s/@${]+@"),
}
_LONG_LIVED = re.compile(
    r"(?i)\b(aws[-_]access[-_]key[-_]id|aws[-_]secret[-_]access[-_]key|credentials[-_]json"
    r"|azure[-_]client[-_]secret|azure[-_]credentials|google[-_]credentials|arm[-_]client[-_]secret"
    r"|gcp[-_]sa[-_]key|gcp[-_]service[-_]account[-_]key)\b"
)


def inspect_value(key: str, value: str, line: int, found: Findings) -> None:
    """Look at a value by its key: a literal where a secret belongs, or a key that lives long."""
    public = _PUBLIC.match(value) or _PUBLIC.match(key) or _REFERENCE.search(value)
    if _NAMES.search(key) and not public:
        what = f"{key} is written out"
        found.add("literal-secret", line, what, "keep it in the CI system's store of secrets")
    if _LONG_LIVED.search(key):
        what = f"{key} is a key that lives long"
        found.add("long-lived-key", line, what, "sign in with a token of the CI system (OIDC)")


def inspect_text(text: str, found: Findings) -> None:
    """Look at the whole text: what has the shape of a secret, wherever it stands."""
    for number, line in enumerate(text.split("\n"), 1):
        for name, shape in _SHAPES.items():
            if shape.search(line):
                what = f"{name} stands in the file"
                fix = "revoke it, and keep the new one in the CI system's store of secrets"
                found.add("literal-secret", number, what, fix)
        assigned = _LONG_LIVED.search(line)
        if assigned and re.search(r"[=:]", line[assigned.end() :]):
            what = f"{assigned[0]} is a key that lives long"
            found.add(
                "long-lived-key", number, what, "sign in with a token of the CI system (OIDC)"
            )
