"""Rules for workflows and actions of GitHub."""

from __future__ import annotations

import re

from roadworthy.pipeline.pins import PINS
from roadworthy.pipeline.rules._base import Finding, Findings
from roadworthy.pipeline.rules.needs import inspect_needs
from roadworthy.pipeline.rules.secrets import inspect_text, inspect_value
from roadworthy.pipeline.rules.shell import inspect_shell
from roadworthy.pipeline.rules.times import is_cron
from roadworthy.pipeline.rules.yaml_tree import Node, read_yaml

_COMMIT = re.compile(r"[0-9a-f]{40}")
_THEIRS = re.compile(
    r"\$\{\{[^}]*\b(github\.event\.(issue|pull_request|comment|review|head_commit|commits|discussion"
    r"|inputs|workflow_run)|github\.(head_ref|ref_name)|inputs\.)[^}]*\}\}"
)
_SECRET = re.compile(r"\$\{\{[^}]*\b(secrets\.|github\.token)[^}]*\}\}")
_SIGNS_IN = ("role-to-assume", "workload_identity_provider", "client-id")


def inspect(path: str, text: str) -> list[Finding]:
    """What the rules say of a workflow or an action.

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
    lines = text.split("\n")
    if root.get("runs").entries:
        _steps(root.get("runs"), lines, found)
    elif root.entries:
        _workflow(root, lines, found)
    return found.sorted()


def _workflow(root: Node, lines: list[str], found: Findings) -> None:
    triggers = root.get("on")
    for name in ("pull_request_target", "workflow_run"):
        if name in triggers.entries or any(item.text == name for item in triggers.items):
            what = f"{name} gives secrets to code that anybody may send"
            found.add("fork-secrets", triggers.line, what, "use pull_request")
    for entry in triggers.get("schedule").items:
        if not is_cron(entry.get("cron").text):
            found.add("schedule", entry.line, "this is no schedule", "five fields of cron, in UTC")
    if "permissions" not in root.entries:
        found.add("permissions", root.line, "no permissions are set", "permissions: {} at the top")
    _permissions(root.get("permissions"), found, whole=True)
    _secrets_for_all(root.get("env"), "the whole workflow", found)
    jobs = root.get("jobs").entries
    inspect_needs({name: (job.line, _names(job.get("needs"))) for name, job in jobs.items()}, found)
    for name, job in jobs.items():
        _job(name, job, root, lines, found)


def _names(needs: Node) -> list[str]:
    return [item.text for item in needs.items]


def _job(name: str, job: Node, root: Node, lines: list[str], found: Findings) -> None:
    minutes = job.get("timeout-minutes").text
    called = bool(job.get("uses").text)
    if not called and not (minutes.isdigit() and 0 < int(minutes) <= 360):
        what = f"job {name} has no limit of time between 1 and 360 minutes"
        found.add("timeout", job.line, what, "timeout-minutes: 20")
    for label in job.get("runs-on").items:
        if label.text.endswith("-latest"):
            what = f"{label.text} is another machine next year"
            found.add("runner", label.line, what, "name a version: ubuntu-24.04")
    _permissions(job.get("permissions"), found, whole=False)
    _secrets_for_all(job.get("env"), f"the whole job {name}", found)
    if called:
        if job.get("secrets").text == "inherit":
            fix = "pass each secret by its name"
            found.add("secrets-scope", job.line, f"job {name} hands on every secret", fix)
        _action(job.get("uses"), lines, found)
    _steps(job, lines, found)
    _signs_in(name, job, root, found)
    _deploys(name, job, found)


def _permissions(node: Node, found: Findings, *, whole: bool) -> None:
    if node.text in ("write-all", "read-all"):
        found.add("permissions", node.line, f"{node.text} is more than any job needs", "name each")
    writes = [scope for scope, value in node.entries.items() if value.text == "write"]
    if whole and writes:
        what = f"every job may write {', '.join(writes)}"
        found.add("permissions", node.line, what, "give it to the one job that needs it")


def _secrets_for_all(variables: Node, who: str, found: Findings) -> None:
    for key, node in variables.entries.items():
        if _SECRET.search(node.text):
            what = f"{key} is shown to {who}"
            found.add("secrets-scope", node.line, what, "give it to the one step that needs it")


def _steps(job: Node, lines: list[str], found: Findings) -> None:
    for step in job.get("steps").items:
        run = step.get("run")
        if run.text:
            block = "\n" in run.text
            inspect_shell(run.text, run.line + block, found)
            if _THEIRS.search(run.text):
                what = "text that others choose becomes part of a script"
                found.add("injection", run.line, what, "hand it over as a variable in env")
            if _SECRET.search(run.text):
                what = "a secret becomes part of a script"
                found.add("secret-argument", run.line, what, "hand it over as a variable in env")
        if step.get("continue-on-error").text == "true":
            what = "the job goes on when this step fails"
            found.add("swallowed-failure", step.line, what, "let it fail")
        if step.get("uses").text:
            _action(step.get("uses"), lines, found)
            _inputs(step, found)


def _action(uses: Node, lines: list[str], found: Findings) -> None:
    if uses.text.startswith("./"):
        return
    action, _, commit = uses.text.partition("@")
    if action.startswith("docker://"):
        if "@sha256:" not in uses.text:
            found.add("pin", uses.line, f"{uses.text} is not pinned", "name it by its digest")
        return
    if not _COMMIT.fullmatch(commit):
        what = f"{uses.text} may be changed by others at any time"
        found.add("pin", uses.line, what, "pin it to a commit of 40 digits")
        return
    known = {name.lower(): pin for name, pin in PINS.items()}.get(action.lower())
    comment = lines[uses.line - 1].partition("#")[2].strip()
    if not re.fullmatch(r"v?\d+(\.\d+)*.*", comment):
        what = f"nobody can read which release of {action} this is"
        found.add("pin", uses.line, what, "write it behind: # v1.2.3")
    elif known is not None and (comment == known.version) != (commit == known.commit):
        what = f"the commit of {action} is not that of {comment}"
        found.add("pin", uses.line, what, f"{known.version} is {known.commit}")


def _inputs(step: Node, found: Findings) -> None:
    uses, inputs = step.get("uses"), step.get("with")
    if uses.text.startswith("actions/checkout@"):
        if not inputs.get("persist-credentials").text:
            what = "the token stays in the work tree for every later step"
            found.add("kept-token", step.line, what, "with: persist-credentials: false")
        if "pull_request.head" in inputs.get("ref").text:
            what = "code that anybody may send is checked out by name"
            found.add("fork-secrets", step.line, what, "leave out ref")
    if uses.text.startswith("actions/upload-artifact@"):
        days = inputs.get("retention-days").text
        if not (days.isdigit() and 1 <= int(days) <= 90) and "${{" not in days:
            what = "how long the artifact is kept is not said"
            found.add("retention", step.line, what, "retention-days between 1 and 90")
        if any(
            item.strip() in (".", "./", "*", "**") for item in inputs.get("path").text.split("\n")
        ):
            what = "the whole work tree becomes an artifact, tokens and all"
            found.add("artifact-scope", step.line, what, "name the files")
    if uses.text.lower().startswith("azure/login@") and inputs.get("creds").text:
        what = "creds is a key that lives long"
        found.add("long-lived-key", step.line, what, "client-id, tenant-id, subscription-id")


def _signs_in(name: str, job: Node, root: Node, found: Findings) -> None:
    for step in job.get("steps").items:
        if not any(step.get("with").get(key).text for key in _SIGNS_IN):
            continue
        given = job if "permissions" in job.entries else root
        if given.get("permissions").get("id-token").text != "write":
            what = f"job {name} signs in to a cloud but may not ask for a token"
            found.add("oidc", step.line, what, "permissions: id-token: write")


def _deploys(name: str, job: Node, found: Findings) -> None:
    scripts = "\n".join(step.get("run").text for step in job.get("steps").items)
    if not re.search(r"\broadworthy\s+deploy\s+(apply|rollback|destroy)\b", scripts):
        return
    if not job.get("environment").value:
        what = f"job {name} deploys without an environment, so nobody can be asked"
        found.add("environment", job.line, what, "environment: production")
    concurrency = job.get("concurrency")
    if not (concurrency.text or concurrency.get("group").text):
        what = f"two runs of job {name} may deploy at once"
        found.add("concurrency", job.line, what, "concurrency: with a group")
    if concurrency.get("cancel-in-progress").text == "true":
        what = f"job {name} may be cut off while it deploys"
        found.add("concurrency", concurrency.line, what, "cancel-in-progress: false")
