"""Rules for the files of GitLab CI."""

from __future__ import annotations

import re

from roadworthy.pipeline.rules._base import Finding, Findings
from roadworthy.pipeline.rules.needs import inspect_needs
from roadworthy.pipeline.rules.secrets import inspect_text, inspect_value
from roadworthy.pipeline.rules.shell import inspect_shell
from roadworthy.pipeline.rules.times import is_duration
from roadworthy.pipeline.rules.yaml_tree import Node, read_yaml

_NO_JOBS = {
    "workflow", "stages", "include", "default", "variables", "image", "services", "cache", "spec",
    "before_script", "after_script",
}  # fmt: skip
_SCRIPTS = ("before_script", "script", "after_script")
_DEPLOYS = re.compile(r"\broadworthy\s+deploy\s+(apply|rollback|destroy)\b")
_TOKENS = re.compile(r"\$\{?CI_JOB_JWT\w*")


def inspect(path: str, text: str) -> list[Finding]:
    """What the rules say of a file of jobs.

    Args:
        path: The file, for messages.
        text: Its content.

    Returns:
        Findings in the order of lines.
    """
    found = Findings(path)
    inspect_text(text, found)
    root = read_yaml(text, found)
    for key, node in root.scalars():
        inspect_value(key, node.text, node.line, found)
    if root.entries:
        _file(root, found)
    return found.sorted()


def _file(root: Node, found: Findings) -> None:
    _includes(root.get("include"), found)
    jobs = {
        name: node
        for name, node in root.entries.items()
        if name not in _NO_JOBS and node.entries and not name.startswith(".")
    }
    templates = {name: node for name, node in root.entries.items() if name.startswith(".")}
    inspect_needs({name: (job.line, _needs(job)) for name, job in jobs.items()}, found)
    for name, node in {**templates, **jobs, "default": root.get("default")}.items():
        _common(name, node, found)
    for name, job in jobs.items():
        _job(name, job, templates, found)


def _needs(job: Node) -> list[str]:
    items = [item.text or item.get("job").text for item in job.get("needs").items]
    return [name for name in items if name]


def _includes(include: Node, found: Findings) -> None:
    entries = include.items or ([include] if include.entries else [])
    for entry in entries:
        remote = entry.get("remote").text or (entry.text if "://" in entry.text else "")
        if remote and not entry.get("integrity").text:
            what = f"{remote} may be changed by others at any time"
            found.add("pin", entry.line, what, "integrity: sha256-…, or a file of your own")
        if entry.get("project").text and not re.fullmatch(
            r"[0-9a-f]{40}|v?\d[\w.-]*", entry.get("ref").text
        ):
            what = "the included project may be changed by others at any time"
            found.add("pin", entry.line, what, "ref: a commit or a release")


def _common(name: str, node: Node, found: Findings) -> None:
    images = [node.get("image"), *node.get("services").items]
    for image in images:
        _image(image.text or image.get("name").text, image.line, found)
    for key in _SCRIPTS:
        for line in node.get(key).items:
            inspect_shell(line.text, line.line, found)
            if _TOKENS.search(line.text):
                fix = "id_tokens with an audience"
                found.add("oidc", line.line, "CI_JOB_JWT is no more", fix)
    _times(name, node, found)
    _retries(name, node, found)
    for key in ("only", "except"):
        if key in node.entries:
            what = f"{name}: {key} is not developed further, and does not mix with rules"
            found.add("rules", node.get(key).line, what, "rules: with if")
    for token, entry in node.get("id_tokens").entries.items():
        if not entry.get("aud").value:
            what = f"{token} is good for anybody: it has no audience"
            found.add("oidc", entry.line, what, "aud: sts.amazonaws.com")


def _image(name: str, line: int, found: Findings) -> None:
    if not name or name.startswith("$") or "@sha256:" in name:
        return
    tag = name.rpartition("/")[2].partition(":")[2]
    if tag in ("", "latest", "stable", "edge"):
        found.add("pin", line, f"{name} is another image tomorrow", "name a version or a digest")


def _times(name: str, node: Node, found: Findings) -> None:
    timeout, kept = node.get("timeout"), node.get("artifacts").get("expire_in")
    if timeout.text and not is_duration(timeout.text):
        what = f"{name}: {timeout.text!r} is no duration"
        found.add("timeout", timeout.line, what, "timeout: 40 minutes")
    if kept.text and kept.text != "never" and not is_duration(kept.text):
        what = f"{name}: {kept.text!r} is no duration"
        found.add("retention", kept.line, what, "expire_in: 30 days")
    artifacts = node.get("artifacts")
    if artifacts.get("paths").items and (not kept.text or kept.text == "never"):
        what = f"{name}: how long artifacts are kept is not said"
        found.add("retention", artifacts.line, what, "expire_in: 30 days")
    for path in artifacts.get("paths").items:
        if path.text.strip() in (".", "./", "*", "**", "**/*"):
            what = f"{name}: the whole work tree becomes an artifact"
            found.add("artifact-scope", path.line, what, "name the files")
    if (
        artifacts.get("reports").get("dotenv").text.endswith(".env")
        and artifacts.get("public").text == "true"
    ):
        found.add(
            "artifact-scope", artifacts.line, f"{name}: variables are public", "public: false"
        )


def _retries(name: str, node: Node, found: Findings) -> None:
    retry = node.get("retry")
    most = retry.text or retry.get("max").text
    if most and not (most.isdigit() and int(most) <= 2):
        found.add("retry", retry.line, f"{name}: retry is 0, 1 or 2", "retry: 2")
    failures = [item.text for item in retry.get("when").items]
    if most not in ("", "0") and (not failures or {"always", "script_failure"} & set(failures)):
        what = f"{name}: what fails for a reason is run again"
        found.add("retry", retry.line, what, "retry: when: runner_system_failure")


def _job(name: str, job: Node, templates: dict[str, Node], found: Findings) -> None:
    bases = [templates[item.text] for item in job.get("extends").items if item.text in templates]

    def holds(key: str) -> Node:
        return next((each.get(key) for each in (job, *bases) if key in each.entries), Node("", 1))

    if job.get("trigger").value:
        return
    if not holds("timeout").text:
        found.add("timeout", job.line, f"job {name} has no limit of time", "timeout: 20 minutes")
    if not holds("image").value and not bases:
        found.add("pin", job.line, f"job {name} runs in whatever image is there", "image: …")
    script = "\n".join(line.text for line in job.get("script").items)
    gate = re.search(r"\broadworthy\s+(test|deploy|models\s+verify|image\s+(test|scan))\b", script)
    allowed = holds("allow_failure")
    manual = any(rule.get("when").text == "manual" for rule in holds("rules").items)
    if gate and (allowed.text == "true" or allowed.get("exit_codes").value):
        what = f"the pipeline goes on when job {name} fails"
        found.add("swallowed-failure", allowed.line, what, "leave out allow_failure")
    if _DEPLOYS.search(script):
        _deployment(name, job, holds("interruptible").text, manual, found)


def _deployment(name: str, job: Node, interruptible: str, manual: bool, found: Findings) -> None:
    environment = job.get("environment").text or job.get("environment").get("name").text
    if not environment:
        what = f"job {name} deploys without an environment"
        found.add("environment", job.line, what, "environment: with a name")
    if not job.get("resource_group").text:
        what = f"two runs of job {name} may deploy at once"
        found.add("concurrency", job.line, what, "resource_group: production")
    if interruptible == "true":
        what = f"job {name} may be cut off while it deploys"
        found.add("concurrency", job.line, what, "interruptible: false")
    if environment == "production" and not (manual or job.get("when").text == "manual"):
        what = f"job {name} deploys to production and asks nobody"
        found.add("approval", job.line, what, "rules: with when: manual")
    rules = job.get("rules").items
    if not rules or any("merge_request_event" in rule.get("if").text for rule in rules):
        what = f"job {name} deploys what is not merged"
        found.add("fork-secrets", job.line, what, "rules: if: on the branch of releases alone")
