"""Lines for a shell: what runs unseen code, shows a secret or swallows a failure."""

from __future__ import annotations

import re

from roadworthy.pipeline.rules._base import Findings

_SECRET = r"\$\{?\w*(TOKEN|SECRET|PASSWORD|PASSPHRASE|PRIVATE_KEY|SIGNING_KEY|CREDENTIALS)\w*"
_UNSEEN = re.compile(
    r"(curl|wget)\b[^|;&\n]*\|\s*(sudo\s+)?(env\s+)?([\w/.-]*/)?(ba|z|da)?sh\b"
    r"|(ba|z)?sh\s+<\(\s*(curl|wget)|(eval|sh\s+-c|bash\s+-c)\s+[\"']?\$\(\s*(curl|wget)"
    r"|(curl|wget)\b[^|;&\n]*\|\s*(sudo\s+)?python3?\b"
)
_UNSAFE = re.compile(r"(curl\b[^|;&\n]*\s(-k|--insecure)\b|wget\b[^|;&\n]*--no-check-certificate)")
_SHOWN = re.compile(r"\b(echo|printf)\b[^|>\n]*" + _SECRET + r"(?![^|\n]*[|>])")
_TRACED = re.compile(r"\bset\s+-\w*x\b|\bset\s+-o\s+xtrace\b|\b(ba)?sh\s+-\w*x\b")
_DUMPED = re.compile(r"(^|[;&|]\s*)(printenv|env|export\s+-p|set)\s*($|[|;&])")
_SWALLOWED = re.compile(
    r"\broadworthy\s+(test|deploy|models\s+verify|image\s+(test|scan)|train)\b[^|\n]*"
    r"(\|\|\s*(true|:|exit\s+0|echo)\b|;\s*(true|exit\s+0)\b)"
)
_PIPED = re.compile(r"\broadworthy\s+(test|deploy|models\s+verify|image|train)\b[^|\n]*\|(?!\|)")
_ARGUMENT = re.compile(r"--(token|password|passphrase|secret|key)[= ][\"']?" + _SECRET)
_LOOSE = re.compile(r"\bpip3?\s+install\b(?=[^\n]*(--trusted-host|\s--pre\b|\s-U\s+roadworthy))")
_UNLIMITED = re.compile(r"\bchmod\s+(-R\s+)?(0?777|a\+rwx)\b")
_REPEATED = re.compile(r"\b(for|while|until)\b[^\n]*\broadworthy\s+deploy\s+(apply|rollback)")


def inspect_shell(text: str, first: int, found: Findings, *, piping_hides: bool = False) -> None:
    """Look at a script.

    Args:
        text: The script.
        first: The line of the file that it begins at.
        found: Takes what is found.
        piping_hides: Whether the shell runs without `pipefail`, so that a pipe hides a failure.
    """
    rules = [
        ("pipe-to-shell", _UNSEEN, "runs what the network sends, unseen", "install it by a pin"),
        ("no-tls-check", _UNSAFE, "does not check who answers", "leave the check on"),
        ("shown-secret", _SHOWN, "writes a secret into the log", "pass it by standard input"),
        ("shown-secret", _TRACED, "writes every value into the log", "leave out -x"),
        ("shown-secret", _DUMPED, "writes the environment into the log", "leave it out"),
        ("swallowed-failure", _SWALLOWED, "goes on when the gate fails", "let it fail"),
        ("secret-argument", _ARGUMENT, "shows a secret to every process", "pass it by a variable"),
        ("loose-install", _LOOSE, "installs what nobody pinned", "name exact versions"),
        ("open-files", _UNLIMITED, "lets everybody write", "give the least rights"),
        ("repeated-deploy", _REPEATED, "repeats a deployment blindly", "run it once: it resumes"),
    ]
    if piping_hides:
        rules.append(("swallowed-failure", _PIPED, "hides a failure in a pipe", "write to a file"))
    joined = re.sub(r"\\\n", "  ", text)
    for number, line in enumerate(joined.split("\n"), first):
        if line.lstrip().startswith("#"):
            continue
        for rule, shape, what, fix in rules:
            if shape.search(line):
                found.add(rule, number, f"`{_short(line)}` {what}", fix)


def _short(line: str) -> str:
    text = " ".join(line.split())
    return text if len(text) <= 60 else text[:57] + "…"
